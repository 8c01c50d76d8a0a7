"""How work is handed out, as desk.yaml says it: entries of queues and profiles, and both as they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from config.language import N_
from config.retold import stored
from hub.deskvalues import UNITS, Channel, Entry, Span, among, off, seconds_of, span
from routing.demand import AGENT_ORDERS, WORK_ORDERS
from routing.handout import GRACES
from routing.returning import WAIT, WITHIN
from storage.desk import Queue, RoutingProfile

SHORTEST_GRACE = 30


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


OrOff = Annotated[Span | Literal["off"], BeforeValidator(off)]


class SharesEntry(Entry):
    """How much of a weight counts for how long, on every channel but those that say otherwise."""

    channels: dict[Channel, OrOff] = {}

    @property
    def said(self) -> dict[str, Any]:
        """What differs from none, as the database keeps it."""
        document = self.model_dump(exclude_defaults=True, exclude={"channels"})
        return document | ({"channels": _in_seconds(self.channels)} if self.channels else {})


class WrapUpEntry(SharesEntry):
    """So long an agent keeps the room, or `keep` per cent of it, of what is resolved; `transfers`: or handed on."""

    time: Span | None = None
    keep: int = Field(default=100, ge=1, le=100)
    transfers: bool = False

    @model_validator(mode="after")
    def _is_some(self) -> WrapUpEntry:
        if self.time is None and not self.channels:
            raise ValueError(N_("must have a time, or channels with their times"))
        return self


class ParkEntry(SharesEntry):
    """After so long without a word of the customer a conversation takes `keep` per cent of its weight, none without."""

    after: Span | None = None
    keep: int = Field(default=0, ge=0, le=99)

    @model_validator(mode="after")
    def _is_some(self) -> ParkEntry:
        if self.after is None and not self.channels:
            raise ValueError(N_("must have an after, or channels with theirs"))
        return self


def _in_seconds(channels: Mapping[str, Any]) -> dict[str, int]:
    """Times by channel; 0 for `off`."""
    return {name: 0 if each == "off" else each for name, each in channels.items()}


def short(name: str) -> BeforeValidator:
    """A span alone stands for an entry that says nothing else."""
    return BeforeValidator(lambda value: {name: value} if isinstance(value, str | int) else value)


def _not_too_short(value: Any) -> Any:
    if value != "off" and value < SHORTEST_GRACE:
        raise ValueError(
            stored(
                "must be at least {shortest_grace}s: a page that is loaded anew is gone for a moment, too",
                shortest_grace=SHORTEST_GRACE,
            )
        )
    return value


# How long a lost connection may last before what an agent has of a channel goes to somebody else.
Grace = Annotated[Span | Literal["off"], BeforeValidator(off), AfterValidator(_not_too_short)]


def graces_in(said: Mapping[str, Any] | Literal["off"]) -> dict[str, int]:
    """`disconnect` of a profile as the database keeps it."""
    if said == "off":
        return dict.fromkeys(GRACES, 0)
    return _in_seconds(said)


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
    for name, first in (("wrap_up", "time"), ("park", "after")):
        if one := said.get(name):
            channels = {each: span(seconds) if seconds else "off" for each, seconds in one.get("channels", {}).items()}
            first_of = {first: span(one[first])} if first in one else {}
            others = {other: one[other] for other in ("keep", "transfers") if other in one}
            rest[name] = first_of | others | ({"channels": channels} if channels else {})
    return ({"order": order} if order else {}) | spans | rest


def profile_out(row: RoutingProfile, queues: Mapping[int | None, str]) -> dict[str, Any]:
    """A profile as the file has it."""
    said = dict(row.limits)
    graces = {name: span(each) if each else "off" for name, each in said.pop("disconnect", {}).items()}
    rate = {"rate": {"most": said.pop("rate"), "per": span(said.pop("window"))}} if "rate" in said else {}
    serving = {
        queues[int(number)]: {"rank": how["rank"]} | ({"delay": span(how["delay"])} if how["delay"] else {})
        for number, how in row.serving.items()
        if int(number) in queues
    }
    lost = {"disconnect": graces} if graces else {}
    return {"name": row.name, **said, **rate, **lost} | ({"queues": serving} if serving else {})
