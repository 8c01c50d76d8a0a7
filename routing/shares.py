"""How much of a conversation's weight counts while nobody works on it, and for how long or from when on, by channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Share(NamedTuple):
    """`keep` per cent of a weight, for so many seconds or after them."""

    seconds: int
    keep: int

    def of(self, weight: int) -> int:
        """The part that counts; any part of a unit is a unit."""
        return -(-weight * self.keep // 100)


@dataclass(frozen=True, slots=True)
class Shares:
    """What a queue says: `seconds` on every channel but those in `channels`; 0 is never.

    With `transfers` it also counts for what an agent hands on.
    """

    seconds: int = 0
    keep: int = 100
    channels: Mapping[str, int] = field(default_factory=dict)
    transfers: bool = False

    @property
    def exist(self) -> bool:
        """Whether there is any."""
        return self.seconds > 0 or any(self.channels.values())

    def on(self, channel: str) -> Share | None:
        """What counts for work of a channel; None for nothing."""
        seconds = self.channels.get(channel, self.seconds)
        return Share(seconds, self.keep) if seconds else None


NONE_KEPT = Shares()


def read_wrap_up(said: Mapping[str, Any]) -> Shares:
    """A queue's `wrap_up`: {time, keep, channels, transfers}."""
    return Shares(said.get("time", 0), said.get("keep", 100), said.get("channels", {}), said.get("transfers", False))


def read_parking(said: Mapping[str, Any]) -> Shares:
    """A queue's `park`: {after, keep, channels}."""
    return Shares(said.get("after", 0), said.get("keep", 0), said.get("channels", {}))
