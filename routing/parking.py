"""Parking: while the customer has the word, or it sleeps, a conversation takes less of its agent's room, or none.

What happens to a conversation only writes down when to look (`park_at`); the router's sweep looks, and it alone parks
and unparks. So nothing that arrives locks an agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from routing.agents import give_load, take_load
from routing.locks import hold, hold_agents
from routing.moves import disown, refresh, requeue
from routing.rules import RuleBook, rule_book
from routing.shares import Share
from storage.batches import placeholders
from storage.columns import moment
from storage.conversations import Conversation
from storage.facts import ConversationParked, ConversationQueued, ConversationUnparked
from storage.people import Agent
from storage.store import Tx
from storage.work import Assignment

BATCH = 200
DUE = "SELECT conversation_id FROM assignment WHERE park_at <= ? ORDER BY park_at, id LIMIT ?"
_OPEN = (
    "SELECT assignment.id, assignment.conversation_id, assignment.agent_id, assignment.weight, assignment.parked_at, "
    "assignment.park_at, work_item.id, work_item.queue_id, work_item.channel, work_item.weight, conversation.state, "
    "conversation.waiting_since FROM assignment JOIN work_item ON work_item.id = assignment.work_item_id "
    "JOIN conversation ON conversation.id = assignment.conversation_id WHERE assignment.ended_at IS NULL"
)


class Owned(NamedTuple):
    """A row of `_OPEN`: an open assignment with what decides whether it is parked."""

    id: int
    conversation_id: int
    agent_id: int
    taken: int
    parked_at: Any
    park_at: Any
    item_id: int
    queue_id: int
    channel: str
    weight: int
    state: str
    waiting_since: Any

    @property
    def sleeps(self) -> bool:
        """Whether it is snoozed."""
        return self.state == "snoozed"

    @property
    def rests(self) -> bool:
        """Whether there is nothing to do for its agent."""
        return self.sleeps or self.waiting_since is None

    def share(self, book: RuleBook) -> Share | None:
        """What counts while it is parked; None where it never is."""
        queue = book.queues.get(self.queue_id)
        return queue.park.on(self.channel) if queue else None

    def look_at(self, book: RuleBook, now: datetime) -> datetime | None:
        """When there is something to look at, now that something has changed; None for never."""
        share = self.share(book)
        if self.parked_at is not None:
            return None if share is not None and self.sleeps else now
        if share is None or not self.rests:
            return None
        return now if self.sleeps else now + timedelta(seconds=share.seconds)

    def is_mistimed(self, book: RuleBook) -> bool:
        """Whether what is written down is not what it would be now, whatever happened first."""
        share = self.share(book)
        if self.parked_at is not None:
            return self.park_at is None and (share is None or not self.rests)
        return self.park_at is None and share is not None and self.rests


def follow_parking(tx: Tx, conversation_id: int) -> None:
    """Write down when to look: the customer wrote or was answered, it was snoozed or woke. Callers hold it."""
    book = rule_book(tx)
    if not book.parks:
        return
    row = tx.sql(f"{_OPEN} AND assignment.conversation_id = ?", conversation_id).fetchone()
    if row is not None:
        one = Owned(*row)
        if (at := one.look_at(book, tx.now)) != moment(one.park_at):
            tx.sql("UPDATE assignment SET park_at = ? WHERE id = ?", at, one.id)


def mistimed(tx: Tx) -> list[tuple[int, int]]:
    """Assignments, with their conversations, that are to be looked at and for which no moment is written down."""
    book = rule_book(tx)
    which = "" if book.parks else " AND assignment.parked_at IS NOT NULL"
    rows = tx.sql(_OPEN + which).fetchall()
    return [(one.id, one.conversation_id) for row in rows if (one := Owned(*row)).is_mistimed(book)]


def retime(tx: Tx, wrong: Sequence[tuple[int, int]]) -> None:
    """Write down when to look at these: the desk has changed."""
    hold(tx, [conversation_id for _, conversation_id in wrong])
    book = rule_book(tx)
    for assignment_id, _ in wrong:
        row = tx.sql(f"{_OPEN} AND assignment.id = ?", assignment_id).fetchone()
        if row is not None and (one := Owned(*row)).is_mistimed(book):
            tx.sql("UPDATE assignment SET park_at = ? WHERE id = ?", one.look_at(book, tx.now), one.id)


def is_due(tx: Tx) -> bool:
    """Whether there is something to look at."""
    return tx.sql(DUE, tx.now, 1).fetchone() is not None


def park(tx: Tx) -> int:
    """Park what rests long enough, and unpark what does not rest any more; answers how many that were.

    Ownership wins: what was parked goes back to its agent above their capacity as well, which is recorded. Only when
    they are offline and the customer waits does it go back to its queue, with its age.
    """
    ours = [row[0] for row in tx.sql(DUE, tx.now, BATCH).fetchall()]
    hold(tx, ours)
    marks = placeholders(ours)
    due = f"{_OPEN} AND assignment.park_at <= ? AND assignment.conversation_id IN ({marks}) ORDER BY assignment.id"
    found = [Owned(*row) for row in tx.sql(due, tx.now, *ours).fetchall()] if ours else []
    hold_agents(tx, {one.agent_id for one in found})
    book, changed = rule_book(tx), 0
    for one in found:
        share = one.share(book)
        rests = share is not None and one.rests
        if one.parked_at is not None and not (rests and one.sleeps):
            _unpark(tx, one, share)
        elif one.parked_at is None and share is not None and rests:
            _park(tx, one, share)
        else:
            tx.sql("UPDATE assignment SET park_at = NULL WHERE id = ?", one.id)
            continue
        changed += 1
        refresh(tx, Agent, one.agent_id)
        refresh(tx, Assignment, one.id)
    return changed


def _park(tx: Tx, one: Owned, share: Share) -> None:
    kept = share.of(one.weight)
    tx.sql("UPDATE assignment SET weight = ?, parked_at = ?, park_at = NULL WHERE id = ?", kept, tx.now, one.id)
    give_load(tx, one.agent_id, one.taken - kept, worked=True)
    tx.emit(ConversationParked(one.conversation_id, one.agent_id, kept))


def _unpark(tx: Tx, one: Owned, share: Share | None) -> None:
    status, active = tx.sql("SELECT status, active FROM agent WHERE id = ?", one.agent_id).fetchone()
    if (status == "offline" or not active) and not one.rests:
        disown(tx, one.conversation_id, "sign_out", "system")
        requeue(tx, one.item_id, one.conversation_id)
        tx.emit(ConversationQueued(one.conversation_id, one.item_id, one.queue_id, "sign_out"))
        refresh(tx, Conversation, one.conversation_id)
        return
    take_load(tx, one.agent_id, one.weight - one.taken, may_exceed=True)
    load, capacity = tx.sql("SELECT load, capacity FROM agent WHERE id = ?", one.agent_id).fetchone()
    over = max(0, load - capacity)
    again = tx.now + timedelta(seconds=share.seconds) if share is not None and one.rests else None
    tx.sql(
        "UPDATE assignment SET weight = ?, parked_at = NULL, park_at = ?, over_capacity_by = "
        "CASE WHEN over_capacity_by < ? THEN ? ELSE over_capacity_by END WHERE id = ?",
        one.weight, again, over, over, one.id,
    )  # fmt: skip
    tx.emit(ConversationUnparked(one.conversation_id, one.agent_id, over))
