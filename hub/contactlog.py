"""What is written down about people beside their messages: notes, consents, and what other programs tell of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlmodel import select

from channels.text import storable
from config.language import _
from hub.contacts import held_person
from hub.refusals import FieldRefused
from storage import Tx
from storage.access import CONTACTS, Actor, Conflict, Forbidden, NotFound, person_for
from storage.contactdata import Consent, ContactEvent, ContactNote
from storage.contactfacts import ConsentRecorded, ContactEventNoted, ContactNoted
from storage.people import Contact, Identity

MAX_NOTE, MAX_PURPOSE, MAX_SOURCE, MAX_URL = 10_000, 40, 200, 2000  # characters
EVENT_LOCK = 7_316_021
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Told:
    """Something that another program tells of a person. `amount` is a decimal number such as 129.00."""

    kind: str
    external_id: str
    title: str
    at: datetime
    status: str = ""
    amount: str = ""
    currency: str = ""
    url: str = ""


def add_note(tx: Tx, actor: Actor, contact_id: int, text: str) -> ContactNote:
    """Write something about a person that the team is to know in every conversation. Raises NotFound and Conflict."""
    actor.must(CONTACTS)
    person, said = held_person(tx, actor, contact_id), storable(text).strip()
    if not said:
        raise Conflict(_("A note needs some words."))
    if len(said) > MAX_NOTE:
        raise Conflict(
            _("A note has at most {max_note} characters; this one has {said}.", max_note=MAX_NOTE, said=len(said))
        )
    note = ContactNote(contact_id=person.id or 0, agent_id=actor.agent_id, text=said, created_at=tx.now)
    tx.add(note)
    tx.flush()
    tx.emit(ContactNoted(person.id or 0, note.id or 0, gone=False, by=actor.by))
    return note


def drop_note(tx: Tx, actor: Actor, contact_id: int, note_id: int) -> str:
    """Take a note away; its text, so that it can be put back. Raises NotFound, and Forbidden for a colleague's."""
    actor.must(CONTACTS)
    person = person_for(tx, actor, contact_id)
    note = tx.get(ContactNote, note_id)
    if note is None or not _is_theirs(tx, person, note.contact_id):
        raise NotFound(_("This note is gone already."))
    if note.agent_id != actor.agent_id and not actor.sees_all:
        raise Forbidden(_("Only who wrote a note takes it away, or a supervisor."))
    text = note.text
    tx.delete(note)
    tx.emit(ContactNoted(person.id or 0, note_id, gone=True, by=actor.by))
    return text


def note_event(tx: Tx, actor: Actor, contact_id: int, told: Told) -> tuple[ContactEvent, bool]:
    """Keep what another program tells, or change what it told before; the row, and whether it is new.

    Raises NotFound, FieldRefused, and Conflict when it was told of somebody else or they were erased.
    """
    actor.must(CONTACTS)
    person = held_person(tx, actor, contact_id)
    values = _checked(told)
    if tx.dialect == "postgresql":  # two that tell the same at once: the second changes what the first has made
        tx.sql(f"SELECT pg_advisory_xact_lock({EVENT_LOCK}, hashtext(?))", f"{told.kind} {told.external_id}")
    row = tx.exec(
        select(ContactEvent).where(ContactEvent.kind == told.kind, ContactEvent.external_id == told.external_id)
    ).first()
    if row is not None and not _is_theirs(tx, person, row.contact_id):
        raise Conflict(
            _(
                "{kind} {external_id} was told of another contact before: take it away there first.",
                kind=told.kind,
                external_id=told.external_id,
            )
        )
    fresh = row is None
    if row is None:
        row = ContactEvent(contact_id=person.id or 0, created_at=tx.now, updated_at=tx.now, **values)
    elif all(getattr(row, name) == value for name, value in values.items()):
        return row, False
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = tx.now
    tx.add(row)
    tx.flush()
    tx.emit(ContactEventNoted(person.id or 0, row.id or 0, row.kind, gone=False, by=actor.by))
    return row, fresh


def drop_event(tx: Tx, actor: Actor, contact_id: int, event_id: int) -> None:
    """What was told of a person is not so. Raises NotFound."""
    actor.must(CONTACTS)
    person = person_for(tx, actor, contact_id)
    row = tx.get(ContactEvent, event_id)
    if row is None or not _is_theirs(tx, person, row.contact_id):
        raise NotFound(_("There is no event {event_id} of this contact.", event_id=event_id))
    tx.delete(row)
    tx.emit(ContactEventNoted(person.id or 0, event_id, row.kind, gone=True, by=actor.by))


def record_consent(
    tx: Tx, actor: Actor, contact_id: int, *, purpose: str, given: bool, source: str, identity_id: int | None = None
) -> Consent:
    """A line in the ledger: they agreed, or took it back, and how we know.

    Raises NotFound, FieldRefused, and Conflict when they were erased.
    """
    actor.must(CONTACTS)
    person = held_person(tx, actor, contact_id)
    purpose, source = " ".join(storable(purpose).split()).lower(), " ".join(storable(source).split())
    if not 0 < len(purpose) <= MAX_PURPOSE:
        raise FieldRefused("purpose", _("Say what for, in at most {max_purpose} characters.", max_purpose=MAX_PURPOSE))
    if not 0 < len(source) <= MAX_SOURCE:
        raise FieldRefused("source", _("Say how we know, in at most {max_source} characters.", max_source=MAX_SOURCE))
    if identity_id is not None:
        identity = tx.get(Identity, identity_id)
        if identity is None or not _is_theirs(tx, person, identity.contact_id):
            raise NotFound(_("This person has no address {identity_id}.", identity_id=identity_id))
    row = Consent(
        contact_id=person.id or 0, identity_id=identity_id, purpose=purpose, given=given, source=source, by=actor.by,
        at=tx.now,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    tx.emit(ConsentRecorded(person.id or 0, row.id or 0, purpose, given, by=actor.by))
    return row


def _is_theirs(tx: Tx, person: Contact, record_id: int) -> bool:
    return tx.get_one(Contact, record_id).person_id == person.id


def _checked(told: Told) -> dict[str, Any]:
    values = {
        name: " ".join(storable(getattr(told, name)).split())
        for name in ("kind", "external_id", "title", "status", "amount", "currency", "url")
    }
    for name, most in (("external_id", 128), ("title", 200), ("status", 60), ("url", MAX_URL)):
        if len(values[name]) > most:
            raise FieldRefused(name, _("At most {most} characters fit.", most=most))
    for name in ("external_id", "title"):
        if not values[name]:
            raise FieldRefused(name, _("This is missing."))
    if not _KIND.fullmatch(values["kind"]):
        raise FieldRefused("kind", _("Write one word in small letters, such as order or invoice."))
    if values["amount"] and not _AMOUNT.fullmatch(values["amount"]):
        raise FieldRefused("amount", _("Write a decimal number, such as 129.00."))
    if bool(values["amount"]) != bool(values["currency"]) or not _CURRENCY.fullmatch(values["currency"] or "EUR"):
        raise FieldRefused("currency", _("An amount needs its currency by its code, such as EUR."))
    address = urlsplit(values["url"])
    if values["url"] and (address.scheme not in ("https", "http") or not address.netloc):
        raise FieldRefused("url", _("Write the whole address, beginning with https://."))
    return {**values, "at": told.at}
