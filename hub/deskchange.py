"""What applying a desk file changed, as its reader is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the file and the database. `mark` is + (new), ~ (changed) or - (gone)."""

    mark: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.what}{': ' + self.detail if self.detail else ''}"
