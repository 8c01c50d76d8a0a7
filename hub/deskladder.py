"""Ladders and limits of desk.yaml, as the database keeps them and back; and ways between queues that go in a circle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hub.deskentries import LimitsEntry, QueueEntry, StepEntry
from hub.deskvalues import span

PLAIN = ("priority", "notify", "relax")


def step_in(step: StepEntry, queues: Mapping[str, int]) -> dict[str, Any]:
    """A step with the numbers of its queues, and nothing that says nothing."""
    said = step.model_dump(exclude_defaults=True, exclude={"join", "overflow"})
    said |= {"join": [queues[name] for name in step.join]} if step.join else {}
    return said | ({"queue_id": queues[step.overflow]} if step.overflow else {})


def step_out(said: Mapping[str, Any], queues: Mapping[int | None, str]) -> dict[str, Any]:
    """A step as the file has it. A queue that is there no more is left out; work goes to the default one then."""
    spans = {name: span(said[name]) for name in ("after", "age_credit") if name in said}
    rest = {name: said[name] for name in ("require", *PLAIN) if name in said}
    joined = [queues[number] for number in said.get("join", []) if number in queues]
    named = {"overflow": queues[said["queue_id"]]} if said.get("queue_id") in queues else {}
    return spans | rest | ({"join": joined} if joined else {}) | named


def limits_in(limits: LimitsEntry | None, queues: Mapping[str, int]) -> dict[str, Any]:
    """Limits with the number of the queue that takes the rest."""
    if limits is None:
        return {}
    said = limits.model_dump(exclude_defaults=True, exclude={"overflow"})
    return said | ({"queue_id": queues[limits.overflow]} if limits.overflow else {})


def limits_out(said: Mapping[str, Any], queues: Mapping[int | None, str]) -> dict[str, Any]:
    """Limits as the file has them."""
    named = {"overflow": queues[said["queue_id"]]} if said.get("queue_id") in queues else {}
    wait = {"wait": span(said["wait"])} if "wait" in said else {}
    return ({"size": said["size"]} if "size" in said else {}) | wait | named


def queues_named(ladder: Iterable[StepEntry]) -> list[str]:
    """Every queue that a ladder names."""
    return [name for step in ladder for name in (*step.join, *([step.overflow] if step.overflow else []))]


def skills_named(ladder: Iterable[StepEntry]) -> list[str]:
    """Every skill that a ladder names."""
    return [name for step in ladder for name in (*(step.require or {}), *step.relax)]


def steps_ask(ladder: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every skill that a ladder names, as the database has it."""
    return [name for step in ladder for name in (*(step.get("require") or {}), *step.get("relax", {}))]


def circle(entries: Sequence[QueueEntry]) -> tuple[str, list[str]] | None:
    """A way of work by itself that comes back to where it began: what leads on from there, and the queues on it."""
    ways: dict[str, dict[str, str]] = {}
    for entry in entries:
        on = ways.setdefault(entry.name, {})
        for step in entry.ladder:
            on |= {step.overflow: "ladder"} if step.overflow else {}
        if entry.limits and entry.limits.overflow:
            on[entry.limits.overflow] = "limits"
        if entry.out_of_hours.overflow:
            on[entry.out_of_hours.overflow] = "out_of_hours"
    for name in ways:
        if found := _back_to(name, name, ways, [name]):
            return ways[name][found[1]], found
    return None


def _back_to(goal: str, name: str, ways: Mapping[str, Mapping[str, str]], passed: list[str]) -> list[str] | None:
    for following in ways.get(name, {}):
        if following == goal:
            return [*passed, goal]
        if following not in passed and (found := _back_to(goal, following, ways, [*passed, following])):
            return found
    return None
