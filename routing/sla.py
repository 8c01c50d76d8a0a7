"""First-reply targets: when one runs out, and the fact that it did."""

from __future__ import annotations

from datetime import datetime

from routing.rules import QueueTerms
from storage.columns import moment
from storage.facts import FirstReplyBreached, FirstReplySent
from storage.store import Tx

_OVERDUE = "state IN ('queued','offered','assigned') AND due_at <= ? AND first_reply_at IS NULL AND breached_at IS NULL"
BATCH = 200


def first_reply_due(queue: QueueTerms, since: datetime) -> datetime:
    """When a customer who came at `since` must have had a first answer; only open hours count."""
    return queue.calendar.add(since, queue.first_reply.total_seconds())


def is_overdue(tx: Tx) -> bool:
    """Whether some target has run out that nobody has recorded yet."""
    return tx.sql(f"SELECT 1 FROM work_item WHERE {_OVERDUE} LIMIT 1", tx.now).fetchone() is not None


def record_breaches(tx: Tx) -> int:
    """Mark targets that ran out, once each, oldest first; answers how many. Rows in others' hands wait."""
    skip = " FOR UPDATE SKIP LOCKED" if tx.dialect == "postgresql" else ""
    # Materialized for the reason given at `hub.delivery.TAKE`: else a batch can be the whole table.
    rows = tx.sql(
        f"WITH overdue AS MATERIALIZED (SELECT id FROM work_item WHERE {_OVERDUE} ORDER BY due_at, id "
        f"LIMIT {BATCH}{skip}) UPDATE work_item SET breached_at = ? WHERE breached_at IS NULL "
        f"AND id IN (SELECT id FROM overdue) RETURNING id, conversation_id",
        tx.now, tx.now,
    ).fetchall()  # fmt: skip
    for item_id, conversation_id in sorted(rows):
        tx.emit(FirstReplyBreached(conversation_id, item_id))
    return len(rows)


def record_first_reply(tx: Tx, conversation_id: int, agent_id: int | None) -> None:
    """Stop the clock at the first answer of the episode under way; later answers change nothing.

    `agent_id` is None when a program answered; the fact then says agent 0.
    """
    row = tx.sql(
        "UPDATE work_item SET first_reply_at = ? WHERE conversation_id = ? AND first_reply_at IS NULL "
        "AND state IN ('queued','offered','assigned') RETURNING id, enqueued_at",
        tx.now, conversation_id,
    ).fetchone()  # fmt: skip
    if row is None:
        return
    tx.sql("UPDATE conversation SET due_at = NULL WHERE id = ?", conversation_id)
    since = moment(row[1]) or tx.now
    seconds = int((tx.now - since).total_seconds())
    by = "system" if agent_id is None else f"agent:{agent_id}"
    tx.emit(FirstReplySent(conversation_id, int(row[0]), agent_id or 0, seconds, by))


def resume_first_reply(tx: Tx, conversation_id: int, answered_at: datetime) -> None:
    """Let the clock run again that the answer of `answered_at` had stopped."""
    row = tx.sql(
        "UPDATE work_item SET first_reply_at = NULL WHERE conversation_id = ? AND first_reply_at = ? "
        "AND state IN ('queued','offered','assigned') RETURNING due_at",
        conversation_id, answered_at,
    ).fetchone()  # fmt: skip
    if row is not None:
        tx.sql("UPDATE conversation SET due_at = ? WHERE id = ?", moment(row[0]), conversation_id)
