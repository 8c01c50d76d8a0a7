"""Saved views: what a condition has on either database, whose they are, and counts that stay cheap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import col, select

from hub import views
from hub.lifecycle import resolve, snooze
from hub.refusals import FieldRefused
from hub.replies import note, reply
from hub.tags import tag
from hub.viewfields import FIELDS, states_of
from hub.views import Tally, Wanted
from routing import work
from storage.access import Actor, Conflict, Forbidden, NotFound
from storage.conversations import Conversation
from storage.facts import FactRow
from storage.search import index_new_messages
from storage.views import SavedView
from tests.browser.scene import available, rich_mail
from tests.desk import Desk
from tests.doors import Client, compose, served
from tests.test_api import Program

OPEN = {"field": "state", "op": "eq", "value": "open"}


@pytest.fixture
def server(desk: Desk) -> Iterator[Client]:
    with served(compose(desk.hub)) as client:
        yield client


def leaf(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


def having(desk: Desk, condition: dict[str, Any], actor: Actor | None = None) -> set[int]:
    who = actor or desk.ines
    index_new_messages(desk.hub.store)
    with desk.hub.store.read() as tx:
        wanted = views.has(tx, condition, who.agent_id)
        found = {row.id or 0 for row in tx.exec(select(Conversation).where(wanted))}
        if actor is None:
            assert views.counted(tx, desk.ines, condition) == Tally(len(found))
        assert {row.state for row in tx.exec(select(Conversation).where(wanted))} <= set(states_of(condition))
    return found


@pytest.fixture
def people(desk: Desk) -> dict[str, int]:
    """A day on which everybody is in another state."""
    available(desk, desk.jonas, desk.amara)
    found = {}
    desk.clock.forward(hours=-5)
    found["mara"] = desk.raw_mail(rich_mail("Order 48213")).conversation_id or 0
    desk.clock.forward(hours=4)
    found["devon"] = desk.text("Where is my broken lamp?", sender="+447700900184").conversation_id or 0
    found["claire"] = desk.mail("Refund", "A refund please", sender="Claire <claire@shop.example>").conversation_id or 0
    found["priya"] = desk.mail("Question", "Do you ship lamps?", sender="Priya <p@raman.example>").conversation_id or 0
    found["oskar"] = desk.mail("Thanks", "It came", sender="Oskar <oskar@example.org>").conversation_id or 0
    desk.clock.forward(minutes=50)
    with desk.hub.store.write() as tx:
        work.claim(tx, desk.jonas, found["mara"])
        work.claim(tx, desk.amara, found["devon"])
        tag(tx, desk.jonas, found["mara"], "vip, reship")
        tag(tx, desk.jonas, found["devon"], "vip")
        snooze(tx, desk.jonas, found["priya"], None)
        resolve(tx, desk.jonas, found["oskar"])
        tx.sql("UPDATE conversation SET priority = 30 WHERE id = ?", found["mara"])
        tx.sql("UPDATE conversation SET escalated_at = ? WHERE id = ?", tx.now, found["devon"])
        contact = tx.get_one(Conversation, found["mara"]).contact_id
        known = {"tier": "gold", "orders": 4, "wholesale": True}
        tx.sql("UPDATE contact SET attributes = ?, company = 'Lindqvist AB' WHERE id = ?", known, contact)
        contact = tx.get_one(Conversation, found["claire"]).contact_id
        known = {"tier": "silver", "orders": "12"}
        tx.sql("UPDATE contact SET attributes = ?, language = 'fr' WHERE id = ?", known, contact)
        note(tx, desk.amara, found["devon"], "@Jonas Weber look")
        tx.sql("UPDATE message SET language = 'en' WHERE id IN (SELECT last_inbound_id FROM conversation)")
        tx.sql("UPDATE message SET language = 'sv' WHERE conversation_id = ?", found["mara"])
    desk.clock.forward(minutes=10)
    return found


CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "mara devon claire priya oskar"),
    (OPEN, "mara devon claire"),
    (leaf("state", "ne", "open"), "priya oskar"),
    (leaf("state", "in", ["snoozed", "resolved"]), "priya oskar"),
    ({"not": [OPEN]}, "priya oskar"),
    (leaf("agent", "eq", "nobody"), "claire priya oskar"),
    ({"all": [OPEN, {"not": [leaf("agent", "eq", "nobody")]}]}, "mara devon"),
    (leaf("channel", "eq", "sms"), "devon"),
    (leaf("tag", "has", "VIP"), "mara devon"),
    (leaf("tag", "has_any", ["reship", "x"]), "mara"),
    ({"all": [OPEN, {"not": [leaf("tag", "has", "reship")]}]}, "devon claire"),
    (leaf("tag", "exists", False), "claire priya oskar"),
    (leaf("priority", "gte", 30), "mara"),
    (leaf("escalated", "eq", True), "devon"),
    ({"all": [OPEN, leaf("escalated", "eq", False)]}, "mara claire"),
    (leaf("escalated", "ne", True), "mara claire priya oskar"),
    (leaf("due", "eq", "late"), "mara devon"),
    ({"all": [OPEN, leaf("due", "in", ["later", "soon"])]}, "claire"),
    ({"all": [OPEN, {"not": [leaf("due", "eq", "late")]}]}, "claire"),
    (leaf("age", "gt", "4h"), "mara"),
    (leaf("age", "lt", "2h"), "devon claire priya oskar"),
    ({"all": [OPEN, leaf("waiting", "gt", "90m")]}, "mara"),
    ({"all": [{"not": [leaf("waiting", "gt", "90m")]}, leaf("waiting", "exists", False)]}, "oskar"),
    (leaf("quiet", "gt", "2h"), "mara"),
    (leaf("messages", "gte", 1), "mara devon claire priya oskar"),
    (leaf("files", "eq", True), "mara"),
    (leaf("subject", "contains", "ORDER"), "mara"),
    (leaf("text", "has", "lamp"), "devon priya"),
    (leaf("text", "has", "broken lamp"), "devon"),
    ({"all": [OPEN, {"not": [leaf("text", "has", "lamp")]}]}, "mara claire"),
    (leaf("language", "eq", "sv"), "mara"),
    (leaf("language", "ne", "sv"), "devon claire priya oskar"),
    (leaf("person", "contains", "raman.example"), "priya"),
    (leaf("person", "contains", "clai"), "claire"),
    (leaf("contact.company", "contains", "lindqvist"), "mara"),
    (leaf("contact.language", "eq", "fr"), "claire"),
    (leaf("contact.tier", "eq", "gold"), "mara"),
    (leaf("contact.tier", "ne", "gold"), "claire"),
    ({"all": [OPEN, {"not": [leaf("contact.tier", "eq", "gold")]}]}, "devon claire"),
    (leaf("contact.orders", "gte", 5), "claire"),
    (leaf("contact.orders", "eq", 4), "mara"),
    (leaf("contact.wholesale", "eq", True), "mara"),
    (leaf("contact.tier", "exists", False), "devon priya oskar"),
    (leaf("contact.tier", "exists", True), "mara claire"),
    (leaf("contact.tier", "gt", 3), ""),
    (
        {"any": [leaf("channel", "eq", "sms"), {"all": [leaf("tag", "has", "vip"), leaf("priority", "gte", 10)]}]},
        "mara devon",
    ),
    ({"not": [{"any": [leaf("tag", "has", "vip"), leaf("state", "eq", "resolved")]}]}, "claire priya"),
]  # fmt: skip


def test_each_field_can_be_asked_on_either_database(desk: Desk, people: dict[str, int]) -> None:
    names = {number: name for name, number in people.items()}
    found = [(condition, {names[number] for number in having(desk, condition)}) for condition, _ in CASES]
    assert found == [(condition, {*expected.split()}) for condition, expected in CASES]
    asked = str(CASES)
    assert [field.name for field in FIELDS if f"'{field.name}'" not in asked] == [
        "queue", "unread", "mentioned", "contact.<attribute>"
    ]  # fmt: skip


def test_what_is_mine_depends_on_who_looks(desk: Desk, people: dict[str, int]) -> None:
    mine = leaf("agent", "eq", "me")
    assert having(desk, mine, desk.jonas) == {people["mara"]}
    assert having(desk, mine, desk.amara) == {people["devon"]}
    assert having(desk, mine, Actor("token:1", "admin")) == set()
    with desk.hub.store.read() as tx:
        shipping = tx.sql("SELECT id FROM queue WHERE name = 'Shipping'").fetchone()[0]
    assert people["mara"] in having(desk, leaf("queue", "eq", shipping))
    assert people["mara"] not in having(desk, leaf("queue", "ne", str(shipping)))
    assert having(desk, leaf("mentioned", "eq", True), desk.jonas) == {people["devon"]}
    unread = {"all": [OPEN, leaf("unread", "eq", True)]}
    assert having(desk, unread, desk.jonas) == {people["mara"], people["devon"], people["claire"]}
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, people["mara"], text="Today", tokens=desk.hub.tokens)
    assert having(desk, unread, desk.jonas) == {people["devon"], people["claire"]}


@pytest.mark.parametrize(
    ("condition", "field", "sentence"),
    [
        (leaf("colour", "eq", "red"), "condition.field", "is no field"),
        (leaf("queue", "eq", "Shipping"), "condition.value", "one of those that are offered"),
        (leaf("queue", "matches", "x"), "condition.op", "can't ask matches"),
        ({"all": [OPEN, leaf("age", "gt", "soon")]}, "condition.all[2].value", "30m, 4h or 2d"),
        (leaf("subject", "matches", "x"), "condition.op", "a view can't ask matches of subject"),
        (leaf("priority", "gt", {"field": "messages"}), "condition.value", "not another field"),
        (leaf('contact.shoe "size"', "eq", 44), "condition.field", "no quotation mark"),
        (leaf("contact.a\\b", "exists", True), "condition.field", "no quotation mark"),
        (leaf("contact.orders", "eq", 10**30), "condition.value", "must be a number up to"),
        (leaf("priority", "between", [0, 2**63]), "condition.value", "must be a number up to"),
        ({"any": []}, "condition.any", "at least one"),
        ("open", "condition.", "must be a mapping"),
    ],
)
def test_a_condition_that_makes_no_sense_says_where(desk: Desk, condition: Any, field: str, sentence: str) -> None:
    with pytest.raises(FieldRefused) as refused, desk.hub.store.write() as tx:
        views.create(tx, desk.jonas, Wanted("Odd", condition))
    assert refused.value.field == field
    assert sentence in refused.value.sentence


def test_views_are_ones_own_a_teams_or_everybodys(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        before = tx.sql("SELECT max(id) FROM fact").fetchone()[0]
        billing = tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0]
        own = views.create(tx, desk.jonas, Wanted("Open", OPEN)).id or 0
        team = views.create(tx, desk.ines, Wanted("Money", OPEN, own=False, queue_id=billing)).id or 0
        shared = views.create(tx, desk.ines, Wanted("All", OPEN, own=False)).id or 0

    def names(actor: Actor) -> list[str]:
        with desk.hub.store.read() as tx:
            return [row.name for row in views.views(tx, actor)]

    assert [names(actor) for actor in (desk.jonas, desk.tomas, desk.ines)] == [
        ["Open", "All"], ["Money", "All"], ["Money", "All"]
    ]  # fmt: skip
    with desk.hub.store.write() as tx:
        for actor, number in ((desk.tomas, own), (desk.ines, own), (desk.jonas, team)):
            with pytest.raises(NotFound):
                views.delete(tx, actor, number)
        with pytest.raises(Forbidden, match="supervisors"):
            views.change(tx, desk.jonas, shared, Wanted("Mine", OPEN), "")
        with pytest.raises(Forbidden, match="supervisors"):
            views.create(tx, desk.jonas, Wanted("All of us", OPEN, own=False))
        with pytest.raises(FieldRefused, match="already"):
            views.create(tx, desk.jonas, Wanted(" OPEN ", OPEN))
        with pytest.raises(Conflict, match="Somebody changed"):
            views.change(tx, desk.ines, shared, Wanted("All", {}, own=False), "an older stamp")
        seen = views.stamp(views.view(tx, desk.ines, shared))
        views.change(tx, desk.ines, shared, Wanted("Every", {}, own=False), seen)
        for number in range(views.MOST - 1):
            views.create(tx, desk.jonas, Wanted(f"View {number}", OPEN))
        with pytest.raises(Conflict, match="delete one first"):
            views.create(tx, desk.jonas, Wanted("One more", OPEN))
    with desk.hub.store.read() as tx:
        facts = tx.exec(select(FactRow).where(FactRow.name == "DeskChanged", col(FactRow.id) > before))
        told = [row.data["what"] for row in facts]
    assert told == ["view Money added", "view All added", "view Every changed"]


def test_nobody_sees_more_in_a_view_than_outside_of_it(desk: Desk, people: dict[str, int]) -> None:
    with desk.hub.store.read() as tx:
        assert views.counted(tx, desk.tomas, {}) == Tally(1)
        assert views.counted(tx, desk.jonas, {}) == Tally(4)


def test_counts_look_at_the_newest_and_say_when_there_may_be_more(
    desk: Desk, people: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "LOOKED_AT", 2)
    with desk.hub.store.read() as tx:
        assert str(views.counted(tx, desk.ines, OPEN)) == "2+"
        assert str(views.counted(tx, desk.ines, leaf("tag", "has", "nothing"))) == ""
        assert str(views.counted(tx, desk.ines, leaf("state", "eq", "snoozed"))) == "1"
    monkeypatch.setattr(views, "MOST_COUNTED", 1)
    with desk.hub.store.read() as tx:
        assert str(views.counted(tx, desk.ines, OPEN)) == "1+"


def test_a_count_is_shared_and_made_again_when_it_is_old(desk: Desk, people: dict[str, int]) -> None:
    with desk.hub.store.write() as tx:
        row = views.create(tx, desk.ines, Wanted("Open", OPEN, own=False))
        own = views.create(tx, desk.ines, Wanted("Mine", leaf("agent", "eq", "me"), own=False))
    with desk.hub.store.read() as tx:
        kept = views.tallies(tx)
        assert kept.last(desk.ines, row) is None
        assert kept.fresh(tx, desk.ines, row) == Tally(3)
        assert kept.last(Actor("agent:99", "supervisor", 99), row) == Tally(3)  # who sees the same shares it
        assert kept.last(desk.jonas, row) is None
        kept.fresh(tx, desk.ines, own)
        assert kept.last(Actor("agent:99", "supervisor", 99), own) is None  # not what asks who looks
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, people["mara"])
    desk.clock.forward(seconds=3)
    with desk.hub.store.read() as tx:
        assert kept.last(desk.ines, row) == Tally(3)
        assert kept.fresh(tx, desk.ines, row) == Tally(2)


def test_a_view_that_cannot_be_counted_takes_no_other_count_along(
    desk: Desk, people: dict[str, int], server: Client
) -> None:
    with desk.hub.store.write() as tx:
        spoiled = SavedView(name="A", condition=leaf('contact."', "eq", "x"))
        tx.add(spoiled)
        views.create(tx, desk.ines, Wanted("Open", OPEN, own=False))
    found = Program(desk, server).get("/views")["views"]
    assert [(one["name"], one["count"]) for one in found] == [("A", None), ("Open", 3)]
    with desk.hub.store.read() as tx:
        assert str(views.tallies(tx).fresh(tx, desk.ines, views.view(tx, desk.ines, spoiled.id or 0))) == "–"


def test_sharing_own_views_has_the_same_bound_as_making_shared_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "MOST", 2)
    with desk.hub.store.write() as tx:
        for number in range(2):
            shared = views.create(tx, desk.ines, Wanted(f"Shared {number}", OPEN, own=False))
        own = views.create(tx, desk.ines, Wanted("Own", OPEN))
        with pytest.raises(Conflict, match="delete one first"):
            views.change(tx, desk.ines, own.id or 0, Wanted("Own", OPEN, own=False), views.stamp(own))
        views.change(tx, desk.ines, shared.id or 0, Wanted("Again", OPEN, own=False), views.stamp(shared))


def test_programs_read_views_and_work_through_one(desk: Desk, people: dict[str, int], server: Client) -> None:
    with desk.hub.store.write() as tx:
        shared = views.create(tx, desk.ines, Wanted("VIP", leaf("tag", "has", "vip"), own=False)).id
        own = views.create(tx, desk.jonas, Wanted("Mine", leaf("agent", "eq", "me"))).id
    crm, his = Program(desk, server), Program(desk, server, "agent", desk.jonas)

    assert [(one["name"], one["count"], one["own"]) for one in crm.get("/views")["views"]] == [("VIP", 2, False)]
    assert [one["id"] for one in his.get("/views")["views"]] == [own, shared]
    found = crm.get("/conversations", view=shared, state="open")["conversations"]
    assert {one["id"] for one in found} == {people["mara"], people["devon"]}
    assert [one["id"] for one in his.get("/conversations", view=own)["conversations"]] == [people["mara"]]
    assert crm.ask("GET", f"/conversations?view={own}").status_code == 404
