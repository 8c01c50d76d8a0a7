"""The desk as a file: what it refuses, what it switches off, and what it hands back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from sqlmodel import select

from hub.desk import DeskError, apply, export, read
from hub.endpoints import add_endpoint
from hub.lifecycle import snooze
from routing.demand import Reserve
from routing.router import Router
from routing.rules import rule_book
from routing.work import accept, load_drift, set_status
from storage.access import SYSTEM
from storage.desk import Queue, SavedReply, touch_desk
from storage.people import Agent
from storage.work import Offer, WorkItem, live_item
from tests.desk import Desk

OFFICE = "name: a, time_zone: Europe/Berlin, hours: {mon-fri: 09:00-17:00}"
SHUT = r"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY\nEND:VEVENT\nEND:VCALENDAR"
WHEN = "when: {field: item.text, op: has, value: x}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("queues: [{name: A, order: {work: fifo}}]", "'fifo' is no order of work; did you mean 'lifo'"),
        ("queues: [{name: A, reserve: {email: {leave: 3, untill: 9}}}]", "did you mean 'until'"),
        ("profiles: [{name: A, channels: {mail: 3}}]", "'mail' is no kind of channel; did you mean 'email'"),
        ("profiles: [{name: A, queues: {B: {rank: 1}}}]", "profile 'A': there is no queue 'B'"),
        ("", "must be a mapping"),
        ("queues:", "queues is empty"),
        ("queues: []", "at least one queue"),
        ("quues: [{name: A}]", "unknown section 'quues'; did you mean 'queues'"),
        ("queues: {a: 1}", "queues must be a list"),
        ("queues: A", "queues must be a list"),
        ("queues: [null]", r"queues\[1\] must be a mapping"),
        ("queues: [{name: 5}]", r"queues\[1\].name must be text"),
        ("queues: [{name: A, 1: 2}]", "the key '1' must be text"),
        ("queues: [{name: A}, {name: A}]", "'A' is there twice"),
        ("queues: [{name: A, default: true}, {name: B, default: true}]", "two defaults"),
        ("queues: [{name: A, default: 'no'}]", "must be true or false"),
        ("queues: [{name: A, first_reply: soon}]", "must be a span such as 30s"),
        ("queues: [{name: A, first_reply: 99999999d}]", "must be a span"),
        (r'queues: [{name: "a\0b"}]', "can't be stored"),
        ("queues: " + "[" * 3000 + "]" * 3000, "nested deeper"),
        ("a: &a [x,x]\nqueues: [{name: A, first_reply: 2024-01-01}]", "must be a span such as 30s"),
        ("calendars: [{name: a, time_zone: Europe/Berlin, hours: {}}]", r"calendars\[1\] has no hours"),
        (
            "calendars: [{name: a, time_zone: Berlin, hours: {mon: 9:00-17:00}}]",
            r"calendars\[1\]: time_zone 'Berlin' is",
        ),
        (f"calendars: [{{{OFFICE}, holidays: {{country: DE, regon: BE}}}}]", "'regon'; did you mean 'region'"),
        (f"calendars: [{{{OFFICE}, ics: file:holidays.ics}}]", r"calendars\[1\]: ics is not a readable iCalendar text"),
        (f"calendars: [{{{OFFICE}}}]\nqueues: [{{name: A, calendar: b}}]", "there is no calendar 'b'; known are a"),
        (f'calendars: [{{{OFFICE}, ics: "{SHUT}"}}]', "calendar 'a' never opens in the coming 20 years"),
        ("skills: [en, en]", "'en' is there twice"),
        ("agents: [{name: A, email: nobody}]", "must be an e-mail address"),
        ("agents: [{name: A, email: a@b}, {name: B, email: A@b}]", "'a@b' is there twice"),
        ("agents: [{name: A, email: a@b, queues: A}]", r"agents\[1\].queues must be a list"),
        ("agents: [{name: A, email: a@b, skills: {en: 99}}]", "less than or equal to 5"),
        ("agents: [{name: A, email: a@b, skills: {en: high}}]", "must be a whole number"),
        ("agents: [{name: A, email: a@b, skills: {nosuch: 3}}]", "there is no skill 'nosuch'"),
        ("agents: [{name: A, email: a@b, capacity: -5}]", "greater than or equal to 0"),
        ("agents: [{name: A, email: a@b, role: boss}]", "'boss' is no role; known are agent, supervisor, admin"),
        ("channels: [{name: a, kind: sms, address: 46701740620}]", "must be text: put it in quotes"),
        ("channels: [{name: a, kind: chatt}]", "did you mean 'chat'"),
        ("channels: [{name: a, kind: email, settings: {password: hunter2}}]", "password is a secret; write env:NAME"),
        ("channels: [{name: a, kind: email, settings: {password: 12345}}]", "password is a secret"),
        ("channels: [{name: a, kind: email, settings: {auth: {bot_token: x}}}]", "auth.bot_token is a secret"),
        ("channels: [{name: a, kind: email, settings: {more: [{key: x}]}}]", "more.0.key is a secret"),
        (f"rules: [{{name: a, {WHEN}, then: {{skills: [en]}}}}]", r"rules\[1\].then.skills must be a mapping"),
        (f"rules: [{{name: a, {WHEN}, then: {{qeue: A}}}}]", "unknown key 'qeue'; did you mean 'queue'"),
        (f"rules: [{{name: a, {WHEN}, then: {{queue: Nowhere}}}}]", "there is no queue 'Nowhere'"),
        (f"rules: [{{name: a, {WHEN}, then: {{skills: {{nosuch: 3}}}}}}]", "there is no skill 'nosuch'"),
        (f"rules: [{{name: a, {WHEN}, then: {{priority: high}}}}]", "must be a whole number"),
        ("rules: [{name: a, when: x, then: {}}]", r"rules\[1\].when must be a mapping"),
        (
            "rules: [{name: a, when: {field: item.text, op: nop, value: x}, then: {}}]",
            r"rules\[1\].when.op: 'nop' is no",
        ),
        (
            "rules: [{name: a, when: {any: [{field: itm.text, op: eq, value: x}]}, then: {}}]",
            r"when.any\[1\].field: 'itm",
        ),
        ("replies: [{shortcut: a, text: 5}]", "must be text"),
        ("webhooks: [{name: a, url: 'http://169.254.169.254/', secret: env:X}]", "may not be called"),
        ("webhooks: [{name: a, url: 'https://127.0.0.1/', secret: env:X}]", "may not be called"),
        ("webhooks: [{name: a, url: 'https://x.example/', secret: plain}]", "secret is a secret; write env:NAME"),
        ("webhooks: [{name: a, url: 'https://x.example/'}]", "secret is missing"),
        ("webhooks: [{name: a, url: 'https://x.example/', secret: env:X, events: [nope]}]", "'nope' is no event"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML in line 1"),
    ],
)
def test_an_odd_file_is_refused_with_its_place(desk: Desk, text: str, sentence: str) -> None:
    with pytest.raises(DeskError, match=sentence) as refused, desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read(text))
    assert "\n" not in str(refused.value)


def test_a_file_of_aliases_does_not_grow_without_end() -> None:
    lines = ["channels: [{name: a, kind: chat, settings: {x: &x0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f", x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 8)}]" for n in range(1, 12)]
    with pytest.raises(DeskError, match="too big"):
        read("".join(lines) + "}}]")


def test_a_private_webhook_needs_the_setting(desk: Desk) -> None:
    document = read("webhooks: [{name: a, url: 'http://127.0.0.1:9000/', secret: env:X}]")
    with pytest.raises(DeskError, match="may not be called"), desk.hub.store.write() as tx:
        apply(tx, SYSTEM, document)
    with desk.hub.store.write() as tx:
        assert apply(tx, SYSTEM, document, private=True)


def test_a_bad_item_is_left_out_and_the_others_are_routed(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    available(desk)
    bad, good = desk.mail("lamp", "My order"), desk.mail("lamp", "My order", sender="other@example.com")
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE work_item SET skills = ? WHERE conversation_id = ?", ["en"], bad.conversation_id)
    router = Router(desk.hub.store, "test")
    assert router.run_once() == 1
    assert item(desk, good.conversation_id).state == "assigned"
    assert item(desk, bad.conversation_id).state == "queued"
    router.run_once()
    assert sum("is left out" in line for line in caplog.messages) == 1


def test_work_of_an_agent_who_is_switched_off_goes_to_the_next(desk: Desk) -> None:
    available(desk)
    desk.clock.forward(seconds=1)
    owned, slept = desk.mail("lamp", "My order"), desk.mail("lamp", "My order", sender="other@example.com")
    answered = desk.mail("lamp", "My order", sender="third@example.com")
    desk.route()
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, int(slept.conversation_id or 0), tx.now + timedelta(days=1))
        tx.sql("UPDATE conversation SET waiting_since = NULL WHERE id = ?", answered.conversation_id)
    ringing = desk.chat("My order, please")
    desk.route()
    with desk.hub.store.write() as tx:
        document = yaml.safe_load(export(tx))
        document["agents"] = [one for one in document["agents"] if one["name"] != "Jonas Weber"]
        assert [str(change) for change in apply(tx, SYSTEM, document)] == ["- agent jonas@desk.example"]
    jonas = desk.agent(desk.jonas)
    assert (jonas.active, jonas.status, jonas.load) == (False, "offline", 0)
    for taken in (owned, slept, answered, ringing):
        found = item(desk, taken.conversation_id)
        assert (found.state, found.agent_id) == ("queued", None)
    with desk.hub.store.write() as tx:
        assert load_drift(tx) == {}
        set_status(tx, desk.amara, int(desk.amara.agent_id or 0), "available")
    desk.route()
    assert item(desk, owned.conversation_id).agent_id == desk.amara.agent_id
    with desk.hub.store.write() as tx:
        assert apply(tx, SYSTEM, document) == []


def test_work_of_a_queue_that_is_switched_off_moves_to_the_default_queue(desk: Desk) -> None:
    waiting = desk.mail("lamp", "My order")
    available(desk)
    desk.clock.forward(seconds=1)
    desk.route()
    later = desk.chat("My order, please")
    desk.route()
    with desk.hub.store.write() as tx:
        queues = [one for one in read(export(tx))["queues"] if one["name"] != "Shipping"]
        changes = [str(change) for change in apply(tx, SYSTEM, {"queues": queues})]
        assert changes == ["- queue Shipping", "~ queue General: takes 2 conversations of Shipping"]
    with desk.hub.store.read() as tx:
        (general,) = [row.id for row in tx.exec(select(Queue)) if row.name == "General"]
        assert load_drift(tx) == {}
    kept, moved = item(desk, waiting.conversation_id), item(desk, later.conversation_id)
    assert (kept.queue_id, kept.state, kept.agent_id) == (general, "assigned", desk.jonas.agent_id)
    assert (moved.queue_id, moved.state) == (general, "queued")
    desk.route()
    with desk.hub.store.write() as tx:
        (offer,) = [row for row in tx.exec(select(Offer)) if row.state == "offered"]
        accept(tx, desk.jonas, int(offer.id or 0))


def test_work_that_was_left_in_a_closed_queue_is_fetched_by_the_next_apply(desk: Desk) -> None:
    """PostgreSQL lets a message that was on its way land by the rules of a moment ago."""
    taken = desk.mail("lamp", "My order")
    with desk.hub.store.write() as tx:
        queues = [one for one in read(export(tx))["queues"] if one["name"] != "Shipping"]
        tx.sql("UPDATE queue SET active = ? WHERE name = 'Shipping'", False)
    with desk.hub.store.write() as tx:
        changes = apply(tx, SYSTEM, {"queues": queues})
        assert [str(one) for one in changes] == ["~ queue General: takes 1 conversations of Shipping"]
    with desk.hub.store.read() as tx:
        assert tx.get_one(Queue, item(desk, taken.conversation_id).queue_id).name == "General"


def test_a_skill_that_is_removed_is_shown_and_nothing_waits_for_it(desk: Desk) -> None:
    taken = desk.mail("lamp", "My order")
    with pytest.raises(DeskError, match="rule 'Order keywords': there is no skill 'orders'"):
        change(desk, "skills: [en, sv, billing]")
    rules = f"rules: [{{name: Always, {WHEN}, then: {{queue: Billing}}}}]"
    changes = change(desk, f"skills: [en, sv, billing]\n{rules}")
    assert "- skill orders" in changes
    assert item(desk, taken.conversation_id).skills == {}
    assert change(desk, f"skills: [en, sv, billing]\n{rules}") == []


def test_a_saved_reply_that_is_removed_is_shown(desk: Desk) -> None:
    assert change(desk, "replies: [{shortcut: a, text: x}, {shortcut: b, text: y}]")
    assert change(desk, "replies: [{shortcut: a, text: x}]") == ["- saved reply b"]
    with desk.hub.store.read() as tx:
        assert [row.shortcut for row in tx.exec(select(SavedReply))] == ["a"]


def test_a_rule_may_hold_always(desk: Desk) -> None:
    change(desk, "rules: [{name: All, when: {}, then: {queue: Billing}}]")
    assert change(desk, "rules: [{name: All, when: {}, then: {queue: Billing}}]") == []
    taken = desk.mail("hello", "hello")
    with desk.hub.store.read() as tx:
        assert tx.get_one(Queue, item(desk, taken.conversation_id).queue_id).name == "Billing"


def test_an_exported_desk_has_no_secret_and_changes_nothing(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        made = add_endpoint(tx, desk.ines, name="crm", url="https://crm.example/hook")
        secret = made.secret
    change(desk, "replies: [{shortcut: a, text: x}]")
    with desk.hub.store.read() as tx:
        text = export(tx)
    assert "whsec_" not in text
    assert "keeps them: crm" in text
    assert change(desk, text) == []
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT secret FROM webhook_endpoint").fetchone()[0] == secret


HANDED_OUT = """
queues:
- name: Support
  first_reply: 1h
  offer: 30s
  order: {work: ageing, agent: best_skill}
  boost: 5m
  max_wait: 2h
  reserve:
    email: {leave: 30, until: 60}
  missed_limit: 2
  default: true
profiles:
- name: Front line
  channels: {chat: 2}
  blocks: {chat: [email]}
  rings: [chat, email]
  rate: {most: 10, per: 1h}
  queues:
    Support: {rank: 2, delay: 2m}
agents:
- {name: Ines, email: ines@desk.example, role: admin, capacity: 100, queues: [Support], profile: Front line}
"""


def test_how_work_is_handed_out_is_applied_and_given_out_again(desk: Desk) -> None:
    assert "+ profile Front line" in [str(one) for one in change(desk, HANDED_OUT)]
    with desk.hub.store.read() as tx:
        given_out = yaml.safe_load(export(tx))
    wanted = yaml.safe_load(HANDED_OUT)
    assert given_out["queues"] == wanted["queues"]
    assert given_out["profiles"] == wanted["profiles"]
    assert given_out["agents"][0]["profile"] == "Front line"
    assert change(desk, HANDED_OUT) == []
    with desk.hub.store.read() as tx:
        book = rule_book(tx)
        (terms,), profile = book.terms, book.profile(tx.get_one(Agent, desk.ines.agent_id).profile_id)
    assert (terms.work_order, terms.agent_order, terms.max_wait) == ("ageing", "best_skill", 7200)
    assert terms.reserve["email"] == Reserve(30, 0.6)
    assert profile.limits_of(100).channels == {"chat": 2}


def test_a_calendar_is_applied_from_a_file_of_events_and_given_out_again(desk: Desk, tmp_path: Path) -> None:
    events = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261125\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    (tmp_path / "closings.ics").write_bytes(events.encode())
    text = (
        f"calendars: [{{{OFFICE}, closed: [2026-12-24], special: {{2026-11-28: 10:00-12:00}}, "
        "ics: file:closings.ics}]\n"
        "queues: [{name: Shipping, first_reply: 8h, calendar: a, default: true}]\nrules: []\n"
    )
    with desk.hub.store.write() as tx:
        assert "+ calendar a" in [str(one) for one in apply(tx, SYSTEM, read(text, tmp_path))]
    with desk.hub.store.read() as tx:
        out = export(tx)
    assert [one for one in change(desk, out) if "agent" not in one] == []
    came = desk.mail("lamp", "My order")  # on Tuesday at 11:00 in Berlin, and Wednesday is closed
    assert item(desk, came.conversation_id).due_at == datetime(2026, 11, 26, 10, tzinfo=UTC)
    with pytest.raises(DeskError, match="calendars leaves out 'a', which queue 'Shipping' keeps to"):
        change(desk, "calendars: []")
    assert change(desk, "calendars: []\nqueues: [{name: Shipping, default: true}]")[0] == "- calendar a"
    with pytest.raises(DeskError, match=r"file:nowhere.ics can't be read"):
        read(text.replace("closings", "nowhere"), tmp_path)


def test_a_calendar_that_can_t_be_read_any_more_stops_no_mail(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    change(desk, f"calendars: [{{{OFFICE}}}]\nqueues: [{{name: Shipping, calendar: a, first_reply: 1h}}]\nrules: []")
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE calendar SET plan = ?", {"time_zone": "Mars/Olympus"})
        touch_desk(tx)
    came = desk.mail("lamp", "My order")
    assert item(desk, came.conversation_id).due_at == desk.clock() + timedelta(hours=1)
    assert any("calendar a is left out: time_zone 'Mars/Olympus' is not known" in line for line in caplog.messages)


def available(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        set_status(tx, desk.jonas, int(desk.jonas.agent_id or 0), "available")


def item(desk: Desk, conversation_id: int | None) -> WorkItem:
    with desk.hub.store.read() as tx:
        found = live_item(tx, int(conversation_id or 0))
        assert found is not None
        return found


def change(desk: Desk, text: str) -> list[str]:
    with desk.hub.store.write() as tx:
        return [str(one) for one in apply(tx, SYSTEM, read(text))]
