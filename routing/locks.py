"""Row locks, always taken in the same order, so that units on PostgreSQL wait for each other and never block.

The order is conversation, work item, offer, agent; several of a kind by id. SQLite runs one unit at a time anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from storage.access import Actor, conversation_for
from storage.conversations import Conversation
from storage.store import Tx


def hold(tx: Tx, conversation_ids: Iterable[int]) -> None:
    """Lock conversations: whatever happens to one's work happens in turn."""
    _lock(tx, "conversation", conversation_ids)


def held(tx: Tx, actor: Actor, conversation_id: int) -> Conversation:
    """A conversation that this actor may see, locked and as it is now. Raises NotFound."""
    hold(tx, [conversation_id])
    conversation = conversation_for(tx, actor, conversation_id)
    tx.refresh(conversation)
    return conversation


def hold_agents(tx: Tx, agent_ids: Iterable[int]) -> None:
    """Lock agents whose loads change."""
    _lock(tx, "agent", agent_ids)


def _lock(tx: Tx, table: str, wanted: Iterable[int]) -> None:
    tx.flush()
    ids = sorted(set(wanted))
    if ids and tx.dialect == "postgresql":
        marks = ",".join("?" * len(ids))
        tx.sql(f"SELECT id FROM {table} WHERE id IN ({marks}) ORDER BY id FOR NO KEY UPDATE", *ids)
