"""Parking: while the customer has the word, or it sleeps, a conversation leaves its agent's room to others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from hub.lifecycle import resolve, snooze, wake
from hub.replies import reply, undo
from routing.live import LiveFloor
from routing.overview import agent_lines
from routing.parking import mistimed
from routing.reasons import why_waiting
from routing.router import Router
from routing.whys import recomputed
from routing.work import release, set_status
from storage.desk import Queue, touch_desk
from storage.work import open_assignment
from tests.browser.room import Browser, words
from tests.clock import Clock
from tests.desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def floor(desk: Desk) -> Desk:
    """Jonas is there and has room for one mail; what waits for the customer is parked after ten minutes."""
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = 20 WHERE id = ?", desk.jonas.agent_id)
        touch_desk(tx)
        set_status(tx, desk.jonas, desk.jonas.agent_id or 0, "available")
    says(desk, after=600)
    return desk


@pytest.fixture
def router(floor: Desk) -> Router:
    found = Router(floor.hub.store, "test")
    found.lead()
    return found


def says(desk: Desk, **park: Any) -> None:
    with desk.hub.store.write() as tx:
        for queue in tx.exec(select(Queue)):
            queue.handout = {"park": park} if park else {}
        touch_desk(tx)


def passes(router: Router, clock: Clock, seconds: int = 0) -> int:
    """Time passes, the router sweeps and matches; how much it gave out."""
    clock.forward(seconds=seconds)
    router.sweep()
    made = router.run_once()
    assert router.check_once() == 0
    return made


def answers(desk: Desk, number: int, text: str = "Have you tried the switch?") -> int:
    with desk.hub.store.write() as tx:
        return reply(tx, desk.jonas, number, text=text, tokens=desk.hub.tokens).id or 0


def writes_again(desk: Desk, number: int) -> None:
    ours = [message for message in desk.messages(number) if message.kind == "outbound"][-1].external_id
    desk.mail("Re: Hello", "It still does not work", answers=f"<{ours.strip('<>')}>")


def owner(desk: Desk, number: int) -> int | None:
    with desk.hub.store.read() as tx:
        owned = open_assignment(tx, number)
        return None if owned is None else owned.agent_id


def load(desk: Desk) -> int:
    return desk.agent(desk.jonas).load


def test_who_waits_for_the_customer_has_room_for_another(floor: Desk, router: Router, clock: Clock) -> None:
    first = floor.mail("Hello", "My lamp hums").conversation_id or 0
    second = floor.mail("Good day", "Mine, too", sender="devon@northlight.example").conversation_id or 0
    assert passes(router, clock) == 1
    answers(floor, first)
    assert (passes(router, clock, 599), load(floor)) == (0, 20)
    assert (passes(router, clock, 1), owner(floor, first), owner(floor, second)) == (1, *[floor.jonas.agent_id] * 2)
    assert load(floor) == 20, "the parked one takes nothing"
    with floor.hub.store.read() as tx:
        told, again = why_waiting(tx, first), recomputed(tx, second)
        (jonas,) = [line for line in agent_lines(tx) if line.name == "Jonas Weber"]
    assert told == [
        "It does not wait: Jonas Weber has it.",
        "It has been parked for 0 seconds: it takes nothing of Jonas Weber's capacity until the customer answers.",
    ]
    assert (jonas.number, jonas.parked) == (2, 1)
    assert again["now"]["agent_id"] == floor.jonas.agent_id

    writes_again(floor, first)
    passes(router, clock)
    assert (owner(floor, first), load(floor)) == (floor.jonas.agent_id, 40), "ownership wins, also above the capacity"
    with floor.hub.store.read() as tx:
        owned = open_assignment(tx, first)
        assert owned is not None and (owned.over_capacity_by, owned.parked_at) == (20, None)
    answers(floor, first)
    passes(router, clock, 600)
    assert load(floor) == 20


def test_a_customer_who_answers_in_time_is_never_parked(floor: Desk, router: Router, clock: Clock) -> None:
    number = floor.mail("Hello", "My lamp hums").conversation_id or 0
    passes(router, clock)
    answers(floor, number)
    passes(router, clock, 300)
    writes_again(floor, number)
    passes(router, clock, 300)
    assert load(floor) == 20
    answers(floor, number)
    passes(router, clock, 599)
    assert load(floor) == 20
    passes(router, clock, 1)
    assert load(floor) == 0


def test_what_sleeps_is_parked_at_once_and_wakes_with_its_room(floor: Desk, router: Router, clock: Clock) -> None:
    number = floor.mail("Hello", "My lamp hums").conversation_id or 0
    passes(router, clock)
    with floor.hub.store.write() as tx:
        snooze(tx, floor.jonas, number, tx.now + timedelta(hours=3))
    passes(router, clock)
    assert load(floor) == 0
    with floor.hub.store.read() as tx:
        assert why_waiting(tx, number)[1].endswith("until it wakes.")
    passes(router, clock, 3000)
    assert load(floor) == 0
    with floor.hub.store.write() as tx:
        wake(tx, floor.jonas, number)
    passes(router, clock)
    assert load(floor) == 20
    with floor.hub.store.write() as tx:
        snooze(tx, floor.jonas, number, None)
        resolve(tx, floor.jonas, number)
    assert (passes(router, clock), load(floor)) == (0, 0)


def test_a_part_is_kept_and_some_channels_are_never_parked(floor: Desk, router: Router, clock: Clock) -> None:
    says(floor, after=60, keep=25, channels={"sms": 0})
    with floor.hub.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = 100 WHERE id = ?", floor.jonas.agent_id)
        touch_desk(tx)
    mail, text = floor.mail("Hello", "My lamp hums").conversation_id or 0, floor.text("My parcel?").conversation_id or 0
    passes(router, clock)
    for number in (mail, text):
        answers(floor, number)
    passes(router, clock, 60)
    assert load(floor) == 5 + 25, "a quarter of 20, and the text whole"
    with floor.hub.store.read() as tx:
        assert "it takes 5 of Jonas Weber's capacity" in why_waiting(tx, mail)[1]


def test_who_has_gone_meanwhile_gives_it_back_when_the_customer_answers(
    floor: Desk, router: Router, clock: Clock
) -> None:
    number = floor.mail("Hello", "My lamp hums").conversation_id or 0
    passes(router, clock)
    answers(floor, number)
    passes(router, clock, 600)
    with floor.hub.store.write() as tx:
        set_status(tx, floor.jonas, floor.jonas.agent_id or 0, "offline")
        set_status(tx, floor.amara, floor.amara.agent_id or 0, "available")
    passes(router, clock)
    assert owner(floor, number) == floor.jonas.agent_id, "the customer has the word: it is still his"
    writes_again(floor, number)
    assert (passes(router, clock), owner(floor, number)) == (1, floor.amara.agent_id)
    assert load(floor) == 0


def test_an_answer_that_is_taken_back_was_none(floor: Desk, router: Router, clock: Clock) -> None:
    says(floor, after=1)
    number = floor.mail("Hello", "My lamp hums").conversation_id or 0
    passes(router, clock)
    sent = answers(floor, number)
    passes(router, clock, 2)
    assert load(floor) == 0
    with floor.hub.store.write() as tx:
        undo(tx, floor.jonas, sent)
    passes(router, clock)
    assert load(floor) == 20


def test_the_desk_may_begin_and_end_it_while_work_goes_on(floor: Desk, router: Router, clock: Clock) -> None:
    says(floor)
    number = floor.mail("Hello", "My lamp hums").conversation_id or 0
    passes(router, clock)
    answers(floor, number)
    passes(router, clock, 3600)
    assert load(floor) == 20
    says(floor, after=60)
    passes(router, clock)
    passes(router, clock, 60)
    assert load(floor) == 0
    says(floor)
    passes(router, clock)
    assert load(floor) == 20
    with floor.hub.store.read() as tx:
        assert mistimed(tx) == []


def test_what_is_parked_is_given_back_like_anything_else(floor: Desk, router: Router, clock: Clock) -> None:
    number, kept = floor.mail("Hello", "My lamp hums").conversation_id or 0, LiveFloor()
    passes(router, clock)
    answers(floor, number)
    passes(router, clock, 600)
    with floor.hub.store.write() as tx:
        release(tx, floor.jonas, number)
    assert load(floor) == 0
    with floor.hub.store.read() as tx:
        assert kept.differences(tx) == []
    with floor.hub.store.write() as tx:
        set_status(tx, floor.amara, floor.amara.agent_id or 0, "available")
    assert (passes(router, clock), owner(floor, number)) == (1, floor.amara.agent_id)


def test_the_floor_shows_what_is_parked(floor: Desk, router: Router, clock: Clock, ines: Browser) -> None:
    number = floor.mail("Hello", "My lamp hums").conversation_id or 0
    passes(router, clock)
    answers(floor, number)
    passes(router, clock, 600)
    line = next(one for one in words(ines.page("/inbox/floor"), ".a") if "Jonas" in one)
    assert "1 parked" in line
    assert "Parked" in words(ines.page(f"/inbox/floor/agents/{floor.jonas.agent_id}", hx=True), ".has li")[0]
