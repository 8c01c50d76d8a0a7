"""What waits, as the engine sees it: a piece of work, and the terms of the queue in which it waits.

All times are seconds since 1970, all capacities whole numbers on one scale (an agent has 100 unless told otherwise).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

WORK_ORDERS = ("slack", "strict", "ageing", "deadline", "lifo")
AGENT_ORDERS = ("score", "longest_idle", "least_load", "best_skill", "round_robin")

BOOST = 600.0  # seconds of age that a priority is worth at most
Skills = tuple[tuple[str, int], ...]  # (name, lowest level that will do), in order of name

_NOBODY: Mapping[int, float] = {}


@dataclass(frozen=True, slots=True)
class Reserve:
    """Work that can wait leaves `leave` of an agent's capacity free until the share `until` of its target has passed.

    The threshold rule of Gurvich, Armony and Mandelbaum (Management Science 54(2), 2008), per agent.
    """

    leave: int
    until: float


@dataclass(frozen=True, slots=True)
class Terms:
    """How a queue hands out its work.

    `work_order` says what goes first when an agent is free, `agent_order` who is asked when work arrives. `boost` is
    the most seconds of age that priority may be worth: how much longer others wait at most. Work older than
    `max_wait` goes before everything else. One item `rings` at so many agents at once, the first to accept has it.
    """

    id: int
    work_order: str = "slack"
    agent_order: str = "score"
    reserve: Mapping[str, Reserve] = field(default_factory=dict)  # by channel
    boost: float = BOOST
    max_wait: float = math.inf
    rings: int = 1
    paused: bool = False
    closed: bool = False

    @property
    def stopped(self) -> bool:
        """Whether nothing is handed out, by anybody's word or until it opens."""
        return self.paused or self.closed


@dataclass(frozen=True, slots=True)
class Waiting:
    """A piece of queued work.

    `order_time` is the moment its age counts from, `due` when it must be answered, and `target` how long that is from
    the beginning. `priority` is in minutes of age. `groups` are further queues whose agents may take it. Nobody gets
    it before `not_before`, and nobody but `prefer` before `prefer_until` while that agent is there; `cooling` says
    until when not to ask whom. What is `pinned` goes before everything else.
    """

    id: int
    conversation_id: int
    queue_id: int
    channel: str
    weight: int
    skills: Skills
    priority: int
    order_time: float
    due: float
    target: float
    version: int = 0
    labels: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    prefer: int = 0
    prefer_until: float = 0.0
    not_before: float = 0.0
    cooling: Mapping[int, float] = field(default_factory=lambda: _NOBODY)
    pinned: bool = False

    @property
    def kind(self) -> Kind:
        """What decides, but for its age, who can take it and how urgent it is."""
        return Kind(
            self.queue_id, self.channel, self.weight, self.skills, self.priority, self.target, self.labels, self.groups,
            self.pinned,
        )  # fmt: skip

    def is_barred(self, agent_id: int, now: float) -> bool:
        """Whether this agent is not to be asked for it now."""
        return self.not_before > now or self.cooling.get(agent_id, 0.0) > now

    def holds_until(self, now: float) -> float:
        """When the last thing is over that sets it apart from others of its kind; 0 when nothing does."""
        last = max(self.not_before, self.prefer_until, max(self.cooling.values(), default=0.0))
        return last if last > now else 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Work that differs only in age: of these only the first need be looked at."""

    queue_id: int
    channel: str
    weight: int
    skills: Skills
    priority: int
    target: float
    labels: tuple[str, ...]
    groups: tuple[int, ...]
    pinned: bool = False

    @property
    def scored_skill(self) -> str:
        """The skill by which an agent's proficiency is judged: the one asked for at the highest level."""
        return scored_skill(self.skills)


def scored_skill(skills: Skills) -> str:
    """The skill that is asked for at the highest level; "" when none is."""
    return max(skills, key=lambda skill: (skill[1], skill[0]))[0] if skills else ""
