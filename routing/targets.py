"""Targets that are about to be missed, and that were: a fact each, once, and what the queue wants done then."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from routing.escalation import BREACH, WARNING, escalate
from routing.locks import hold, hold_agents
from routing.moves import ringing_at
from routing.promises import FIRST_REPLY, NEXT_REPLY, RESOLUTION
from storage.columns import moment
from storage.facts import (
    Fact,
    FirstReplyBreached,
    FirstReplyWarned,
    NextReplyBreached,
    NextReplyWarned,
    ResolutionBreached,
    ResolutionWarned,
)
from storage.store import Tx

BATCH = 200
_TO_NOTE = (
    "SELECT id, conversation_id, work_item_id, kind, due_at FROM sla_clock WHERE next_at <= ? "
    "ORDER BY next_at, id LIMIT ?"
)
Noting = Mapping[str, Callable[[int, int], Fact]]
_WARNED: Noting = {FIRST_REPLY: FirstReplyWarned, NEXT_REPLY: NextReplyWarned, RESOLUTION: ResolutionWarned}
_BREACHED: Noting = {FIRST_REPLY: FirstReplyBreached, NEXT_REPLY: NextReplyBreached, RESOLUTION: ResolutionBreached}


def is_overdue(tx: Tx) -> bool:
    """Whether there is a warning or a breach that nobody has noted yet."""
    return tx.sql("SELECT 1 FROM sla_clock WHERE next_at <= ? LIMIT 1", tx.now).fetchone() is not None


def note_overdue(tx: Tx) -> int:
    """Note warnings and breaches, the longest overdue first; answers how many.

    A target whose time is over before anybody could warn of it is a breach and nothing else.
    """
    ours = {row[1] for row in tx.sql(_TO_NOTE, tx.now, BATCH).fetchall()}
    hold(tx, ours)
    hold_agents(tx, ringing_at(tx, ours))
    # Read again under the locks: somebody may have answered a moment ago.
    rows = [row for row in tx.sql(_TO_NOTE, tx.now, BATCH).fetchall() if row[1] in ours]
    for clock_id, conversation_id, item_id, kind, due_at in rows:
        breached = (moment(due_at) or tx.now) <= tx.now
        column, following = ("breached_at", None) if breached else ("warned_at", due_at)
        tx.sql(f"UPDATE sla_clock SET {column} = ?, next_at = ? WHERE id = ?", tx.now, following, clock_id)
        if breached:
            tx.sql("UPDATE work_item SET breached_at = COALESCE(breached_at, ?) WHERE id = ?", tx.now, item_id)
        tx.emit((_BREACHED if breached else _WARNED)[kind](conversation_id, item_id))
        escalate(tx, conversation_id, item_id, kind, BREACH if breached else WARNING)
    return len(rows)
