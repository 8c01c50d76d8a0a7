"""Agents whose browser is gone: after a while they are away, and customers who wait for them go to somebody else.

How long is a matter of the channel: a chat can't wait, a mail can (research: a minute, and never). Whoever works
without a browser, by Slack or mail, is not looked at: only who was connected in his present status can be lost.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from routing.agents import agent_names
from routing.moves import disown, refresh, requeue
from routing.presence import hold_with_work, set_status
from routing.rules import RuleBook, rule_book
from storage.access import SYSTEM
from storage.columns import moment
from storage.conversations import Conversation
from storage.facts import ConversationQueued
from storage.people import Agent
from storage.store import Tx
from storage.work import WorkItem

BATCH = 100  # of either at once: the next follow with the next sweep
LOST = "connection lost"  # why an agent is away
BACK = "connected again"
_GONE = (
    "SELECT agent.id, agent.profile_id, agent_presence.seen_at FROM agent_presence "
    "JOIN agent ON agent.id = agent_presence.agent_id AND agent.active "
)
_STILL_AVAILABLE = (
    f"{_GONE}WHERE agent_presence.seen_at <= ? AND agent.status = 'available' "
    "AND (agent.status_since IS NULL OR agent.status_since <= agent_presence.seen_at) ORDER BY agent.id"
)
_WAIT = (
    "SELECT agent.id, agent.profile_id, agent_presence.seen_at, conversation.id, work_item.channel "
    "FROM agent_presence JOIN agent ON agent.id = agent_presence.agent_id AND agent.active "
    "JOIN assignment ON assignment.agent_id = agent.id AND assignment.ended_at IS NULL "
    "JOIN work_item ON work_item.id = assignment.work_item_id "
    "JOIN conversation ON conversation.id = assignment.conversation_id "
    "WHERE agent_presence.seen_at <= ? AND conversation.state = 'open' AND conversation.waiting_since IS NOT NULL "
    "AND (agent.status <> 'available' OR agent.status_since IS NULL OR agent.status_since <= agent_presence.seen_at) "
    "ORDER BY conversation.id"
)


class Lost(NamedTuple):
    """Who is to be away, and which conversations, with who has them, are to go to somebody else."""

    agents: list[int]
    conversations: dict[int, int]


def note_seen(tx: Tx, agent_ids: Collection[int]) -> None:
    """Say that these agents' browsers are connected."""
    tx.sql_many(
        "INSERT INTO agent_presence(agent_id, seen_at) VALUES(?, ?) "
        "ON CONFLICT (agent_id) DO UPDATE SET seen_at = excluded.seen_at",
        [(agent_id, tx.now) for agent_id in sorted(agent_ids)],
    )


def come_back(tx: Tx, agent_id: int) -> None:
    """An agent's browser is connected: whoever is away only because it was not is available again."""
    note_seen(tx, [agent_id])
    agent = tx.get_one(Agent, agent_id)
    tx.refresh(agent)
    if agent.status == "away" and agent.status_why == LOST:
        set_status(tx, SYSTEM, agent_id, "available", BACK)


def lost(tx: Tx, since: datetime | None) -> Lost:
    """What is to be done first. Nobody was looked after before `since`: grace counts from then at the earliest."""
    book = rule_book(tx)
    shortest = book.shortest_grace
    if shortest is None or (since is not None and since > tx.now - shortest):
        return Lost([], {})
    over = tx.now - shortest
    agents = [
        agent_id
        for agent_id, profile_id, seen_at in tx.sql(_STILL_AVAILABLE, over).fetchall()
        if any(_is_over(book, profile_id, channel, seen_at, since, tx.now) for channel in book.graces(profile_id))
    ]
    waiting = {
        conversation_id: agent_id
        for agent_id, profile_id, seen_at, conversation_id, channel in tx.sql(_WAIT, over).fetchall()
        if _is_over(book, profile_id, channel, seen_at, since, tx.now)
    }
    return Lost(agents[:BATCH], dict(list(waiting.items())[:BATCH]))


def is_lost(tx: Tx, since: datetime | None) -> bool:
    """Whether somebody is to be away, or somebody's work to go elsewhere."""
    found = lost(tx, since)
    return bool(found.agents or found.conversations)


def let_go(tx: Tx, since: datetime | None) -> int:
    """Set away who is lost, and let wait for others, with its age, whose customers wait; how many of both."""
    found = lost(tx, since)
    held = hold_with_work(tx, {*found.agents, *found.conversations.values()}, found.conversations)
    found = lost(tx, since)  # somebody may have come back a moment ago
    names = agent_names(tx, found.conversations.values())
    for agent_id in found.agents:
        set_status(tx, SYSTEM, agent_id, "away", LOST, give_back=False)
    moved = [number for number in found.conversations if number in held]
    for conversation_id in moved:
        _requeue(tx, conversation_id, names[found.conversations[conversation_id]])
    return len(found.agents) + len(moved)


def _requeue(tx: Tx, conversation_id: int, name: str) -> None:
    row = tx.sql(
        "SELECT work_item_id FROM assignment WHERE conversation_id = ? AND ended_at IS NULL", conversation_id
    ).fetchone()
    item = tx.get_one(WorkItem, row[0], populate_existing=True)
    disown(tx, conversation_id, "disconnect", SYSTEM.by)
    step = {"step": "disconnect", "agent": name}
    tx.sql("UPDATE work_item SET trace = ? WHERE id = ?", json.dumps([*item.trace, step]), item.id)
    requeue(tx, int(item.id or 0), conversation_id)
    tx.emit(ConversationQueued(conversation_id, int(item.id or 0), item.queue_id, "disconnect"))
    tx.refresh(item)
    refresh(tx, Conversation, conversation_id)


def _is_over(
    book: RuleBook, profile_id: int | None, channel: str, seen_at: Any, since: datetime | None, now: datetime
) -> bool:
    grace = book.graces(profile_id).get(channel, 0)
    seen = moment(seen_at) or now
    return grace > 0 and max(seen, since or seen) <= now - timedelta(seconds=grace)
