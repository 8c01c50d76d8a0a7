"""How many agents a pool needs, by formula: Erlang C, Erlang A, and chat, where one agent serves several at once.

All three are one birth-death chain (chat after Tezcan and Zhang, "Routing and staffing in customer service chat
systems with impatient customers", Operations Research 62(4), 2014). They know one kind of work and one skill: a
bound beside the simulation, not a replacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf

MOST_AGENTS = 10_000
NEGLIGIBLE = 1e-12
LARGE = 1e200


@dataclass(frozen=True, slots=True)
class Pool:
    """Work that comes `per_second` and takes `handling` seconds at full speed, by customers of mean `patience`.

    `rates` is the speed of an agent with one, two and more conversations at a time, all of them taken together.
    """

    per_second: float
    handling: float
    patience: float = inf
    rates: Sequence[float] = (1.0,)

    def least(self) -> int:
        """The fewest agents with whom the line does not grow for ever."""
        return 1 if self.patience < inf else int(self.per_second * self.handling / max(self.rates)) + 1


@dataclass(frozen=True, slots=True)
class Staffed:
    """A pool with so many agents in its long run. `share_waiting` and `share_leaving` are shares of all customers."""

    agents: int
    share_waiting: float
    share_leaving: float
    mean_wait: float
    within: float  # share of customers, were they patient, whose wait is at most the target


def staffed(pool: Pool, agents: int, target: float) -> Staffed:
    """What so many agents achieve. Raises ValueError with fewer than the work takes."""
    if agents < pool.least():
        raise ValueError(f"{agents} agents are not enough for this work: it takes at least {pool.least()}")
    leaving = 1.0 / pool.patience
    slots = agents * len(pool.rates)
    speeds = [_rate(pool, agents, number) for number in range(slots + 1)]
    states = _states(pool, speeds, leaving)
    waiting = sum((number - slots) * share for number, share in enumerate(states[slots:], slots))
    within = 1.0 - sum(states[slots:])
    for ahead, share in enumerate(states[slots:]):
        within += share * _passed(speeds[-1], leaving, ahead, target)
    return Staffed(agents, sum(states[slots:]), leaving * waiting / pool.per_second, waiting / pool.per_second, within)


def agents_needed(pool: Pool, target: float, share: float, leaving: float = 1.0) -> Staffed:
    """The fewest agents with whom this share of customers waits at most the target, and at most `leaving` leave."""

    def enough(agents: int) -> bool:
        found = staffed(pool, agents, target)
        return found.within >= share and found.share_leaving <= leaving

    low = high = pool.least()
    while low > MOST_AGENTS or not enough(high):
        if high >= MOST_AGENTS:
            raise ValueError(f"{MOST_AGENTS} agents are not enough for {share:.0%} within {target:g} s")
        low, high = high + 1, min(2 * high, MOST_AGENTS)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return staffed(pool, low, target)


def _rate(pool: Pool, agents: int, number: int) -> float:
    """Departures per second with so many in service, spread over the agents as evenly as can be."""
    levels = (0.0, *pool.rates)
    each, more = divmod(number, agents)
    return ((agents - more) * levels[each] + (more * levels[each + 1] if more else 0.0)) / pool.handling


def _states(pool: Pool, speeds: Sequence[float], leaving: float) -> list[float]:
    """The share of time with so many customers present; states that hardly ever occur are cut off."""
    shares, total = [1.0], 1.0
    slots = len(speeds) - 1
    while len(shares) <= slots or shares[-1] > NEGLIGIBLE * total:
        number = len(shares)
        gone = speeds[min(number, slots)] + leaving * max(0, number - slots)
        shares.append(shares[-1] * pool.per_second / gone)
        total += shares[-1]
        if total > LARGE:  # only how they compare counts, and hundreds of agents outgrow a float
            shares, total = [share / LARGE for share in shares], total / LARGE
    return [share / total for share in shares]


def _passed(speed: float, leaving: float, ahead: int, target: float) -> float:
    """The chance that with so many ahead in the line one's turn comes within the target."""
    if leaving:  # each who waits may leave, too: a negative binomial sum
        stages, left = speed / leaving, exp(-leaving * target)
        term: float = left**stages
        total = term
        for number in range(1, ahead + 1):
            term *= (stages + number - 1) / number * (1.0 - left)
            total += term
    else:
        term = total = exp(-speed * target)
        for number in range(1, ahead + 1):
            term *= speed * target / number
            total += term
    return 1.0 - total
