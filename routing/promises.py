"""What a queue promises its customers, by kind of channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIRST_REPLY, NEXT_REPLY, RESOLUTION = "first_reply", "next_reply", "resolution"
KINDS = (FIRST_REPLY, NEXT_REPLY, RESOLUTION)
WORDS = {FIRST_REPLY: "First reply", NEXT_REPLY: "Next reply", RESOLUTION: "Resolution"}
WARN_AT = 80  # per cent of a target


@dataclass(frozen=True, slots=True)
class Promises:
    """Targets in seconds of open time; a channel's own target goes before the queue's."""

    targets: Mapping[str, int] = field(default_factory=dict)
    channels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    warn_at: int = WARN_AT

    def target(self, kind: str, channel: str) -> int | None:
        """How long the kind may take; None when nothing is promised."""
        return self.channels.get(channel, {}).get(kind, self.targets.get(kind))

    def names(self, kind: str) -> bool:
        """Whether the kind has a target on any channel."""
        return kind in self.targets or any(kind in own for own in self.channels.values())


def promised(first_reply: int, more: Mapping[str, Any]) -> Promises:
    """A queue's first-reply target and the rest of its `sla`, as stored."""
    targets = {kind: more[kind] for kind in (NEXT_REPLY, RESOLUTION) if kind in more}
    return Promises({FIRST_REPLY: first_reply, **targets}, more.get("channels", {}), more.get("warn_at", WARN_AT))
