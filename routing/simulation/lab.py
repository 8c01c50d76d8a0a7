"""The laboratory: one floor, several ways to hand out its work, and the same customers for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from routing.demand import Terms
from routing.simulation.measures import Measures, measure
from routing.simulation.policies import Policy
from routing.simulation.simulator import Day, Shift, simulate
from routing.simulation.traffic import Contact
from routing.supply import Candidate


@dataclass(frozen=True, slots=True)
class Trial:
    """A floor and its days: `day(number)` gives the contacts of a day, always the same ones.

    Contacts that come from `counted_from` to `counted_until` seconds after the beginning are counted: before, the
    floor fills; afterwards some would have no outcome yet.
    """

    name: str
    crew: Sequence[Candidate]
    terms: Sequence[Terms]
    skills: int
    day: Callable[[int], Sequence[Contact]]
    seconds: float
    counted_from: float
    counted_until: float
    begin: float = 0.0
    shifts: Sequence[Shift] = ()


def simulated(trial: Trial, policy: Policy, number: int) -> Day:
    """One day of a trial under a policy."""
    return simulate(
        trial.day(number), policy.staff(trial.crew), policy.engine(trial.terms, trial.skills),
        trial.begin + trial.seconds, begin=trial.begin, counted_from=trial.begin + trial.counted_from,
        every=policy.every, shifts=trial.shifts, priority=policy.priority,
    )  # fmt: skip


def play(trial: Trial, policy: Policy, number: int) -> Measures:
    """One day of a trial under a policy, in numbers."""
    day = simulated(trial, policy, number)
    return measure(day, trial.begin + trial.counted_from, trial.begin + trial.counted_until)


def resized(crew: Sequence[Candidate], number: int) -> list[Candidate]:
    """A crew of another size: the first of them, or further ones who are copies of them in turn."""
    first = max((one.id for one in crew), default=0) + 1
    more = range(max(0, number - len(crew)))
    return [*crew[:number], *(replace(crew[place % len(crew)], id=first + place) for place in more)]
