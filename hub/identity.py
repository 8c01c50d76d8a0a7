"""Who is this: the contact behind a sender, found by contact points or made anew."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from channels.base import ContactPoint, Sender
from storage import Tx
from storage.facts import ContactChanged, ContactCreated

MAX_NAME = 200  # characters: an index takes no endless ones
FIND = (
    "SELECT i.id, i.contact_id, p.id, i.strength, p.name, p.attributes, p.language, p.company, "
    "p.blocked_at IS NOT NULL, EXISTS (SELECT 1 FROM suppression s WHERE s.kind = i.kind AND s.value = i.value "
    "AND s.until IS NOT NULL) FROM identity i "
    "JOIN contact c ON c.id = i.contact_id JOIN contact p ON p.id = c.person_id WHERE i.kind = ? AND i.value = ?"
)
NEW_CONTACT = "INSERT INTO contact(name, language, company, attributes, created_at) VALUES(?, '', '', '{}', ?)"
NEW_IDENTITY = (
    "INSERT INTO identity(contact_id, kind, value, shown, strength, created_at) VALUES(?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (kind, value) DO NOTHING"
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
    bounced: bool = False  # nothing is sent there for a while, because mail came back
    new: bool = False  # seen for the first time
    company: str = ""
    blocked: bool = False  # nobody wants to be rung by them


def identify(tx: Tx, sender: Sender) -> Known:
    """The contact behind a sender; an unknown one becomes a new contact. Never merges: that takes a person.

    The first point decides. Further points are added to the contact unless they belong to somebody already.
    On PostgreSQL the person stays locked until the commit, so that parallel first messages make one conversation;
    holding does the same among units of one transaction.
    """
    first = sender.points[0]
    tx.hold("identity", first.kind, first.value)
    known = _find(tx, first) or _find_again(tx, first)
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
    # The record is locked as well: a merge that commits while we wait would else leave us with the old person.
    lock = " FOR NO KEY UPDATE OF c, p" if tx.dialect == "postgresql" else ""
    row = tx.sql(FIND + lock, point.kind, point.value).fetchone()
    if row is None:
        return None
    identity_id, contact_id, person_id, strength, name, attributes, language, company, blocked, bounced = row
    if tx.hold("person", person_id):
        return _find(tx, point)
    if isinstance(attributes, str):  # SQLite hands JSON back as text
        attributes = json.loads(attributes) if attributes != "{}" else {}
    return Known(
        identity_id,
        contact_id,
        person_id,
        name,
        attributes,
        language,
        strength,
        bool(bounced),
        company=company,
        blocked=bool(blocked),
    )


def _find_again(tx: Tx, point: ContactPoint) -> Known | None:
    """On PostgreSQL a row that changed its person while we waited for its lock is not found; now it is."""
    return _find(tx, point) if tx.dialect == "postgresql" else None


def _create(tx: Tx, sender: Sender, first: ContactPoint) -> Known:
    name = sender.name[:MAX_NAME]
    contact_id = int(tx.insert(NEW_CONTACT, name, tx.now).fetchone()[0])
    tx.hold("person", contact_id)
    tx.sql("UPDATE contact SET person_id = id WHERE id = ?", contact_id)
    identity_id = _add(tx, contact_id, first)
    if identity_id is None:
        # Another node stored the same address a moment ago: its contact is the one, ours must not stay behind.
        tx.sql("DELETE FROM contact WHERE id = ?", contact_id)
        known = _find(tx, first)
        assert known is not None
        return known
    tx.emit(ContactCreated(contact_id))
    return Known(identity_id, contact_id, contact_id, name, {}, "", int(first.strength), new=True)


def _add(tx: Tx, contact_id: int, point: ContactPoint) -> int | None:
    row = tx.insert(
        NEW_IDENTITY, contact_id, point.kind, point.value, point.shown or point.value, int(point.strength), tx.now
    ).fetchone()
    return int(row[0]) if row else None


def _learn(tx: Tx, known: Known, point: ContactPoint, name: str) -> None:
    """A better proof raises the strength; a name fills an empty one. A weaker proof lowers nothing."""
    if point.strength > known.strength:
        tx.sql("UPDATE identity SET strength = ? WHERE id = ?", int(point.strength), known.identity_id)
        tx.emit(ContactChanged(known.contact_id, "identity"))
    if name and not known.name and point.strength >= known.strength:
        tx.sql("UPDATE contact SET name = ? WHERE id = ? AND name = ''", name[:MAX_NAME], known.person_id)
        tx.emit(ContactChanged(known.person_id, "name"))
