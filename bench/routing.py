"""What a decision costs as a desk grows: the engine's index beside a plain search over everything, in the same run.

CPU time of the deciding thread, in microseconds, with explanation, holds and reserve. The plain search goes through
all waiting work when an agent is free and through all agents when work arrives; it decides the same, which is checked.
Then what it costs until it is durable (bench/durable.py).
`python bench/routing.py --help`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import durable  # noqa: E402
from routing.demand import Reserve, Terms, Waiting  # noqa: E402
from routing.engine import Engine  # noqa: E402
from routing.supply import Candidate, Limits, Serving  # noqa: E402
from tests.routing_scan import Scan  # noqa: E402

SIZES = {"small": (40, 12, 100), "medium": (1_000, 300, 10_000), "large": (10_000, 2_000, 100_000)}
DATABASES = ("sqlite", "postgresql")
QUEUES, SKILLS = 20, 40
WEIGHTS = {"chat": 30, "email": 20, "sms": 25}
TARGETS = {"chat": 60.0, "email": 14_400.0, "sms": 300.0}
LONGEST = 3600.0  # seconds that work has waited already


@dataclass
class Floor:
    """A desk of random people and kinds of work, full: what is given is noted, and given back at random."""

    agents: int
    kinds: int
    random: Random = field(default_factory=lambda: Random(1))
    now: float = 1_800_000_000.0
    number: int = 0

    def __post_init__(self) -> None:
        self.terms = [Terms(queue, reserve={"email": Reserve(30, 0.6)}) for queue in range(1, QUEUES + 1)]
        self.sorts = [self._sort() for _ in range(self.kinds)]
        self.people = {number: self._person(number) for number in range(1, self.agents + 1)}
        self.has: dict[int, list[Waiting]] = {number: [] for number in self.people}

    def _sort(self) -> tuple[int, str, tuple[tuple[str, int], ...], int]:
        names = self.random.sample(range(SKILLS), self.random.choice([1, 1, 2]))
        skills = tuple(sorted((f"skill {name}", self.random.randint(1, 4)) for name in names))
        return (
            self.random.randint(1, QUEUES),
            self.random.choice(list(WEIGHTS)),
            skills,
            self.random.choice([0, 0, 5]),
        )

    def _person(self, number: int) -> Candidate:
        known = self.random.sample(range(SKILLS), self.random.randint(3, 8))
        skills = {f"skill {name}": self.random.randint(1, 5) for name in known}
        queues = {queue: Serving() for queue in self.random.sample(range(1, QUEUES + 1), self.random.randint(2, 6))}
        limits = Limits(100, {"chat": 3, "email": 5})
        return Candidate(number, "available", skills, queues, limits, idle_since=self.now - self.random.random() * 600)

    def work(self, aged: float = 0.0) -> Waiting:
        """A piece of work of a random kind; one in fifty was declined by somebody a moment ago."""
        self.number += 1
        queue, channel, skills, priority = self.random.choice(self.sorts)
        since = self.now - aged
        cooling = {self.random.randint(1, self.agents): self.now + 60} if self.random.random() < 0.02 else {}
        return Waiting(
            self.number, self.number, queue, channel, WEIGHTS[channel], skills, priority, since,
            since + TARGETS[channel], TARGETS[channel], cooling=cooling,
        )  # fmt: skip

    def as_is(self, agent_id: int) -> Candidate:
        """The agent with what he has now."""
        opened: dict[str, int] = {}
        for item in self.has[agent_id]:
            opened[item.channel] = opened.get(item.channel, 0) + 1
        load = sum(item.weight for item in self.has[agent_id])
        return replace(self.people[agent_id], load=load, open=opened, idle_since=self.now)

    def fill(self, waiting: int) -> Iterator[Waiting]:
        """Give everybody as much as fits, and let as many pieces wait."""
        for agent_id, person in self.people.items():
            while True:
                channel = self.random.choice(list(WEIGHTS))
                opened = sum(item.channel == channel for item in self.has[agent_id])
                load = sum(item.weight for item in self.has[agent_id])
                if load + WEIGHTS[channel] > person.limits.capacity or opened >= 3:
                    break
                self.has[agent_id].append(replace(self.work(), channel=channel, weight=WEIGHTS[channel]))
        for _ in range(waiting):
            yield self.work(self.random.random() * LONGEST)


class Plain(Scan):
    """The plain search of the tests, but for looking again at what has not changed."""

    def __init__(self, terms: Iterable[Terms], skills: int):
        super().__init__(terms, skills)
        self.changed: list[Waiting] = []

    def put(self, item: Waiting, now: float) -> None:
        super().put(item, now)
        self.changed.append(item)

    def decide(self, now: float) -> list[tuple[int, tuple[int, ...]]]:
        made = []
        for agent_id in sorted(self.freed):
            while (item := self.best_work(agent_id, now)) is not None:
                made.append(self.give(item, now))
        made += [self.give(item, now) for item in self.changed if item.id in self.items and self.takers(item, now)]
        self.freed.clear()
        self.changed.clear()
        return made


Deciding = Engine | Plain


@dataclass
class Costs:
    """Seconds of CPU of single decisions, of the index and of the plain search."""

    index: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        ratio = (sum(self.plain) / len(self.plain)) / (sum(self.index) / len(self.index))
        return f"{_spread(self.index)}; plain search {_spread(self.plain)}: {ratio:,.0f} times"


def _spread(costs: list[float]) -> str:
    ordered = sorted(costs)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"mean {sum(ordered) / len(ordered) * 1e6:,.0f} µs, p99 {p99 * 1e6:,.0f} µs"


class Race:
    """An index and a plain search that are told the same about one floor."""

    def __init__(self, floor: Floor, waiting: int):
        self.floor = floor
        self.engine, self.plain = Engine(floor.terms, SKILLS), Plain(floor.terms, SKILLS)
        items = list(floor.fill(waiting))
        for agent_id in floor.people:
            self._tell_agent(self.engine, agent_id)
        for item in items:
            self.engine.put(item, floor.now)
            self.plain.put(item, floor.now)
        for decision in self.engine.decide(floor.now):
            self.plain.drop(decision.item.id)
            for agent_id in decision.agent_ids:
                floor.has[agent_id].append(decision.item)
        for agent_id in floor.people:  # the plain search begins where the index has arrived
            self._tell_agent(self.plain, agent_id)
        self.plain.freed.clear()
        self.plain.changed.clear()

    def work_arrives(self, costs: Costs, both: bool) -> None:
        item = self.floor.work()
        self._decide(lambda one: one.put(item, self.floor.now), costs, both)

    def a_slot_is_freed(self, costs: Costs, both: bool) -> None:
        busy = self.floor.random.choice([agent_id for agent_id, has in self.floor.has.items() if has])
        has = self.floor.has[busy]
        has.pop(self.floor.random.randrange(len(has)))
        one = self.floor.as_is(busy)
        self._decide(lambda told: told.put_agent(one, self.floor.now), costs, both)

    def _tell_agent(self, one: Deciding, agent_id: int) -> None:
        one.put_agent(self.floor.as_is(agent_id), self.floor.now)

    def _decide(self, tell: Callable[[Deciding], object], costs: Costs, both: bool) -> None:
        """Tell and decide, timed. Raises AssertionError when the two decide differently."""
        began = time.thread_time()
        tell(self.engine)
        made = self.engine.decide(self.floor.now)
        costs.index.append(time.thread_time() - began)
        pairs = [(decision.item.id, decision.agent_ids) for decision in made]
        if both:
            began = time.thread_time()
            tell(self.plain)
            found = self.plain.decide(self.floor.now)
            costs.plain.append(time.thread_time() - began)
            assert found == pairs, f"the index decides {pairs}, a plain search {found}"
        for decision in made:
            for agent_id in decision.agent_ids:
                self.floor.has[agent_id].append(decision.item)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = [*SIZES, *DATABASES]
    parser.add_argument("what", nargs="*", default=known, help=f"of {', '.join(known)}; all without any")
    parser.add_argument("--events", type=int, default=2000, help="arrivals and freed slots of each size")
    parser.add_argument("--searches", type=int, default=20, help="how many of them the plain search decides, too")
    asked = parser.parse_args()
    if unknown := [name for name in asked.what if name not in known]:
        parser.error(f"no {unknown[0]!r}; known are {', '.join(known)}")
    for name in (name for name in asked.what if name in SIZES):
        agents, kinds, waiting = SIZES[name]
        print(f"{name}: {agents:,} agents, {kinds:,} kinds of work, {waiting:,} waiting")
        race, arrivals, freed = Race(Floor(agents, kinds), waiting), Costs(), Costs()
        for number in range(asked.events):
            race.floor.now += 0.05
            race.work_arrives(arrivals, number < asked.searches)
            race.a_slot_is_freed(freed, number < asked.searches)
        print(f"  arrival    {arrivals}\n  freed slot {freed}", flush=True)
    for name in (name for name in asked.what if name in DATABASES):
        durable.report(name, durable.Size(1_000, 20_000))


if __name__ == "__main__":
    main()
