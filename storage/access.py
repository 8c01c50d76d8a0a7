"""Who acts, what they may do, and which conversations they may see: every read starts here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from sqlalchemy import ColumnElement, and_, exists, or_, true
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from config.language import _, words
from storage.conversations import Conversation, Message, now_in
from storage.people import Agent, Contact, Role
from storage.receipts import Receipt
from storage.statements import spelled_out
from storage.store import Tx

ANSWER, CONTACTS, SEE_ALL, SUPERVISE = "answer", "contacts", "see_all", "supervise"
ERASE = "erase"
REPLIES, RECEIPTS, LAB, SETTINGS, WEBHOOKS = "replies", "receipts", "lab", "settings", "webhooks"
PEOPLE, TOKENS, AUDIT = "people", "tokens", "audit"

# What a role may be allowed to do, as its form says it.
PERMISSIONS = words(
    {
        ANSWER: "Answer customers, write notes, take, move, snooze and resolve conversations",
        CONTACTS: "Change contacts: names, addresses, merging",
        ERASE: "Download everything about a contact as a file, and erase contacts for good",
        SEE_ALL: "See every conversation, whatever its queue",
        SUPERVISE: "Watch the floor and step in: agents, queues, other people's work",
        REPLIES: "Edit the saved replies, macros and views that others have",
        RECEIPTS: "Read the ledger of what arrived, and have things read again",
        LAB: "Read the rules, and try changes of the desk without applying them",
        SETTINGS: "Change rules and apply changes of the desk",
        WEBHOOKS: "Decide who gets webhooks",
        PEOPLE: "Invite people, change and switch them off, make roles",
        TOKENS: "Make and revoke API tokens",
        AUDIT: "Read the audit log",
    }
)
# What makes no sense without another: the floor, the ledger, trials on what came in and webhooks show everybody's
# matters.
IMPLIED = {ERASE: SEE_ALL, SUPERVISE: SEE_ALL, RECEIPTS: SEE_ALL, LAB: SEE_ALL, WEBHOOKS: SEE_ALL, SETTINGS: LAB}
EVERYTHING = frozenset(PERMISSIONS)
BUILT_IN = {
    "agent": frozenset({ANSWER, CONTACTS}),
    "supervisor": frozenset({ANSWER, CONTACTS, SEE_ALL, SUPERVISE, REPLIES, RECEIPTS, LAB}),
    "admin": EVERYTHING,
}
ROLES = tuple(BUILT_IN)


def completed(permissions: Iterable[str]) -> frozenset[str]:
    """With what each of them makes no sense without."""
    chosen = set(permissions)
    while more := {IMPLIED[each] for each in chosen if each in IMPLIED} - chosen:
        chosen |= more
    return frozenset(chosen)


class Forbidden(Exception):
    """The actor may not do this. The sentence says who may."""


class NotFound(Exception):
    """No such thing, or none that this actor may see; the two are never told apart."""


class Conflict(Exception):
    """Somebody or something was faster, or the state has no room for this. The sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: an agent in the inbox or Slack, an API token, or the system itself.

    `granted` is what a role that this desk has made allows, or what is left of a token's where its agent may less.
    Without it the role is one of those that are built in. `queue_ids` are the queues whose conversations are seen.
    """

    by: str  # as facts record it: "agent:3", "token:2", "system"
    role: str
    agent_id: int | None = None
    queue_ids: frozenset[int] = field(default_factory=frozenset)
    granted: frozenset[str] | None = None

    @property
    def permissions(self) -> frozenset[str]:
        """All that this actor may do."""
        if self.granted is not None:
            return self.granted
        return EVERYTHING if self.role == "system" else BUILT_IN.get(self.role, frozenset())

    @property
    def sees_all(self) -> bool:
        return SEE_ALL in self.permissions

    def may(self, permission: str) -> bool:
        """For what a page offers; what is done is asked by `must`."""
        return permission in self.permissions

    def sees(self, queue_id: int | None, assignee_id: int | None) -> bool:
        """The same answer as `visible`, for one conversation whose columns are at hand."""
        if self.sees_all or queue_id is None or queue_id in self.queue_ids:
            return True
        return assignee_id is not None and assignee_id == self.agent_id

    def must(self, *any_of: str) -> None:
        """Raises Forbidden unless the actor has one of the permissions."""
        if self.permissions.isdisjoint(any_of):
            roles = " or ".join(role for role, allows in BUILT_IN.items() if not allows.isdisjoint(any_of))
            raise Forbidden(
                _(
                    "This needs the role {roles}, or one with the permission “{any_of}”; you are signed in as {role}.",
                    roles=roles,
                    any_of=any_of[0],
                    role=self.role,
                )
            )

    def may_grant(self, permissions: frozenset[str], queue_ids: Iterable[int] = ()) -> None:
        """Raises Forbidden unless the actor may do and see all that: nobody makes somebody who may more."""
        if more := permissions - self.permissions:
            raise Forbidden(_("You can't give what you don't have yourself: {more}.", more=", ".join(sorted(more))))
        if not self.sees_all and not self.queue_ids.issuperset(queue_ids):
            raise Forbidden(_("You can't show somebody a queue that you don't see yourself."))


SYSTEM = Actor(by="system", role="system")


def actor_for(tx: Tx, agent: Agent) -> Actor:
    """An agent as an actor."""
    queues = tx.sql("SELECT queue_id FROM agent_queue WHERE agent_id = ?", agent.id).fetchall()
    granted, seen = terms_of(tx, agent.role)
    return Actor(f"agent:{agent.id}", agent.role, agent.id, frozenset(row[0] for row in queues) | seen, granted)


def terms_of(tx: Tx, role: str) -> tuple[frozenset[str] | None, frozenset[int]]:
    """What a role of this desk's own allows, and the queues that it sees; None for one that is built in.

    A role that is gone allows nothing.
    """
    if role in BUILT_IN:
        return None, frozenset()
    row = tx.exec(select(Role).where(Role.name == role)).first()
    return (frozenset(row.permissions), frozenset(row.queue_ids)) if row else (frozenset(), frozenset())


def known_roles(tx: Tx) -> list[str]:
    """Those that are built in, then the desk's own."""
    return [*ROLES, *tx.exec(select(Role.name).order_by(col(Role.id)))]


def permissions_of(tx: Tx, role: str) -> frozenset[str]:
    """All that a role allows, built in or made here."""
    granted, __ = terms_of(tx, role)
    return BUILT_IN[role] if granted is None else granted


def visible(actor: Actor) -> ColumnElement[bool]:
    """The condition on `Conversation` that every list, search, stream and API read starts from."""
    if actor.sees_all:
        return true()
    seen = or_(col(Conversation.queue_id).is_(None), col(Conversation.queue_id).in_(actor.queue_ids))
    # Compared with None it would be IS NULL: whoever is no agent would see what nobody has.
    return seen if actor.agent_id is None else or_(seen, col(Conversation.assignee_id) == actor.agent_id)


def listed(actor: Actor) -> ColumnElement[bool]:
    """`visible` without conversations that are merged into others: those are empty."""
    return and_(visible(actor), col(Conversation.merged_into_id).is_(None))


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


@lru_cache(maxsize=2000)
def receipts_seen_by(actor: Actor, dialect: str) -> str:
    """`visible_receipt` in the words of a statement: every page asks, and to put it together takes longer than that."""
    return spelled_out(visible_receipt(actor), dialect)


def person_for(tx: Tx, actor: Actor, contact_id: int) -> Contact:
    """The record that stands for a contact's whole person.

    Raises NotFound also when the actor may see none of the person's conversations.
    """
    standing = select(Contact.person_id).where(Contact.id == contact_id).scalar_subquery()
    found = tx.exec(select(Contact).where(Contact.id == standing, visible_person(actor))).first()
    if found is None:
        raise NotFound(_("There is no contact {contact_id}.", contact_id=contact_id))
    return found


def receipt_for(tx: Tx, actor: Actor, receipt_id: int) -> Receipt:
    """One receipt. Raises NotFound when it does not exist or this actor may not see it."""
    found = tx.exec(select(Receipt).where(Receipt.id == receipt_id, visible_receipt(actor))).first()
    if found is None:
        raise NotFound(_("There is no receipt {receipt_id}.", receipt_id=receipt_id))
    return found


def conversation_for(tx: Tx, actor: Actor, conversation_id: int) -> Conversation:
    """One conversation. Raises NotFound when it does not exist or this actor may not see it."""
    found = tx.exec(select(Conversation).where(Conversation.id == conversation_id, visible(actor))).first()
    if found is None:
        raise NotFound(_("There is no conversation {conversation_id}.", conversation_id=conversation_id))
    return found


def merged_into(tx: Tx, actor: Actor, conversation: Conversation) -> int | None:
    """Where all of a merged conversation is now; None where this actor may not see that one."""
    there = select(Conversation.id).where(Conversation.id == now_in(tx, conversation.id or 0), visible(actor))
    return tx.exec(there).first()
