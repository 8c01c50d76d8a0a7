"""What other programs tell of people: orders, invoices, notes, consents; and which fields this desk has for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response
from pydantic import Field

from api.routes import Part, aware
from api.shapes import In, Out
from api.tokens import actor_here
from hub import contactlog
from hub.contactexport import zipped
from hub.contactlog import Told
from hub.contacts import block
from hub.duplicates import tell_apart, told_apart
from hub.erasure import erase
from hub.web import hub_here
from storage.access import person_for
from storage.contactdata import ContactEvent, consents_of, contact_fields, events_of, notes_of

part = Part("contact_data", "Contacts")


class ContactFieldOut(Out):
    """A field of the desk's own: an attribute of contacts under `name`, which rules know as contact.<name>."""

    name: str
    label: str
    kind: str = Field(description="text, number, date, choice or flag.")
    choices: list[str]


class ContactFields(Out):
    """In the order in which forms show them."""

    fields: list[ContactFieldOut]


class ContactEventIn(In):
    """An order, an invoice or the like. `kind` and `id` are yours: the same two tell of a change."""

    kind: str = Field(min_length=1, max_length=32, description="order, invoice or another word.")
    id: str = Field(min_length=1, max_length=128)
    title: str = Field(min_length=1, max_length=200)
    at: datetime = Field(description="When it happened, with a time zone.")
    status: str = Field("", max_length=60)
    amount: str = Field("", max_length=24, description="A decimal number, such as 129.00.")
    currency: str = Field("", max_length=3)
    url: str = Field("", max_length=2000, description="Where people look at it.")


class ContactEventOut(Out):
    """One of them; `number` is ours."""

    number: int
    kind: str
    id: str
    title: str
    at: datetime
    status: str
    amount: str
    currency: str
    url: str


class ContactEvents(Out):
    """The latest first; at most 100."""

    events: list[ContactEventOut]


class ContactNoteIn(In):
    """What everybody should know of a person."""

    text: str = Field(min_length=1, max_length=10_000)


class ContactNoteOut(Out):
    """A note; without `agent_id` a program wrote it."""

    id: int
    agent_id: int | None
    text: str
    created_at: datetime


class ContactNotes(Out):
    """The newest first."""

    notes: list[ContactNoteOut]


class ConsentIn(In):
    """A line for the ledger; without `identity_id` about every way to reach the person."""

    purpose: str = Field(min_length=1, max_length=40)
    given: bool
    source: str = Field(min_length=1, max_length=200, description="How you know.")
    identity_id: int | None = Field(None, ge=1, le=2**53)


class ConsentOut(Out):
    """A line of the ledger. The newest of each purpose and address counts."""

    id: int
    purpose: str
    given: bool
    source: str
    identity_id: int | None
    by: str
    at: datetime


class Consents(Out):
    """The whole ledger, the newest line first."""

    consents: list[ConsentOut]


class ApartIn(In):
    """Somebody else."""

    other_id: int = Field(ge=1, le=2**53)


class ApartOut(Out):
    """The contacts who are said not to be the same person."""

    contacts: list[int]


class BlockedOut(Out):
    """Whether what they write makes work."""

    blocked: bool


class ErasedOut(Out):
    """How much there was."""

    conversations: int
    messages: int
    files: int


@part.get("/contact-fields", gives=ContactFields)
def list_contact_fields() -> dict[str, Any]:
    """The fields that this desk has given its contacts."""
    with hub_here().store.read() as tx:
        return {"fields": [row.model_dump() for row in contact_fields(tx)]}


@part.get("/contacts/<int:contact_id>/events", gives=ContactEvents)
def list_contact_events(contact_id: int) -> dict[str, Any]:
    """Orders, invoices and the like of a person."""
    with hub_here().store.read() as tx:
        person = person_for(tx, actor_here(), contact_id)
        return {"events": [_event(row) for row in events_of(tx, person.id or 0, 100)]}


@part.post("/contacts/<int:contact_id>/events", body=ContactEventIn, gives=ContactEventOut, refuses=(403, 409))
def tell_contact_event(contact_id: int, asked: ContactEventIn) -> dict[str, Any]:
    """Tell of an order or invoice, or how one has changed. Telling the same again changes nothing."""
    values = asked.model_dump(exclude={"id", "at"}) | {"external_id": asked.id, "at": aware(asked.at, "at")}
    actor = actor_here()
    with hub_here().store.write() as tx:
        return _event(contactlog.note_event(tx, actor, contact_id, Told(**values))[0])


@part.delete("/contacts/<int:contact_id>/events/<int:number>", gives=None, status=204, refuses=(403,))
def drop_contact_event(contact_id: int, number: int) -> None:
    """Take one back, by our number."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        contactlog.drop_event(tx, actor, contact_id, number)


@part.get("/contacts/<int:contact_id>/notes", gives=ContactNotes)
def list_contact_notes(contact_id: int) -> dict[str, Any]:
    """What the team wrote about a person."""
    with hub_here().store.read() as tx:
        person = person_for(tx, actor_here(), contact_id)
        return {"notes": [row.model_dump() for row in notes_of(tx, person.id or 0)]}


@part.post("/contacts/<int:contact_id>/notes", body=ContactNoteIn, gives=ContactNoteOut, status=201, refuses=(403, 409))
def add_contact_note(contact_id: int, asked: ContactNoteIn) -> dict[str, Any]:
    """Write something about a person that everybody should know."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        return contactlog.add_note(tx, actor, contact_id, asked.text).model_dump()


@part.get("/contacts/<int:contact_id>/consents", gives=Consents)
def list_consents(contact_id: int) -> dict[str, Any]:
    """What a person agreed to, and took back."""
    with hub_here().store.read() as tx:
        person = person_for(tx, actor_here(), contact_id)
        return {"consents": [row.model_dump() for row in consents_of(tx, person.id or 0)]}


@part.post("/contacts/<int:contact_id>/consents", body=ConsentIn, gives=ConsentOut, status=201, refuses=(403, 409))
def record_contact_consent(contact_id: int, asked: ConsentIn) -> dict[str, Any]:
    """Write down that a person agreed to something, or took it back."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        return contactlog.record_consent(tx, actor, contact_id, **asked.model_dump()).model_dump()


@part.get("/contacts/<int:contact_id>/apart", gives=ApartOut)
def list_told_apart(contact_id: int) -> dict[str, Any]:
    """Who is said not to be the same as this person, whatever they have in common."""
    with hub_here().store.read() as tx:
        return {"contacts": told_apart(tx, actor_here(), contact_id)}


@part.post("/contacts/<int:contact_id>/apart", body=ApartIn, gives=ApartOut, refuses=(403, 409))
def tell_contacts_apart(contact_id: int, asked: ApartIn) -> dict[str, Any]:
    """Say that somebody is not the same person: the inbox suggests it to nobody any more. Merging stays possible."""
    return _apart(contact_id, asked.other_id, True)


@part.delete("/contacts/<int:contact_id>/apart/<int:other_id>", gives=ApartOut, refuses=(403, 409))
def forget_contacts_apart(contact_id: int, other_id: int) -> dict[str, Any]:
    """Take that back: the inbox may suggest them again."""
    return _apart(contact_id, other_id, False)


@part.post("/contacts/<int:contact_id>/block", gives=BlockedOut, refuses=(403, 409))
def block_contact(contact_id: int) -> dict[str, Any]:
    """What they write is kept, and makes no work from now on."""
    return _blocked(contact_id, True)


@part.post("/contacts/<int:contact_id>/unblock", gives=BlockedOut, refuses=(403, 409))
def unblock_contact(contact_id: int) -> dict[str, Any]:
    """What they write makes work again."""
    return _blocked(contact_id, False)


@part.get("/contacts/<int:contact_id>/export", gives=None, media="application/zip", refuses=(403,))
def export_contact(contact_id: int) -> Response:
    """Everything about a person as one ZIP file."""
    return zipped(hub_here(), actor_here(), contact_id)


@part.post("/contacts/<int:contact_id>/erase", gives=ErasedOut, refuses=(403, 409))
def erase_contact(contact_id: int) -> dict[str, Any]:
    """Erase a person for good: what they wrote, and all that is known of them."""
    done = erase(hub_here(), actor_here(), contact_id)
    return {"conversations": done.conversations, "messages": done.messages, "files": done.files}


def _apart(contact_id: int, other_id: int, on: bool) -> dict[str, Any]:
    actor = actor_here()
    with hub_here().store.write() as tx:
        tell_apart(tx, actor, contact_id, other_id, on)
        return {"contacts": told_apart(tx, actor, contact_id)}


def _blocked(contact_id: int, on: bool) -> dict[str, Any]:
    actor = actor_here()
    with hub_here().store.write() as tx:
        return {"blocked": block(tx, actor, contact_id, on).blocked_at is not None}


def _event(row: ContactEvent) -> dict[str, Any]:
    return row.model_dump() | {"number": row.id, "id": row.external_id}
