"""What work becomes while nobody takes it, as it is worked out ahead for the simulator: just what a live desk does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from routing.ahead import SOME_DAY, always_open, way, ways_round
from routing.calendars import ALWAYS
from routing.rules import Placement, RuleBook, rule_book
from storage import Store
from storage.calendars import CalendarPlan
from storage.columns import moment
from storage.desk import Queue, touch_desk
from storage.people import AgentQueue
from tests.clock import Clock
from tests.routing_desk import Desk
from tests.test_ladders import ladder_of, rule_ladder

PARCEL = "My parcel"
RELAXED = ({"after": 45, "relax": {"order": 1}}, {"after": 120, "relax": {"order": 0}, "priority": 7})
RAISED = ({"after": 30, "priority": 900, "age_credit": 600}, {"after": 60, "priority": 900, "age_credit": 60})


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def placed(desk: Desk, at: datetime, text: str = PARCEL) -> tuple[RuleBook, Placement]:
    with desk.store.read() as tx:
        book = rule_book(tx)
    return book, book.served_place(book.open_place(book.place({"item.text": text}), at))


def lived(desk: Desk, clock: Clock, text: str = PARCEL) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """What was foretold, and what a router made of it at the moments foretold and a second before each."""
    came = clock()
    book, place = placed(desk, came, text)
    foretold = way(book, place, "email", came)
    conversation_id, router, seen = desk.comes_in(text=text), desk.router(), list[tuple[Any, ...]]()
    told = [
        (
            stand.queue_id, dict(stand.skills), list(stand.groups), place.priority + stand.raised, stand.credit,
            came + timedelta(seconds=stand.target + stand.closed),
        )
        for stand in foretold
    ]  # fmt: skip
    for number, stand in enumerate(foretold):
        for early in (1, 0) if number else (0,):
            clock.moment = came + timedelta(seconds=stand.after - early)
            while router.climb_once():
                pass
            item = desk.item(conversation_id)
            now = (
                item.queue_id, item.skills, item.joined, item.priority, item.age_credit,
                moment(item.due_at),
            )  # fmt: skip
            if early:
                assert now == seen[-1], "a second too early"
            else:
                seen.append(now)
    clock.forward(days=9)
    assert not router.climb_once(), "nothing was left to come"
    return told, seen


@pytest.mark.parametrize("steps", [RELAXED, RAISED, ({"after": 10, "require": {}},)])
def test_steps_of_a_queue(desk: Desk, clock: Clock, steps: tuple[dict[str, Any], ...]) -> None:
    ladder_of(desk, "Shipping", *steps)
    told, seen = lived(desk, clock)
    assert seen == told and len(told) == len(steps) + 1


def test_others_join_and_then_it_goes_elsewhere_with_what_is_left_of_its_time(desk: Desk, clock: Clock) -> None:
    billing = desk.queues["Billing"]
    ladder_of(desk, "Billing", {"after": 100, "priority": 5}, first_reply_seconds=600)
    ladder_of(
        desk, "Shipping", {"after": 40, "join": [billing, desk.queues["Support"]]}, {"after": 90, "queue_id": billing}
    )
    told, seen = lived(desk, clock)
    assert seen == told and len(told) == 4
    assert [each[1] for each in told] == [{"order": 2}, {"order": 2}, {}, {}], "nobody in Billing knows orders"
    assert [each[0] for each in told][2:] == [billing, billing]


def test_ladders_that_lead_back(desk: Desk, clock: Clock) -> None:
    shipping, billing = desk.queues["Shipping"], desk.queues["Billing"]
    ladder_of(desk, "Shipping", {"after": 60, "queue_id": billing})
    ladder_of(desk, "Billing", {"after": 60, "queue_id": shipping}, {"after": 90, "priority": 1})
    told, seen = lived(desk, clock)
    assert seen == told
    assert told[-1][0] == desk.queues["Support"], "the default queue"


def test_a_rules_own_ladder_goes_through_queues(desk: Desk, clock: Clock) -> None:
    billing, shipping = desk.queues["Billing"], desk.queues["Shipping"]
    rule_ladder(
        desk,
        {"after": 10, "queue_id": billing},
        {"after": 20, "queue_id": shipping},
        {"after": 30, "queue_id": 999_999},
    )
    ladder_of(desk, "Billing", {"after": 5, "priority": 50})
    told, seen = lived(desk, clock)
    assert seen == told
    assert [each[0] for each in told] == [shipping, billing, shipping, desk.queues["Support"]]


def test_steps_and_targets_count_open_time(desk: Desk, clock: Clock) -> None:
    clock.moment = datetime(2026, 11, 23, 11, 50, tzinfo=UTC)  # a Monday, ten minutes before lunch
    with desk.store.write() as tx:
        office, late = (
            CalendarPlan(name=name, plan={"time_zone": "UTC", "hours": {"mon-fri": hours}})
            for name, hours in (("office", ["09:00-12:00", "13:00-17:00"]), ("late", "14:00-22:00"))
        )
        tx.add(office)
        tx.add(late)
        tx.flush()
        numbers = (office.id, late.id)
    ladder_of(desk, "Billing", first_reply_seconds=7200, calendar_id=numbers[1])
    ladder_of(
        desk, "Shipping", {"after": 1200, "priority": 1}, {"after": 3000, "queue_id": desk.queues["Billing"]},
        calendar_id=numbers[0],
    )  # fmt: skip
    told, seen = lived(desk, clock)
    assert seen == told and len(told) == 3
    assert told[0][-1] == datetime(2026, 11, 23, 13, 50, tzinfo=UTC)
    assert told[2][-1] == datetime(2026, 11, 23, 15, 10, tzinfo=UTC), "of two hours fifty minutes were used up"


def more_queues(desk: Desk, *names: str, served: bool = True) -> None:
    with desk.store.write() as tx:
        for name in names:
            queue = Queue(name=name, is_default=False, first_reply_seconds=3600)
            tx.add(queue)
            tx.flush()
            desk.queues[name] = queue.id or 0
            if served:
                tx.add(AgentQueue(agent_id=desk.agents["Jonas"], queue_id=queue.id or 0))
        touch_desk(tx)


def test_what_nobody_serves_is_passed_over(desk: Desk, clock: Clock) -> None:
    more_queues(desk, "Nobody", served=False)
    ladder_of(desk, "Shipping", {"after": 60, "queue_id": desk.queues["Nobody"]})
    told, seen = lived(desk, clock)
    assert seen == told and told[-1][0] == desk.queues["Support"]


def test_after_three_moves_by_itself_it_stays(desk: Desk, clock: Clock) -> None:
    more_queues(desk, "A", "B", "C")
    for one, other in pairwise(("Shipping", "Billing", "A", "B", "C")):
        ladder_of(desk, one, {"after": 60, "queue_id": desk.queues[other]})
    told, seen = lived(desk, clock)
    assert seen == told and told[-1][0] == told[-2][0] == desk.queues["B"]


def test_a_step_to_where_it_is_leaves_it_there(desk: Desk, clock: Clock) -> None:
    rule_ladder(desk, {"after": 60, "queue_id": desk.queues["Shipping"], "priority": 1})
    told, seen = lived(desk, clock)
    assert seen == told and told[-1][0] == desk.queues["Shipping"]


HOURS: tuple[Any, ...] = (
    "00:00-24:00", ["09:00-12:00", "13:00-17:00"], "10:00-10:20", "14:00-22:00", "22:00-24:00",
)  # fmt: skip


def random_ladder(chance: Random, queues: list[int], most: int) -> list[dict[str, Any]]:
    steps, after = list[dict[str, Any]](), 0
    for _ in range(chance.randint(0, most)):
        after += chance.choice([10, 45, 600, 3600])
        step: dict[str, Any] = {"after": after}
        step |= chance.choice(
            [{}, {"relax": {"order": chance.randint(0, 2)}}, {"require": {"order": 3}}, {"require": {}}]
        )
        step |= {"priority": chance.choice([1, 7, 500, 900])} if chance.random() < 0.3 else {}
        step |= {"age_credit": chance.choice([60, 600])} if chance.random() < 0.3 else {}
        step |= chance.choice([{}, {"queue_id": chance.choice(queues)}, {"join": chance.sample(queues, 2)}])
        steps.append(step)
    return steps


@pytest.mark.parametrize("seed", range(15))
def test_whatever_the_desk_it_is_foretold(desk: Desk, clock: Clock, seed: int) -> None:
    """Ladders, hours, closed, paused and unserved queues, drawn at random."""
    chance = Random(seed)
    more_queues(desk, "Returns", "Extra")
    more_queues(desk, "Nobody", served=False)
    queues = [*desk.queues.values(), 999_999]
    with desk.store.write() as tx:
        numbers = list[int | None]([None])
        for number, hours in enumerate(HOURS):
            plan = CalendarPlan(name=f"hours {number}", plan={"time_zone": "UTC", "hours": {"mon-sun": hours}})
            tx.add(plan)
            tx.flush()
            numbers.append(plan.id)
    for name in desk.queues:
        more = {"handout": {"paused": True}} if chance.random() < 0.2 else {}
        ladder_of(
            desk, name, *random_ladder(chance, queues, 3), first_reply_seconds=chance.choice([60, 3600, 14_400]),
            calendar_id=chance.choice(numbers), closed_queue_id=chance.choice([None, *desk.queues.values()]), **more,
        )  # fmt: skip
    if chance.random() < 0.4:
        rule_ladder(desk, *random_ladder(chance, queues, 4))
    clock.moment = datetime(2026, 11, 23, chance.choice([0, 9, 11, 13, 16, 23]), chance.choice([0, 15, 59]), tzinfo=UTC)
    told, seen = lived(desk, clock)
    assert seen == told


@pytest.mark.parametrize(
    "limits",
    [
        {"Shipping": {"size": 1, "queue_id": "Billing"}},
        {"Shipping": {"size": 1, "queue_id": "Billing"}, "Billing": {"size": 1}},
        {"Shipping": {"size": 1, "queue_id": "Billing"}, "Billing": {"size": 2, "queue_id": "Shipping"}},
        {"Shipping": {"size": 1, "queue_id": "Billing"}, "Billing": {"size": 1, "queue_id": "Shipping"},
         "Support": {"size": 1}},
        {"Shipping": {"size": 1}},
    ],
)  # fmt: skip
def test_full_queues_hand_on_what_comes_as_they_would_live(desk: Desk, clock: Clock, limits: dict[str, Any]) -> None:
    for name, said in limits.items():
        to = {"queue_id": desk.queues[said["queue_id"]]} if "queue_id" in said else {}
        ladder_of(desk, name, limits={"size": said["size"], **to})
    book, place = placed(desk, clock())
    ways = [way(book, place, "email", clock()), *ways_round(book, place, "email", clock())]
    waiting, sizes = dict[int, int](), {number: queue.limits.size for number, queue in book.queues.items()}
    for _ in range(7):
        item = desk.item(desk.comes_in(text=PARCEL))
        open_to = [each[0] for each in ways if waiting.get(each[0].queue_id, 0) < (sizes[each[0].queue_id] or 99)]
        takes = open_to[0] if open_to else ways[-1][0]
        assert (item.queue_id, item.skills) == (takes.queue_id, dict(takes.skills))
        waiting[item.queue_id] = waiting.get(item.queue_id, 0) + 1


def test_a_queue_that_is_never_full_needs_no_way_round(desk: Desk, clock: Clock) -> None:
    book, place = placed(desk, clock())
    assert ways_round(book, place, "email", clock()) == []


def test_a_day_that_is_no_particular_one_never_closes(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        shut = CalendarPlan(name="weekend", plan={"time_zone": "UTC", "hours": {"sat": "09:00-10:00"}})
        tx.add(shut)
        tx.flush()
        number = shut.id
    ladder_of(desk, "Shipping", {"after": 45, "priority": 1}, calendar_id=number)
    book, place = placed(desk, clock())
    assert always_open(place.queue) is ALWAYS
    first, second = way(book, place, "email", SOME_DAY, always_open)
    assert (first.closed, first.target, second.after) == (0.0, 3600.0, 45.0)
    assert way(book, place, "email", clock())[0].closed > 0
