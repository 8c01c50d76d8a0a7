"""What a queue wants done when a target is nearly missed, and when it is: in the unit that notes it."""

from __future__ import annotations

from routing.ladder import HIGHEST
from routing.rules import rule_book
from routing.work import transfer
from storage.access import SYSTEM
from storage.facts import ConversationEscalated
from storage.store import Tx

WARNING, BREACH = "on_warning", "on_breach"
TOLD = ("slack", "supervisors")  # by whoever follows the fact


def escalate(tx: Tx, conversation_id: int, item_id: int, kind: str, occasion: str) -> None:
    """Do what the conversation's queue says for a warning or a breach; the fact says what was done.

    Only what nobody has is moved: who has it answers, and taking it away would make it later still.
    """
    row = tx.sql("SELECT queue_id, state, priority FROM work_item WHERE id = ?", item_id).fetchone()
    book = rule_book(tx)
    queue = book.queues.get(row[0])
    actions: list[str] = []
    for action in queue.escalate.get(occasion, ()) if queue else ():
        target = action.get("queue_id")
        if "priority" in action:
            _raise(tx, conversation_id, item_id, min(row[2] + action["priority"], HIGHEST))
            actions.append("priority")
        elif target in book.queues and target != row[0] and row[1] in ("queued", "offered"):
            if transfer(tx, SYSTEM, conversation_id, target):
                actions.append("queue")
        elif "supervisors" in action:
            tx.sql("UPDATE conversation SET escalated_at = ? WHERE id = ?", tx.now, conversation_id)
        actions += [name for name in TOLD if name in action]
    if actions:
        tx.emit(ConversationEscalated(conversation_id, item_id, kind, occasion == BREACH, tuple(actions)))


def _raise(tx: Tx, conversation_id: int, item_id: int, priority: int) -> None:
    # A decision that was made meanwhile by the old priority is made again.
    tx.sql("UPDATE work_item SET priority = ?, version = version + 1 WHERE id = ?", priority, item_id)
    tx.sql("UPDATE conversation SET priority = ? WHERE id = ?", priority, conversation_id)
