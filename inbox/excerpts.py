"""The place in a message where a search found its words, short enough for a row."""

from __future__ import annotations

import re
from collections.abc import Sequence

BEFORE, LENGTH = 24, 140  # characters

Part = tuple[str, bool]  # a piece of text, and whether it is what was looked for


def excerpt(text: str, words: Sequence[str]) -> tuple[Part, ...]:
    """The text around the first of the words, at the beginning of one of its own where there is any; else empty."""
    wanted = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True) if word)
    if not wanted:
        return ()
    line, pattern = " ".join(text.split()), re.compile(wanted, re.IGNORECASE)
    first = re.search(rf"(?<!\w)(?:{wanted})", line, re.IGNORECASE) or pattern.search(line)
    if first is None:
        return ()
    start = max(0, first.start() - BEFORE)
    if start:
        start = line.find(" ", start, first.start()) + 1 or start
    piece = line[start : start + LENGTH].rstrip()
    parts: list[Part] = [("…", False)] if start else []
    at = 0
    for found in pattern.finditer(piece):
        parts += [(piece[at : found.start()], False)] if found.start() > at else []
        parts.append((found[0], True))
        at = found.end()
    return (*parts, (piece[at:], False)) if at < len(piece) else tuple(parts)
