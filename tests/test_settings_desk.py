"""Settings → Queues, Calendars, Skills, Profiles: what desk.yaml says, edited by page and refused by the same check."""

from __future__ import annotations

from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub.desk import apply, export, read
from storage.access import SYSTEM
from storage.calendars import CalendarPlan
from storage.desk import Queue, RoutingProfile, Skill
from storage.work import WorkItem
from tests.browser.room import Browser, attr, words
from tests.desk import Desk

SETTINGS = "/inbox/settings"

FULL = """
calendars:
  - name: office
    time_zone: Europe/Berlin
    hours: {mon-thu: [09:00-12:00, 13:00-18:00], fri: 09:00-16:00}
    holidays: {country: DE, region: BE}
    closed: [2026-12-24, 2026-12-31]
    special: {2026-12-12: 10:00-14:00}
queues:
  - name: Shipping
    first_reply: 30m
    calendar: office
    out_of_hours: {overflow: General}
    order: {work: deadline, agent: round_robin}
    reserve: {email: {leave: 30, until: 60}}
    last_agent: "off"
    wrap_up: {time: 2m, keep: 50, channels: {chat: 1m}}
    park: 10m
    ladder: [{after: 45s, relax: {orders: 1}}, {after: 10m, overflow: General}]
    limits: {size: 500, wait: 30m, overflow: General}
  - name: Billing
    calendar: office
    sla: {first_reply: 2h, next_reply: 4h, resolution: 3d, warn_at: 75, channels: {chat: {first_reply: 60s}}}
    escalate: {on_warning: [{priority: 10}], on_breach: [slack, supervisors, {queue: General}]}
    out_of_hours: hold
    last_agent: {wait: 60s, within: 1d, new: true}
    paused: true
  - {name: General, first_reply: 4h, default: true}
profiles:
  - name: Front line
    channels: {chat: 2, email: 4}
    labels: {returns: 3}
    blocks: {chat: [form]}
    pull: [form]
    rings: []
    rate: {most: 20, per: 1h}
    disconnect: {chat: 90s, sms: "off"}
    queues: {General: {rank: 2, delay: 2m}}
"""


def rows(desk: Desk, model: Any) -> dict[str, Any]:
    with desk.hub.store.read() as tx:
        return {row.name: row for row in tx.exec(select(model))}


def typed(page: Page) -> dict[str, Any]:
    """Everything that stands in the form, as a browser would send it."""
    values: dict[str, Any] = {}
    for node in page.css("#desk-form :is(input, textarea, select)"):
        name, kind = node.attributes.get("name") or "", node.attributes.get("type")
        if kind in ("checkbox", "radio"):
            if "checked" in node.attributes:
                values.setdefault(name, []).append(node.attributes.get("value") or "on")
        elif node.tag == "select":
            chosen = node.css_first("option[selected]") or node.css_first("option")
            values[name] = chosen.attributes["value"] if chosen else ""
        elif node.tag == "textarea":
            values[name] = node.text()
        elif name:
            values[name] = node.attributes.get("value") or ""
    return values


def save(browser: Browser, path: str, **changes: Any) -> Any:
    """Open a page, change some of its fields, and keep it."""
    return browser.post(path, **(typed(browser.page(path)) | changes | {"do": "save"}))


def test_opening_and_keeping_a_page_changes_nothing_whatever_a_file_says(desk: Desk, ines: Browser) -> None:
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read(FULL))
    with desk.hub.store.read() as tx:
        before = export(tx)
    for section, model in (("queues", Queue), ("calendars", CalendarPlan), ("profiles", RoutingProfile)):
        for name, row in rows(desk, model).items():
            path = f"{SETTINGS}/{section}/{row.id}"
            looked = ines.post(path, hx=True, **typed(ines.page(path)))
            assert "Nothing is changed yet." in looked.text, (name, looked.text)
            assert save(ines, path).status_code == 303, name
    with desk.hub.store.read() as tx:
        assert export(tx) == before


def test_a_queue_is_made_says_what_is_missing_and_is_in_the_next_export(desk: Desk, ines: Browser) -> None:
    path = f"{SETTINGS}/queues/new"
    fields = typed(ines.page(path)) | {
        "name": "Contracts", "sla.first_reply": "2h", "sla.resolution": "3d", "limits.size": "20",
        "limits.overflow": "General", "escalate.on_breach.tell": ["supervisors"],
        "more": "reserve: {email: {leave: 30}}",
    }  # fmt: skip
    looked = Page(ines.post(path, hx=True, **fields).text)
    assert "- supervisors" in words(looked, ".lines")[0] and "+ name: Contracts" in words(looked, ".lines")[0]
    assert "Queue Contracts: no agent serves it" in words(looked, ".odd")[0], "and nothing that was odd before"
    assert len(words(looked, ".odd")) == 1 and "Contracts" not in rows(desk, Queue)
    assert ines.post(path, **fields, do="save").status_code == 303
    with desk.hub.store.read() as tx:
        document = read(export(tx))
        facts = tx.sql("SELECT data FROM fact WHERE name = 'DeskChanged' ORDER BY id DESC LIMIT 1").fetchone()
    (queue,) = [each for each in document["queues"] if each["name"] == "Contracts"]
    assert queue["sla"] == {"first_reply": "2h", "resolution": "3d"} and queue["reserve"]["email"]["leave"] == 30
    assert queue["limits"] == {"size": 20, "overflow": "General"}
    assert "queue Contracts added" in str(facts[0])
    assert "no agent serves it" in words(ines.page(f"{SETTINGS}/queues"), ".odd")[-1].lower()


def test_a_queue_gets_another_name_and_keeps_its_work_and_its_rules(desk: Desk, ines: Browser) -> None:
    desk.mail("Order", "Where is my lamp?")
    before = rows(desk, Queue)["Shipping"]
    path = f"{SETTINGS}/queues/{before.id}"
    assert (
        "Rules: Order keywords." in ines.get(path).text
        and "People: Amara Obi, Ines Novak, Jonas Weber." in ines.get(path).text
    )
    assert save(ines, path, name="Parcels").status_code == 303
    assert rows(desk, Queue)["Parcels"].id == before.id
    with desk.hub.store.read() as tx:
        assert tx.exec(select(WorkItem.queue_id)).one() == before.id
        (rule,) = [each for each in read(export(tx))["rules"] if each["name"] == "Order keywords"]
    assert rule["then"]["queue"] == "Parcels"
    taken = save(ines, path, name="Billing")
    assert taken.status_code == 422 and "already" in words(Page(taken.text), "#wrong-name")[0]


def test_a_queue_that_goes_hands_its_work_on_and_says_so_first(desk: Desk, ines: Browser) -> None:
    desk.text("My invoice please")
    number = rows(desk, Queue)["Billing"].id
    page = ines.page(f"{SETTINGS}/queues/{number}/remove")
    assert "Queue General: takes 1 conversations of Billing." in page.css_first("main").text()  # type: ignore[union-attr]
    assert rows(desk, Queue)["Billing"].active
    seen = attr(page, "main input[name=version]", "value")
    assert ines.post(f"{SETTINGS}/queues/{number}/remove", version="0").status_code == 409
    assert ines.post(f"{SETTINGS}/queues/{number}/remove", version=seen).status_code == 303
    assert not rows(desk, Queue)["Billing"].active
    general = rows(desk, Queue)["General"].id
    page = ines.page(f"{SETTINGS}/queues/{general}/remove")
    assert "make another one the default" in words(page, ".odd")[0] and not page.css("main button.primary")


def test_another_queue_becomes_the_default(desk: Desk, ines: Browser) -> None:
    found = rows(desk, Queue)
    refused = save(ines, f"{SETTINGS}/queues/{found['General'].id}", default=[])
    assert "make another one the default" in words(Page(refused.text), "#wrong-default")[0]
    assert save(ines, f"{SETTINGS}/queues/{found['Billing'].id}", default="on").status_code == 303
    assert [name for name, row in rows(desk, Queue).items() if row.is_default] == ["Billing"]


@pytest.mark.parametrize(
    ("section", "changes", "field", "sentence"),
    [
        ("queues", {"name": " "}, "name", "Name is missing"),
        ("queues", {"name": "Shipping"}, "name", "There is a queue of this name already"),
        ("queues", {"sla.first_reply": "soon"}, "sla.first_reply", "Must be a span such as 30s"),
        ("queues", {"sla.warn_at": "100"}, "sla.warn_at", "Must be less than or equal to 99"),
        ("queues", {"offers": "many"}, "offers", "Must be a whole number"),
        ("queues", {"limits.overflow": "General"}, "limits.size", "Must have a size or a wait"),
        ("queues", {"escalate.on_breach.priority": "-1"}, "escalate.on_breach.priority", "whole number"),
        ("queues", {"more": "laddder: []"}, "more", "did you mean 'ladder'"),
        ("queues", {"more": "ladder: [{after: 1m}]"}, "more", "must do something"),
        ("queues", {"more": "[]"}, "more", "Write keys and values"),
        ("calendars", {"time_zone": "Europe/Berlinn"}, "time_zone", "did you mean 'Europe/Berlin'"),
        ("calendars", {"hours.tue": "9 to 5"}, "hours.tue", "write it as 09:00-17:00"),
        ("calendars", {"hours.mon": "", "hours.tue": ""}, "hours.mon", "Has no hours"),
        ("calendars", {"holidays.country": "XX"}, "holidays.country", "XX"),
        ("calendars", {"closed": "Christmas"}, "form", "is no date"),
        ("calendars", {"special": "2026-12-12"}, "special", "has no hours"),
        ("profiles", {"pull": ["chat"], "push": ["chat"]}, "pull", "has chat in pull and in push"),
        ("profiles", {"disconnect.chat": "5s"}, "disconnect.chat", "at least 30s"),
        ("skills", {"name": "orders"}, "name", "There is a skill of this name already"),
    ],
)  # fmt: skip
def test_what_the_file_would_refuse_the_page_refuses_beside_its_field(
    desk: Desk, ines: Browser, section: str, changes: dict[str, Any], field: str, sentence: str
) -> None:
    good = {
        "queues": {"name": "Contracts"}, "skills": {"name": "contracts"}, "profiles": {"name": "Front line"},
        "calendars": {
            "name": "office", "time_zone": "Europe/Berlin", "hours.mon": "09:00-17:00", "hours.tue": "09:00-17:00",
        },
    }[section]  # fmt: skip
    path = f"{SETTINGS}/{section}/new"
    fields = typed(ines.page(path)) | good | changes
    answer = ines.post(path, **fields, do="save")
    page = Page(answer.text)
    assert answer.status_code == 422
    told = words(page, ".problem" if field == "form" else f"[id='wrong-{field}']")
    assert told and sentence.lower() in told[0].lower(), words(page, ".problem, .wrong")
    kept = typed(page)
    assert {name: kept.get(name) for name in good | changes if name not in ("pull", "push")} == {
        name: value for name, value in (good | changes).items() if name not in ("pull", "push")
    }, "what was typed stays"


def test_a_calendar_says_when_it_is_open_and_is_kept_by_its_queues(desk: Desk, ines: Browser) -> None:
    path = f"{SETTINGS}/calendars/new"
    fields = typed(ines.page(path)) | {
        "name": "office", "time_zone": "Europe/Berlin", "hours.mon": "09:00-17:00", "hours.tue": "09:00-17:00",
        "hours.wed": "09:00-12:00, 13:00-15:00", "closed": "2026-11-30", "special": "2026-11-28: 10:00-14:00",
    }  # fmt: skip
    looked = " ".join(words(Page(ines.post(path, hx=True, **fields).text), "#effect > p"))
    assert looked.startswith("Open now. In these seven days it is open Tue 24 Nov 09:00–17:00, Wed 25 Nov 09:00–12:00")
    assert "Sat 28 Nov 10:00–14:00" in looked and "30 Nov" not in looked
    assert ines.post(path, **fields, do="save").status_code == 303
    plan = rows(desk, CalendarPlan)["office"].plan
    assert plan["hours"] == {"mon-tue": "09:00-17:00", "wed": ["09:00-12:00", "13:00-15:00"]}
    assert save(ines, f"{SETTINGS}/queues/{rows(desk, Queue)['Shipping'].id}", calendar="office").status_code == 303
    number = rows(desk, CalendarPlan)["office"].id
    page = ines.page(f"{SETTINGS}/calendars/{number}/remove")
    assert "which queue 'Shipping' keeps to" in words(page, ".odd")[0] and not page.css("main button.primary")
    assert save(ines, f"{SETTINGS}/calendars/{number}", name="shop hours").status_code == 303
    assert "First reply 30m · shop hours" in words(ines.page(f"{SETTINGS}/queues"), ".card-row p")


def test_a_skill_is_named_and_goes_only_when_no_rule_asks_for_it(desk: Desk, ines: Browser) -> None:
    assert save(ines, f"{SETTINGS}/skills/new", name="contracts").status_code == 303
    found = rows(desk, Skill)
    page = ines.page(f"{SETTINGS}/skills/{found['orders'].id}/remove")
    assert "Rules: Order keywords. People: Amara Obi, Jonas Weber." in " ".join(words(page, ".block p"))
    assert "there is no skill" in words(page, ".odd")[0].lower()
    page = ines.page(f"{SETTINGS}/skills/{found['sv'].id}/remove")
    version = attr(page, "main input[name=version]", "value")
    assert ines.post(f"{SETTINGS}/skills/{found['sv'].id}/remove", version=version).status_code == 303
    assert "sv" not in rows(desk, Skill)


def test_a_profile_is_made_and_given_to_somebody(desk: Desk, ines: Browser) -> None:
    assert save(ines, f"{SETTINGS}/profiles/new", name="Front line", **{"channels.chat": "2"}).status_code == 303
    assert rows(desk, RoutingProfile)["Front line"].limits == {"channels": {"chat": 2}}
    path = f"/inbox/people/{desk.jonas.agent_id}"
    ines.page(path)
    given: dict[str, Any] = {"name": "Jonas Weber", "email": "jonas@desk.example", "role": "agent", "capacity": "100",
             "queue": ["Shipping", "General"], "skill.orders": "4", "skill.en": "5"}  # fmt: skip
    assert ines.post(path, **given, profile="Front line").status_code == 303
    profile = rows(desk, RoutingProfile)["Front line"]
    assert desk.agent(desk.jonas).profile_id == profile.id
    assert attr(ines.page(path), "#profile option[selected]", "value") == "Front line"
    assert "People: Jonas Weber." in ines.get(f"{SETTINGS}/profiles/{profile.id}").text
    assert ines.post(path, **given, profile="").status_code == 303
    assert desk.agent(desk.jonas).profile_id is None
    assert "Choose one of" in ines.post(path, **given, profile="Nobody's").text


def test_somebody_elses_change_in_between_is_never_overwritten(desk: Desk, ines: Browser) -> None:
    path = f"{SETTINGS}/queues/{rows(desk, Queue)['Billing'].id}"
    fields = typed(ines.page(path)) | {"sla.first_reply": "1h", "do": "save"}
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"skills": ["en", "sv", "orders", "billing", "de"]})
    answer = ines.post(path, **fields)
    assert "The desk was changed since you looked" in words(Page(answer.text), ".problem")[0]
    assert attr(Page(answer.text), "#sla-first_reply", "value") == "1h"
    assert rows(desk, Queue)["Billing"].first_reply_seconds == 4 * 3600


def test_the_desk_is_an_admins_matter(desk: Desk, jonas: Browser) -> None:
    for section in ("queues", "calendars", "skills", "profiles"):
        for path in ("", "/new", "/1", "/1/remove"):
            assert jonas.get(f"{SETTINGS}/{section}{path}").status_code == 403
