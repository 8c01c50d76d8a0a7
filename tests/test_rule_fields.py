"""What rules may ask about an arrival is what the hub knows of it, and nothing is looked up that nobody asks for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import select

from hub.arrivals import past_arrivals
from hub.desk import apply, read
from hub.lifecycle import reopen, resolve
from hub.rulecheck import look_over
from hub.rules import try_rule
from routing.conditions import Fields, read_condition
from routing.reasons import why_assigned
from storage.access import SYSTEM
from storage.people import Contact
from storage.work import WorkItem
from tests.desk import MARA_MAIL, MARA_PHONE, OUR_NUMBER, Desk

LETTER = f"""From: Mara Lindqvist <{MARA_MAIL}>
To: support@desk.example
Subject: Broken
Message-ID: <broken@customer.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain

See the picture.
--x
Content-Type: image/png; name=lamp.png
Content-Disposition: attachment; filename=lamp.png
Content-Transfer-Encoding: base64

aGk=
--x--
""".encode()


def given_rules(desk: Desk, *conditions: dict[str, Any]) -> None:
    section = [{"name": f"R{number}", "when": when, "then": {}} for number, when in enumerate(conditions, 1)]
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"rules": section})


def matched(desk: Desk, conversation_id: int | None) -> list[dict[str, Any]]:
    """The trace of the newest work of a conversation."""
    with desk.hub.store.read() as tx:
        query = select(WorkItem).where(WorkItem.conversation_id == conversation_id).order_by(WorkItem.id.desc())  # type: ignore[union-attr]
        item = tx.exec(query).first()
        assert item is not None
        return item.trace


def leaf(field: str, op: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value, **more}


def test_rules_see_what_is_known_of_a_mail_at_the_door(desk: Desk) -> None:
    known = [
        leaf("item.to", "eq", "support@desk.example"),
        leaf("item.sender", "eq", MARA_MAIL),
        leaf("item.sender_domain", "eq", "example.com"),
        leaf("item.sender_proved", "eq", False),
        leaf("item.authenticity", "in", ["none", "temperror"]),
        leaf("item.suspicious", "eq", False),
        leaf("item.attachments", "gte", 1),
        leaf("item.has_attachments", "eq", True),
        leaf("item.reopened", "eq", False),
        leaf("contact.new", "eq", True),
        leaf("contact.company", "exists", False),
        leaf("contact.name", "has", "Mara"),
    ]
    given_rules(desk, {"all": known})
    step = matched(desk, desk.raw_mail(LETTER).conversation_id)[0]
    assert step["step"] == "rule" and all(told["held"] for told in step["leaves"])
    assert [told.get("found") for told in step["leaves"]][:4] == [
        "support@desk.example",
        MARA_MAIL,
        "example.com",
        False,
    ]


def test_the_same_is_known_afterwards(desk: Desk) -> None:
    given_rules(desk)
    desk.raw_mail(LETTER)
    desk.text("Hello")
    with desk.hub.store.read() as tx:
        text, letter = past_arrivals(tx, 10)
    assert (text.arrival.channel_name, text.arrival.text) == ("support-sms", "Hello")
    seen = {**letter.arrival.values()}
    assert seen["item.attachments"] == 1 and seen["contact.new"] is True and seen["item.sender"] == MARA_MAIL
    assert seen["item.subject"] == "Broken" and seen["item.authenticity"] == "none" and not seen["item.reopened"]
    seen = text.arrival.values()
    assert (seen["item.to"], seen["item.sender"], seen["item.sender_proved"]) == (OUR_NUMBER, MARA_PHONE, True)
    assert "item.authenticity" not in seen


def test_a_colleague_s_address_that_nobody_vouches_for_is_suspicious(desk: Desk) -> None:
    given_rules(desk, leaf("item.suspicious", "eq", True))
    honest = desk.mail("Hello", "It flickers.")
    faked = desk.mail("Hello", "Send me the list.", sender="Jonas <jonas@desk.example>")
    assert matched(desk, honest.conversation_id)[0]["step"] == "default"
    assert matched(desk, faked.conversation_id)[0]["step"] == "rule"


def test_a_reply_to_something_resolved_is_known_as_one(desk: Desk) -> None:
    given_rules(desk, leaf("item.reopened", "eq", True))
    first = desk.text("Hello")
    number = int(first.conversation_id or 0)
    assert matched(desk, number)[0]["step"] == "default"
    with desk.hub.store.write() as tx:
        resolve(tx, desk.ines, number)
    assert desk.text("Still broken").conversation_id == number
    assert matched(desk, number)[0]["step"] == "rule"
    with desk.hub.store.write() as tx:
        resolve(tx, desk.ines, number)
        reopen(tx, desk.ines, number)
    assert matched(desk, number)[0]["step"] == "rule"


def test_what_is_opened_again_by_hand_is_judged_by_what_the_customer_wrote_last(desk: Desk) -> None:
    given_rules(desk, {"all": [leaf("item.channel_name", "eq", "support-sms"), leaf("item.text", "has", "lamp")]})
    number = int(desk.text("Hello").conversation_id or 0)
    desk.text("About the lamp")
    with desk.hub.store.write() as tx:
        resolve(tx, desk.ines, number)
        reopen(tx, desk.ines, number)
    assert matched(desk, number)[0]["step"] == "rule"


def test_the_company_and_attributes_are_the_person_s(desk: Desk) -> None:
    given_rules(desk, {"all": [leaf("contact.company", "eq", "Acme"), leaf("contact.tags", "has", "vip")]})
    first = desk.mail("Hello", "It flickers.")
    with desk.hub.store.write() as tx:
        person = tx.get_one(Contact, first.contact_id)
        person.company, person.attributes = "Acme", {"tags": ["VIP"]}
        tx.add(person)
    assert matched(desk, desk.mail("Another", "Matter").conversation_id)[0]["step"] == "rule"


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        (leaf("time.of_day", "between", ["10:00", "12:00"], zone="Europe/Stockholm"), True),
        (leaf("time.of_day", "between", ["10:30", "12:00"]), False),
        (leaf("time.of_day", "between", ["18:00", "11:00"]), True),
        (leaf("time.of_day", "gte", "19:00", zone="Asia/Tokyo"), True),
        (leaf("time.weekday", "in", ["tue"]), True),
        (leaf("time.weekday", "eq", "wed", zone="Pacific/Kiritimati"), True),
        (leaf("time.date", "gte", "2026-11-25"), False),
        (leaf("time.date", "between", ["2026-11-24", "2026-12-24"]), True),
    ],
)
def test_the_clock_is_read_in_the_zone_that_the_rule_names(desk: Desk, when: dict[str, Any], holds: bool) -> None:
    given_rules(desk, when)  # it is Tuesday, 2026-11-24, 10:00 in UTC
    step = matched(desk, desk.text("Hello").conversation_id)[0]
    assert (step["step"] == "rule") is holds


def test_whether_a_queue_is_open_is_told_by_its_calendar(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read("""
calendars: [{name: office, time_zone: Europe/Stockholm, hours: {tue: 11:00-17:00}}]
queues: [{name: Shipping, calendar: office}, {name: Billing}, {name: General, default: true}]
"""))  # fmt: skip
    given_rules(desk, leaf("queue.Shipping.open", "eq", False), leaf("queue.Billing.open", "eq", True))
    first = desk.mail("One", "x").conversation_id  # it is 11:00 in Stockholm
    assert matched(desk, first)[0]["rule"] == "R2"
    desk.clock.forward(hours=6, minutes=1)
    assert matched(desk, desk.mail("Two", "x").conversation_id)[0]["rule"] == "R1"
    closed = {"name": "Closed", "when": leaf("queue.Shipping.open", "eq", False), "then": {}}
    with desk.hub.store.read() as tx:
        trial = try_rule(tx, desk.ines, closed)
    assert (trial.tried, trial.matched, trial.unknown) == (2, 1, [])


def test_how_many_other_conversations_of_the_person_are_open_is_counted_only_when_asked(desk: Desk) -> None:
    given_rules(desk, leaf("contact.open_conversations", "gte", 1))
    assert matched(desk, desk.mail("One", "x").conversation_id)[0]["step"] == "default"
    second = desk.mail("Two", "x").conversation_id
    (told,) = matched(desk, second)[0]["leaves"]
    assert (told["held"], told["found"]) == (True, 1)
    with desk.hub.store.read() as tx:
        assert "contact open conversations is at least 1 (it was 1)" in " ".join(why_assigned(tx, int(second or 0)))


def test_queues_are_looked_at_once_a_second_and_the_explanation_keeps_what_was_seen(desk: Desk) -> None:
    busy = leaf("queue.General.waiting", "gte", 1)
    late = leaf("queue.General.oldest_seconds", "gte", 60)
    given_rules(desk, {"all": [busy, late]}, busy)
    assert matched(desk, desk.mail("One", "x").conversation_id)[0]["step"] == "default"
    assert matched(desk, desk.mail("Two", "x").conversation_id)[0]["step"] == "default"  # within the second
    desk.clock.forward(seconds=2)
    step = matched(desk, desk.mail("Three", "x").conversation_id)[0]
    assert (step["rule"], step["leaves"][0]["found"]) == ("R2", 2)
    desk.clock.forward(seconds=60)
    step = matched(desk, desk.mail("Four", "x").conversation_id)[0]
    assert (step["rule"], [told["found"] for told in step["leaves"]]) == ("R1", [3, 62])


def test_a_desk_whose_rules_ask_for_nothing_special_pays_nothing_more(desk: Desk) -> None:
    if not desk.hub.store.embedded:
        return  # the statements are the same there, but its driver lets nobody listen
    numbers = iter(range(46701740611, 46701740699))

    def statements(*conditions: dict[str, Any]) -> int:
        given_rules(desk, *conditions)
        desk.text("The rules are read", sender=f"+{next(numbers)}")
        seen: list[str] = []
        with desk.hub.store.write() as tx:
            driver = tx._open_driver()
            driver.set_trace_callback(seen.append)
        desk.text("Hello", sender=f"+{next(numbers)}")
        driver.set_trace_callback(None)
        return len(seen)

    few = statements(leaf("item.text", "has", "x"))
    assert few > 10
    assert statements(leaf("time.of_day", "gte", "23:00"), leaf("item.sender", "eq", "x")) == few
    assert statements(leaf("contact.open_conversations", "gte", 9)) == few + 1


def test_forms_answers_are_fields(desk: Desk) -> None:
    condition = read_condition(leaf("form.topic", "eq", "returns"))
    assert condition.holds(Fields({"form.topic": "returns"}))
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read("rules: [{name: A, when: {field: form.topic, op: eq, value: returns}, then: {}}]"))
        assert [finding for finding in look_over(tx) if "rule" in finding.what] == []
