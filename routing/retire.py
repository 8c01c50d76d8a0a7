"""Switching off an agent, a queue or a skill: nothing that hangs on it is left behind."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlmodel import col, select

from routing.agents import skills_served
from routing.ladder import Climb
from routing.locks import hold
from routing.moves import disown, end_offers, refresh, requeue
from routing.presence import set_status
from routing.rules import terms_now
from routing.sla import move_clocks
from routing.steps import keep
from storage.access import SYSTEM, Actor
from storage.conversations import Conversation
from storage.desk import default_queue
from storage.facts import ConversationQueued
from storage.people import Agent, end_sign_ins
from storage.store import Tx
from storage.work import LIVE, WorkItem

# Conversation, the account if that is switched off, and the queue if that is.
STRANDED = (
    "SELECT work_item.conversation_id, agent.id, queue.id FROM work_item "
    "LEFT JOIN agent ON agent.id = work_item.agent_id AND agent.active = ? "
    "LEFT JOIN queue ON queue.id = work_item.queue_id AND queue.active = ? "
    f"WHERE work_item.state IN ({', '.join(repr(state) for state in LIVE)}) "
    "AND (agent.id IS NOT NULL OR queue.id IS NOT NULL)"
)


def hold_all(tx: Tx, agent_ids: Collection[int], queue_ids: Collection[int]) -> None:
    """Lock every conversation that will move, before anything else is locked."""
    rows = select(WorkItem.conversation_id).where(
        col(WorkItem.state).in_(LIVE), col(WorkItem.agent_id).in_(agent_ids) | col(WorkItem.queue_id).in_(queue_ids)
    )
    hold(tx, tx.exec(rows))


def retire_agent(tx: Tx, actor: Actor, agent_id: int) -> None:
    """Switch an account off; what rings there or is owned there, also what is snoozed, goes back to its queue."""
    set_status(tx, actor, agent_id, "offline", "switched off")
    _give_back(tx, actor, agent_id)
    tx.sql("UPDATE agent SET active = ? WHERE id = ?", False, agent_id)
    end_sign_ins(tx, agent_id, "switched off", actor.by)
    refresh(tx, Agent, agent_id)


def is_stranded(tx: Tx) -> bool:
    """Whether live work hangs on an account or a queue that is switched off."""
    return tx.sql(STRANDED + " LIMIT 1", False, False).fetchone() is not None


def take_up_stranded(tx: Tx) -> int:
    """Give back live work of accounts that are switched off, move that of closed queues to the default; how many.

    A switch-off sees only what is there: what was just arriving then, or what an older version left, is found here.
    """
    rows = tx.sql(STRANDED + " ORDER BY work_item.conversation_id", False, False).fetchall()
    hold(tx, [row[0] for row in rows])
    for agent_id in sorted({row[1] for row in rows if row[1] is not None}):
        _give_back(tx, SYSTEM, agent_id)
    target = default_queue(tx)
    for queue_id in sorted({row[2] for row in rows if row[2] is not None}):
        if target is not None:
            move_out(tx, SYSTEM, queue_id, target.id or 0, target.name)
    return len(rows)


def _give_back(tx: Tx, actor: Actor, agent_id: int) -> None:
    """What rings at an agent or is owned there, also what is snoozed, goes back to its queue."""
    for item in _live(tx, WorkItem.agent_id == agent_id):
        number = int(item.id or 0)
        end_offers(tx, number, "rescinded", actor.by)
        disown(tx, item.conversation_id, "sign_out", actor.by)
        requeue(tx, number, item.conversation_id)
        tx.emit(ConversationQueued(item.conversation_id, number, item.queue_id, "sign_out", actor.by))
        refresh(tx, Conversation, item.conversation_id)


def move_out(tx: Tx, actor: Actor, queue_id: int, to_id: int, to_name: str) -> int:
    """Put a queue's work into another one, with its age, under that one's promises; owners keep theirs.

    Skills that nobody in the other queue has are no longer required. Answers how many conversations moved.
    """
    best = skills_served(tx, to_id)
    items = _live(tx, WorkItem.queue_id == queue_id)
    old, new = terms_now(tx, queue_id), terms_now(tx, to_id)
    for item in items:
        number = int(item.id or 0)
        skills = {name: level for name, level in item.skills.items() if best.get(name, 0) >= level}
        dropped = sorted(set(item.skills) - set(skills))
        step = {"step": "transfer", "by": actor.by, "queue_id": to_id, "queue": to_name, "dropped": dropped}
        if end_offers(tx, number, "rescinded", actor.by):
            requeue(tx, number, item.conversation_id)
        tx.sql(
            "UPDATE work_item SET queue_id = ?, skills = ?, joined = ?, ladder_rule_id = NULL, prefer_until = NULL, "
            "trace = ?, version = version + 1 WHERE id = ?",
            to_id, skills, [], json.dumps([*item.trace, step]), number,
        )  # fmt: skip
        climb = Climb(0, None if item.state == "assigned" else tx.now, 0)
        keep(tx, number, climb, climb.next_at(new.ladder, new.calendar))
        tx.sql("UPDATE conversation SET queue_id = ? WHERE id = ?", to_id, item.conversation_id)
        move_clocks(tx, item.conversation_id, item.channel, old, new)
        if item.state != "assigned":
            tx.emit(ConversationQueued(item.conversation_id, number, to_id, "transfer", actor.by))
        refresh(tx, Conversation, item.conversation_id)
        refresh(tx, WorkItem, number)
    return len(items)


def drop_skill(tx: Tx, skill_id: int, name: str) -> None:
    """Remove a skill: nobody has it and no work waits for it any longer."""
    for item in _live(tx, col(WorkItem.id).is_not(None)):
        if name in item.skills:
            rest = {other: level for other, level in item.skills.items() if other != name}
            tx.sql("UPDATE work_item SET skills = ?, version = version + 1 WHERE id = ?", rest, item.id)
            refresh(tx, WorkItem, int(item.id or 0))
    tx.sql("DELETE FROM agent_skill WHERE skill_id = ?", skill_id)
    tx.sql("DELETE FROM skill WHERE id = ?", skill_id)


def _live(tx: Tx, which: object) -> list[WorkItem]:
    tx.flush()
    query = select(WorkItem).where(col(WorkItem.state).in_(LIVE), which)  # type: ignore[arg-type]
    return list(tx.exec(query.order_by(col(WorkItem.id)).execution_options(populate_existing=True)))
