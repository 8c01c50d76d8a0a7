"""Synthetic days: who writes when, how much work that makes and how long each waits, drawn from one seed."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from math import inf
from pathlib import Path
from typing import NamedTuple

from routing.demand import Skills

BANK = Path(__file__).with_name("bank_day.json")
SPREAD = 0.7  # of the logarithm of the work: most of it is short, some takes very long

WORK: Mapping[str, float] = {"chat": 480.0, "sms": 300.0, "whatsapp": 300.0, "slack": 360.0}
WORK_OF_OTHERS = 360.0
PATIENCE: Mapping[str, float] = {"voice": 180.0, "chat": 300.0, "sms": 2700.0, "whatsapp": 2700.0}  # others don't leave


class Pause(NamedTuple):
    """After so many seconds of work nobody works on it for so long: the customer has the word, or it `sleeps`."""

    after: float
    seconds: float
    sleeps: bool = False


@dataclass(frozen=True, slots=True)
class Stand:
    """What a desk makes of a contact that nobody has taken `after` so many seconds: where it waits, for whom.

    Agents of the queues `groups` may take it as well. Beside what it was when it came, its priority is `raised`, and
    `credit` seconds are added to its age. The `target` counts from when it came, `closed` as in `Contact`.
    """

    after: float
    queue_id: int
    skills: Skills
    target: float
    closed: float = 0.0
    groups: tuple[int, ...] = ()
    raised: int = 0
    credit: float = 0.0


Way = tuple[Stand, ...]  # in order of time


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody who writes. `work` is in seconds of a skilled agent who does nothing else, `patience` in seconds.

    `closed` are the seconds before it is due in which its queue is closed. Its `steps` come while nobody takes it;
    where its queue is full it goes the first of these `ways` that is not, at worst the last.
    """

    at: float
    channel: str
    queue_id: int
    skills: Skills
    weight: int
    target: float
    work: float
    patience: float = inf
    priority: int = 0
    closed: float = 0.0
    labels: tuple[str, ...] = ()
    pauses: tuple[Pause, ...] = ()
    steps: Way = ()
    ways: tuple[Way, ...] = ()
    groups: tuple[int, ...] = ()
    raised: int = 0
    credit: float = 0.0

    @property
    def due(self) -> float:
        """When somebody must have it."""
        return self.at + self.target + self.closed

    def standing(self, stand: Stand) -> Contact:
        """The same contact, as it stands from then on."""
        return replace(
            self, queue_id=stand.queue_id, skills=stand.skills, target=stand.target, closed=stand.closed,
            groups=stand.groups, raised=stand.raised, credit=stand.credit,
        )  # fmt: skip

    def going(self, way: Way) -> Contact:
        """The same contact, going a way from its beginning."""
        return replace(self.standing(way[0]), steps=way[1:])


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of contact and its part of the traffic; `work` and `patience` are means. Nobody thinks in between."""

    share: float
    channel: str
    queue_id: int
    skills: Skills
    weight: int
    target: float
    work: float
    patience: float = inf
    priority: int = 0
    labels: tuple[str, ...] = ()
    steps: Way = ()
    ways: tuple[Way, ...] = ()


def synthetic_day(
    sorts: Sequence[Sort],
    per_hour: float,
    seconds: float,
    seed: int,
    *,
    curve: Sequence[float] = (1.0,),
    begin: float = 0.0,
    valued: float = 0.1,
    value: int = 1,
) -> list[Contact]:
    """A day of contacts in order of time, by thinning a Poisson stream (Lewis and Shedler 1979).

    `curve` is the traffic over the day beside its mean, in equal steps. The share `valued` of the customers has
    `value` minutes more priority.
    """
    chance = random.Random(seed)
    highest, step = max(curve), seconds / len(curve)
    parts = list(accumulate(sort.share for sort in sorts))
    found, at = list[Contact](), 0.0
    while True:
        at += chance.expovariate(per_hour / 3600.0 * highest)
        if at >= seconds:
            return found
        kept = chance.random() * highest <= curve[min(len(curve) - 1, int(at / step))]
        sort = chance.choices(sorts, cum_weights=parts)[0]
        priority = sort.priority + (value if chance.random() < valued else 0)
        work = chance.lognormvariate(-SPREAD * SPREAD / 2, SPREAD) * sort.work
        stays = chance.expovariate(1.0)
        patience = stays * sort.patience if sort.patience < inf else inf
        if kept:
            found.append(
                Contact(
                    begin + at, sort.channel, sort.queue_id, sort.skills, sort.weight, sort.target, work, patience,
                    priority, labels=sort.labels, steps=sort.steps, ways=sort.ways,
                )
            )  # fmt: skip


@cache
def bank_curve() -> tuple[float, ...]:
    """How calls come to a bank over its day, 7:00 to 21:05 in steps of five minutes, beside their mean."""
    return tuple(json.loads(BANK.read_text("utf-8"))["curve"])
