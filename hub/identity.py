"""Who is this: contact points to contacts, and two records that turn out to be one person."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import col, select

from channels.base import ContactPoint, Sender, Strength
from channels.mail.headers import normalised as normal_address
from channels.phone import normalise
from storage import Tx
from storage.access import Actor, Conflict, NotFound
from storage.facts import ContactChanged, ContactCreated, ContactsMerged, ContactsUnmerged
from storage.people import Contact, Identity, Merge

FIND = (
    "SELECT i.id, i.contact_id, p.id, i.strength, p.name, p.attributes, p.language FROM identity i "
    "JOIN contact c ON c.id = i.contact_id JOIN contact p ON p.id = c.person_id WHERE i.kind = ? AND i.value = ?"
)
NEW_CONTACT = (
    "INSERT INTO contact(name, language, company, attributes, created_at) VALUES(?, '', '', '{}', ?) RETURNING id"
)
NEW_IDENTITY = (
    "INSERT INTO identity(contact_id, kind, value, shown, strength, created_at) VALUES(?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (kind, value) DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True)
class Known:
    """A sender as the history knows him: `contact_id` is the record, `person_id` stands for the whole person."""

    identity_id: int
    contact_id: int
    person_id: int
    name: str
    attributes: dict[str, Any]
    language: str
    strength: int


def identify(tx: Tx, sender: Sender) -> Known:
    """The contact behind a sender; an unknown one becomes a new contact. Never merges: that takes a person.

    The first point decides. Further points are added to the contact unless they belong to somebody already.
    On PostgreSQL the person stays locked until the commit, so that parallel first messages make one conversation.
    """
    first = sender.points[0]
    known = _find(tx, first)
    if known is None:
        known = _create(tx, sender, first)
    else:
        _learn(tx, known, first, sender.name)
    for point in sender.points[1:]:
        _add(tx, known.contact_id, point)
    return _answered_by_chat(tx, sender, known)


def _answered_by_chat(tx: Tx, sender: Sender, known: Known) -> Known:
    """A visitor whom the site vouches for is known by the address, yet it is the chat that was written in."""
    chat = next((point for point in sender.points[1:] if point.kind == "chat"), None)
    if chat is None:
        return known
    row = tx.sql("SELECT id FROM identity WHERE kind = ? AND value = ?", chat.kind, chat.value).fetchone()
    return replace(known, identity_id=int(row[0]))


def _find(tx: Tx, point: ContactPoint) -> Known | None:
    lock = " FOR UPDATE OF p" if tx.dialect == "postgresql" else ""
    row = tx.sql(FIND + lock, point.kind, point.value).fetchone()
    if row is None:
        return None
    identity_id, contact_id, person_id, strength, name, attributes, language = row
    if isinstance(attributes, str):  # SQLite hands JSON back as text
        attributes = json.loads(attributes) if attributes != "{}" else {}
    return Known(identity_id, contact_id, person_id, name, attributes, language, strength)


def _create(tx: Tx, sender: Sender, first: ContactPoint) -> Known:
    contact_id = int(tx.sql(NEW_CONTACT, sender.name, tx.now).fetchall()[0][0])
    tx.sql("UPDATE contact SET person_id = id WHERE id = ?", contact_id)
    if _add(tx, contact_id, first) is None:
        # Another node stored the same address a moment ago: its contact is the one, ours must not stay behind.
        tx.sql("DELETE FROM contact WHERE id = ?", contact_id)
        known = _find(tx, first)
        assert known is not None
        return known
    tx.emit(ContactCreated(contact_id))
    known = _find(tx, first)
    assert known is not None
    return known


def _add(tx: Tx, contact_id: int, point: ContactPoint) -> int | None:
    rows = tx.sql(
        NEW_IDENTITY, contact_id, point.kind, point.value, point.shown or point.value, int(point.strength), tx.now
    ).fetchall()
    return int(rows[0][0]) if rows else None


def _learn(tx: Tx, known: Known, point: ContactPoint, name: str) -> None:
    """A better proof raises the strength; a name fills an empty one. A weaker proof lowers nothing."""
    if point.strength > known.strength:
        tx.sql("UPDATE identity SET strength = ? WHERE id = ?", int(point.strength), known.identity_id)
        tx.emit(ContactChanged(known.contact_id, "identity"))
    if name and not known.name and point.strength >= known.strength:
        tx.sql("UPDATE contact SET name = ? WHERE id = ? AND name = ''", name, known.person_id)
        tx.emit(ContactChanged(known.person_id, "name"))


def rename(tx: Tx, actor: Actor, contact_id: int, name: str) -> Contact:
    """Give a contact another name. Raises NotFound."""
    contact = _contact(tx, contact_id)
    contact.name = name.strip()[:200]
    tx.add(contact)
    tx.emit(ContactChanged(contact_id, "name", by=actor.by))
    return contact


def add_identity(tx: Tx, actor: Actor, contact_id: int, kind: str, value: str) -> Identity:
    """Write down a further way to reach a contact, because a person says so.

    Raises NotFound, or Conflict when the value can't be read or reaches somebody else already.
    """
    contact = _contact(tx, contact_id)
    normalised = _normalised(kind, value)
    taken = tx.exec(select(Identity).where(Identity.kind == kind, Identity.value == normalised)).first()
    if taken is not None:
        if _contact(tx, taken.contact_id).person_id == contact.person_id:
            return taken
        raise Conflict(f"{value} reaches another contact already; merge the two instead.")
    identity = Identity(
        contact_id=contact_id, kind=kind, value=normalised, shown=value.strip(), strength=int(Strength.MANUAL),
        created_at=tx.now,
    )  # fmt: skip
    tx.add(identity)
    tx.flush()
    tx.emit(ContactChanged(contact_id, "identity", by=actor.by))
    return identity


def _normalised(kind: str, value: str) -> str:
    if kind == "email":
        address = normal_address(value.strip())
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
            raise Conflict(f"{value!r} is not an e-mail address.")
        return address
    if kind in ("phone", "whatsapp"):
        number = normalise(value)
        if number is None:
            raise Conflict(f"{value!r} is not a phone number; write it with its country, like +46 70 174 06 05.")
        return number
    raise Conflict("Only e-mail addresses and phone numbers can be added by hand.")


def merge(tx: Tx, actor: Actor, survivor_id: int, other_id: int) -> Merge:
    """Say that two records are one person; the survivor's stands for both. Undone by `unmerge`.

    Raises NotFound, or Conflict when they are one already.
    """
    survivor, other = _contact(tx, survivor_id), _contact(tx, other_id)
    kept, gone = survivor.person_id, other.person_id
    if kept == gone:
        raise Conflict("These two are one person already.")
    moved = [
        record.id or 0
        for record in tx.exec(
            select(Contact).where(Contact.person_id == gone).order_by(col(Contact.id)).with_for_update()
        )
    ]
    for record_id in moved:
        tx.sql("UPDATE contact SET person_id = ? WHERE id = ?", kept, record_id)
    row = Merge(survivor_id=kept or survivor_id, other_id=gone or other_id, moved=moved, by=actor.by, at=tx.now)
    tx.add(row)
    tx.flush()
    tx.emit(ContactsMerged(row.survivor_id, row.other_id, row.id or 0, by=actor.by))
    return row


def unmerge(tx: Tx, actor: Actor, merge_id: int) -> Merge:
    """Take a merge back: exactly the records that moved then stand for the other person again.

    Raises NotFound, or Conflict when it was undone before or a later merge has to be undone first.
    """
    row = tx.get(Merge, merge_id, with_for_update=True)
    if row is None:
        raise NotFound(f"There is no merge {merge_id}.")
    if row.undone_at is not None:
        raise Conflict("This merge was undone already.")
    later = tx.exec(
        select(Merge).where(col(Merge.id) > merge_id, col(Merge.undone_at).is_(None), Merge.other_id == row.survivor_id)
    ).first()
    if later is not None:
        raise Conflict("This person was merged again later; undo that merge first.")
    for record_id in row.moved:
        tx.sql("UPDATE contact SET person_id = ? WHERE id = ?", row.other_id, record_id)
    row.undone_at = tx.now
    tx.add(row)
    tx.emit(ContactsUnmerged(row.survivor_id, row.other_id, merge_id, by=actor.by))
    return row


def _contact(tx: Tx, contact_id: int) -> Contact:
    found = tx.get(Contact, contact_id)
    if found is None:
        raise NotFound(f"There is no contact {contact_id}.")
    return found
