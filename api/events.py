"""What happened, in its one order and without gaps, for programs that keep up by asking."""

from __future__ import annotations

import threading
import time
from typing import Any

from sqlmodel import col, select

from api import shapes
from api.routes import Part
from api.tokens import actor_here
from hub.feed import TYPES, event
from hub.hub import Hub
from hub.pump import Happened, latest_fact
from hub.web import hub_here
from storage import accountfacts
from storage.access import Actor, visible
from storage.conversations import Conversation
from storage.facts import FactRow

part = Part("events", "Events")

LOOK_AGAIN_SECONDS = 1.0  # another node's commit may ring no bell here
MAX_WAITING = 8  # each holds a thread of the server
_waiting = threading.BoundedSemaphore(MAX_WAITING)


@part.get("/events", query=shapes.EventsQuery, gives=shapes.EventPage)
def list_events(asked: shapes.EventsQuery) -> dict[str, Any]:
    """Everything after a cursor.

    With `wait` the answer comes when something happens. When too many wait already it comes at once: ask again.
    """
    hub, actor = hub_here(), actor_here()
    seen = hub.store.bell.rung
    found, following = _after(hub, actor, asked.after, asked.limit)
    if not found and asked.wait and _waiting.acquire(blocking=False):
        try:
            deadline = time.monotonic() + asked.wait
            while not found and (left := deadline - time.monotonic()) > 0:
                seen = hub.store.bell.wait(seen, min(left, LOOK_AGAIN_SECONDS))
                found, following = _after(hub, actor, following, asked.limit)
        finally:
            _waiting.release()
    return {"events": [event(fact) for fact in found], "next": following}


@part.get("/event-types", gives=shapes.EventTypes)
def list_event_types() -> dict[str, Any]:
    """Every type that events and webhooks can have."""
    return {"types": sorted(TYPES)}


def _after(hub: Hub, actor: Actor, after: int, limit: int) -> tuple[list[Happened], int]:
    """What this actor may see after a cursor, and the cursor to go on from.

    Facts become visible in the order of their ids, so nothing can appear later below the newest one seen here.
    """
    with hub.store.read() as tx:
        newest = latest_fact(tx)
        query = select(FactRow).where(col(FactRow.id) > after, col(FactRow.id) <= newest)
        query = query.where(col(FactRow.name).not_in(accountfacts.NAMES))
        if not actor.sees_all:
            query = query.join(Conversation, col(Conversation.id) == col(FactRow.conversation_id)).where(visible(actor))
        rows = list(tx.exec(query.order_by(col(FactRow.id)).limit(limit)))
    found = [Happened(r.id or 0, r.name, r.at, r.conversation_id, r.contact_id, r.data) for r in rows]
    return found, found[-1].id if len(found) == limit else max(after, newest)
