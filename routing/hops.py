"""How often work was moved: what goes round by itself, or to and fro by hand, ends at a supervisor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_HOPS = 3  # moves in a row without a person's hand
NEVER_THERE = ("closed", "full", "unserved")  # what the queue was that it came to at first
MOST_RETURNS = 2  # times that agents may put it into the same queue

Trace = Iterable[Mapping[str, Any]]


@dataclass(slots=True)
class Path:
    """Where work has been. `queues` are those since a person last decided, `hops` how often it moved by itself then;
    `entered` counts how often people put it into which queue."""

    queues: list[int] = field(default_factory=list)
    hops: int = 0
    entered: dict[int, int] = field(default_factory=dict)


def path_of(trace: Trace) -> Path:
    """The path that a work item's `trace` tells of."""
    path = Path()
    for number, step in enumerate(trace):
        queue_id = step.get("queue_id")
        if queue_id is None:
            continue
        if number == 0:
            path.queues = [queue_id]
        elif step.get("by", "system") != "system":
            path.queues, path.hops = [queue_id], 0
            path.entered[queue_id] = path.entered.get(queue_id, 0) + 1
        else:
            # A queue that was closed or full when it came never had it.
            path.queues = [queue_id] if step["step"] in NEVER_THERE else [*path.queues, queue_id]
            path.hops += 1
    return path


def why_not_alone(trace: Trace, queue_id: int, name: str) -> str:
    """Why work may not go on to a queue by itself; "" when it may."""
    path = path_of(trace)
    if queue_id in path.queues:
        return f"It would go to {name} again by itself, and to and fro."
    if path.hops >= MOST_HOPS:
        return f"It was moved {path.hops} times by itself, and would go on to {name}."
    return ""


def returns(trace: Trace, queue_id: int) -> int:
    """How often people have put work into a queue."""
    return path_of(trace).entered.get(queue_id, 0)
