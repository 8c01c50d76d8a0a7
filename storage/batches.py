"""Long lists of values in statements: so many at once as either database takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

MOST = 400
T = TypeVar("T")


def batches(values: Iterable[T], most: int = MOST) -> Iterator[list[T]]:
    """All of them, in their order."""
    rest = iter(values)
    while batch := list(islice(rest, most)):
        yield batch


def placeholders(values: Collection[Any]) -> str:
    """As many as there are values, for `IN (…)`; nothing is in it without any."""
    return ", ".join("?" * len(values)) or "NULL"
