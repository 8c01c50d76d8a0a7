"""What the simulator recommends is better on customers that it was not chosen on, and it says so when nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from statistics import fmean

import pytest

from routing.demand import Reserve, Terms
from routing.simulation.advice import RELEASES, agents_for, halvings, lesson, release_point
from routing.simulation.lab import Sample, Trial, resized, with_agents
from routing.simulation.measures import paired
from routing.simulation.policies import TASKROUTER, Policy
from routing.simulation.traffic import Contact, Sort, synthetic_day
from routing.supply import Candidate, Limits, Serving

HOUR = 3600.0
AS_IS = Policy("as it is")
CHAT = Sort(0.6, "chat", 1, (("lamps", 1),), 33, 60.0, 480.0, 300.0)
MAIL = Sort(0.4, "email", 1, (("lamps", 1),), 33, 2 * HOUR, 360.0)


class Tries:
    """Counts the ways that were tried."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> None:
        self.number += 1


def crew(*skills: str) -> list[Candidate]:
    """An agent for each word: l knows lamps, b bills, and each letter is a queue."""
    known = {"l": ("lamps", 1), "b": ("bills", 2)}
    return [
        Candidate(
            place, "available", {known[letter][0]: 5 for letter in one},
            {known[letter][1]: Serving() for letter in one}, Limits(99),
        )
        for place, one in enumerate(skills, 1)
    ]  # fmt: skip


def trial(sorts: Sequence[Sort], people: Sequence[Candidate], per_hour: float) -> Trial:
    def day(seed: int) -> Sequence[Contact]:
        return synthetic_day(sorts, per_hour, 6 * HOUR, seed)

    return Trial("small", people, (Terms(1), Terms(2)), 2, day, 6 * HOUR, 0.0, 6 * HOUR)


def days(first: int, number: int = 6) -> Sample:
    return Sample(range(first, first + number), [(0.0, 5 * HOUR)])


def test_the_release_point_that_is_recommended_helps_on_other_days_too() -> None:
    tries, small = Tries(), trial([CHAT, MAIL], crew(*"lllll"), 75)
    today = days(0).measures(small, AS_IS)
    found = release_point(days(0), small, AS_IS, today, tries)
    assert found is not None and found.gain.is_sure
    assert (found.leave, found.channels, tries.number) == (33, ("email",), len(RELEASES))
    assert found.until > 0
    kept = {"email": Reserve(found.leave, found.until)}
    changed = replace(small, terms=[replace(one, reserve=kept) for one in small.terms])
    other = days(100)
    mean, half = paired(
        [day.loss for day in other.measures(small, AS_IS)], [day.loss for day in other.measures(changed, AS_IS)]
    )
    assert mean - half > 0


@pytest.mark.parametrize("only", [CHAT, MAIL])
def test_where_all_or_nothing_can_wait_there_is_no_room_to_keep(only: Sort) -> None:
    small = trial([only], crew("l", "l"), 10)
    assert release_point(days(0, 2), small, AS_IS, days(0, 2).measures(small, AS_IS), Tries()) is None


def test_the_skill_that_is_short_is_taught_to_those_who_have_time() -> None:
    bills = replace(CHAT, share=0.75, queue_id=2, skills=(("bills", 2),))
    small = trial([replace(CHAT, share=0.25), bills], crew("l", "l", "l", "l", "b", "b"), 60)
    tries, today = Tries(), days(0).measures(small, AS_IS)
    found = lesson(days(0), small, AS_IS, today, tries)
    assert found is not None and found.gain.is_sure
    assert (found.queue_id, found.skills) == (2, (("bills", 2),))
    assert set(found.agent_ids) <= {1, 2, 3, 4} and len(found.agent_ids) >= 2
    assert found.gain.in_time[0] > 0.05
    assert tries.number <= found.gain.tried


def test_nothing_is_taught_where_nothing_is_late() -> None:
    small = trial([MAIL], crew("l", "b"), 2)
    assert lesson(days(0, 2), small, AS_IS, days(0, 2).measures(small, AS_IS), Tries()) is None


def test_as_many_agents_as_it_takes_and_no_fewer() -> None:
    small = trial([CHAT, MAIL], crew(*"lllll"), 75)
    goal = fmean(day.in_time for day in days(0, 3).measures(small, AS_IS))
    tries = Tries()
    needed = agents_for(days(0, 3), small, TASKROUTER, goal, 12, tries)
    assert needed is not None and tries.number <= halvings(12)
    for number, enough in ((needed, True), (needed - 1, False)):
        got = fmean(day.in_time for day in days(0, 3).measures(with_agents(small, number), TASKROUTER))
        assert (got >= goal) is enough
    assert agents_for(days(0, 2), small, TASKROUTER, 1.1, 7, Tries()) is None


def test_of_the_best_of_several_less_is_sure() -> None:
    ours, theirs = [0.9, 0.95, 0.92, 0.97], [0.88, 0.9, 0.91, 0.9]
    assert paired(ours, theirs)[1] < paired(ours, theirs, 6)[1] < inf
    assert paired([1.0, 2.0], [0.0, 0.0])[1] == pytest.approx(12.706 * 0.5, rel=1e-3), "one degree of freedom"
    assert paired([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])[1] == pytest.approx(4.303 / 3**0.5, rel=1e-3)


def test_a_smaller_crew_keeps_those_who_alone_know_something() -> None:
    people = crew("l", "l", "b", "l")
    assert [one.id for one in resized(people, 2)] == [1, 3]
    assert [one.id for one in resized(people, 6)] == [1, 2, 3, 4, 5, 6]
    shifts = [(10.0, 1, False), (20.0, 2, False)]
    more = with_agents(replace(trial([MAIL], people, 2), shifts=shifts), 6)
    assert more.shifts == [(10.0, 1, False), (10.0, 5, False), (20.0, 2, False), (20.0, 6, False)]
