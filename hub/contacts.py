"""What people say about contacts: names, further addresses, and that two records are one person."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sqlmodel import col, select

from channels.base import Strength
from channels.mail.headers import normalised as normal_address
from channels.phone import normalise
from channels.text import storable
from config.language import _
from hub.contactfields import FREE_MOST
from hub.refusals import FieldRefused
from storage import Tx
from storage.access import CONTACTS, Actor, Conflict, NotFound, person_for
from storage.contactfacts import ContactBlocked
from storage.facts import ContactChanged, ContactsMerged, ContactsUnmerged
from storage.people import Contact, Identity, Merge

MAX_NAME = 200  # characters
SAID = ("name", "company", "language", "zone")
MERGE_LOCK = 7_316_003  # merges are rare and move many rows: one at a time, or two that cross would tear a person apart


@dataclass(frozen=True, slots=True)
class Details:
    """What is to be said of a person; None leaves something as it is, an empty text takes it away."""

    name: str | None = None
    company: str | None = None
    language: str | None = None
    zone: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)  # as `contactfields` has read them


def change_details(tx: Tx, actor: Actor, contact_id: int, wanted: Details, *, seen: str = "") -> Contact:
    """Say something else about a person. `seen` is the stamp of what its author saw.

    Raises NotFound, FieldRefused, and Conflict when they were erased or somebody else has changed it meanwhile.
    """
    actor.must(CONTACTS)
    person = held_person(tx, actor, contact_id)
    if seen and seen != stamp(person):
        raise Conflict(_("Somebody has changed this person meanwhile: look at what is there now, then save again."))
    values = {name: _said(name, value) for name in SAID if (value := getattr(wanted, name)) is not None}
    attributes = {**person.attributes, **wanted.attributes}
    attributes = {name: value for name, value in attributes.items() if value is not None}
    if len(attributes) > FREE_MOST:
        raise FieldRefused("attributes", _("A contact has at most {free_most} attributes.", free_most=FREE_MOST))
    changed = [name for name, value in values.items() if getattr(person, name) != value]
    for name in changed:
        setattr(person, name, values[name])
    changed += sorted(
        name for name in wanted.attributes
        if _kept(attributes.get(name)) != _kept(person.attributes.get(name))
    )  # fmt: skip
    if changed:
        person.attributes = attributes
        tx.add(person)
        tx.emit(ContactChanged(person.id or 0, ", ".join(changed)[:500], by=actor.by))
    return person


def rename(tx: Tx, actor: Actor, contact_id: int, name: str) -> Contact:
    """Give a person another name. Raises NotFound."""
    return change_details(tx, actor, contact_id, Details(name=name[:MAX_NAME]))


def stamp(person: Contact) -> str:
    """Changes with whatever a form of this person's details shows."""
    shown = [person.name, person.company, person.language, person.zone, person.attributes]
    return sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def add_identity(tx: Tx, actor: Actor, contact_id: int, kind: str, value: str) -> Identity:
    """Write down a further way to reach a person, because somebody says so.

    Raises NotFound, or Conflict when the value can't be read, reaches somebody else already, or they were erased.
    """
    actor.must(CONTACTS)
    person = held_person(tx, actor, contact_id)
    normalised = _normalised(kind, value)
    taken = tx.exec(select(Identity).where(Identity.kind == kind, Identity.value == normalised)).first()
    if taken is not None:
        if tx.get_one(Contact, taken.contact_id).person_id == person.id:
            return taken
        raise Conflict(_("{value} reaches another contact already; merge the two instead.", value=value))
    identity = Identity(
        contact_id=person.id or 0, kind=kind, value=normalised, shown=value.strip(), strength=int(Strength.MANUAL),
        created_at=tx.now,
    )  # fmt: skip
    tx.add(identity)
    tx.flush()
    tx.emit(ContactChanged(person.id or 0, "identity", by=actor.by))
    return identity


@dataclass(frozen=True, slots=True)
class Differing:
    """A detail of two people: what each has. `key` is the column, or "attributes." and the attribute's name."""

    key: str
    mine: Any
    other: Any

    @property
    def asks(self) -> bool:
        """Whether somebody has to say which of the two is right."""
        return self.mine not in ("", None) and self.other not in ("", None)


def differing(mine: Contact, other: Contact) -> list[Differing]:
    """What a merge has to decide: details that both have and that differ, and those that only the other has."""
    names = [f"attributes.{name}" for name in dict.fromkeys((*mine.attributes, *other.attributes))]
    pairs = (Differing(key, _detail(mine, key), _detail(other, key)) for key in (*SAID, *names))
    return [pair for pair in pairs if pair.other not in ("", None) and _kept(pair.mine) != _kept(pair.other)]


def merge(tx: Tx, actor: Actor, survivor_id: int, other_id: int, taken: Collection[str] = ()) -> Merge:
    """Say that two records are one person; the survivor's stands for both. Undone by `unmerge`.

    The survivor's details stay, but for those whose key is `taken`; what it has nothing for comes from the other.

    Raises NotFound, or Conflict when they are one already.
    """
    actor.must(CONTACTS)
    hold_people(tx)
    survivor, other = held_person(tx, actor, survivor_id), person_for(tx, actor, other_id)
    if survivor.id == other.id:
        raise Conflict(_("These two are one person already."))
    if other.blocked_at is not None and survivor.blocked_at is None:
        raise Conflict(_("{shown} is blocked: unblock them first, or block both.", shown=other.shown))
    if other.erased_at is not None:
        raise Conflict(_("Somebody who was erased can't be merged: nothing is known of them."))
    records = select(Contact.id).where(Contact.person_id == other.id).order_by(col(Contact.id))
    moved = [number or 0 for number in tx.exec(records)]
    _let_stand_for(tx, moved, survivor.id or 0)
    changed = {pair.key: [pair.mine, pair.other] for pair in differing(survivor, other)
               if not pair.asks or pair.key in taken}  # fmt: skip
    survivor = tx.get_one(Contact, survivor.id)
    for key, (__, value) in changed.items():
        _set_detail(survivor, key, value)
    tx.add(survivor)
    row = Merge(
        survivor_id=survivor.id or 0, other_id=other.id or 0, moved=moved, changed=changed, by=actor.by, at=tx.now
    )
    tx.add(row)
    tx.flush()
    tx.emit(ContactsMerged(row.survivor_id, row.other_id, row.id or 0, by=actor.by))
    return row


def unmerge(tx: Tx, actor: Actor, merge_id: int) -> Merge:
    """Take a merge back: exactly the records that moved then stand for the other person again.

    Details that it changed are as they were, unless somebody has changed them since.

    Raises NotFound, or Conflict when it was undone before or a later merge has to be undone first.
    """
    actor.must(CONTACTS)
    hold_people(tx)
    row = tx.get(Merge, merge_id)
    if row is None:
        raise NotFound(_("There is no merge {merge_id}.", merge_id=merge_id))
    person_for(tx, actor, row.survivor_id)
    if row.undone_at is not None:
        raise Conflict(_("This merge was undone already."))
    later = tx.exec(
        select(Merge).where(col(Merge.id) > merge_id, col(Merge.undone_at).is_(None), Merge.other_id == row.survivor_id)
    ).first()
    if later is not None:
        raise Conflict(_("This person was merged again later; undo that merge first."))
    _let_stand_for(tx, row.moved, row.other_id)
    survivor = tx.get_one(Contact, row.survivor_id)
    for key, (before, after) in row.changed.items():
        if _kept(_detail(survivor, key)) == _kept(after):
            _set_detail(survivor, key, before)
    tx.add(survivor)
    row.undone_at = tx.now
    tx.add(row)
    tx.emit(ContactsUnmerged(row.survivor_id, row.other_id, merge_id, by=actor.by))
    return row


def held_person(tx: Tx, actor: Actor, contact_id: int) -> Contact:
    """The record of a person of whom something is written down; nobody else changes it until the commit.

    Attributes are written as a whole. Raises NotFound, and Conflict when they were erased.
    """
    person = person_for(tx, actor, contact_id)
    if tx.dialect == "postgresql":
        tx.sql("SELECT id FROM contact WHERE id = ? FOR NO KEY UPDATE", person.id)
        tx.refresh(person)
    must_be_known(person)
    return person


def must_be_known(person: Contact) -> None:
    """Raises Conflict when they were erased: nothing is written down of them any more."""
    if person.erased_at is not None:
        raise Conflict(_("This person was erased and stays so: who writes from their address now is somebody new."))


def _is_zone(name: str) -> bool:
    """Asked by name: to list all of them reads a folder for 30 ms, and the only writer would wait."""
    try:
        return bool(ZoneInfo(name))
    except (ValueError, KeyError, OSError):
        return False


def _said(name: str, typed: str) -> str:
    value = " ".join(storable(typed).split())
    if name == "zone" and value and not _is_zone(value):
        near = get_close_matches(value, available_timezones(), n=1)
        raise FieldRefused("zone", _("Write a time zone such as {zone}.", zone=near[0] if near else "Europe/Stockholm"))
    if name == "language" and not re.fullmatch(r"|[a-z]{2,3}(-[A-Za-z0-9]{2,8})?", value):
        raise FieldRefused("language", _("Write a language by its code, such as sv or pt-BR."))
    if len(value) > MAX_NAME:
        raise FieldRefused(name, _("At most {max_name} characters fit.", max_name=MAX_NAME))
    return value


def _kept(value: Any) -> str:
    """Told apart as JSON does: true is not 1."""
    return json.dumps(value, sort_keys=True)


def _detail(person: Contact, key: str) -> Any:
    name = key.removeprefix("attributes.")
    return getattr(person, key) if name == key else person.attributes.get(name)


def _set_detail(person: Contact, key: str, value: Any) -> None:
    name = key.removeprefix("attributes.")
    if name == key:
        setattr(person, key, value)
        return
    person.attributes = {**person.attributes, name: value}
    if value is None:
        person.attributes = {each: kept for each, kept in person.attributes.items() if each != name}


def block(tx: Tx, actor: Actor, contact_id: int, on: bool) -> Contact:
    """What they write is kept and makes no work from now on, or makes work again. Raises NotFound and Conflict."""
    actor.must(CONTACTS)
    person = held_person(tx, actor, contact_id)
    if (person.blocked_at is not None) is not on:
        person.blocked_at = tx.now if on else None
        tx.add(person)
        tx.emit(ContactBlocked(person.id or 0, on, by=actor.by))
    return person


def hold_people(tx: Tx) -> None:
    """Until the commit nobody else merges, parts or erases people."""
    if tx.dialect == "postgresql":
        tx.sql(f"SELECT pg_advisory_xact_lock({MERGE_LOCK})")


def _let_stand_for(tx: Tx, records: list[int], person_id: int) -> None:
    """Move records in the order of their ids. Whatever was read of them before is read again."""
    for number in sorted(records):
        tx.sql("UPDATE contact SET person_id = ? WHERE id = ?", person_id, number)
    tx.expire_all()


def _normalised(kind: str, value: str) -> str:
    if kind == "email":
        address = normal_address(value.strip())
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
            raise Conflict(_("{value} is not an e-mail address.", value=repr(value)))
        return address
    if kind in ("phone", "whatsapp"):
        number = normalise(value)
        if number is None:
            raise Conflict(
                _("{value} is not a phone number; write it with its country, like +46 70 174 06 05.", value=repr(value))
            )
        return number
    raise Conflict(_("Only e-mail addresses and phone numbers can be added by hand."))
