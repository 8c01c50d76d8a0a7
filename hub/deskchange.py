"""What applying a desk file changed, as its reader is told."""

from __future__ import annotations

from dataclasses import dataclass

from config.language import _, words

# What changes and findings are about, as the reader says it.
SAID = words({
    "agent": "agent", "calendar": "calendar", "channel": "channel", "contact field": "contact field",
    "macro": "macro", "profile": "profile", "queue": "queue", "role": "role", "rule": "rule",
    "saved reply": "saved reply", "skill": "skill", "tag": "tag", "view": "view", "webhook": "webhook",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the file and the database. `mark` is + (new), ~ (changed) or - (gone)."""

    mark: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.what}{': ' + self.detail if self.detail else ''}"


def thing(what: str) -> str:
    """What a change or finding is about, such as "queue Shipping", with its noun as the reader says it."""
    noun = next((each for each in SAID if what.startswith(f"{each} ")), "")
    return _("{noun} {name}", noun=SAID[noun], name=what.removeprefix(f"{noun} ")) if noun else what
