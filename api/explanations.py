"""Why this agent, and why nobody yet: what was stored, and what would be decided as things stand now."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.routes import Part
from api.shapes import Named, Out
from api.tokens import actor_here
from hub.web import hub_here
from routing.whys import recomputed, stored_reasons
from storage.access import conversation_for

part = Part("explanations", "Explanations")


class Path(Out):
    """How it came into its queue: rules with what they compared, closed queues, transfers."""

    steps: list[dict[str, Any]]
    told: list[str]


class OfferMade(Out):
    """A decision of the router. `explanation` has how many were eligible, how many were passed over for which reason,
    the best candidates with their scores, and the work that competed."""

    id: int
    agent: Named
    state: Literal["offered", "accepted", "declined", "expired", "rescinded", "cancelled"]
    offered_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    explanation: dict[str, Any]
    told: list[str]


class Ownership(Out):
    """A time in which somebody had it. `via` is how they got it, `by` who did that."""

    id: int
    agent: Named
    via: str
    by: str
    over_capacity_by: int
    started_at: datetime
    ended_at: datetime | None
    ended_why: str
    explanation: dict[str, Any]
    told: list[str]


class Waiting(Out):
    """What it waits for now: how many could take it, and how many of those who serve its queue can't, by reason."""

    state: str
    queue_id: int | None
    skills: dict[str, int]
    eligible: int
    rejected: dict[str, int]
    told: list[str]


class Why(Out):
    """Every stored reason, the oldest first."""

    path: Path
    offers: list[OfferMade]
    assignments: list[Ownership]
    waiting: Waiting


class WhyNow(Out):
    """The last decision as it was stored and as it would be made now; `changed` says in words what is different."""

    then: dict[str, Any] | None
    now: dict[str, Any] | None
    rejected: dict[str, int] = Field(description="Why others, or all, could not take it now.")
    changed: list[str]


@part.get("/conversations/<int:conversation_id>/why", gives=Why)
def explain_conversation(conversation_id: int) -> dict[str, Any]:
    """Every reason that was stored, as data and in plain words: its path, each offer, each owner, what it waits for."""
    with hub_here().store.read() as tx:
        conversation_for(tx, actor_here(), conversation_id)
        return stored_reasons(tx, conversation_id)


@part.get("/conversations/<int:conversation_id>/why/now", gives=WhyNow)
def recompute_conversation(conversation_id: int) -> dict[str, Any]:
    """The router's last decision, made again from what is now, and what is different. Nothing is changed."""
    with hub_here().store.read() as tx:
        conversation_for(tx, actor_here(), conversation_id)
        return recomputed(tx, conversation_id)
