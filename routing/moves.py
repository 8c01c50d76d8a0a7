"""The single steps of work, shared by people's verbs and the router. Callers hold the conversation."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import SQLModel

from routing.agents import give_load
from routing.handout import COOLDOWN
from routing.rules import rule_book
from routing.shares import Share
from routing.steps import go_on, rest
from storage.batches import placeholders
from storage.facts import ConversationAssigned, ConversationReleased, OfferEnded, OfferMade, WrapUpStarted
from storage.store import Tx

INSERT_OFFER = (
    "INSERT INTO offer(work_item_id, conversation_id, agent_id, state, weight, offered_at, expires_at, ended_at, "
    "explanation) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_ASSIGNMENT = (
    "INSERT INTO assignment(conversation_id, work_item_id, agent_id, weight, via, over_capacity_by, by, started_at, "
    "ended_why, park_at, explanation) VALUES(?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?)"
)
# What the router does for many at once is in routing/settling.py.
OFFER_ITEM = "UPDATE work_item SET state = 'offered', agent_id = ?, version = version + 1 WHERE id = ?"
OWN_ITEM = (
    "UPDATE work_item SET state = 'assigned', agent_id = ?, pinned_at = NULL, pin_agent_id = NULL, pin_until = NULL, "
    "step_at = NULL, version = version + 1 WHERE id = ?"
)
OWN_CONVERSATION = "UPDATE conversation SET assignee_id = ? WHERE id = ?"


def refresh(tx: Tx, kind: type[SQLModel], row_id: int) -> None:
    """Re-read a row that the caller may have at hand, because it was changed past the ORM."""
    row = tx.identity_map.get(tx.identity_key(kind, row_id))
    if row is not None:
        tx.refresh(row)


def ring(tx: Tx, item_id: int, conversation_id: int, agent_id: int, weight: int, until: datetime, why: Any) -> int:
    """Make an offer for an item that is already marked as offered; its weight counts already. Answers its id."""
    row = tx.sql(
        f"{INSERT_OFFER} RETURNING id",
        item_id, conversation_id, agent_id, "offered", weight, tx.now, until, None, why,
    ).fetchone()  # fmt: skip
    tx.sql("UPDATE agent SET idle_since = ?, last_offer_at = ? WHERE id = ?", tx.now, tx.now, agent_id)
    tx.emit(OfferMade(conversation_id, item_id, int(row[0]), agent_id))
    return int(row[0])


def end_offers(tx: Tx, item_id: int, state: str, by: str, agent_id: int | None = None) -> list[int]:
    """End what rings for an item, at all agents or at one; weights are given back unless it was accepted.

    Answers the agents; "expired" only ends offers whose time is over.
    """
    conditions, values = "", list[Any]()
    if state == "expired":
        conditions, values = " AND expires_at <= ?", [tx.now]
    if agent_id is not None:
        conditions, values = f"{conditions} AND agent_id = ?", [*values, agent_id]
    rows = tx.sql(
        f"UPDATE offer SET state = ?, ended_at = ? WHERE work_item_id = ? AND state = 'offered'{conditions} "
        "RETURNING id, agent_id, weight, conversation_id",
        state, tx.now, item_id, *values,
    ).fetchall()  # fmt: skip
    for offer_id, rang_at, weight, conversation_id in sorted(rows, key=lambda row: row[1]):
        if state != "accepted":
            give_load(tx, rang_at, weight)
        tx.emit(OfferEnded(conversation_id, item_id, offer_id, rang_at, state, by))
    return sorted(row[1] for row in rows)


def ring_on(tx: Tx, item_id: int, conversation_id: int) -> None:
    """One agent is no longer asked: it rings on at the others, or goes back into its queue with its age."""
    row = tx.sql(
        "SELECT agent_id FROM offer WHERE work_item_id = ? AND state = 'offered' ORDER BY id LIMIT 1", item_id
    ).fetchone()
    if row is None:
        requeue(tx, item_id, conversation_id)
    else:
        tx.sql("UPDATE work_item SET agent_id = ? WHERE id = ?", row[0], item_id)


def ringing_at(tx: Tx, conversation_ids: Collection[int]) -> list[int]:
    """Agents at whom some of these ring: whatever stops that changes their loads."""
    marks = placeholders(conversation_ids)
    offered = f"SELECT agent_id FROM offer WHERE state = 'offered' AND conversation_id IN ({marks})"
    return [row[0] for row in tx.sql(offered, *conversation_ids).fetchall()] if conversation_ids else []


def own(
    tx: Tx, item_id: int, conversation_id: int, agent_id: int, weight: int, via: str, by: str, why: Any, over: int = 0,
    reason: str = "",
) -> int:  # fmt: skip
    """Open an assignment; its weight counts already. Answers its id. What was pinned has come where it should."""
    tx.sql(OWN_ITEM, agent_id, item_id)
    rest(tx, item_id)
    queue_id, channel = tx.sql("SELECT queue_id, channel FROM work_item WHERE id = ?", item_id).fetchone()
    row = tx.sql(
        f"{INSERT_ASSIGNMENT} RETURNING id",
        conversation_id, item_id, agent_id, weight, via, over, by, tx.now, park_at(tx, queue_id, channel), why,
    ).fetchone()  # fmt: skip
    tx.sql(OWN_CONVERSATION, agent_id, conversation_id)
    tx.sql("UPDATE agent SET idle_since = ?, last_offer_at = ? WHERE id = ?", tx.now, tx.now, agent_id)
    tx.emit(ConversationAssigned(conversation_id, item_id, agent_id, via, over, by, reason))
    return int(row[0])


def park_at(tx: Tx, queue_id: int, channel: str) -> datetime | None:
    """When work of a queue that somebody gets now may be parked at the earliest."""
    queue = rule_book(tx).queues.get(queue_id)
    share = queue.park.on(channel) if queue else None
    return None if share is None else tx.now + timedelta(seconds=share.seconds)


def disown(tx: Tx, conversation_id: int, why: str, by: str, wrap_up: Share | None = None) -> int | None:
    """Close the open assignment and free its weight, but for what is kept to `wrap_up` what was not parked.

    Answers who had it; None when nobody did.
    """
    row = tx.sql(
        "UPDATE assignment SET ended_at = ?, ended_why = ?, park_at = NULL WHERE conversation_id = ? "
        "AND ended_at IS NULL RETURNING id, agent_id, weight, parked_at",
        tx.now, why, conversation_id,
    ).fetchone()  # fmt: skip
    if row is None:
        return None
    assignment_id, agent_id, weight, parked_at = row
    kept = 0 if wrap_up is None or parked_at is not None else wrap_up.of(weight)
    give_load(tx, agent_id, weight - kept, worked=not kept)
    tx.emit(ConversationReleased(conversation_id, agent_id, why, by))
    if kept and wrap_up is not None:
        until = tx.now + timedelta(seconds=wrap_up.seconds)
        tx.sql("UPDATE assignment SET weight = ?, wrap_until = ? WHERE id = ?", kept, until, assignment_id)
        tx.emit(WrapUpStarted(conversation_id, agent_id, kept, until.isoformat(), by))
    return int(agent_id)


def requeue(tx: Tx, item_id: int, conversation_id: int) -> None:
    """Put an item back into its queue with its age."""
    tx.sql("UPDATE work_item SET state = 'queued', agent_id = NULL, version = version + 1 WHERE id = ?", item_id)
    go_on(tx, item_id)
    tx.sql("UPDATE conversation SET assignee_id = NULL WHERE id = ?", conversation_id)


def cool_down(tx: Tx, item_id: int, agent_id: int) -> None:
    """Don't offer this item to this agent for as long as its queue says; it is not kept for him any longer."""
    tx.sql(
        "UPDATE work_item SET pin_agent_id = NULL, pin_until = NULL WHERE id = ? AND pin_agent_id = ?",
        item_id, agent_id,
    )  # fmt: skip
    row = tx.sql("SELECT queue_id FROM work_item WHERE id = ?", item_id).fetchone()
    queue = rule_book(tx).queues.get(row[0])
    tx.sql(
        "INSERT INTO cooldown(work_item_id, agent_id, until) VALUES(?, ?, ?) "
        "ON CONFLICT (work_item_id, agent_id) DO UPDATE SET until = excluded.until",
        item_id, agent_id, tx.now + (queue.cooldown if queue else timedelta(seconds=COOLDOWN)),
    )  # fmt: skip
    # Whoever it was kept for has had the choice.
    tx.sql("UPDATE work_item SET prefer_until = NULL WHERE id = ? AND prefer_id = ?", item_id, agent_id)
