"""Mail from before: it is in the history of its sender with its own dates, and wakes nobody."""

from __future__ import annotations

from datetime import datetime

from channels.base import Inbound
from storage import Tx

HISTORY = "history"  # a flag of such a message, and the header of its receipt

# No fact says so: slack, webhooks and rules follow what happens, and this happened long ago.
NEW = (
    "INSERT INTO conversation(contact_id, subject, state, channel, priority, last_at, last_message_id, "
    "last_inbound_id, preview, message_count, created_at) VALUES(?, ?, 'resolved', ?, 0, ?, 0, 0, '', 0, ?) "
    "RETURNING id"
)
LATEST = (
    "UPDATE conversation SET last_message_id = ?, last_inbound_id = ?, preview = ?, last_at = ?, "
    "message_count = message_count + 1 WHERE id = ? AND state = 'resolved' AND last_at <= ?"
)
COUNTED = "UPDATE conversation SET message_count = message_count + 1 WHERE id = ?"


def is_history(inbound: Inbound) -> bool:
    """Whether it was brought in afterwards."""
    return HISTORY in inbound.flags


def open_past(tx: Tx, contact_id: int, subject: str, kind: str, at: datetime) -> int:
    """A conversation that was over before it came to us."""
    return int(tx.sql(NEW, contact_id, subject, kind, at, at).fetchall()[0][0])


def heard_then(tx: Tx, conversation_id: int, message_id: int, preview: str, at: datetime) -> None:
    """Count a message of then, at its own time; what is open now stays as it is."""
    tx.sql("UPDATE message SET created_at = ? WHERE id = ?", at, message_id)
    if not tx.sql(LATEST, message_id, message_id, preview, at, conversation_id, at).rowcount:
        tx.sql(COUNTED, conversation_id)
