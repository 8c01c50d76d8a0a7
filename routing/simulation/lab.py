"""The laboratory: one floor, several ways to hand out its work, and the same customers for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from routing.demand import Terms
from routing.simulation.measures import Measures, measure
from routing.simulation.policies import Policy
from routing.simulation.simulator import Day, Habits, Shift, simulate
from routing.simulation.traffic import Contact, Sort
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
    house: Mapping[int, Habits] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """Which days of a trial are played, and which spans of each are counted, in seconds from its beginning."""

    numbers: Sequence[int]
    spans: Sequence[tuple[float, float]]

    def days(self, trial: Trial, policy: Policy) -> Iterator[Day]:
        """The days as they come out."""
        return (simulated(trial, policy, number) for number in self.numbers)

    def measures(self, trial: Trial, policy: Policy) -> list[Measures]:
        """In numbers, for each span in which somebody came: the same spans whatever the policy."""
        found = [
            measure(day, trial.begin + start, trial.begin + end)
            for day in self.days(trial, policy)
            for start, end in self.spans
        ]
        return [one for one in found if one.number]

    def smaller(self, most: int) -> Sample:
        """At most so many of its days, for questions that need many tries."""
        return replace(self, numbers=self.numbers[:most])


def simulated(trial: Trial, policy: Policy, number: int) -> Day:
    """One day of a trial under a policy."""
    return simulate(
        trial.day(number), policy.staff(trial.crew), policy.engine(trial.terms, trial.skills),
        trial.begin + trial.seconds, begin=trial.begin, counted_from=trial.begin + trial.counted_from,
        house=trial.house, every=policy.every, shifts=trial.shifts, priority=policy.priority,
    )  # fmt: skip


def play(trial: Trial, policy: Policy, number: int) -> Measures:
    """One day of a trial under a policy, in numbers."""
    day = simulated(trial, policy, number)
    return measure(day, trial.begin + trial.counted_from, trial.begin + trial.counted_until)


def handling(one: Contact | Sort, house: Mapping[int, Habits]) -> float:
    """Seconds of an agent that a contact takes, when he has nothing else: its work, and wrapping it up."""
    habits = house.get(one.queue_id)
    share = None if habits is None else habits.wrap_up.on(one.channel)
    return one.work + (share.seconds * share.keep / 100 if share is not None else 0.0)


def with_agents(trial: Trial, number: int) -> Trial:
    """A trial with another number of agents; copies come and go with those whom they are copies of."""
    crew = resized(trial.crew, number)
    known = {one.id for one in trial.crew}
    added = [one.id for one in crew if one.id not in known]
    copied = {new: trial.crew[place % len(trial.crew)].id for place, new in enumerate(added)}
    shifts = [(at, new, here) for new, old in copied.items() for at, who, here in trial.shifts if who == old]
    return replace(trial, crew=crew, shifts=sorted([*trial.shifts, *shifts]))


def resized(crew: Sequence[Candidate], number: int) -> list[Candidate]:
    """A crew of another size: copies of its members in turn, or without some of the sort that there are most of."""
    kept = list(crew)
    while len(kept) > max(0, number):
        sorts = Counter(map(sort_of, kept))
        commonest = max(sorts.values())
        kept.remove(next(one for one in reversed(kept) if sorts[sort_of(one)] == commonest))
    first = max((one.id for one in crew), default=0) + 1
    more = range(number - len(crew))
    return [*kept, *(replace(crew[place % len(crew)], id=first + place) for place in more)]


def sort_of(one: Candidate) -> Hashable:
    """What an agent has in common with those who can do the same work."""
    return frozenset(one.queues), frozenset(one.skills.items())
