"""What queues do beside handing out work, in a simulated day: wrapping up, parking, ladders, full queues, labels."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from routing.demand import Terms
from routing.engine import Engine
from routing.limits import Limits as QueueLimits
from routing.rules import QueueTerms
from routing.shares import Shares
from routing.simulation.simulator import Day, simulate
from routing.simulation.traffic import Contact, Pause, Stand, synthetic_day
from routing.supply import Candidate, Limits, Serving
from tests.test_simulator import SORTS, Watched, crew

HOUR = 3600.0
QUEUE = QueueTerms(1, "Support", timedelta(hours=1), timedelta(seconds=30))
ALONE = Candidate(1, "available", {"lamps": 5}, {1: Serving()}, Limits(100))


def chat(at: float, work: float = 100.0, **more: object) -> Contact:
    return replace(Contact(at, "chat", 1, (), 50, 60.0, work), **more)  # type: ignore[arg-type]


def played(*contacts: Contact, people: tuple[Candidate, ...] = (ALONE,), queue: QueueTerms = QUEUE) -> Day:
    terms = [Terms(number) for number in sorted({n for one in people for n in one.queues})]
    return simulate(contacts, people, Watched(Engine(terms, 2)), HOUR, house={1: queue})


def starts(day: Day) -> list[float | None]:
    return [one.started for one in day.courses]


def test_who_wraps_up_keeps_as_much_room_as_the_queue_says() -> None:
    contacts = [chat(0, weight=100), chat(10, weight=100), chat(20, weight=60)]
    assert starts(played(*contacts)) == [0, 100, 200]
    whole = replace(QUEUE, wrap_up=Shares(30))
    assert starts(played(*contacts, queue=whole)) == [0, 130, 260]
    part = replace(QUEUE, wrap_up=Shares(30, 40))
    assert starts(played(*contacts, queue=part)) == [0, 230, 100], "sixty fit beside forty, a hundred do not"
    elsewhere = replace(QUEUE, wrap_up=Shares(30, 100, {"chat": 0}))
    assert starts(played(*contacts, queue=elsewhere)) == [0, 100, 200]


def test_wrapping_up_counts_as_one_of_a_channel_and_is_told_as_such() -> None:
    capped = replace(ALONE, limits=Limits(100, {"chat": 1}))
    queue = replace(QUEUE, wrap_up=Shares(30, 10))
    assert starts(played(chat(0), chat(10), people=(capped,), queue=queue)) == [0, 130]


def test_in_a_pause_nothing_is_done_and_all_its_room_is_kept() -> None:
    pausing = chat(0, pauses=(Pause(40.0, 300.0),), weight=100)
    day = played(pausing, chat(50, weight=100))
    assert starts(day) == [0, 400]
    assert day.courses[0].ended == 400
    assert day.occupancy[1] == pytest.approx(500 / HOUR)


def test_what_is_parked_makes_room_and_takes_it_again_when_the_customer_writes() -> None:
    """Also above what fits: ownership wins, and both are slower for it."""
    pausing = chat(0, pauses=(Pause(40.0, 300.0),), weight=100)
    queue = replace(QUEUE, park=Shares(60, 0))
    contacts = (pausing, chat(50, work=400.0, weight=100))
    day = simulate(contacts, (ALONE,), Engine([Terms(1)]), HOUR, house={1: queue})
    assert starts(day) == [0, 100], "parked a minute after the answer"
    first, second = day.courses
    assert first.ended == pytest.approx(340 + 60 / 0.8)
    assert second.ended == pytest.approx(100 + 240 + 75 + (400 - 240 - 60))
    some = simulate(contacts, (ALONE,), Engine([Terms(1)]), HOUR, house={1: replace(QUEUE, park=Shares(60, 20))})
    assert starts(some) == [0, 400], "a fifth is kept: there is no room for a whole one"
    short = replace(QUEUE, park=Shares(300, 0))
    assert starts(played(*contacts, queue=short)) == [0, 400], "the pause is over before it would be parked"


def test_what_sleeps_is_parked_at_once() -> None:
    asleep = chat(0, pauses=(Pause(40.0, 300.0, sleeps=True),), weight=100)
    queue = replace(QUEUE, park=Shares(3600, 0))
    day = simulate([asleep, chat(50, weight=100)], (ALONE,), Engine([Terms(1)]), HOUR, house={1: queue})
    assert starts(day) == [0, 50]


def test_what_ends_while_it_is_parked_is_not_wrapped_up() -> None:
    answered = chat(0, pauses=(Pause(100.0, 300.0),), weight=100)
    for queue, free in ((replace(QUEUE, wrap_up=Shares(30)), 430), (replace(QUEUE, park=Shares(60, 50)), 400)):
        assert starts(played(answered, chat(200, weight=100), queue=queue)) == [0, free]
    both = replace(QUEUE, wrap_up=Shares(30), park=Shares(60, 50))
    day = played(answered, chat(200, weight=100), queue=both)
    assert starts(day) == [0, 400] and day.courses[0].ended == 400
    assert day.occupancy[1] == pytest.approx((160 * 1.0 + 240 * 0.5 + 100 + 30) / HOUR)


def test_several_pauses_and_one_at_the_end() -> None:
    day = played(chat(0, pauses=(Pause(20.0, 10.0), Pause(20.0, 5.0), Pause(100.0, 50.0))))
    assert day.courses[0].ended == pytest.approx(100 + 65)


def test_who_goes_home_in_a_pause_goes_on_when_he_is_back() -> None:
    contacts = [chat(0, pauses=(Pause(40.0, 100.0),))]
    shifts = [(50.0, 1, False), (500.0, 1, True)]
    day = simulate(contacts, (ALONE,), Engine([Terms(1)]), HOUR, house={1: QUEUE}, shifts=shifts)
    assert day.courses[0].ended == pytest.approx(560)


def test_a_step_of_a_ladder_lets_somebody_else_have_it() -> None:
    beginner = replace(ALONE, skills={"lamps": 2})
    asking = chat(0, skills=(("lamps", 4),), steps=(Stand(45, 1, (("lamps", 2),), 60.0),))
    assert starts(played(asking, people=(beginner,))) == [45]
    other = replace(ALONE, queues={2: Serving()})
    joined = chat(0, steps=(Stand(30, 1, (), 60.0), Stand(90, 1, (), 60.0, groups=(2,))))
    assert starts(played(joined, people=(other,))) == [90]
    moved = chat(0, steps=(Stand(20, 2, (), 600.0),))
    day = played(moved, people=(other,))
    assert starts(day) == [20]
    assert day.courses[0].in_time and day.courses[0].contact.target == 600.0, "as its new queue promises"
    too_late = chat(0, steps=(Stand(120, 2, (), 600.0),))
    assert not played(too_late, people=(other,)).courses[0].in_time, "what is late is not made good by a longer target"
    late = chat(0, patience=30.0, steps=(Stand(45, 1, (), 60.0),))
    gone = played(late, people=(replace(ALONE, status="away"),))
    assert gone.courses[0].left == 30


def test_a_step_raises_what_waits_above_what_came_before_it() -> None:
    busy, first = chat(0, weight=100), chat(10, weight=100)
    raised = chat(20, weight=100, steps=(Stand(30, 1, (), 60.0, raised=9),))
    aged = chat(20, weight=100, steps=(Stand(30, 1, (), 60.0, credit=60.0),))
    assert starts(played(busy, first, raised)) == [0, 200, 100]
    assert starts(played(busy, first, aged)) == [0, 200, 100]


def test_what_comes_to_a_full_queue_goes_round_it() -> None:
    people = (ALONE, replace(ALONE, id=2, queues={2: Serving()}))
    round_it = ((Stand(0, 2, (), 300.0),),)
    contacts = [chat(at, weight=100, ways=round_it) for at in (0, 1, 2, 3)]
    full = replace(QUEUE, limits=QueueLimits(size=1, queue_id=2))
    day = played(*contacts, people=people, queue=full)
    assert [one.contact.queue_id for one in day.courses] == [1, 1, 2, 2]
    assert [one.agent_id for one in day.courses] == [1, 1, 2, 2]
    slow = replace(QUEUE, limits=QueueLimits(wait=timedelta(seconds=2), queue_id=2))
    day = played(*contacts, people=people, queue=slow)
    assert [one.contact.queue_id for one in day.courses] == [1, 1, 1, 2], "the second has waited for two seconds"
    assert [one.contact.queue_id for one in played(*contacts, people=people).courses] == [1] * 4


def test_where_everything_is_full_the_last_way_takes_it() -> None:
    ways = ((Stand(0, 2, (), 300.0),), (Stand(0, 1, (), 60.0),))
    contacts = [chat(at, weight=100, ways=ways) for at in (0, 1, 2, 3, 4)]
    house = {
        1: replace(QUEUE, limits=QueueLimits(size=1, queue_id=2)),
        2: replace(QUEUE, id=2, limits=QueueLimits(size=1)),
    }
    day = simulate(contacts, (ALONE,), Engine([Terms(1), Terms(2)]), HOUR, house=house)
    assert [one.contact.queue_id for one in day.courses] == [1, 1, 2, 1, 1]


def test_labels_count_against_their_limits() -> None:
    careful = replace(ALONE, limits=Limits(100, labels={"refund": 1}))
    contacts = [chat(0, labels=("refund",)), chat(1, labels=("refund",)), chat(2)]
    assert starts(played(*contacts, people=(careful,))) == [0, pytest.approx(124.75, abs=5), 2]
    assert starts(played(*contacts)) == [0, 1, pytest.approx(125, abs=5)]


@pytest.mark.parametrize("seed", range(3))
def test_a_day_with_everything_leaves_nobody_waiting_whom_somebody_could_take(seed: int) -> None:
    """Loads end where they began, and never go below nothing."""
    contacts = [
        replace(
            one, pauses=(Pause(one.work / 3, 40.0), Pause(one.work / 2, 200.0)), labels=("big",) if number % 3 else (),
            steps=(Stand(50.0, one.queue_id, (), one.target, groups=(3 - one.queue_id,)),),
            ways=((Stand(0.0, 3 - one.queue_id, (), one.target),),),
        )
        for number, one in enumerate(synthetic_day(SORTS, 85, 3 * HOUR, seed))
    ]  # fmt: skip
    house = {
        number: replace(
            QUEUE, id=number, wrap_up=Shares(20, 30), park=Shares(60, 10), limits=QueueLimits(size=6, queue_id=2)
        )
        for number in (1, 2)
    }  # fmt: skip
    people = [replace(one, limits=replace(one.limits, labels={"big": 2})) for one in crew()]
    router = Roomy(Engine([Terms(1), Terms(2)], 2))
    day = simulate(contacts, people, router, 30 * HOUR, house=house)
    assert router.looked > 1000
    assert router.over, "who writes again takes room that is not there"
    assert all((one.ended is None) == (one.started is None) for one in day.courses)
    assert {(one.load, sum(one.open.values()), one.wrapping) for one in router.last.values()} == {(0, 0, 0)}


class Roomy(Watched):
    """Watched, on a floor where parking makes loads exceed capacities."""

    def __init__(self, engine: Engine):
        super().__init__(engine)
        self.last: dict[int, Candidate] = {}
        self.over = 0

    def put_agent(self, candidate: Candidate, now: float) -> None:
        assert candidate.load >= 0 and candidate.wrapping >= 0
        assert min([*candidate.open.values(), *candidate.labelled.values(), 0]) == 0
        self.over += candidate.load > candidate.limits.capacity
        self.last[candidate.id] = candidate
        self.engine.put_agent(candidate, now)
