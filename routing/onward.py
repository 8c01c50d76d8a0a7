"""How work goes on to other queues: which one takes it, what changes with it, and how often it may be moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from config.language import _
from routing.agents import skills_served
from routing.hops import MOST_RETURNS, Trace, returns, why_not_alone
from routing.ladder import Climb, Step
from routing.limits import is_full
from routing.moves import end_offers, refresh, requeue
from routing.rules import QueueTerms, RuleBook, rule_book
from routing.sla import move_clocks
from routing.steps import Standing, keep
from storage.access import SUPERVISE, Actor, Conflict
from storage.conversations import Conversation
from storage.facts import ConversationQueued, TransferQuestioned
from storage.store import Tx
from storage.work import WorkItem

Full = Callable[[QueueTerms], bool]


def pass_on(
    tx: Tx,
    item: WorkItem,
    queue: QueueTerms,
    why: str,
    by: str,
    climb: Climb,
    rule_id: int | None = None,
    reason: str = "",
) -> None:
    """Let work that nobody has wait in another queue, where it has come as far on its ladder as `climb` says.

    What rings stops ringing. Its age stays, and what the new queue promises is due sooner by that.
    """
    number, old = int(item.id or 0), rule_book(tx).queues.get(item.queue_id, queue)
    if end_offers(tx, number, "rescinded", by):
        requeue(tx, number, item.conversation_id)
    best = skills_served(tx, queue.id)
    skills = {name: level for name, level in item.skills.items() if best.get(name, 0) >= level}
    dropped = sorted(set(item.skills) - set(skills))
    step = {"step": why, "by": by, "queue_id": queue.id, "queue": queue.name, "dropped": dropped}
    step |= {"reason": reason} if reason else {}
    tx.sql(
        "UPDATE work_item SET queue_id = ?, skills = ?, joined = ?, ladder_rule_id = ?, trace = ?, "
        "prefer_until = NULL, version = version + 1 WHERE id = ?",
        queue.id, skills, [], rule_id, json.dumps([*item.trace, step]), number,
    )  # fmt: skip
    keep(tx, number, climb, Standing(number, queue.id, rule_id, climb, None).next_at(rule_book(tx)))
    tx.sql("UPDATE conversation SET queue_id = ? WHERE id = ?", queue.id, item.conversation_id)
    move_clocks(tx, item.conversation_id, item.channel, old, queue)
    tx.emit(ConversationQueued(item.conversation_id, number, queue.id, why, by, reason))


def full_now(tx: Tx) -> Full:
    """Which queues are full at this moment."""
    return lambda queue: queue.limits.exist and is_full(tx, queue)


def way_in(book: RuleBook, queue: QueueTerms, full: Full) -> QueueTerms:
    """The queue that takes what is to go into this one: itself, or while it is full the one that it names.

    A queue that nobody serves is passed over like a full one. Where that one is full as well, and so on, the default
    queue takes it, however much waits there.
    """
    passed = set[int]()
    while queue.id not in passed and (full(queue) or not book.can_be_taken(queue)):
        passed.add(queue.id)
        queue = book.queues.get(queue.limits.queue_id or 0) or book.default or queue
    return (book.default or queue) if queue.id in passed else queue


class Onward(NamedTuple):
    """Where a step sends work: nowhere without a `queue`, and `why` not where `wanted` is, if there is a reason."""

    queue: QueueTerms | None
    wanted: int = 0
    why: str = ""


def next_queue(book: RuleBook, here: int, step: Step, trace: Trace, full: Full) -> Onward:
    """Where a step sends work that is `here`: the default queue in place of one that is gone or where it has been.

    Where it would go to and fro it stays. `trace` tells where it has been; one without a beginning stops nothing, which
    is for a rule's own ladder: that ends, and may lead back.
    """
    wanted = None if step.queue_id is None else book.queues.get(step.queue_id, book.default)
    wanted = wanted and way_in(book, wanted, full)
    if wanted is None or wanted.id == here:
        return Onward(None)
    why = ""
    for queue in (wanted, book.default):
        if queue is not None and queue.id != here:
            reason = why_not_alone(trace, queue.id, queue.name)
            if not reason:
                return Onward(queue)
            why = why or reason
    return Onward(None, wanted.id, why)


def may_go_on(tx: Tx, actor: Actor, item: WorkItem, queue: QueueTerms) -> bool:
    """Whether it is moved as often as that. Raises Conflict where an agent has to ask a supervisor."""
    if actor.role == "system":
        why = why_not_alone(item.trace, queue.id, queue.name)
        if why:
            question(tx, actor.by, item, queue.id, why, stopped=True)
        return not why
    times = 0 if actor.may(SUPERVISE) else returns(item.trace, queue.id)
    if times >= MOST_RETURNS:
        raise Conflict(
            _(
                "It was put into {queue} {times} times already: ask a supervisor, who sees it by now.",
                queue=queue.name,
                times=times,
            )
        )
    if times == MOST_RETURNS - 1:
        question(tx, actor.by, item, queue.id, f"It goes to and fro: it comes to {queue.name} again.", stopped=False)
    return True


def question(tx: Tx, by: str, item: WorkItem, queue_id: int, why: str, *, stopped: bool) -> None:
    """Ask supervisors to look at work that goes round."""
    tx.sql("UPDATE conversation SET escalated_at = ? WHERE id = ?", tx.now, item.conversation_id)
    tx.emit(TransferQuestioned(item.conversation_id, int(item.id or 0), queue_id, stopped, why, by))
    refresh(tx, Conversation, item.conversation_id)
