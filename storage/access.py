"""Who acts, what they may do, and which conversations they may see: every read starts here."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, exists, or_, true
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from storage.conversations import Conversation, Message
from storage.people import Agent, AgentQueue, Contact
from storage.receipts import Receipt
from storage.store import Tx

ROLES = ("agent", "supervisor", "admin")


class Forbidden(Exception):
    """The actor may not do this. The sentence says who may."""


class NotFound(Exception):
    """No such thing, or none that this actor may see; the two are never told apart."""


class Conflict(Exception):
    """Somebody or something was faster, or the state has no room for this. The sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: an agent in the inbox or Slack, an API token, or the system itself."""

    by: str  # as facts record it: "agent:3", "token:2", "system"
    role: str
    agent_id: int | None = None
    queue_ids: frozenset[int] = field(default_factory=frozenset)

    @property
    def sees_all(self) -> bool:
        return self.role in ("supervisor", "admin", "system")

    def sees(self, queue_id: int | None, assignee_id: int | None) -> bool:
        """The same answer as `visible`, for one conversation whose columns are at hand."""
        if self.sees_all or queue_id is None or queue_id in self.queue_ids:
            return True
        return assignee_id is not None and assignee_id == self.agent_id

    def must_be(self, *roles: str) -> None:
        """Raises Forbidden unless the actor has one of the roles."""
        if self.role != "system" and self.role not in roles:
            raise Forbidden(f"This needs the role {' or '.join(roles)}; you are signed in as {self.role}.")


SYSTEM = Actor(by="system", role="system")


def actor_for(tx: Tx, agent: Agent) -> Actor:
    """An agent as an actor."""
    queues = tx.exec(select(AgentQueue.queue_id).where(AgentQueue.agent_id == agent.id))
    return Actor(by=f"agent:{agent.id}", role=agent.role, agent_id=agent.id, queue_ids=frozenset(queues))


def visible(actor: Actor) -> ColumnElement[bool]:
    """The condition on `Conversation` that every list, search, stream and API read starts from."""
    if actor.sees_all:
        return true()
    return or_(
        col(Conversation.queue_id).is_(None),
        col(Conversation.queue_id).in_(actor.queue_ids),
        col(Conversation.assignee_id) == actor.agent_id,
    )


def visible_person(actor: Actor) -> ColumnElement[bool]:
    """The condition on a standing `Contact`: somebody with a conversation that the actor may see."""
    if actor.sees_all:
        return true()
    record = aliased(Contact)
    return exists(
        select(Conversation.id)
        .join(record, col(record.id) == col(Conversation.contact_id))
        .where(col(record.person_id) == col(Contact.id), visible(actor))
        .correlate(Contact)
    )


def visible_receipt(actor: Actor) -> ColumnElement[bool]:
    """The condition on `Receipt`: what made a message in a conversation that the actor may see.

    What no message could be made of (yet) may be anybody's matter, so only those see it who see everything.
    """
    if actor.sees_all:
        return true()
    return exists(
        select(Message.id)
        .join(Conversation, col(Conversation.id) == col(Message.conversation_id))
        .where(col(Message.receipt_id) == col(Receipt.id), visible(actor))
        .correlate(Receipt)
    )


def person_for(tx: Tx, actor: Actor, contact_id: int) -> Contact:
    """The record that stands for a contact's whole person.

    Raises NotFound also when the actor may see none of the person's conversations.
    """
    standing = select(Contact.person_id).where(Contact.id == contact_id).scalar_subquery()
    found = tx.exec(select(Contact).where(Contact.id == standing, visible_person(actor))).first()
    if found is None:
        raise NotFound(f"There is no contact {contact_id}.")
    return found


def receipt_for(tx: Tx, actor: Actor, receipt_id: int) -> Receipt:
    """One receipt. Raises NotFound when it does not exist or this actor may not see it."""
    found = tx.exec(select(Receipt).where(Receipt.id == receipt_id, visible_receipt(actor))).first()
    if found is None:
        raise NotFound(f"There is no receipt {receipt_id}.")
    return found


def conversation_for(tx: Tx, actor: Actor, conversation_id: int) -> Conversation:
    """One conversation. Raises NotFound when it does not exist or this actor may not see it."""
    found = tx.exec(select(Conversation).where(Conversation.id == conversation_id, visible(actor))).first()
    if found is None:
        raise NotFound(f"There is no conversation {conversation_id}.")
    return found
