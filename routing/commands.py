"""What supervisors do to work and queues by hand, each in one unit with who did it and why.

Agents' statuses and draining are in `routing.presence`, assigning and moving in `routing.work`; they take a reason too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from unicodedata import category

from config.language import _
from routing.agents import agent_names
from routing.ladder import HIGHEST
from routing.locks import hold
from routing.moves import refresh, ringing_at
from routing.rules import rule_book
from routing.work import assign, held_item
from storage.access import ANSWER, SUPERVISE, Actor, Conflict, Forbidden, NotFound, conversation_for
from storage.conversations import Conversation
from storage.desk import Queue, touch_desk
from storage.facts import (
    ConversationLabelled,
    ConversationPinned,
    ConversationPrioritised,
    ConversationUnpinned,
    QueuePaused,
    QueueResumed,
)
from storage.people import Agent, AgentQueue
from storage.store import Tx
from storage.work import Assignment, WorkItem, open_assignment

KEPT_FOR = timedelta(minutes=30)  # how long pinned work waits for its agent alone, unless told otherwise
MOST_KEPT = timedelta(hours=24)
MOST_SAID = 200  # characters of a reason
MOST_LABELS = 20
LONGEST_LABEL = 64


def told(reason: str, *, needed_for: str = "") -> str:
    """A reason as it is kept. Raises Conflict when it is too long, or missing where one is needed."""
    # PostgreSQL stores no NUL, and nothing encodes a lone surrogate.
    reason = "".join(each for each in " ".join(reason.split()) if category(each) not in ("Cc", "Cs")).strip()
    if len(reason) > MOST_SAID:
        raise Conflict(_("A reason has at most {most_said} characters.", most_said=MOST_SAID))
    if needed_for and not reason:
        raise Conflict(_("Say why: {needed_for}", needed_for=needed_for))
    return reason


def take_over(tx: Tx, actor: Actor, conversation_id: int, reason: str) -> Assignment:
    """Take a conversation from the agent who has it, also above one's own capacity. One's own stays.

    Raises Forbidden unless the actor is a supervisor with an agent of their own, and Conflict when nobody has it or no
    reason is given: who had it wants to know.
    """
    actor.must(SUPERVISE)
    if actor.agent_id is None:
        raise Forbidden(_("Only an agent can have a conversation: use a token that belongs to one, or assign it."))
    reason = told(reason, needed_for="who had it wants to know.")
    conversation_for(tx, actor, conversation_id)
    hold(tx, [conversation_id])
    if open_assignment(tx, conversation_id) is None:
        raise Conflict(_("Nobody has it: claim it."))
    return assign(tx, actor, conversation_id, actor.agent_id, reason)


def prioritise(tx: Tx, actor: Actor, conversation_id: int, priority: int, reason: str = "") -> None:
    """Give a conversation another priority: minutes of age, from -1000 to 1000, of which its queue counts up to its
    `boost`. The priority it has changes nothing. Raises Forbidden, NotFound, and Conflict for one out of bounds.
    """
    actor.must(SUPERVISE)
    set_priority(tx, actor, conversation_id, priority, reason)


def set_priority(tx: Tx, actor: Actor, conversation_id: int, priority: int, reason: str = "") -> None:
    """`prioritise` for whoever may answer, by a macro that was written for them."""
    actor.must(ANSWER, SUPERVISE)
    if abs(priority) > HIGHEST:
        raise Conflict(_("A priority is a number from -{highest} to {highest}.", highest=HIGHEST))
    reason = told(reason)
    item = held_item(tx, actor, conversation_id)
    if item.priority == priority:
        return
    # A decision that was made meanwhile by the old priority is made again.
    tx.sql("UPDATE work_item SET priority = ?, version = version + 1 WHERE id = ?", priority, item.id)
    tx.sql("UPDATE conversation SET priority = ? WHERE id = ?", priority, conversation_id)
    tx.emit(
        ConversationPrioritised(conversation_id, int(item.id or 0), priority, item.priority, actor.by, reason)
    )  # fmt: skip
    _reread(tx, item)


def label(tx: Tx, actor: Actor, conversation_id: int, labels: Iterable[str], reason: str = "") -> None:
    """Say of which kinds a conversation is, in place of what was said before: of each an agent's profile may allow only
    so many at once. What somebody has stays there. The labels it has change nothing.

    Raises NotFound, and Conflict for too many, for one that is empty or too long, and when it is resolved.
    """
    actor.must(ANSWER, SUPERVISE)
    wanted = sorted({told(one) for one in labels})
    if len(wanted) > MOST_LABELS or any(not 0 < len(one) <= LONGEST_LABEL for one in wanted):
        raise Conflict(
            _(
                "A conversation has at most {most_labels} labels, of 1 to {longest_label} characters each.",
                most_labels=MOST_LABELS,
                longest_label=LONGEST_LABEL,
            )
        )
    reason = told(reason)
    item = held_item(tx, actor, conversation_id)
    before = sorted(item.labels)
    if before == wanted:
        return
    tx.sql("UPDATE work_item SET labels = ?, version = version + 1 WHERE id = ?", wanted, item.id)
    having = tuple(ringing_at(tx, {conversation_id}) or filter(None, [item.agent_id]))
    tx.emit(
        ConversationLabelled(
            conversation_id, int(item.id or 0), having, tuple(wanted), tuple(before), actor.by, reason
        )
    )  # fmt: skip
    _reread(tx, item)


def pin(
    tx: Tx, actor: Actor, conversation_id: int, agent_id: int | None = None, *, kept: timedelta = KEPT_FOR,
    reason: str = "",
) -> None:  # fmt: skip
    """Let waiting work go before everything else: to whoever can take it next, or to one agent.

    It is `kept` for that agent while they are there and have not passed on it, then it goes to anybody who can. Raises
    Forbidden, NotFound, and Conflict when it does not wait or the agent could never be offered it.
    """
    actor.must(SUPERVISE)
    reason = told(reason)
    item = held_item(tx, actor, conversation_id)
    if item.state != "queued":
        who = agent_names(tx, [item.agent_id or 0])[item.agent_id or 0]
        if item.state == "offered":
            raise Conflict(_("It rings at {agent}: only what waits is pinned.", agent=who))
        raise Conflict(_("It is with {agent}: only what waits is pinned.", agent=who))
    until = None
    if agent_id is not None:
        _can_be_offered(tx, item, agent_id)
        if not timedelta() < kept <= MOST_KEPT:
            raise Conflict(_("Work is kept for an agent for at least a minute and at most a day."))
        until = tx.now + kept
    tx.sql(
        "UPDATE work_item SET pinned_at = ?, pin_agent_id = ?, pin_until = ?, version = version + 1 WHERE id = ?",
        tx.now, agent_id, until, item.id,
    )  # fmt: skip
    tx.sql("DELETE FROM cooldown WHERE work_item_id = ? AND agent_id = ?", item.id, agent_id or 0)
    tx.emit(ConversationPinned(conversation_id, int(item.id or 0), agent_id, _iso(until), actor.by, reason))
    _reread(tx, item)


def unpin(tx: Tx, actor: Actor, conversation_id: int, reason: str = "") -> None:
    """Let work wait in its turn again. What is not pinned stays as it is. Raises Forbidden and NotFound."""
    actor.must(SUPERVISE)
    reason = told(reason)
    item = held_item(tx, actor, conversation_id)
    if item.pinned_at is None:
        return
    tx.sql(
        "UPDATE work_item SET pinned_at = NULL, pin_agent_id = NULL, pin_until = NULL, version = version + 1 "
        "WHERE id = ?",
        item.id,
    )  # fmt: skip
    tx.emit(ConversationUnpinned(conversation_id, int(item.id or 0), actor.by, reason))
    _reread(tx, item)


def pause(tx: Tx, actor: Actor, queue_id: int, reason: str) -> None:
    """Hand nothing out from a queue until it goes on; anybody may still claim. Pausing again changes the reason.

    Raises Forbidden, NotFound, and Conflict without a reason: everybody asks why nothing comes.
    """
    actor.must(SUPERVISE)
    reason = told(reason, needed_for="everybody will ask why nothing comes.")
    queue = _queue(tx, queue_id)
    if queue.handout.get("paused") and queue.paused_why == reason:
        return
    queue.handout = {**queue.handout, "paused": True}
    queue.paused_why = reason
    _changed(tx, queue)
    tx.emit(QueuePaused(queue_id, actor.by, reason))


def resume(tx: Tx, actor: Actor, queue_id: int, reason: str = "") -> None:
    """Let a paused queue go on. Raises Forbidden and NotFound."""
    actor.must(SUPERVISE)
    reason = told(reason)
    queue = _queue(tx, queue_id)
    if not queue.handout.get("paused"):
        return
    queue.handout = {name: value for name, value in queue.handout.items() if name != "paused"}
    queue.paused_why = ""
    _changed(tx, queue)
    tx.emit(QueueResumed(queue_id, actor.by, reason))


def _can_be_offered(tx: Tx, item: WorkItem, agent_id: int) -> None:
    agent = tx.get(Agent, agent_id)
    if agent is None or not agent.active:
        raise NotFound(_("There is no agent {agent_id}.", agent_id=agent_id))
    queue = rule_book(tx).queues.get(item.queue_id)
    if not any(tx.get(AgentQueue, (agent_id, queue_id)) for queue_id in (item.queue_id, *item.joined)):
        where = queue.name if queue else _("its queue")
        raise Conflict(_("{agent} does not serve {queue}: assign it instead.", agent=agent.name, queue=where))
    rows = tx.sql(
        "SELECT skill.name, agent_skill.level FROM agent_skill JOIN skill ON skill.id = agent_skill.skill_id "
        "WHERE agent_skill.agent_id = ?",
        agent_id,
    ).fetchall()
    has = dict(rows)
    lacking = [f"{name} ≥ {level}" for name, level in sorted(item.skills.items()) if has.get(name, 0) < level]
    if lacking:
        raise Conflict(
            _(
                "{agent} has not {lacking}, which it requires: assign it instead.",
                agent=agent.name,
                lacking=" and ".join(lacking),
            )
        )


def _queue(tx: Tx, queue_id: int) -> Queue:
    """Locked: somebody may be applying a file that says something else of it."""
    queue = tx.get(Queue, queue_id, with_for_update=True, populate_existing=True)
    if queue is None or not queue.active:
        raise NotFound(_("There is no active queue {queue_id}.", queue_id=queue_id))
    return queue


def _changed(tx: Tx, queue: Queue) -> None:
    tx.add(queue)
    tx.flush()
    touch_desk(tx)


def _iso(until: datetime | None) -> str:
    return "" if until is None else until.isoformat()


def _reread(tx: Tx, item: WorkItem) -> None:
    tx.refresh(item)
    refresh(tx, Conversation, item.conversation_id)
