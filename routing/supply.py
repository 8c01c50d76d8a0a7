"""Who is there, as the engine sees it: an agent, what he can do and how much of what still fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from routing.demand import Skills


@dataclass(frozen=True, slots=True)
class Serving:
    """How an agent serves a queue: those of a lower `rank` first, and only work older than `delay` seconds."""

    rank: int = 1
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of what fits on an agent at once.

    `channels` and `labels` are numbers of conversations; what is not named has no limit but the capacity. While a
    conversation of a channel is open, those of the channels that it `blocks` are not offered. At most `rate` pieces
    of work come within `window` seconds. `pull` names the channels whose work the agent takes by hand only.
    """

    capacity: int = 100
    channels: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    blocks: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pull: frozenset[str] = frozenset()
    rate: int = 0
    window: float = 3600.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent as he is now. `open` and `labelled` count what he has by channel and by label, and `recent` are the
    moments at which work came, as far as the rate needs them. What he wraps up counts in all of these, too; `wrapping`
    is its part of the load, `wrapped` its numbers by channel. `refuses` are channels that his status leaves out;
    `rings` are those whose work he is asked for before it is his, None being all.
    """

    id: int
    status: str
    skills: Mapping[str, int]
    queues: Mapping[int, Serving]
    limits: Limits = Limits()
    load: int = 0
    idle_since: float = 0.0
    last_at: float = 0.0
    open: Mapping[str, int] = field(default_factory=dict)
    labelled: Mapping[str, int] = field(default_factory=dict)
    recent: tuple[float, ...] = ()
    wrapping: int = 0
    wrapped: Mapping[str, int] = field(default_factory=dict)
    refuses: frozenset[str] = frozenset()
    rings: frozenset[str] | None = None

    def is_asked(self, channel: str) -> bool:
        """Whether work of this channel rings at him first."""
        return self.rings is None or channel in self.rings

    def has(self, skills: Skills) -> bool:
        """Whether his levels suffice."""
        return all(self.skills.get(name, 0) >= level for name, level in skills)


@dataclass(frozen=True, slots=True)
class Slot:
    """One more conversation of a sort: what room is asked for. Work that can wait asks for `leave` beside it."""

    channel: str
    weight: int
    labels: tuple[str, ...] = ()
    leave: int = 0


def objection(
    one: Candidate, slot: Slot, load: int, opened: Mapping[str, int], labelled: Mapping[str, int], capped: bool
) -> str:
    """The first reason why an agent with this load can't take one more of these now; "" when he can."""
    if one.status != "available":
        return one.status
    if slot.channel in one.refuses:
        return "status"
    limits = one.limits
    if slot.channel in limits.pull:
        return "pull"
    if load + slot.weight > limits.capacity:
        return "room" if load + slot.weight - one.wrapping > limits.capacity else "wrap_up"
    if opened.get(slot.channel, 0) >= (most := limits.channels.get(slot.channel, 1_000_000)):
        return "channel" if opened[slot.channel] - one.wrapped.get(slot.channel, 0) >= most else "wrap_up"
    if slot.labels and any(labelled.get(label, 0) >= limits.labels.get(label, 1_000_000) for label in slot.labels):
        return "label"
    if limits.blocks and any(opened.get(busy, 0) and slot.channel in limits.blocks[busy] for busy in limits.blocks):
        return "blocked"
    if capped:
        return "rate"
    if load + slot.weight + slot.leave > limits.capacity:
        return "reserve"
    return ""
