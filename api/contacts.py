"""Contacts: find people, see their one history, say that two records are one person."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from api import shapes
from api.conversations import message_page
from api.routes import Part
from api.tokens import actor_here
from hub.contactfields import read_attributes
from hub.contacts import Details, add_identity, change_details, merge, unmerge
from hub.suppression import allow_again, reasons
from hub.web import hub_here
from storage import Tx
from storage.access import person_for, visible, visible_person
from storage.conversations import Conversation, Message
from storage.people import Contact, Identity, Merge, persons_called

part = Part("contacts", "Contacts")


@part.get("/contacts", query=shapes.ContactsQuery, gives=shapes.ContactPage)
def list_contacts(asked: shapes.ContactsQuery) -> dict[str, Any]:
    """Find people by a part of a name or address, the newest first."""
    with hub_here().store.read() as tx:
        query = select(Contact).where(Contact.id == Contact.person_id, visible_person(actor_here()))
        if asked.query.strip():
            query = query.where(col(Contact.id).in_(persons_called(tx.dialect, asked.query.strip())))
        if asked.before is not None:
            query = query.where(col(Contact.id) < asked.before)
        rows = list(tx.exec(query.order_by(col(Contact.id).desc()).limit(asked.limit + 1)))
        page = rows[: asked.limit]
        following = page[-1].id if len(rows) > asked.limit else None
        return {"contacts": _shown(tx, page), "next": following}


@part.get("/contacts/<int:contact_id>", gives=shapes.Contact)
def get_contact(contact_id: int) -> dict[str, Any]:
    """One person. The id of a merged record gives the person it belongs to."""
    with hub_here().store.read() as tx:
        return _shown(tx, [person_for(tx, actor_here(), contact_id)])[0]


@part.patch("/contacts/<int:contact_id>", body=shapes.ContactIn, gives=shapes.Contact, refuses=(403, 409))
def change_contact(contact_id: int, asked: shapes.ContactIn) -> dict[str, Any]:
    """Say something else about a person; what is left out stays. An attribute that is null goes."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        attributes = read_attributes(tx, asked.attributes)
        wanted = Details(asked.name, asked.company, asked.language, asked.zone, attributes)
        return _shown(tx, [change_details(tx, actor, contact_id, wanted)])[0]


@part.get("/contacts/<int:contact_id>/timeline", query=shapes.PageQuery, gives=shapes.MessagePage)
def get_timeline(contact_id: int, asked: shapes.PageQuery) -> dict[str, Any]:
    """The person's messages over all channels and conversations, newest first."""
    actor = actor_here()
    with hub_here().store.read() as tx:
        person = person_for(tx, actor, contact_id)
        query = (
            select(Message)
            .join(Conversation, col(Conversation.id) == col(Message.conversation_id))
            .join(Contact, col(Contact.id) == col(Conversation.contact_id))
            .where(Contact.person_id == person.id, visible(actor), Message.state != "draft")
        )
        return message_page(tx, query, asked, newest_first=True)


@part.post("/contacts/<int:contact_id>/merge", body=shapes.MergeIn, gives=shapes.Merge, status=201, refuses=(403, 409))
def merge_contacts(contact_id: int, asked: shapes.MergeIn) -> dict[str, Any]:
    """Say that two records are one person; this one's stands for both."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        return _merged(merge(tx, actor, contact_id, asked.other_id))


@part.post(
    "/contacts/<int:contact_id>/identities",
    body=shapes.IdentityIn,
    gives=shapes.Contact,
    status=201,
    refuses=(403, 409),
)
def add_contact_identity(contact_id: int, asked: shapes.IdentityIn) -> dict[str, Any]:
    """Write down a further e-mail address or phone number of a contact."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        add_identity(tx, actor, contact_id, asked.kind, asked.value)
        return _shown(tx, [person_for(tx, actor, contact_id)])[0]


@part.post("/contacts/<int:contact_id>/identities/<int:identity_id>/allow", gives=shapes.Contact, refuses=(403, 409))
def allow_identity(contact_id: int, identity_id: int) -> dict[str, Any]:
    """Allow an address again that bounced, complained or was blocked by hand. A STOP only the customer takes back."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        allow_again(tx, actor, contact_id, identity_id)
        return _shown(tx, [person_for(tx, actor, contact_id)])[0]


@part.post("/merges/<int:merge_id>/undo", gives=shapes.Merge, refuses=(403, 409))
def undo_merge(merge_id: int) -> dict[str, Any]:
    """Take a merge back: exactly the records that it moved."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        return _merged(unmerge(tx, actor, merge_id))


def _shown(tx: Tx, persons: list[Contact]) -> list[dict[str, Any]]:
    ids = [person.id for person in persons]
    records: dict[int | None, list[int]] = {}
    owners: dict[int | None, int | None] = {}
    for record_id, person_id in tx.exec(
        select(Contact.id, Contact.person_id).where(col(Contact.person_id).in_(ids)).order_by(col(Contact.id))
    ):
        records.setdefault(person_id, []).append(record_id or 0)
        owners[record_id] = person_id
    identities: dict[int | None, list[dict[str, Any]]] = {}
    query = select(Identity).where(col(Identity.contact_id).in_(owners))
    rows = list(tx.exec(query.order_by(col(Identity.strength).desc(), col(Identity.id))))
    closed = reasons(tx, rows)
    for row in rows:
        identities.setdefault(owners[row.contact_id], []).append(_identity(row, closed.get(row.id or 0, "")))
    return [
        person.model_dump() | {"identities": identities.get(person.id, []), "records": records.get(person.id, [])}
        for person in persons
    ]


def _identity(row: Identity, suppressed: str) -> dict[str, Any]:
    known = {"verified": row.verified, "opted_out": row.opted_out_at is not None, "suppressed": suppressed}
    return row.model_dump() | known


def _merged(row: Merge) -> dict[str, Any]:
    return {
        "id": row.id,
        "survivor_id": row.survivor_id,
        "other_id": row.other_id,
        "undone": row.undone_at is not None,
    }
