"""Putting a view together by hand: nothing typed is lost, and what can't be right says so beside its field."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from werkzeug.test import TestResponse

from hub import views
from hub.lifecycle import resolve, snooze
from hub.tags import tag
from hub.views import Wanted
from inbox.viewform import box_of
from tests.browser.room import Browser, attr, words
from tests.desk import Desk

VIP = {"field": "tag", "op": "has", "value": "vip"}
OPEN = {"field": "state", "op": "eq", "value": "open"}
TIER = {"field": "contact.tier", "op": "eq", "value": "gold"}
TAGGED = {"field": "tag", "op": "exists", "value": True}


def typed(rows: dict[str, tuple[str, str, str]], **more: str) -> dict[str, str]:
    """A form as the browser sends it: rows by their place."""
    fields = {"n.join": "all", "name": "Late lamps", "scope": "me"}
    for path, (field, op, value) in rows.items():
        fields |= {f"{path}.field": field, f"{path}.op": op, f"{path}.value": value}
    return fields | more


def post(browser: Browser, do: str, fields: dict[str, str]) -> TestResponse:
    browser.page("/inbox/views/new")
    return browser.post("/inbox/views/form", hx=True, do=do, **fields)


def saved(desk: Desk) -> list[Any]:
    with desk.hub.store.read() as tx:
        return views.views(tx, desk.jonas)


def test_jonas_puts_a_view_together_and_works_in_it(jonas: Browser, desk: Desk) -> None:
    lamp = desk.mail("Order 1", "Where is my lamp?").conversation_id or 0
    parcel = desk.text("Where is my parcel?").conversation_id or 0
    asleep = desk.mail("Order 2", "Where is my lamp?", sender="Devon <d@example.org>").conversation_id or 0
    desk.mail("Hello", "Nothing", sender="Oskar <o@example.org>")
    with desk.hub.store.write() as tx:
        tag(tx, desk.jonas, parcel, "vip")
        snooze(tx, desk.jonas, asleep, None)
        tag(tx, desk.jonas, asleep, "vip")
    rows = {"n.1": ("state", "not eq", "resolved"), "n.2.1": ("subject", "contains", "order 1")}
    rows["n.2.2"] = ("tag", "has", "vip")
    kept = post(jonas, "save", typed(rows, **{"n.2.join": "any"}))

    (row,) = saved(desk)
    assert row.condition == {
        "all": [
            {"not": [{"field": "state", "op": "eq", "value": "resolved"}]},
            {"any": [{"field": "subject", "op": "contains", "value": "order 1"}, VIP]},
        ]
    }  # fmt: skip
    assert kept.headers["HX-Redirect"] == f"/inbox/view-{row.id}"
    page = jonas.page(f"/inbox/view-{row.id}")
    assert words(page, ".list h1") == ["Late lamps"]
    assert [int(node.attributes["data-id"] or 0) for node in page.css("#rows .row")] == [lamp, parcel, asleep]
    assert words(page, ".group h2") == ["Due now", "Snoozed"]
    assert attr(page, f"#v-view-{row.id}", "aria-current") == "page"
    counts = jonas.get("/inbox/views/counts", hx=True)
    assert words(Page(counts.text), "hx-partial") == ["3"]
    assert words(jonas.page("/inbox/mine"), f"#n-{row.id}") == ["3"]
    form = jonas.page(f"/inbox/views/{row.id}")
    assert attr(form, "[name='n.2.2.value']", "value") == "vip"
    assert attr(form, "[name='n.1.op'] [selected]", "value") == "not eq"
    assert words(form, ".trial b") == ["3 conversations now"]


def test_a_refused_view_keeps_what_was_typed_and_names_the_field(jonas: Browser, desk: Desk) -> None:
    rows = {"n.1": ("state", "eq", "open"), "n.2": ("waiting", "gt", "a while"), "n.3": ("queue", "eq", "")}
    page = Page(post(jonas, "save", typed(rows)).text)
    assert words(page, ".wrong") == ["Must be a span such as 30m, 4h or 2d"]
    assert attr(page, "[aria-invalid]", "name") == "n.2.value"
    assert attr(page, "[name='n.2.value']", "value") == "a while"
    assert attr(page, "#view-name", "value") == "Late lamps"

    page = Page(post(jonas, "save", typed({**rows, "n.2": ("waiting", "gt", "2 H")})).text)
    assert (words(page, ".wrong"), attr(page, "[aria-invalid]", "name")) == (["Choose one, or write it"], "n.3.value")
    page = Page(post(jonas, "save", typed({"n.1": ("", "", "")})).text)
    assert (words(page, ".wrong"), attr(page, "[aria-invalid]", "name")) == (["Choose what"], "n.1.field")
    page = Page(post(jonas, "save", typed({"n.1": ("contact.<attribute>", "eq", "x")})).text)
    assert attr(page, "[aria-invalid]", "name") == "n.1.zone"
    page = Page(post(jonas, "save", typed({"n.1": ("priority", "eq", "high")}, name=" ")).text)
    assert (words(page, ".wrong"), attr(page, "[aria-invalid]", "name")) == (
        ["A name has one to 40 characters."], "name"
    )  # fmt: skip
    page = Page(post(jonas, "save", typed({"n.1": ("tag", "not has", "")})).text)
    assert attr(page, "[aria-invalid]", "name") == "n.1.value"
    assert saved(desk) == []


def test_rows_and_groups_come_and_go_and_a_field_brings_its_comparisons(jonas: Browser, desk: Desk) -> None:
    fields = typed({"n.1": ("state", "eq", "open"), "n.2": ("tag", "gt", "vip")})
    page = Page(post(jonas, "redraw", fields).text)
    assert words(page, "[name='n.2.op'] option") == ["has", "has not", "there is one", "there is none"]
    page = Page(post(jonas, "box:n", fields).text)
    assert words(page, "[name='n.3.join'] [selected]") == ["Any of these"]
    page = Page(post(jonas, "drop:n.1", fields).text)
    assert attr(page, "[name='n.1.field'] [selected]", "value") == "tag"
    page = Page(post(jonas, "row:n", fields).text)
    assert len(page.css("[name$='.field']")) == 3


def test_only_those_who_may_share_are_offered_to(jonas: Browser, ines: Browser, desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        billing = str(tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0])
    assert len(jonas.page("/inbox/views/new").css("#view-scope")) == 0
    rows = {"n.1": ("state", "eq", "open")}
    assert post(jonas, "save", typed(rows, scope="all")).status_code == 403
    assert post(ines, "save", typed(rows, name="Shared", scope="all")).status_code == 204
    assert post(ines, "save", typed(rows, name="Team", scope=billing)).status_code == 204
    (shared,) = saved(desk)
    page = jonas.page(f"/inbox/views/{shared.id}")
    assert len(page.css("[name='n.1.field'][disabled]")) == 1 and len(page.css("button.primary[value=save]")) == 0
    assert words(jonas.page("/inbox/views"), ".rule-acts a") == ["What is in it: Shared"]
    assert "Team" in str(words(ines.page("/inbox/views"), ".rule-name"))
    assert jonas.post(f"/inbox/views/{shared.id}/delete").status_code == 403
    ines.page(f"/inbox/views/{shared.id}/delete")
    assert ines.post(f"/inbox/views/{shared.id}/delete").location == "/inbox/views"
    assert saved(desk) == []
    assert jonas.get(f"/inbox/view-{shared.id}").status_code == 404


def test_two_who_change_one_view_do_not_overwrite_each_other(ines: Browser, desk: Desk) -> None:
    post(ines, "save", typed({"n.1": ("state", "eq", "open")}, scope="all"))
    (row,) = saved(desk)
    page = ines.page(f"/inbox/views/{row.id}")
    seen = attr(page, "[name=seen]", "value")
    fields = typed({"n.1": ("state", "eq", "snoozed")}, scope="all", number=str(row.id), seen=seen)
    assert post(ines, "save", fields).status_code == 204
    late = Page(post(ines, "save", fields | {"n.1.value": "resolved"}).text)
    assert "Somebody changed" in words(late, ".problem")[0]
    assert attr(late, "[name='n.1.value'] [selected]", "value") == "resolved"


def test_pages_of_a_view_continue_over_its_sections(jonas: Browser, desk: Desk) -> None:
    for number in range(90):
        taken = desk.mail(f"Order {number}", "Where is my lamp?", sender=f"Customer {number} <c{number}@example.org>")
        desk.clock.forward(seconds=40)
        with desk.hub.store.write() as tx:
            if number % 3 == 1:
                snooze(tx, desk.jonas, taken.conversation_id or 0, None)
            if number % 3 == 2:
                resolve(tx, desk.jonas, taken.conversation_id or 0)
    with desk.hub.store.write() as tx:
        everything = views.create(tx, desk.jonas, Wanted("All", {})).id
    found: list[str] = []
    page = jonas.page(f"/inbox/view-{everything}")
    while True:
        found += [node.attributes["data-id"] or "" for node in page.css(".row")]
        more = page.css_first("#more a")
        if more is None:
            break
        page = jonas.page(more.attributes["href"] or "", hx=True)
    assert len(found) == len(set(found)) == 90


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        ({}, {}), (OPEN, {"all": [OPEN]}), ({"all": [OPEN, {"any": [OPEN]}]}, {"all": [OPEN, {"any": [OPEN]}]}),
        ({"not": [OPEN]}, {"all": [{"not": [OPEN]}]}), (TIER, {"all": [TIER]}),
        ({"field": "priority", "op": "gte", "value": 3.0}, {"all": [{"field": "priority", "op": "gte", "value": 3.0}]}),
        ({"field": "tag", "op": "exists", "value": False}, {"all": [{"not": [TAGGED]}]}),
        ({"not": OPEN}, None), ({"field": "state", "op": "in", "value": ["open"]}, None),
        ({"all": [{"any": [{"all": [{"any": [OPEN]}]}]}]}, None),
    ],
)  # fmt: skip
def test_what_the_form_shows_is_what_the_view_asks(condition: dict[str, Any], shown: dict[str, Any] | None) -> None:
    box = box_of(condition)
    assert (box and box.tree()) == shown


def test_a_view_that_a_program_made_is_listed_and_says_why_it_has_no_form(
    app: Flask, jonas: Browser, desk: Desk
) -> None:
    with desk.hub.store.write() as tx:
        row = views.create(tx, desk.jonas, Wanted("Odd", {"field": "state", "op": "in", "value": ["open"]}))
    assert jonas.get(f"/inbox/view-{row.id}").status_code == 200
    refused = jonas.get(f"/inbox/views/{row.id}")
    assert refused.status_code == 409 and "more than the form can show" in refused.text
