"""Multipart mails without a pattern for each boundary: Python before 3.13 compiles one, which takes as long as reading.

Every mail has boundaries of its own, so that nothing is found in the cache of patterns. What newer versions do is done
for older ones as well: compare where the line begins, then match what may follow.
"""

from __future__ import annotations

import re
import sys
from email import feedparser
from types import SimpleNamespace

BEFORE, AFTER = "(?P<sep>", r")(?P<end>--)?(?P<ws>[ \t]*)(?P<linesep>\r\n|\r|\n)?$"
FOLLOWS = re.compile(AFTER.removeprefix(")"))


class Boundary:
    """What the parser takes for a compiled pattern. Raises ValueError for any other than it has for boundaries."""

    def __init__(self, pattern: str):
        if not (pattern.startswith(BEFORE) and pattern.endswith(AFTER)):
            raise ValueError(f"the standard library looks for boundaries in another way: {pattern!r}")
        self._line = pattern[len(BEFORE) : -len(AFTER)]

    def match(self, line: str) -> re.Match[str] | None:
        """Groups `end` and `linesep`, where a line is this boundary."""
        return FOLLOWS.match(line, len(self._line)) if line.startswith(self._line) else None


def match_cheaply() -> None:
    """From now on, in this process."""
    if sys.version_info < (3, 13):
        feedparser.re = SimpleNamespace(compile=Boundary, escape=str)  # type: ignore[attr-defined]
