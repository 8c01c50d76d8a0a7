"""Past days for the simulator: how much work each piece was, and when it rested, as the facts tell it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from hub.later import leave_due
from hub.lifecycle import reopen, resolve, snooze
from hub.moves import merge
from hub.pastdays import past_days
from hub.replies import reply, undo
from routing.simulation.traffic import Contact
from routing.work import assign, set_status
from storage.access import Actor
from tests.desk import Desk

LEVEL_4 = 0.95  # of full speed


@pytest.fixture
def since(desk: Desk) -> datetime:
    """A minute before; Jonas and Amara are there, who are as good as each other at this."""
    begun = desk.clock() - timedelta(minutes=1)
    for one in (desk.jonas, desk.amara):
        with desk.hub.store.write() as tx:
            set_status(tx, one, one.agent_id or 0, "available")
            tx.sql("UPDATE agent_skill SET level = 4 WHERE agent_id = ?", one.agent_id)
    return begun


def comes(desk: Desk, sender: str = "mara@example.com", to: Actor | None = None, answers: str = "") -> int:
    """A mail of which somebody gets the work."""
    number = desk.mail("Where is my parcel?", "Hello", sender=sender, answers=answers).conversation_id or 0
    given(desk, number, to or desk.jonas)
    return number


def given(desk: Desk, number: int, to: Actor) -> None:
    with desk.hub.store.write() as tx:
        assign(tx, desk.ines, number, to.agent_id or 0)


def answered(desk: Desk, number: int, *, undo_seconds: int = 0, send_at: datetime | None = None) -> tuple[int, str]:
    with desk.hub.store.write() as tx:
        message = reply(
            tx, desk.jonas, number, text="It leaves today.", tokens=desk.hub.tokens, undo_seconds=undo_seconds,
            send_at=send_at,
        )  # fmt: skip
        return message.id or 0, message.external_id


def done(desk: Desk, number: int) -> None:
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, number)


def came(desk: Desk, since: datetime) -> list[Contact]:
    with desk.hub.store.read() as tx:
        return past_days(tx, since).contacts


def seconds(contact: Contact) -> tuple[float, list[tuple[float, float, bool]]]:
    """The work at full attention, and its pauses by how much of it was done."""
    pauses = [(round(one.after / LEVEL_4, 6), one.seconds, one.sleeps) for one in contact.pauses]
    return round(contact.work / LEVEL_4, 6), pauses


def test_what_was_resolved_asleep_is_awake_when_it_is_opened_again(desk: Desk, since: datetime) -> None:
    number = comes(desk)
    __, ours = answered(desk, number)
    desk.clock.forward(minutes=5)
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, number, desk.clock() + timedelta(hours=5))
    desk.clock.forward(minutes=5)
    done(desk, number)
    desk.clock.forward(minutes=30)
    assert comes(desk, answers=ours) == number
    desk.clock.forward(minutes=10)
    done(desk, number)
    first, second = came(desk, since)
    assert seconds(first) == (0, [(0, 300, False), (0, 300, True)]), "answered in the moment it came"
    assert seconds(second) == (600, [])


def test_what_is_opened_again_by_hand_is_worked_on_although_it_was_answered(desk: Desk, since: datetime) -> None:
    number = comes(desk)
    desk.clock.forward(minutes=5)
    answered(desk, number)
    done(desk, number)
    desk.clock.forward(minutes=30)
    with desk.hub.store.write() as tx:
        reopen(tx, desk.jonas, number)
    given(desk, number, desk.jonas)
    desk.clock.forward(minutes=10)
    done(desk, number)
    assert [seconds(one) for one in came(desk, since)] == [(300, []), (600, [])]


def test_what_one_after_the_other_had_is_one_work_in_order(desk: Desk, since: datetime) -> None:
    done(desk, comes(desk, "somebody@example.com"))
    number = comes(desk, to=desk.amara)
    desk.clock.forward(minutes=20)
    given(desk, number, desk.jonas)
    desk.clock.forward(minutes=2)
    answered(desk, number)
    desk.clock.forward(minutes=10)
    done(desk, number)
    assert seconds(came(desk, since)[1]) == (1320, [(1320, 600, False)])


def test_each_answer_begins_a_rest_of_its_own(desk: Desk, since: datetime) -> None:
    """Parking counts from the last one."""
    number = comes(desk)
    desk.clock.forward(minutes=5)
    answered(desk, number)
    desk.clock.forward(minutes=2)
    answered(desk, number)
    desk.clock.forward(minutes=3)
    done(desk, number)
    assert seconds(came(desk, since)[0]) == (300, [(300, 120, False), (300, 180, False)])


def test_an_answer_for_later_counts_when_it_leaves(desk: Desk, since: datetime) -> None:
    number = comes(desk)
    desk.clock.forward(minutes=5)
    answered(desk, number, send_at=desk.clock() + timedelta(minutes=20))
    desk.clock.forward(minutes=20)
    with desk.hub.store.write() as tx:
        assert leave_due(tx) == 1
    desk.clock.forward(minutes=5)
    done(desk, number)
    assert seconds(came(desk, since)[0]) == (1500, [(1500, 300, False)])


def test_an_answer_that_was_taken_back_rests_as_long_as_it_stood(desk: Desk, since: datetime) -> None:
    number = comes(desk)
    desk.clock.forward(minutes=5)
    message, __ = answered(desk, number, undo_seconds=10)
    desk.clock.forward(seconds=5)
    with desk.hub.store.write() as tx:
        undo(tx, desk.jonas, message)
    desk.clock.forward(minutes=5)
    done(desk, number)
    assert seconds(came(desk, since)[0]) == (600, [(300, 5, False)])


def test_a_conversation_that_was_merged_keeps_its_rests(desk: Desk, since: datetime) -> None:
    first = comes(desk)
    desk.clock.forward(minutes=5)
    second = comes(desk)
    assert first != second
    answered(desk, first)
    desk.clock.forward(minutes=30)
    done(desk, second)
    with desk.hub.store.write() as tx:
        merge(tx, desk.jonas, second, first)
    one, other, *__ = came(desk, since)
    assert seconds(one) == (300, [(300, 1800, False)])
    assert seconds(other) == (1800, [])


def test_what_nobody_had_takes_as_long_as_such_work_does(desk: Desk, since: datetime) -> None:
    desk.mail("Where is my parcel?", "Hello")
    assert [(one.work, one.pauses) for one in came(desk, since)] == [(360.0, ())]
