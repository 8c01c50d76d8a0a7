"""How much each agent carries, counted by compare-and-set, and what agents are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from storage.people import Agent
from storage.store import Tx


def take_load(tx: Tx, agent_id: int, weight: int, *, may_exceed: bool = False) -> bool:
    """Add weight to an active agent's load if it fits: one compare-and-set. False when it does not."""
    fits = "" if may_exceed else " AND load + ? <= capacity"
    statement = f"UPDATE agent SET load = load + ? WHERE id = ? AND active{fits}"
    values = (weight, agent_id) if may_exceed else (weight, agent_id, weight)
    return tx.sql(statement, *values).rowcount == 1


def give_load(tx: Tx, agent_id: int, weight: int, *, worked: bool = False) -> None:
    """Take weight off an agent's load. Idle time counts from now when the agent had `worked` on it."""
    if worked:
        tx.sql("UPDATE agent SET load = load - ?, idle_since = ? WHERE id = ?", weight, tx.now, agent_id)
    else:
        tx.sql("UPDATE agent SET load = load - ? WHERE id = ?", weight, agent_id)


def load_drift(tx: Tx) -> dict[int, tuple[int, int]]:
    """Agents whose load differs from the weight of live offers, open assignments and wrap-ups: (load, expected).

    Empty unless something is wrong; tests and metrics ask.
    """
    expected: dict[int, int] = defaultdict(int)
    for agent_id, weight in tx.sql(
        "SELECT agent_id, sum(weight) FROM offer WHERE state = 'offered' GROUP BY agent_id UNION ALL "
        "SELECT agent_id, sum(weight) FROM assignment WHERE ended_at IS NULL GROUP BY agent_id UNION ALL "
        "SELECT agent_id, sum(weight) FROM assignment WHERE wrap_until IS NOT NULL GROUP BY agent_id"
    ).fetchall():
        expected[agent_id] += int(weight)
    loads = tx.sql("SELECT id, load FROM agent").fetchall()
    return {agent_id: (load, expected[agent_id]) for agent_id, load in loads if load != expected[agent_id]}


def skills_served(tx: Tx, queue_id: int) -> dict[str, int]:
    """The highest level at which somebody who serves a queue has each skill."""
    rows = tx.sql(
        "SELECT skill.name, max(agent_skill.level) FROM agent_skill JOIN skill ON skill.id = agent_skill.skill_id "
        "JOIN agent ON agent.id = agent_skill.agent_id AND agent.active "
        "JOIN agent_queue ON agent_queue.agent_id = agent.id AND agent_queue.queue_id = ? GROUP BY skill.name",
        queue_id,
    ).fetchall()
    return {name: level for name, level in rows}


def skills_by_queue(tx: Tx) -> dict[int, list[dict[str, int]]]:
    """What each of the agents can do who serve a queue, by queue."""
    levels: dict[int, dict[str, int]] = defaultdict(dict)
    for agent_id, name, level in tx.sql(
        "SELECT agent_skill.agent_id, skill.name, agent_skill.level FROM agent_skill "
        "JOIN skill ON skill.id = agent_skill.skill_id"
    ).fetchall():
        levels[agent_id][name] = level
    found: dict[int, list[dict[str, int]]] = defaultdict(list)
    for agent_id, queue_id in tx.sql(
        "SELECT agent_queue.agent_id, agent_queue.queue_id FROM agent_queue "
        "JOIN agent ON agent.id = agent_queue.agent_id AND agent.active"
    ).fetchall():
        found[queue_id].append(levels.get(agent_id, {}))
    return found


def agent_names(tx: Tx, agent_ids: Iterable[int]) -> dict[int, str]:
    """What people are called, for sentences."""
    found = {agent_id: tx.get(Agent, agent_id) for agent_id in set(agent_ids)}
    return {agent_id: agent.name if agent else f"Agent {agent_id}" for agent_id, agent in found.items()}
