"""Who gets what: a pure function of the agents and the waiting work. No clock, no database, no chance.

Work of one `kind` (queue, skills, weight) is judged alike, so that what nobody can take is passed over as a whole;
an index over kinds can replace the scan without changing a decision.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SHOWN = 3  # candidates kept in an explanation


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent as the engine sees one. `room` is the weight that still fits, `skills` maps names to levels."""

    id: int
    status: str
    room: int
    idle_since: datetime
    skills: Mapping[str, int]
    queues: frozenset[int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Queued work. `skills` are (name, lowest level) pairs in order of name; `cooling` are agents not to ask now."""

    id: int
    conversation_id: int
    queue_id: int
    channel: str
    weight: int
    skills: tuple[tuple[str, int], ...]
    priority: int
    order_time: datetime
    version: int = 0
    cooling: frozenset[int] = frozenset()

    @property
    def urgency(self) -> tuple[int, datetime, int]:
        """Sorts what comes first to the front: higher priority, then longer wait, then the lower id."""
        return (-self.priority, self.order_time, self.id)

    @property
    def kind(self) -> tuple[int, tuple[tuple[str, int], ...], int]:
        """What decides who can take it."""
        return (self.queue_id, self.skills, self.weight)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who of those who serve the queue can take an item, first choice first, and why the others can't.

    `rejected` counts by reason: skill, away, offline, room, cooldown; each agent under the first that applies.
    """

    eligible: tuple[Candidate, ...]
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Decision:
    """This item goes to this agent. `explanation` is a JSON document for the offer and the assignment."""

    item: Waiting
    agent_id: int
    explanation: dict[str, Any]


@dataclass(slots=True)
class Pool:
    """The agents while a batch is decided: every decision takes room and sends the agent to the end of the line."""

    candidates: Iterable[Candidate]
    _serving: dict[int, list[Candidate]] = field(init=False)
    _room: dict[int, int] = field(init=False)
    _turn: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self._serving = defaultdict(list)
        self._room, self._turn = {}, {}
        for candidate in self.candidates:
            self._room[candidate.id], self._turn[candidate.id] = candidate.room, 0
            for queue_id in candidate.queues:
                self._serving[queue_id].append(candidate)

    def judge(self, item: Waiting) -> Verdict:
        """Look at everybody who serves the item's queue."""
        eligible, rejected = [], Counter[str]()
        for candidate in self._serving.get(item.queue_id, ()):
            if reason := self._objection(candidate, item):
                rejected[reason] += 1
            else:
                eligible.append(candidate)
        eligible.sort(key=lambda one: (self._turn[one.id], one.idle_since, one.id))
        return Verdict(tuple(eligible), dict(rejected))

    def take(self, item: Waiting, verdict: Verdict) -> Decision:
        """Give the item to the first choice."""
        chosen = verdict.eligible[0]
        shown = [
            {"agent_id": one.id, "idle_since": one.idle_since.isoformat(), "room": self._room[one.id]}
            for one in verdict.eligible[:SHOWN]
        ]
        self._room[chosen.id] -= item.weight
        self._turn[chosen.id] = max(self._turn.values()) + 1
        explanation = {
            "order": "longest_idle",
            "queue_id": item.queue_id,
            "skills": dict(item.skills),
            "weight": item.weight,
            "eligible": len(verdict.eligible),
            "rejected": dict(verdict.rejected),
            "candidates": shown,
        }
        return Decision(item, chosen.id, explanation)

    def _objection(self, candidate: Candidate, item: Waiting) -> str:
        if any(candidate.skills.get(name, 0) < level for name, level in item.skills):
            return "skill"
        if candidate.status != "available":
            return candidate.status
        if self._room[candidate.id] < item.weight:
            return "room"
        if candidate.id in item.cooling:
            return "cooldown"
        return ""


def match(candidates: Iterable[Candidate], waiting: Iterable[Waiting], limit: int | None = None) -> list[Decision]:
    """Every decision that can be made now, most urgent work first; at most `limit` of them."""
    pool = Pool(candidates)
    decisions: list[Decision] = []
    hopeless: set[tuple[int, tuple[tuple[str, int], ...], int]] = set()
    for item in sorted(waiting, key=lambda one: one.urgency):
        if item.kind in hopeless:
            continue
        verdict = pool.judge(item)
        if verdict.eligible:
            decisions.append(pool.take(item, verdict))
            if len(decisions) == limit:
                break
        elif not verdict.rejected.get("cooldown"):
            hopeless.add(item.kind)  # room only shrinks within a batch
    return decisions
