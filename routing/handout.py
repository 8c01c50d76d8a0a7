"""How work is handed out, as it is stored: a queue's terms and an agent's profile, read into the engine's words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routing.demand import BOOST, Reserve, Terms
from routing.supply import Limits, Serving
from storage.desk import Queue, RoutingProfile

RINGS = frozenset({"chat"})  # unless a profile says otherwise, every other kind is accepted automatically
COOLDOWN = 60  # seconds for which who declined or missed an item is not asked for it again
RING_SECONDS = 30  # where the queue is not known any more
MISSED_LIMIT = 3  # unanswered offers in a row after which an agent is taken to be away
GRACES = {"chat": 60}  # on other channels work waits for its agent, unless a profile says otherwise
USUAL = Serving()


@dataclass(frozen=True, slots=True)
class Profile:
    """What agents of a profile get: their limits without the capacity, how they serve queues, and what rings first."""

    limits: Mapping[str, Any] = field(default_factory=dict)
    serving: Mapping[int, Serving] = field(default_factory=dict)
    rings: frozenset[str] = RINGS
    push: frozenset[str] = frozenset()  # channels whose work is not to be chosen: it comes by itself only
    graces: Mapping[str, int] = field(default_factory=lambda: GRACES)  # seconds a lost connection may last, by channel

    def limits_of(self, capacity: int) -> Limits:
        """The limits of an agent who has this capacity."""
        return Limits(capacity, **self.limits)


NO_PROFILE = Profile()


def read_terms(queue: Queue) -> Terms:
    """`handout`: {work, agent, reserve: {channel: {leave, until}}, boost, max_wait, offers, paused}; seconds, and until
    in per cent of the target. What else it says is in `routing.rules.QueueTerms`.
    """
    said = queue.handout
    return Terms(
        int(queue.id or 0),
        said.get("work", "slack"),
        said.get("agent", "score"),
        {channel: Reserve(one["leave"], one["until"] / 100) for channel, one in said.get("reserve", {}).items()},
        float(said.get("boost", BOOST)),
        float(said.get("max_wait", math.inf)),
        int(said.get("offers", 1)),
        paused=bool(said.get("paused", False)),
    )


def read_profile(row: RoutingProfile) -> Profile:
    """`limits`: {channels, labels, blocks, pull, push, rate, window, rings, disconnect}; `serving`: {queue: {rank,
    delay}}. `disconnect` has seconds by channel, 0 for never.
    """
    said = dict(row.limits)
    rings, push = frozenset(said.pop("rings", RINGS)), frozenset(said.pop("push", ()))
    if "pull" in said:
        said["pull"] = frozenset(said["pull"])
    if "blocks" in said:
        said["blocks"] = {channel: frozenset(others) for channel, others in said["blocks"].items()}
    serving = {int(queue_id): Serving(**how) for queue_id, how in row.serving.items()}
    graces = {channel: seconds for channel, seconds in (GRACES | said.pop("disconnect", {})).items() if seconds}
    return Profile(said, serving, rings, push, graces)
