"""How work is handed out, as desk.yaml says it: entries of queues and profiles, and both as they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hub.deskvalues import UNITS, Entry, Span, among, seconds_of, span
from routing.demand import AGENT_ORDERS, WORK_ORDERS
from routing.returning import WAIT, WITHIN
from storage.desk import Queue, RoutingProfile


class ReserveEntry(Entry):
    """Room that work of a channel leaves free until a part of its target has passed."""

    leave: int = Field(ge=1, le=10_000)
    until: int = Field(default=60, ge=1, le=100)  # per cent of the target


class OrderEntry(Entry):
    """What goes first, and who is asked first."""

    work: Annotated[str, among(WORK_ORDERS, "order of work")] = "slack"
    agent: Annotated[str, among(AGENT_ORDERS, "order of agents")] = "score"


class LastAgentEntry(Entry):
    """How long work waits for who had the customer last, when that was within this time; `off` for not at all."""

    wait: Span = int(WAIT.total_seconds())
    within: Span = int(WITHIN.total_seconds())
    new: bool = False  # new conversations of known customers, too


class ServingEntry(Entry):
    """How agents of a profile serve a queue: a lower rank first, and only work older than the delay."""

    rank: int = Field(default=1, ge=1, le=100)
    delay: Annotated[int, BeforeValidator(lambda value: 0 if value == 0 else seconds_of(value))] = 0


class RateEntry(Entry):
    """At most so many pieces of work in so much time."""

    most: int = Field(ge=1, le=10_000)
    per: Span = UNITS["h"]


def handout_out(queue: Queue) -> dict[str, Any]:
    """How a queue hands out its work, as the file has it."""
    said = queue.handout
    order = {name: said[name] for name in ("work", "agent") if name in said}
    spans = {name: span(said[name]) for name in ("boost", "max_wait", "cooldown") if name in said}
    rest: dict[str, Any] = {
        name: said[name] for name in ("reserve", "missed_limit", "offers", "paused") if name in said
    }
    if last := said.get("last_agent"):
        kept = {name: span(last[name]) for name in ("wait", "within") if name in last}
        rest["last_agent"] = kept | ({"new": True} if last.get("new") else {}) if last.get("wait", 1) else "off"
    return ({"order": order} if order else {}) | spans | rest


def profile_out(row: RoutingProfile, queues: Mapping[int | None, str]) -> dict[str, Any]:
    """A profile as the file has it."""
    said = dict(row.limits)
    rate = {"rate": {"most": said.pop("rate"), "per": span(said.pop("window"))}} if "rate" in said else {}
    serving = {
        queues[int(number)]: {"rank": how["rank"]} | ({"delay": span(how["delay"])} if how["delay"] else {})
        for number, how in row.serving.items()
        if int(number) in queues
    }
    return {"name": row.name, **said, **rate} | ({"queues": serving} if serving else {})
