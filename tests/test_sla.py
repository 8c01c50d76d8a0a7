"""Promises to Mara: first reply, next reply and resolution, in the hours of the desk, over every kind of turn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from hub.desk import DeskError, apply, export, read
from hub.lifecycle import reopen, resolve, snooze, wake
from hub.replies import reply, undo
from routing.router import Router
from routing.work import transfer
from storage.access import SYSTEM
from storage.clocks import SlaClock, running_clocks
from storage.conversations import Message
from storage.desk import Queue
from storage.work import live_item
from tests.desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")

CALENDARS = """
calendars:
  - {name: office, time_zone: Europe/Berlin, hours: {mon-fri: 09:00-17:00}}
  - {name: always, time_zone: UTC, hours: {mon-sun: 00:00-24:00}}
"""
PROMISES = """
queues:
  - {name: Shipping, calendar: office, sla: {first_reply: 1h, next_reply: 2h, resolution: 8h}}
  - name: General
    calendar: always
    default: true
    sla: {first_reply: 4h, next_reply: 30m, resolution: 2d, warn_at: 50, channels: {sms: {first_reply: 10m}}}
  - {name: Billing, first_reply: 4h}
"""


@pytest.fixture(autouse=True)
def promised(desk: Desk) -> None:
    applied(desk, CALENDARS + PROMISES)


def applied(desk: Desk, text: str) -> list[str]:
    with desk.hub.store.write() as tx:
        return [str(change) for change in apply(tx, SYSTEM, read(text))]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def clocks(desk: Desk) -> dict[str, SlaClock]:
    """Those under way in the only conversation, and that lists and the router are told the same."""
    with desk.hub.store.read() as tx:
        conversation = desk.only_conversation()
        found = {clock.kind: clock for clock in running_clocks(tx, conversation.id or 0)}
        due = min((clock.due_at for clock in found.values() if clock.due_at), default=None)
        item = live_item(tx, conversation.id or 0)
        assert conversation.due_at == due and (item is None or item.due_at == due)
    return found


def answers(desk: Desk, **more: Any) -> Message:
    with desk.hub.store.write() as tx:
        number = desk.only_conversation().id or 0
        return reply(tx, desk.jonas, number, text="We look into it.", tokens=desk.hub.tokens, **more)


def facts(desk: Desk) -> list[str]:
    """Warnings and breaches so far, in their order."""
    router = Router(desk.hub.store, "test")
    while router.breach_once():
        pass
    with desk.hub.store.read() as tx:
        rows = tx.sql("SELECT name FROM fact WHERE name LIKE '%Warned' OR name LIKE '%Breached' ORDER BY id").fetchall()
        return [row[0] for row in rows]


def test_a_mail_on_friday_evening_is_due_on_monday(desk: Desk) -> None:
    desk.clock.moment = at("2026-11-27T15:30")  # half past four in Berlin
    desk.mail("lamp", "My order")
    assert {kind: clock.due_at for kind, clock in clocks(desk).items()} == {
        "first_reply": at("2026-11-30T08:30"),
        "resolution": at("2026-11-30T15:30"),
    }
    desk.clock.moment = at("2026-11-29T12:00")
    assert facts(desk) == []
    desk.clock.moment = at("2026-11-30T08:18")  # 48 of 60 minutes
    assert facts(desk) == ["FirstReplyWarned"]
    desk.clock.moment = at("2026-11-30T08:30")
    assert facts(desk) == ["FirstReplyWarned", "FirstReplyBreached"]
    desk.clock.forward(minutes=10)
    assert facts(desk) == ["FirstReplyWarned", "FirstReplyBreached"]
    with desk.hub.store.read() as tx:
        item = live_item(tx, desk.only_conversation().id or 0)
        assert item is not None and item.breached_at == at("2026-11-30T08:30")


def test_a_target_that_ran_out_unseen_is_a_breach_without_a_warning(desk: Desk) -> None:
    desk.mail("lamp", "My order")
    desk.clock.forward(days=2)
    assert facts(desk) == ["FirstReplyBreached", "ResolutionBreached"]


def test_every_turn_has_its_clock_and_the_customers_turn_costs_us_nothing(desk: Desk) -> None:
    desk.clock.moment = at("2026-11-24T09:00")
    first = desk.mail("lamp", "My order")
    desk.clock.forward(minutes=30)
    answer = answers(desk)
    running = clocks(desk)
    assert set(running) == {"resolution"}
    assert (running["resolution"].due_at, running["resolution"].used_seconds) == (None, 1800)

    desk.clock.forward(hours=3)
    desk.mail("Re: lamp", "It is still broken.", answers=answer.external_id)
    running = clocks(desk)
    assert running["next_reply"].due_at == at("2026-11-24T14:30")
    assert running["resolution"].due_at == at("2026-11-25T12:00")  # 7.5 hours are left, 3.5 of them today
    desk.clock.forward(minutes=30)
    desk.mail("Re: lamp", "Are you there?", answers=answer.external_id)
    assert clocks(desk)["next_reply"].due_at == at("2026-11-24T14:30"), "asking again buys no time"

    desk.clock.forward(minutes=80)
    assert facts(desk) == ["NextReplyWarned"]
    desk.clock.forward(minutes=20)
    assert facts(desk) == ["NextReplyWarned", "NextReplyBreached"]
    answers(desk)
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, first.conversation_id or 0)
    assert clocks(desk) == {}
    desk.clock.forward(days=9)
    assert facts(desk) == ["NextReplyWarned", "NextReplyBreached"]


def test_what_goes_on_after_its_time_ran_out_is_late_since_then(desk: Desk) -> None:
    desk.text("Hello?")
    desk.clock.forward(days=2)
    assert "ResolutionBreached" in facts(desk)
    late_since = desk.clock()
    answers(desk)
    desk.clock.forward(days=1)
    desk.text("It broke again.")
    running = clocks(desk)
    assert (running["resolution"].due_at, running["resolution"].next_at) == (late_since, None)


def test_a_channel_has_targets_of_its_own(desk: Desk) -> None:
    desk.text("Hello?")
    running = clocks(desk)
    assert running["first_reply"].due_at == desk.clock() + timedelta(minutes=10)
    assert running["first_reply"].next_at == desk.clock() + timedelta(minutes=5)
    assert running["resolution"].due_at == desk.clock() + timedelta(days=2)


def test_an_answer_taken_back_never_stopped_a_clock(desk: Desk) -> None:
    desk.text("Hello?")
    before = {kind: clock.due_at or desk.clock() for kind, clock in clocks(desk).items()}
    desk.clock.forward(minutes=2)
    answer = answers(desk)
    desk.clock.forward(seconds=4)
    desk.text("I see, thank you.")
    assert set(clocks(desk)) == {"next_reply", "resolution"}
    desk.clock.forward(seconds=4)
    with desk.hub.store.write() as tx:
        undo(tx, desk.jonas, answer.id or 0)
    pause = timedelta(seconds=4)  # it had ended with her message
    assert {kind: clock.due_at for kind, clock in clocks(desk).items()} == {
        "first_reply": before["first_reply"],
        "resolution": before["resolution"] + pause,
    }
    desk.clock.forward(minutes=8)
    assert facts(desk) == ["FirstReplyBreached"]


def test_an_answer_taken_back_at_once_leaves_everything_as_it_was(desk: Desk) -> None:
    desk.text("Hello?")
    before = {kind: clock.due_at for kind, clock in clocks(desk).items()}
    desk.clock.forward(minutes=2)
    answer = answers(desk)
    desk.clock.forward(seconds=4)
    with desk.hub.store.write() as tx:
        undo(tx, desk.jonas, answer.id or 0)
    assert {kind: clock.due_at for kind, clock in clocks(desk).items()} == before


def test_sleep_stops_the_resolution_and_is_no_answer(desk: Desk) -> None:
    desk.text("Hello?")
    number = desk.only_conversation().id or 0
    due = clocks(desk)["resolution"].due_at
    assert due is not None
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, number, tx.now + timedelta(hours=1))
    running = clocks(desk)
    assert (running["first_reply"].due_at, running["resolution"].due_at) == (desk.clock() + timedelta(minutes=10), None)
    desk.clock.forward(hours=1)
    assert facts(desk) == ["FirstReplyBreached"]
    with desk.hub.store.write() as tx:
        wake(tx, desk.jonas, number)
    assert clocks(desk)["resolution"].due_at == due + timedelta(hours=1)

    answers(desk)
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, number, None)
        wake(tx, desk.jonas, number)
    assert clocks(desk)["resolution"].due_at is None, "awake, but it is the customer's turn"
    desk.clock.forward(minutes=5)
    desk.text("Still there?")
    assert set(clocks(desk)) == {"next_reply", "resolution"}


def test_another_queue_keeps_the_age_and_brings_its_own_hours(desk: Desk) -> None:
    desk.clock.moment = at("2026-11-24T15:30")  # half an hour before Shipping closes
    desk.mail("lamp", "My order")
    desk.clock.moment = at("2026-11-24T20:00")
    with desk.hub.store.write() as tx:
        number = desk.only_conversation().id or 0
        general = tx.exec(select(Queue.id).where(Queue.name == "General")).one()
        transfer(tx, desk.ines, number, general or 0)
    running = clocks(desk)
    assert running["first_reply"].due_at == at("2026-11-24T23:30")  # four hours, less the half that was open
    assert running["resolution"].due_at == at("2026-11-26T19:30")
    with desk.hub.store.write() as tx:
        billing = tx.exec(select(Queue.id).where(Queue.name == "Billing")).one()
        transfer(tx, desk.ines, number, billing or 0)
    running = clocks(desk)
    assert running["first_reply"].due_at == at("2026-11-24T23:30") and running["resolution"].due_at is None


def test_a_queue_that_closes_hands_its_promises_on(desk: Desk) -> None:
    desk.mail("lamp", "My order")
    applied(desk, PROMISES.replace("  - {name: Shipping", "  - {name: Parcels"))
    assert clocks(desk)["first_reply"].due_at == desk.clock() + timedelta(hours=4)


def test_what_is_opened_again_begins_anew(desk: Desk) -> None:
    desk.text("Hello?")
    number = desk.only_conversation().id or 0
    desk.clock.forward(minutes=1)
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, number)
        reopen(tx, desk.jonas, number)
    assert clocks(desk)["first_reply"].due_at == desk.clock() + timedelta(minutes=10)
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM sla_clock").fetchone()[0] == 4


def test_targets_are_given_out_as_they_were_written(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        text = export(tx)
    assert applied(desk, text) == []
    queues = {queue["name"]: queue for queue in read(text)["queues"]}
    assert queues["Billing"]["first_reply"] == "4h" and "sla" not in queues["Billing"]
    assert queues["General"]["sla"] == {
        "first_reply": "4h", "next_reply": "30m", "resolution": "2d", "channels": {"sms": {"first_reply": "10m"}},
        "warn_at": 50,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("queue", "sentence"),
    [
        ("first_reply: 1h, sla: {first_reply: 2h}", r"queues\[1\] has first_reply twice"),
        ("sla: {first_replay: 2h}", "unknown key 'first_replay'; did you mean 'first_reply'"),
        ("sla: {channels: {emial: {first_reply: 2h}}}", "did you mean 'email'"),
        ("sla: {channels: {email: {warn_at: 2}}}", "unknown key 'warn_at'; known are first_reply"),
        ("sla: {warn_at: 100}", "less than or equal to 99"),
        ("sla: {resolution: soon}", "must be a span such as"),
    ],
)
def test_targets_that_make_no_sense_are_refused(desk: Desk, queue: str, sentence: str) -> None:
    with pytest.raises(DeskError, match=sentence):
        read(f"queues: [{{name: A, {queue}}}]")


def test_the_router_looks_once_and_then_has_nothing_to_do(desk: Desk) -> None:
    """A warning moves its clock on to the breach, a breach stops it: nothing is found twice."""
    for number in range(3):
        desk.mail("lamp", "My order", sender=f"customer{number}@example.com")
    desk.clock.forward(minutes=50)
    router = Router(desk.hub.store, "test")
    assert [router.breach_once() for _ in range(2)] == [3, 0]
    desk.clock.forward(minutes=10)
    assert [router.breach_once() for _ in range(2)] == [3, 0]
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM sla_clock WHERE next_at <= ?", tx.now).fetchone()[0] == 0
