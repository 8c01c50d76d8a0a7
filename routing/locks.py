"""Row locks, always taken in the same order, so that units on PostgreSQL wait for each other and never block.

The order is conversation, work item, offer, agent; several of a kind by id. SQLite runs one unit at a time anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from config.language import _
from storage.access import Actor, Conflict, conversation_for, merged_into
from storage.batches import placeholders
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


def held_unmerged(tx: Tx, actor: Actor, conversation_id: int) -> Conversation:
    """The same for who changes it: what is put into a merged one would be lost. Raises NotFound and Conflict."""
    return unmerged(tx, actor, held(tx, actor, conversation_id))


def unmerged(tx: Tx, actor: Actor, conversation: Conversation) -> Conversation:
    """The same one. Raises Conflict when all of it is in another one, which only those are told who may see that."""
    if conversation.merged_into_id is None:
        return conversation
    there = merged_into(tx, actor, conversation)
    if there is None:
        raise Conflict(_("It is merged into a conversation to which you have no access: nothing can be done here."))
    raise Conflict(_("It is merged into #{merged_into_id}: write there.", merged_into_id=there))


def hold_agents(tx: Tx, agent_ids: Iterable[int]) -> None:
    """Lock agents whose loads change."""
    _lock(tx, "agent", agent_ids)


def held_rows(tx: Tx, table: str, columns: str, wanted: Iterable[int]) -> Sequence[Any]:
    """Lock rows and read these columns of them, of which the first is the id."""
    tx.flush()
    ids = sorted(set(wanted))
    if not ids:
        return []
    lock = " FOR NO KEY UPDATE" if tx.dialect == "postgresql" else ""
    marks = placeholders(ids)
    return tx.sql(f"SELECT {columns} FROM {table} WHERE id IN ({marks}) ORDER BY id{lock}", *ids).fetchall()


def _lock(tx: Tx, table: str, wanted: Iterable[int]) -> None:
    if tx.dialect == "postgresql":
        held_rows(tx, table, "id", wanted)
