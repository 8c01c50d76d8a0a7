"""What a desk knows of people beside their messages: its own fields, notes, consents, orders and invoices.

Each row keeps the contact record it was written to, as identities do, so that taking a merge back parts them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel, col, select

from storage.columns import json, key, ref, utc
from storage.people import Contact
from storage.store import Tx

APART = (
    "SELECT o.person_id FROM contact c JOIN contact_apart a ON a.one_id = c.id JOIN contact o ON o.id = a.other_id "
    "WHERE c.person_id = ? UNION "
    "SELECT o.person_id FROM contact c JOIN contact_apart a ON a.other_id = c.id JOIN contact o ON o.id = a.one_id "
    "WHERE c.person_id = ?"
)


class ContactField(SQLModel, table=True):
    """A field of the desk's own. Its values stand in `Contact.attributes` under `name`, typed by `kind`.

    `kind` is text, number, date (as 2026-12-24), choice (one of `choices`) or flag (yes or no).
    """

    __tablename__ = "contact_field"

    id: int | None = key()
    name: str = Field(max_length=40, unique=True)
    label: str = Field(max_length=64)
    kind: str = Field(max_length=8)
    choices: list[str] = json(list)
    position: int


class ContactNote(SQLModel, table=True):
    """A remark about a person that only the team sees, whatever the conversation."""

    __tablename__ = "contact_note"

    id: int | None = key()
    contact_id: int = ref("contact.id", index=True)
    agent_id: int | None = ref("agent.id", nullable=True)
    text: str
    created_at: datetime = utc()


class ContactEvent(SQLModel, table=True):
    """Something that a shop or another program told of a person: an order, an invoice.

    `kind` and `external_id` are the other program's; telling it again changes the row. `amount` is a decimal number
    as it was told, `at` when it happened there.
    """

    __tablename__ = "contact_event"
    __table_args__ = (
        UniqueConstraint("kind", "external_id"),
        Index("ix_contact_event_contact_id_at", "contact_id", "at"),
    )

    id: int | None = key()
    contact_id: int = ref("contact.id")
    kind: str = Field(max_length=32)
    external_id: str = Field(max_length=128)
    title: str = Field(max_length=200)
    status: str = Field(max_length=60)
    amount: str = Field(max_length=24)
    currency: str = Field(max_length=3)
    url: str
    at: datetime = utc()
    created_at: datetime = utc()
    updated_at: datetime = utc()


class Consent(SQLModel, table=True):
    """One line of the consent ledger: given or withdrawn, for a purpose, and how we know. Never changed.

    Without `identity_id` it is about every way to reach the person. The newest line of each pair counts.
    """

    id: int | None = key()
    contact_id: int = ref("contact.id", index=True)
    identity_id: int | None = ref("identity.id", nullable=True)
    purpose: str = Field(max_length=40)
    given: bool
    source: str = Field(max_length=200)
    by: str
    at: datetime = utc()


class ContactApart(SQLModel, table=True):
    """Somebody has said of two people that they are not the same, so nobody is suggested that again."""

    __tablename__ = "contact_apart"
    __table_args__ = (UniqueConstraint("one_id", "other_id"),)

    id: int | None = key()
    one_id: int = ref("contact.id")  # the older record
    other_id: int = ref("contact.id", index=True)
    by: str
    at: datetime = utc()


def contact_fields(tx: Tx) -> list[ContactField]:
    """The desk's own fields, in its order."""
    return list(tx.exec(select(ContactField).order_by(col(ContactField.position), col(ContactField.id))))


def notes_of(tx: Tx, person_id: int, limit: int = 50) -> list[ContactNote]:
    """What the team wrote about a person, newest first."""
    query = select(ContactNote).join(Contact, col(Contact.id) == col(ContactNote.contact_id))
    return list(tx.exec(query.where(Contact.person_id == person_id).order_by(col(ContactNote.id).desc()).limit(limit)))


def events_of(tx: Tx, person_id: int, limit: int = 20) -> list[ContactEvent]:
    """Orders, invoices and the like, the latest first."""
    query = select(ContactEvent).join(Contact, col(Contact.id) == col(ContactEvent.contact_id))
    query = query.where(Contact.person_id == person_id)
    return list(tx.exec(query.order_by(col(ContactEvent.at).desc(), col(ContactEvent.id).desc()).limit(limit)))


def consents_of(tx: Tx, person_id: int) -> Sequence[Consent]:
    """The whole ledger of a person, newest first."""
    query = select(Consent).join(Contact, col(Contact.id) == col(Consent.contact_id))
    return tx.exec(query.where(Contact.person_id == person_id).order_by(col(Consent.id).desc())).all()


def apart_from(tx: Tx, person_id: int) -> set[int]:
    """Who is known not to be the same as a person, over all merged records."""
    return {row[0] for row in tx.sql(APART, person_id, person_id).fetchall()} - {person_id}
