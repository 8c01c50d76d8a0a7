"""Wrapping up: who is done with a conversation keeps its room for a while, to write down what has to be."""

from __future__ import annotations

from collections.abc import Sequence

from config.language import _
from routing.agents import give_load
from routing.locks import hold_agents
from routing.moves import refresh
from routing.rules import rule_book
from routing.shares import Share
from storage.access import SUPERVISE, Actor, NotFound
from storage.facts import WrapUpEnded
from storage.people import Agent
from storage.store import Tx
from storage.work import WorkItem

BATCH = 200
OVER = "SELECT id, agent_id FROM assignment WHERE wrap_until <= ? ORDER BY wrap_until, id LIMIT ?"
OF_CONVERSATION = "SELECT id, agent_id FROM assignment WHERE conversation_id = ? AND wrap_until IS NOT NULL"
_OF_AGENT = "SELECT id, agent_id FROM assignment WHERE agent_id = ? AND wrap_until IS NOT NULL ORDER BY id"


def wrap_up_of(tx: Tx, item: WorkItem, *, handed_on: bool = False) -> Share | None:
    """What its queue lets the agent of a piece of work keep who is done with it; nothing while he is not there."""
    queue = rule_book(tx).queues.get(item.queue_id)
    share = None if queue is None or (handed_on and not queue.wrap_up.transfers) else queue.wrap_up.on(item.channel)
    if share is None or item.agent_id is None:
        return None
    status = tx.sql("SELECT status FROM agent WHERE id = ?", item.agent_id).fetchone()[0]
    return None if status == "offline" else share


def is_over(tx: Tx) -> bool:
    """Whether some wrapping up has had its time."""
    return tx.sql(OVER, tx.now, 1).fetchone() is not None


def end_over(tx: Tx) -> int:
    """End what has had its time; how many that were."""
    return _end(tx, tx.sql(OVER, tx.now, BATCH).fetchall(), "time", "system")


def end_wrap_up(tx: Tx, actor: Actor, agent_id: int, reason: str = "") -> int:
    """An agent has done with all he wraps up, before its time. Again changes nothing; answers how many ended.

    Raises Forbidden for somebody else's unless the actor is a supervisor, and NotFound.
    """
    if actor.agent_id != agent_id or actor.agent_id is None:
        actor.must(SUPERVISE)
    if tx.get(Agent, agent_id) is None:
        raise NotFound(_("There is no agent {agent_id}.", agent_id=agent_id))
    return _end(tx, tx.sql(_OF_AGENT, agent_id).fetchall(), "hand", actor.by, reason)


def end_wrap_up_of(tx: Tx, conversation_id: int, by: str) -> None:
    """A conversation is opened again by hand: whoever wraps it up has its room for it."""
    _end(tx, tx.sql(OF_CONVERSATION, conversation_id).fetchall(), "reopened", by)


def cut_short(tx: Tx, conversation_id: int) -> None:
    """A conversation is opened again: its wrapping up ends with the next sweep. What arrives locks no agent."""
    if rule_book(tx).wraps_up:
        tx.sql(
            "UPDATE assignment SET wrap_until = ? WHERE conversation_id = ? AND wrap_until > ?",
            tx.now, conversation_id, tx.now,
        )  # fmt: skip


def _end(tx: Tx, rows: Sequence[tuple[int, int]], why: str, by: str, reason: str = "") -> int:
    hold_agents(tx, {agent_id for __, agent_id in rows})
    ended = 0
    for assignment_id, agent_id in rows:
        row = tx.sql(
            "UPDATE assignment SET wrap_until = NULL WHERE id = ? AND wrap_until IS NOT NULL "
            "RETURNING weight, conversation_id",
            assignment_id,
        ).fetchone()  # fmt: skip
        if row is not None:
            give_load(tx, agent_id, row[0], worked=True)
            tx.emit(WrapUpEnded(row[1], agent_id, why, by, reason))
            refresh(tx, Agent, agent_id)
            ended += 1
    return ended
