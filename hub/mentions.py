"""Naming colleagues in notes: whoever is named and may see the conversation is told."""

from __future__ import annotations

from collections.abc import Iterable

from sqlmodel import col, select

from storage import Tx
from storage.access import Actor, actor_for
from storage.conversations import Conversation, Message
from storage.facts import AgentMentioned
from storage.mentions import Mention
from storage.people import Agent

SEEN = (
    "UPDATE mention SET seen_at = ? WHERE agent_id = ? AND conversation_id = ? AND message_id <= ? AND seen_at IS NULL"
)


def named_in(text: str, agents: Iterable[Agent]) -> list[Agent]:
    """Who is named behind an @: by the whole name, or by a first name that only one has."""
    everybody = list(agents)
    firsts = [_first(agent) for agent in everybody]
    low, found = text.lower(), []
    for agent in everybody:
        names = [agent.name.lower()] + ([_first(agent)] if firsts.count(_first(agent)) == 1 else [])
        if any(_is_named(name, low) for name in names if name):
            found.append(agent)
    return found


def mention(tx: Tx, actor: Actor, conversation: Conversation, message: Message) -> list[Agent]:
    """Tell everybody who is named in a note and may see it, but not its author."""
    if "@" not in message.text:
        return []
    agents = tx.exec(select(Agent).where(col(Agent.active), Agent.id != actor.agent_id)).all()
    told = [agent for agent in named_in(message.text, agents) if may_see(tx, agent, conversation)]
    for agent in told:
        number = conversation.id or 0
        tx.add(Mention(agent_id=agent.id or 0, conversation_id=number, message_id=message.id or 0, at=tx.now))
        tx.emit(AgentMentioned(number, message.id or 0, agent.id or 0, by=actor.by))
    return told


def may_see(tx: Tx, agent: Agent, conversation: Conversation) -> bool:
    """Whether naming this agent would be of any use."""
    return actor_for(tx, agent).sees(conversation.queue_id, conversation.assignee_id)


def seen(tx: Tx, agent_id: int, conversation_id: int, message_id: int) -> None:
    """The agent has read the conversation so far."""
    tx.sql(SEEN, tx.now, agent_id, conversation_id, message_id)


def named(tx: Tx, message_ids: list[int]) -> dict[int, list[str]]:
    """The names of those who were told, by note."""
    if not message_ids:
        return {}
    query = (
        select(Mention.message_id, Agent.name)
        .join(Agent, col(Agent.id) == col(Mention.agent_id))
        .where(col(Mention.message_id).in_(message_ids))
    )
    found: dict[int, list[str]] = {}
    for number, name in tx.exec(query):
        found.setdefault(number, []).append(name)
    return found


def _first(agent: Agent) -> str:
    return agent.name.split()[0].lower() if agent.name.split() else ""


def _is_named(name: str, low: str) -> bool:
    at = low.find(f"@{name}")
    while at >= 0:
        before, after = low[at - 1 : at], low[at + 1 + len(name) :][:1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = low.find(f"@{name}", at + 1)
    return False
