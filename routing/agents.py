"""How much each agent carries, and who is there to take work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

from routing.engine import Candidate
from storage.columns import moment
from storage.people import Agent
from storage.store import Tx

_EVER = datetime.min.replace(tzinfo=UTC)


def take_load(tx: Tx, agent_id: int, weight: int, *, must_be_available: bool = False, may_exceed: bool = False) -> bool:
    """Add weight to an active agent's load if it fits: one compare-and-set. False when it does not."""
    available = " AND status = 'available'" if must_be_available else ""
    fits = "" if may_exceed else " AND load + ? <= capacity"
    statement = f"UPDATE agent SET load = load + ? WHERE id = ? AND active{available}{fits}"
    values = (weight, agent_id) if may_exceed else (weight, agent_id, weight)
    return tx.sql(statement, *values).rowcount == 1


def give_load(tx: Tx, agent_id: int, weight: int, *, worked: bool = False) -> None:
    """Take weight off an agent's load. Idle time counts from now when the agent had `worked` on it."""
    if worked:
        tx.sql("UPDATE agent SET load = load - ?, idle_since = ? WHERE id = ?", weight, tx.now, agent_id)
    else:
        tx.sql("UPDATE agent SET load = load - ? WHERE id = ?", weight, agent_id)


def roster(tx: Tx) -> list[Candidate]:
    """Every active agent with skills and queues, whatever the status."""
    skills: dict[int, dict[str, int]] = defaultdict(dict)
    for agent_id, name, level in tx.sql(
        "SELECT agent_skill.agent_id, skill.name, agent_skill.level FROM agent_skill "
        "JOIN skill ON skill.id = agent_skill.skill_id"
    ).fetchall():
        skills[agent_id][name] = level
    queues: dict[int, set[int]] = defaultdict(set)
    for agent_id, queue_id in tx.sql("SELECT agent_id, queue_id FROM agent_queue").fetchall():
        queues[agent_id].add(queue_id)
    rows = tx.sql("SELECT id, status, capacity - load, idle_since FROM agent WHERE active ORDER BY id").fetchall()
    return [
        Candidate(agent_id, status, room, moment(idle) or _EVER, skills[agent_id], frozenset(queues[agent_id]))
        for agent_id, status, room, idle in rows
    ]


def most_room(tx: Tx) -> int:
    """The weight that the freest available agent could take: 0 when nobody is there."""
    row = tx.sql("SELECT max(capacity - load) FROM agent WHERE active AND status = 'available'").fetchone()
    return int(row[0] or 0)


def load_drift(tx: Tx) -> dict[int, tuple[int, int]]:
    """Agents whose load differs from the weight of their live offers and open assignments: (load, expected).

    Empty unless something is wrong; tests and metrics ask.
    """
    expected: dict[int, int] = defaultdict(int)
    for agent_id, weight in tx.sql(
        "SELECT agent_id, sum(weight) FROM offer WHERE state = 'offered' GROUP BY agent_id UNION ALL "
        "SELECT agent_id, sum(weight) FROM assignment WHERE ended_at IS NULL GROUP BY agent_id"
    ).fetchall():
        expected[agent_id] += int(weight)
    loads = tx.sql("SELECT id, load FROM agent").fetchall()
    return {agent_id: (load, expected[agent_id]) for agent_id, load in loads if load != expected[agent_id]}


def agent_names(tx: Tx, agent_ids: Iterable[int]) -> dict[int, str]:
    """What people are called, for sentences."""
    found = {agent_id: tx.get(Agent, agent_id) for agent_id in set(agent_ids)}
    return {agent_id: agent.name if agent else f"Agent {agent_id}" for agent_id, agent in found.items()}
