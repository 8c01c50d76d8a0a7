"""Text from outside, made fit to store, or short enough to show."""

from __future__ import annotations

import re
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """Without NUL, which PostgreSQL refuses, and without lone surrogates, which no encoding holds."""
    if text.isascii():
        return text.replace("\x00", "")
    return _SURROGATES.sub("\ufffd", text.replace("\x00", ""))


def storable_json(value: Any) -> Any:
    """A decoded JSON document with every text in it made fit to store. Raises RecursionError."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): storable_json(each) for name, each in value.items()}
    return [storable_json(each) for each in value] if isinstance(value, list) else value


def shortened(text: str, chars: int) -> str:
    """At most so many characters, with an ellipsis where something is missing."""
    text = text.strip()
    return text if len(text) <= chars else f"{text[: chars - 1].rstrip()}…"
