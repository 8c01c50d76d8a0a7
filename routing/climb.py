"""Steps of ladders, taken at their time: in one unit with what they change and the fact that tells of it."""

from __future__ import annotations

import json
from datetime import timedelta

from routing.ladder import Climb, Step, following
from routing.locks import hold, hold_agents
from routing.moves import refresh, ringing_at
from routing.onward import full_now, next_queue, pass_on, question
from routing.rules import QueueTerms, RuleBook, rule_book
from routing.steps import COLUMNS, Standing, keep, standing
from storage.access import SYSTEM
from storage.conversations import Conversation
from storage.facts import LadderStepTaken
from storage.store import Tx
from storage.work import WorkItem

BATCH = 200
# Nobody is called to what sleeps; when it wakes, the steps follow that were due meanwhile.
_DUE = (
    "SELECT item.id, item.conversation_id FROM work_item AS item JOIN conversation ON conversation.id = "
    "item.conversation_id AND conversation.state <> 'snoozed' WHERE item.step_at <= ? "
    "ORDER BY item.step_at, item.id LIMIT ?"
)
_WAIT = f"SELECT {COLUMNS}, conversation_id FROM work_item WHERE state IN ('queued','offered')"


def is_due(tx: Tx) -> bool:
    """Whether a step's time has come."""
    return tx.sql(_DUE, tx.now, 1).fetchone() is not None


def climb(tx: Tx) -> int:
    """Take every step whose time has come, the longest overdue first; answers how many pieces of work took one.

    After a standstill several steps follow each other as if each had been taken at its time.
    """
    ours = {row[1] for row in tx.sql(_DUE, tx.now, BATCH).fetchall()}
    hold(tx, ours)
    hold_agents(tx, ringing_at(tx, ours))
    book, taken = rule_book(tx), 0
    for item_id, conversation_id in tx.sql(_DUE, tx.now, BATCH).fetchall():  # again: now nobody else changes them
        if conversation_id in ours:
            taken += _climb(tx, book, item_id)
            refresh(tx, Conversation, conversation_id)
    return taken


def mistimed(tx: Tx) -> list[tuple[int, int]]:
    """Waiting work whose next step is not written down as the desk is now, with its conversations."""
    book = rule_book(tx)
    if not book.has_ladders:  # much may wait, and each new leader asks
        return [(row[0], row[-1]) for row in tx.sql(f"{_WAIT} AND step_at IS NOT NULL ORDER BY id").fetchall()]
    rows = tx.sql(f"{_WAIT} ORDER BY id").fetchall()
    return [(row[0], row[-1]) for row in rows if (one := standing(row[:-1])).next_at(book) != one.step_at]


def retime(tx: Tx, items: list[tuple[int, int]]) -> None:
    """Write down when the next steps of these come: the desk has changed."""
    hold(tx, [conversation_id for _, conversation_id in items])
    book = rule_book(tx)
    for item_id, _ in items:
        row = tx.sql(f"SELECT {COLUMNS} FROM work_item WHERE id = ? AND state IN ('queued','offered')", item_id)
        if (found := row.fetchone()) is not None:
            one = standing(found)
            keep(tx, item_id, one.climb, one.next_at(book))


def _climb(tx: Tx, book: RuleBook, item_id: int) -> bool:
    taken = False
    while True:
        item = tx.get_one(WorkItem, item_id)
        tx.refresh(item)
        one = standing(tx.sql(f"SELECT {COLUMNS} FROM work_item WHERE id = ?", item_id).fetchone())
        at, step = one.next_at(book), following(one.ladder(book), one.climb.reached)
        if at is None or step is None or at > tx.now:
            keep(tx, item_id, one.climb, at)
            return taken
        # As if taken at its time, however late we are.
        reached = one._replace(climb=Climb(step.after, at, step.after))
        _take(tx, book, item, reached, step)
        taken = True


def _take(tx: Tx, book: RuleBook, item: WorkItem, reached: Standing, step: Step) -> None:
    item_id, trace = int(item.id or 0), list(item.trace)
    skills = step.skills(item.skills)
    joined, priority = step.joined(item.joined, item.queue_id), step.raised(item.priority)
    told = {
        "relaxed": skills != item.skills,
        "joined": joined != item.joined,
        "priority": priority != item.priority,
        "age": step.age_credit > 0,
        **{name: True for name in step.notify},
    }
    trace.append({
        "step": "ladder", "after": step.after, "asked": item.skills, "skills": skills,
        "joined": [queue.name for each in joined[len(item.joined) :] if (queue := book.queues.get(each))],
        "priority": priority - item.priority, "age_credit": step.age_credit, "notify": list(step.notify),
    })  # fmt: skip
    # A decision that was made meanwhile by what held before is made again.
    ordered, credit = item.order_time - timedelta(seconds=step.age_credit), item.age_credit + step.age_credit
    tx.sql(
        "UPDATE work_item SET skills = ?, joined = ?, priority = ?, order_time = ?, age_credit = ?, trace = ?, "
        "version = version + 1 WHERE id = ?",
        skills, joined, priority, ordered, credit, json.dumps(trace), item_id,
    )  # fmt: skip
    keep(tx, item_id, reached.climb, reached.next_at(book))
    tx.sql("UPDATE conversation SET priority = ? WHERE id = ?", priority, item.conversation_id)
    if "supervisors" in step.notify:
        tx.sql("UPDATE conversation SET escalated_at = ? WHERE id = ?", tx.now, item.conversation_id)
    tx.refresh(item)
    own = reached.rule_id is not None and bool(book.ladder(0, reached.rule_id))
    target = _target(tx, book, item, step, own)
    if target is not None:
        told["queue"] = True
    actions = tuple(name for name, done in told.items() if done)
    tx.emit(LadderStepTaken(item.conversation_id, item_id, step.after, actions))
    if target is not None:
        climb = reached.climb if own else Climb(0, reached.climb.since, 0)
        pass_on(tx, item, target, "overflow", SYSTEM.by, climb, reached.rule_id if own else None)


def _target(tx: Tx, book: RuleBook, item: WorkItem, step: Step, own: bool) -> QueueTerms | None:
    """Where a step sends the work; supervisors are told where it would have gone to and fro."""
    goes = next_queue(book, item.queue_id, step, [] if own else item.trace, full_now(tx))
    if goes.queue is None and goes.why:
        question(tx, SYSTEM.by, item, goes.wanted, goes.why, stopped=True)
    return goes.queue
