"""Who is there: an agent's status, and what becomes of the work when it changes."""

from __future__ import annotations

from collections.abc import Iterable

from config.language import _
from routing.handout import MISSED_LIMIT
from routing.locks import hold, hold_agents
from routing.moves import cool_down, disown, end_offers, refresh, requeue, ring_on
from routing.rules import rule_book
from storage.access import SUPERVISE, SYSTEM, Actor, Conflict, Forbidden, NotFound
from storage.facts import AgentDrained, AgentStatusChanged, AgentUndrained, ConversationQueued
from storage.people import Agent
from storage.store import Tx

STATUSES = ("available", "away", "offline")
BATCH = 200


def set_status(
    tx: Tx, actor: Actor, agent_id: int, status: str, why: str = "", *, give_back: bool | None = None
) -> None:
    """Make an agent available, away or offline. Away keeps the work and stops what rings; offline also puts back
    conversations whose customer waits for an answer. `give_back` says otherwise for either.

    Raises Forbidden for somebody else's status unless the actor is a supervisor, NotFound, and Conflict for an
    unknown status.
    """
    if actor.agent_id != agent_id or actor.agent_id is None:
        actor.must(SUPERVISE)
    if status not in STATUSES:
        raise Conflict(
            _("A status is one of {statuses}, not {status}.", statuses=", ".join(STATUSES), status=repr(status))
        )
    movable = hold_with_work(tx, [agent_id])
    freed = ", missed_offers = 0, idle_since = ?" if status == "available" else ""
    moments = (tx.now, tx.now) if status == "available" else (tx.now,)
    changed = tx.sql(
        f"UPDATE agent SET status = ?, status_why = ?, status_since = ?{freed} WHERE id = ? AND active AND status <> ?",
        status, why, *moments, agent_id, status,
    )  # fmt: skip
    if changed.rowcount == 0:
        if (agent := tx.get(Agent, agent_id)) is None:
            raise NotFound(_("There is no agent {agent_id}.", agent_id=agent_id))
        if not agent.active:
            raise Conflict(_("{agent}'s account is switched off: an admin can switch it on again.", agent=agent.name))
        return
    tx.emit(AgentStatusChanged(agent_id, status, why, actor.by))
    if status != "available":
        for item_id, conversation_id, __ in _ringing(tx, agent_id):
            end_offers(tx, item_id, "rescinded", actor.by, agent_id)
            ring_on(tx, item_id, conversation_id)
    if status != "available" and (status == "offline" if give_back is None else give_back):
        for item_id, conversation_id, queue_id in _answerable(tx, agent_id):
            if conversation_id not in movable:  # the customer wrote a moment ago: that is after the change
                continue
            disown(tx, conversation_id, "sign_out", actor.by)
            requeue(tx, item_id, conversation_id)
            tx.emit(ConversationQueued(conversation_id, item_id, queue_id, "sign_out", actor.by))
    refresh(tx, Agent, agent_id)


def drain(tx: Tx, actor: Actor, agent_id: int, reason: str = "") -> None:
    """Let an agent finish what he has: nothing new comes, what rings goes to somebody else. Again changes nothing.

    It holds whatever the agent's status becomes. Raises Forbidden unless the actor is a supervisor, and NotFound.
    """
    actor.must(SUPERVISE)
    hold_with_work(tx, [agent_id])
    if _exists(tx, agent_id).drained_at is not None:
        return
    tx.sql("UPDATE agent SET drained_at = ? WHERE id = ?", tx.now, agent_id)
    for item_id, conversation_id, __ in _ringing(tx, agent_id):
        end_offers(tx, item_id, "rescinded", actor.by, agent_id)
        ring_on(tx, item_id, conversation_id)
    tx.emit(AgentDrained(agent_id, actor.by, reason))
    refresh(tx, Agent, agent_id)


def undrain(tx: Tx, actor: Actor, agent_id: int, reason: str = "") -> None:
    """Let work come to an agent again. Raises like `drain`."""
    actor.must(SUPERVISE)
    hold_agents(tx, [agent_id])
    if _exists(tx, agent_id).drained_at is None:
        return
    tx.sql("UPDATE agent SET drained_at = NULL, missed_offers = 0, idle_since = ? WHERE id = ?", tx.now, agent_id)
    tx.emit(AgentUndrained(agent_id, actor.by, reason))
    refresh(tx, Agent, agent_id)


def _exists(tx: Tx, agent_id: int) -> Agent:
    agent = tx.get(Agent, agent_id)
    if agent is None or not agent.active:
        raise NotFound(_("There is no agent {agent_id}.", agent_id=agent_id))
    tx.refresh(agent)
    return agent


def rings_too_long(tx: Tx) -> bool:
    """Whether some offer's time is over."""
    row = tx.sql("SELECT 1 FROM offer WHERE state = 'offered' AND expires_at <= ? LIMIT 1", tx.now).fetchone()
    return row is not None


def expire_offers(tx: Tx) -> int:
    """Take back offers nobody answered in time; answers how many. Their conversations keep their age."""
    rows = tx.sql(
        "SELECT work_item_id, conversation_id, agent_id FROM offer WHERE state = 'offered' AND expires_at <= ? "
        f"ORDER BY expires_at, id LIMIT {BATCH}",
        tx.now,
    ).fetchall()
    hold_with_work(tx, [row[2] for row in rows], [row[1] for row in rows])
    expired = 0
    for item_id, conversation_id, agent_id in rows:
        if end_offers(tx, item_id, "expired", "system", agent_id):
            cool_down(tx, item_id, agent_id)
            ring_on(tx, item_id, conversation_id)
            _note_missed_offer(tx, agent_id, item_id)
            expired += 1
    return expired


def hold_with_work(tx: Tx, agent_ids: Iterable[int], conversation_ids: Iterable[int] = ()) -> set[int]:
    """Lock agents and, before them, the conversations that a change of their status may move; answers those.

    Nothing new rings at an agent who is locked. What began to ring before that is locked from the start again: whoever
    waited for it with an agent in hand would wait for one who has it and waits for that agent.
    """
    agents = set(agent_ids)
    tx.flush()
    while True:
        wanted = {*conversation_ids, *_movable(tx, agents)}
        if tx.dialect == "postgresql":
            tx.sql("SAVEPOINT unlocked")
        hold(tx, wanted)
        hold_agents(tx, agents)
        if _movable(tx, agents) <= wanted:
            return wanted
        tx.sql("ROLLBACK TO SAVEPOINT unlocked")


def _movable(tx: Tx, agents: Iterable[int]) -> set[int]:
    return {row[1] for agent_id in agents for row in _ringing(tx, agent_id) + _answerable(tx, agent_id)}


def _note_missed_offer(tx: Tx, agent_id: int, item_id: int) -> None:
    """Count an offer nobody answered; after as many in a row as the queue allows its agent is away."""
    missed, status = tx.sql(
        "UPDATE agent SET missed_offers = missed_offers + 1 WHERE id = ? RETURNING missed_offers, status", agent_id
    ).fetchone()
    queue_id = tx.sql("SELECT queue_id FROM work_item WHERE id = ?", item_id).fetchone()[0]
    queue = rule_book(tx).queues.get(queue_id)
    if missed >= (queue.missed_limit if queue else MISSED_LIMIT) and status == "available":
        set_status(tx, SYSTEM, agent_id, "away", "missed offers")


def _ringing(tx: Tx, agent_id: int) -> list[tuple[int, int, int]]:
    rows = tx.sql(
        "SELECT work_item_id, conversation_id, 0 FROM offer WHERE agent_id = ? AND state = 'offered' "
        "ORDER BY conversation_id",
        agent_id,
    ).fetchall()
    return list(rows)


def _answerable(tx: Tx, agent_id: int) -> list[tuple[int, int, int]]:
    """Open conversations of an agent in which the customer had the last word."""
    rows = tx.sql(
        "SELECT assignment.work_item_id, conversation.id, work_item.queue_id FROM assignment "
        "JOIN conversation ON conversation.id = assignment.conversation_id "
        "JOIN work_item ON work_item.id = assignment.work_item_id "
        "WHERE assignment.agent_id = ? AND assignment.ended_at IS NULL AND conversation.state = 'open' "
        "AND conversation.waiting_since IS NOT NULL ORDER BY conversation.id",
        agent_id,
    ).fetchall()
    return list(rows)


def acting_agent(tx: Tx, actor: Actor) -> Agent:
    """The agent behind an actor. Raises Forbidden when it is a token or the system."""
    agent = None if actor.agent_id is None else tx.get(Agent, actor.agent_id)
    if agent is None or not agent.active:
        raise Forbidden(_("Only an agent can take a conversation: sign in as one."))
    tx.refresh(agent)
    return agent
