"""Clocks of what a queue promises: first reply, next reply, resolution. Callers hold the conversation.

They count open time. A reply clock runs from the customer's words to our answer, also while the conversation sleeps:
a snooze is no answer. The resolution clock stands still while we wait for the customer and while it is snoozed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from routing.promises import FIRST_REPLY, KINDS, NEXT_REPLY, RESOLUTION
from routing.rules import QueueTerms, RuleBook, rule_book
from storage.columns import moment
from storage.facts import FirstReplySent
from storage.store import Tx

_LIVE = "state IN ('queued','offered','assigned')"
_COLUMNS = "id, kind, target_seconds, used_seconds, running_since, paused_at, warned_at, breached_at"
_START = (
    "INSERT INTO sla_clock(work_item_id, conversation_id, kind, target_seconds, started_at, used_seconds, "
    "running_since, due_at, next_at) VALUES(?, ?, ?, ?, ?, 0, ?, ?, ?) "
    "ON CONFLICT (conversation_id, kind) WHERE ended_at IS NULL DO NOTHING"
)
_NEXT_DUE = "(SELECT min(due_at) FROM sla_clock WHERE conversation_id = ? AND ended_at IS NULL)"
_UNDER_WAY = (
    "SELECT work_item.id, work_item.queue_id, work_item.first_reply_at, conversation.channel, conversation.state, "
    "conversation.waiting_since FROM work_item JOIN conversation ON conversation.id = work_item.conversation_id "
    f"WHERE work_item.conversation_id = ? AND work_item.{_LIVE}"
)


@dataclass(frozen=True, slots=True)
class Clock:
    """How a clock runs: `used` seconds of open time up to `running_since`, and on from there."""

    id: int
    kind: str
    target: int | None
    used: int
    running_since: datetime | None
    paused_at: datetime | None = None
    warned_at: datetime | None = None
    breached_at: datetime | None = None


def first_due(queue: QueueTerms, channel: str, since: datetime) -> datetime | None:
    """The target that runs out first for work that begins at that moment."""
    targets = [queue.promises.target(kind, channel) for kind in (FIRST_REPLY, RESOLUTION)]
    return min((queue.calendar.add(since, target) for target in targets if target is not None), default=None)


def start_episode(tx: Tx, book: RuleBook, queue: QueueTerms, item_id: int, conversation_id: int, channel: str) -> None:
    """Somebody waits for a first reply, and for the matter to be settled. The hot path of everything that arrives."""
    _start(tx, queue, item_id, conversation_id, FIRST_REPLY, channel)
    if RESOLUTION in book.counted:
        _start(tx, queue, item_id, conversation_id, RESOLUTION, channel)


def follow_conversation(tx: Tx, conversation_id: int) -> None:
    """Let clocks run or rest as the conversation now says: the customer waits or not, it sleeps or not."""
    row = tx.sql(_UNDER_WAY, conversation_id).fetchone()
    book = rule_book(tx)
    queue = None if row is None else book.queues.get(row[1])
    if row is None or queue is None:
        return
    item_id, _, replied_at, channel, state, waiting_since = row
    if waiting_since is not None and replied_at is not None and NEXT_REPLY in book.counted:
        _start(tx, queue, item_id, conversation_id, NEXT_REPLY, channel)
    for clock in _running(tx, conversation_id, RESOLUTION):
        if waiting_since is not None and state == "open":
            clock = replace(clock, running_since=clock.running_since or tx.now, paused_at=None)
        elif clock.running_since is not None:
            clock = replace(clock, used=_spent(queue, clock, tx.now), running_since=None, paused_at=tx.now)
        _write(tx, queue, clock)
    show_due(tx, conversation_id)


def record_answer(tx: Tx, conversation_id: int, agent_id: int | None) -> None:
    """An answer keeps what was promised about replies; the next word is the customer's.

    `agent_id` is None when a program answered; the fact then says agent 0.
    """
    row = tx.sql(
        f"UPDATE work_item SET first_reply_at = ? WHERE conversation_id = ? AND first_reply_at IS NULL AND {_LIVE} "
        "RETURNING id, enqueued_at",
        tx.now, conversation_id,
    ).fetchone()  # fmt: skip
    tx.sql(
        "UPDATE sla_clock SET ended_at = ?, next_at = NULL WHERE conversation_id = ? AND ended_at IS NULL "
        "AND kind IN ('first_reply','next_reply')",
        tx.now, conversation_id,
    )  # fmt: skip
    tx.sql("UPDATE conversation SET escalated_at = NULL WHERE id = ? AND escalated_at IS NOT NULL", conversation_id)
    follow_conversation(tx, conversation_id)
    if row is not None:
        seconds = int((tx.now - (moment(row[1]) or tx.now)).total_seconds())
        by = "system" if agent_id is None else f"agent:{agent_id}"
        tx.emit(FirstReplySent(conversation_id, int(row[0]), agent_id or 0, seconds, by))


def take_answer_back(tx: Tx, conversation_id: int, answered_at: datetime) -> None:
    """The answer of that moment was undone: the clocks that it stopped have never stood still."""
    row = tx.sql(_UNDER_WAY, conversation_id).fetchone()
    queue = None if row is None else rule_book(tx).queues.get(row[1])
    if queue is None:
        return
    tx.sql(
        f"UPDATE work_item SET first_reply_at = NULL WHERE conversation_id = ? AND first_reply_at = ? AND {_LIVE}",
        conversation_id, answered_at,
    )  # fmt: skip
    # If the customer wrote meanwhile, that is no second question any more.
    tx.sql(
        "DELETE FROM sla_clock WHERE conversation_id = ? AND kind = 'next_reply' AND ended_at IS NULL "
        "AND started_at >= ?",
        conversation_id, answered_at,
    )  # fmt: skip
    stopped = tx.sql(
        f"UPDATE sla_clock SET ended_at = NULL WHERE conversation_id = ? AND ended_at = ? RETURNING {_COLUMNS}",
        conversation_id, answered_at,
    ).fetchall()  # fmt: skip
    for clock in map(_read, stopped):
        _write(tx, queue, clock)
    for clock in _running(tx, conversation_id, RESOLUTION):
        if clock.paused_at == answered_at:
            _write(tx, queue, replace(clock, running_since=answered_at, paused_at=None))
    show_due(tx, conversation_id)


def end_episode(tx: Tx, conversation_id: int) -> None:
    """The matter is settled: whatever still ran was kept or has been breached."""
    tx.sql(
        "UPDATE sla_clock SET ended_at = ?, next_at = NULL WHERE conversation_id = ? AND ended_at IS NULL",
        tx.now, conversation_id,
    )  # fmt: skip
    tx.sql("UPDATE conversation SET due_at = NULL, escalated_at = NULL WHERE id = ?", conversation_id)


def move_clocks(tx: Tx, conversation_id: int, channel: str, old: QueueTerms, new: QueueTerms) -> None:
    """Another queue's promises and hours hold from now on; what was used up in the old one's stays used up."""
    for clock in _running(tx, conversation_id, *KINDS):
        target, used = new.promises.target(clock.kind, channel), _spent(old, clock, tx.now)
        since = clock.running_since and tx.now
        _write(tx, new, replace(clock, target=target, used=used, running_since=since))
    show_due(tx, conversation_id)


def show_due(tx: Tx, conversation_id: int) -> None:
    """Copy the next target that counts to where lists and the router look."""
    tx.sql(f"UPDATE conversation SET due_at = {_NEXT_DUE} WHERE id = ?", conversation_id, conversation_id)
    tx.sql(
        f"UPDATE work_item SET due_at = {_NEXT_DUE} WHERE conversation_id = ? AND {_LIVE}",
        conversation_id, conversation_id,
    )  # fmt: skip


def _start(tx: Tx, queue: QueueTerms, item_id: int, conversation_id: int, kind: str, channel: str) -> None:
    clock = Clock(0, kind, queue.promises.target(kind, channel), 0, tx.now)
    tx.sql(_START, item_id, conversation_id, kind, clock.target, tx.now, tx.now, *_moments(queue, clock))


def _write(tx: Tx, queue: QueueTerms, clock: Clock) -> None:
    """Write a clock down with the moments that follow from how it runs."""
    tx.sql(
        "UPDATE sla_clock SET target_seconds = ?, used_seconds = ?, running_since = ?, paused_at = ?, due_at = ?, "
        "next_at = ? WHERE id = ?",
        clock.target, clock.used, clock.running_since, clock.paused_at, *_moments(queue, clock), clock.id,
    )  # fmt: skip


def _moments(queue: QueueTerms, clock: Clock) -> tuple[datetime | None, datetime | None]:
    """When a target runs out, and when there is something to note before that or then."""
    if clock.target is None or clock.running_since is None:
        return None, None
    left = clock.target - clock.used
    # One that went on after it had run out is late since then.
    due_at = queue.calendar.add(clock.running_since, left) if left > 0 else clock.breached_at or clock.running_since
    if clock.breached_at is not None:
        return due_at, None
    if clock.warned_at is not None:
        return due_at, due_at
    warned_after = clock.target * queue.promises.warn_at / 100
    return due_at, queue.calendar.add(clock.running_since, warned_after - clock.used)


def _spent(queue: QueueTerms, clock: Clock, now: datetime) -> int:
    """Whole seconds of open time that a clock has counted."""
    if clock.running_since is None:
        return clock.used
    return clock.used + int(queue.calendar.elapsed(clock.running_since, now))


def _running(tx: Tx, conversation_id: int, *kinds: str) -> list[Clock]:
    marks = ",".join("?" * len(kinds))
    rows = tx.sql(
        f"SELECT {_COLUMNS} FROM sla_clock WHERE conversation_id = ? AND ended_at IS NULL AND kind IN ({marks})",
        conversation_id, *kinds,
    ).fetchall()  # fmt: skip
    return [_read(row) for row in rows]


def _read(row: Any) -> Clock:
    number, kind, target, used, *moments = row
    return Clock(number, kind, target, used, *map(moment, moments))
