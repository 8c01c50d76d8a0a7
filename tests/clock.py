"""Time in tests: it stands still until somebody moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """A moment that can be moved forward; call it to read it."""

    def __init__(self, start: str = "2026-11-24T10:00:00"):
        self.moment = datetime.fromisoformat(start).replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **parts: float) -> datetime:
        """Move on by timedelta parts: `clock.forward(minutes=8)`."""
        self.moment += timedelta(**parts)
        return self.moment
