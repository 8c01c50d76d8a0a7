"""A simulated day obeys the books, comes out the same each time, and tells good policies from bad ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from routing.demand import Terms, Waiting
from routing.engine import Decision, Engine
from routing.simulation.lab import Trial, play, resized
from routing.simulation.measures import gap, paired
from routing.simulation.policies import BEST_SKILL, PEERS, ROUND_ROBIN, ROUND_ROBIN_300, TASKROUTER, Policy, reserved
from routing.simulation.simulator import simulate
from routing.simulation.staffing import Pool, staffed
from routing.simulation.traffic import Contact, Sort, bank_curve, synthetic_day
from routing.supply import Candidate, Limits, Serving

HOUR = 3600.0
OURS = Policy("ours", reserved(33))
TERMS = (Terms(1), Terms(2))
SORTS = [
    Sort(share * part, channel, queue, ((skill, 1),), 33, target, work, patience)
    for channel, share, target, work, patience in (
        ("chat", 0.6, 60.0, 480.0, 300.0),
        ("email", 0.4, 2 * HOUR, 360.0, inf),
    )
    for queue, skill, part in ((1, "lamps", 0.7), (2, "bills", 0.3))
]


def crew(number: int = 6) -> list[Candidate]:
    """Some know lamps, some bills, and every third both."""
    people = []
    for place in range(number):
        queues = {1} if place % 3 == 0 else {2} if place % 3 == 1 else {1, 2}
        skills = {"lamps" if queue == 1 else "bills": 5 if len(queues) == 1 else 3 for queue in queues}
        people.append(Candidate(place + 1, "available", skills, {queue: Serving() for queue in queues}, Limits(99)))
    return people


def small(hours: float = 6.0, per_hour: float = 85.0) -> Trial:
    def day(seed: int) -> Sequence[Contact]:
        return synthetic_day(SORTS, per_hour, hours * HOUR, seed)

    return Trial("small", crew(), TERMS, 2, day, hours * HOUR, 0.5 * HOUR, (hours - 2) * HOUR)


class Watched:
    """An engine that is looked over after each decision: whoever waits must have nobody who could take him."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.waiting: dict[int, Waiting] = {}
        self.looked = 0

    def put_agent(self, candidate: Candidate, now: float) -> None:
        assert 0 <= candidate.load <= candidate.limits.capacity
        self.engine.put_agent(candidate, now)

    def put(self, item: Waiting, now: float) -> None:
        self.waiting[item.id] = item
        self.engine.put(item, now)

    def drop(self, item_id: int) -> None:
        del self.waiting[item_id]
        self.engine.drop(item_id)

    @property
    def next_at(self) -> float:
        return self.engine.next_at

    def decide(self, now: float) -> list[Decision]:
        made = self.engine.decide(now)
        for decision in made:
            del self.waiting[decision.item.id]
        if any(len(decision.agent_ids) > 1 for decision in made):
            return made  # what rings at somebody else, too, is told back first
        for item in self.waiting.values():
            self.looked += 1
            assert self.engine.judge(item, now).eligible == 0
        return made


@pytest.mark.parametrize("policy", [OURS, TASKROUTER, BEST_SKILL])
def test_nobody_waits_whom_an_agent_could_take(policy: Policy) -> None:
    """But for the reserve, which is a reason of its own and ends by itself: `judge` counts it as one."""
    router = Watched(policy.engine(TERMS, 2))
    contacts = small().day(1)
    day = simulate(contacts, crew(), router, 6 * HOUR, priority=policy.priority)
    assert router.looked > 1000
    assert len(day.courses) == len(contacts)
    for one in day.courses:
        assert one.started is None or one.left is None
        assert one.left is None or one.left == one.contact.at + one.contact.patience
        assert one.ended is None or (one.started is not None and one.ended > one.started)
    assert all(0.3 < share <= 1.0 for share in day.occupancy.values())


def test_whoever_is_not_there_gets_nothing_and_goes_on_when_he_is_back() -> None:
    contacts = [Contact(10.0, "email", 1, (), 33, HOUR, 600.0), Contact(400.0, "email", 1, (), 33, HOUR, 60.0)]
    people = [Candidate(1, "away", {}, {1: Serving()}, Limits(99))]
    shifts = [(100.0, 1, True), (300.0, 1, False), (1000.0, 1, True)]
    day = simulate(contacts, people, Engine([Terms(1)]), HOUR, shifts=shifts)
    first, second = day.courses
    assert (first.started, second.started) == (100.0, 1000.0)
    assert second.ended == pytest.approx(1000 + 60 / 0.8), "two at a time"
    assert first.ended == pytest.approx(1075 + (600 - 200 - 60))
    busy = 33 * (200 + (first.ended or 0) - 1000) + 33 * 75
    assert day.occupancy[1] == pytest.approx(busy / (200 + 2600) / 99)


def test_what_rings_at_several_is_one_agents() -> None:
    contacts = synthetic_day(SORTS, 85, 2 * HOUR, 4)
    day = simulate(contacts, crew(), Watched(Engine([replace(one, rings=2) for one in TERMS], 2)), 2 * HOUR)
    assert all(share <= 1 for share in day.occupancy.values())
    assert sum(one.started is not None for one in day.courses) > 100


def test_the_same_day_comes_out_the_same() -> None:
    for policy in (OURS, *PEERS):
        assert play(small(3), policy, 7) == play(small(3), policy, 7)
    assert play(small(3), OURS, 7) != play(small(3), OURS, 8)


def test_every_policy_gets_the_same_customers() -> None:
    one, other = (play(small(), policy, 3) for policy in (OURS, ROUND_ROBIN))
    assert (one.number, one.channels["chat"].number) == (other.number, other.channels["chat"].number)


def test_ours_beats_round_robin_and_a_timer_is_worse_still() -> None:
    days = range(4)
    ours, robin, timer = (
        [play(small(), policy, day).loss for day in days] for policy in (OURS, ROUND_ROBIN, ROUND_ROBIN_300)
    )
    mean, half = paired(ours, robin)
    assert mean + half < 0, "certainly less is lost"
    mean, half = paired(robin, timer)
    assert mean + half < 0


def test_more_agents_lose_less_and_pooled_ones_least() -> None:
    trial = small(4)
    more = replace(trial, crew=resized(trial.crew, 9))
    assert len({one.id for one in more.crew}) == 9
    assert play(more, OURS, 1).loss < play(trial, OURS, 1).loss
    assert play(trial, replace(OURS, pooled=True), 1).loss <= play(trial, OURS, 1).loss


def test_one_skill_and_one_at_a_time_is_what_the_formula_says() -> None:
    """Erlang A with exponential work: 12 agents, 3 minutes each, customers who leave after 2 in the mean."""
    pool = Pool(100 / 1800, 180, 120)
    sorts = [Sort(1.0, "voice", 1, (), 100, 20.0, 180.0, 120.0)]
    chance = random.Random(5)
    contacts = [replace(one, work=chance.expovariate(1 / 180)) for one in synthetic_day(sorts, 200, 80 * HOUR, 5)]
    people = [Candidate(number, "available", {}, {1: Serving()}) for number in range(1, 13)]
    day = simulate(contacts, people, Engine([Terms(1)]), 80 * HOUR)
    expected = staffed(pool, 12, 20)
    left = sum(one.left is not None for one in day.courses) / len(day.courses)
    waited = sum(one.waited(day.end) for one in day.courses) / len(day.courses)
    assert left == pytest.approx(expected.share_leaving, rel=0.12)
    assert waited == pytest.approx(expected.mean_wait, rel=0.12)


def test_the_banks_day_is_as_long_and_as_full_as_it_was() -> None:
    curve = bank_curve()
    assert len(curve) == 169
    assert sum(curve) / len(curve) == pytest.approx(1.0, abs=1e-4)
    day = synthetic_day(SORTS, 520, len(curve) * 300.0, 1, curve=curve)
    assert len(day) == pytest.approx(520 * len(curve) / 12, rel=0.03)
    assert sum(one.priority > 0 for one in day) / len(day) == pytest.approx(0.1, abs=0.01)
    assert all(before.at <= after.at for before, after in pairwise(day))


def test_gap_and_interval() -> None:
    assert gap(0.05, 0.01, 0.21) == pytest.approx(0.2)
    mean, half = paired([1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 5.0, 5.0])
    assert mean == -1.0
    assert half == pytest.approx(3.182 * (2 / 3) ** 0.5 / 2, rel=0.01), "Student's t with three degrees of freedom"
    assert paired([1.0], [2.0]) == (-1.0, inf)
