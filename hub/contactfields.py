"""Fields that a desk gives its contacts: what there is, and what may be written into them.

Values are attributes of the contact, typed by the field's kind, so that rules (`contact.tier`), saved replies
(`{{contact.tier}}`) and the API know them under the field's name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

from sqlmodel import col, func, select

from channels.text import storable, storable_json
from config.language import _, words
from hub.refusals import FieldRefused
from storage import Tx
from storage.access import SETTINGS, Actor, NotFound
from storage.contactdata import ContactField, contact_fields
from storage.desk import touch_desk
from storage.facts import DeskChanged
from storage.people import Contact

KINDS = words(
    {
        "text": "Text",
        "number": "Number",
        "date": "Date",
        "choice": "One of several",
        "flag": "Yes or no",
    }
)
# What rules and saved replies know of a contact anyway.
TAKEN = frozenset(
    ("id", "name", "first_name", "email", "phone", "company", "language", "new", "open_conversations", "zone")
)
MOST_FIELDS, MOST_CHOICES = 60, 60
MOST_TEXT, MOST_CHOICE = 1000, 80  # characters
FREE_CHARS, FREE_MOST = 4000, 200  # of one attribute that is no field; of all attributes, how many
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
FREE_NAME = re.compile(r"\S(?:.{0,62}\S)?")


@dataclass(frozen=True, slots=True)
class FieldForm:
    """A field as it is typed; `choices` one a line."""

    label: str = ""
    name: str = ""
    kind: str = "text"
    choices: str = ""


def field(tx: Tx, number: int) -> ContactField:
    """One of them. Raises NotFound."""
    row = tx.get(ContactField, number)
    if row is None:
        raise NotFound(_("There is no field {number}: somebody deleted it.", number=number))
    return row


def save_field(tx: Tx, actor: Actor, number: int | None, wanted: FieldForm, seen: str = "") -> ContactField:
    """Make a field, or change what an existing one is called and may hold; its name and kind stay.

    Raises Forbidden, NotFound, and FieldRefused, also when `seen` is not its stamp.
    """
    actor.must(SETTINGS)
    rows = contact_fields(tx)
    row = ContactField(name="", label="", kind=wanted.kind, position=0) if number is None else field(tx, number)
    if number is not None and seen != stamp(row):
        raise FieldRefused("label", _("Somebody changed this field meanwhile. Open it again to see how."))
    label = " ".join(storable(wanted.label).split())
    if not 0 < len(label) <= 64:
        raise FieldRefused("label", _("Give it a name of at most 64 characters."))
    if any(each.label.lower() == label.lower() and each.id != row.id for each in rows):
        raise FieldRefused("label", _("There is a field with this name."))
    if number is None:
        if len(rows) >= MOST_FIELDS:
            raise FieldRefused(
                "label", _("There are {most_fields} fields already: delete one first.", most_fields=MOST_FIELDS)
            )
        if wanted.kind not in KINDS:
            raise FieldRefused("kind", _("Choose what it holds."))
        row.name = _name(wanted.name or label, rows)
        row.position = max((each.position for each in rows), default=0) + 1
    row.label, row.choices = label, _choices(wanted.choices) if row.kind == "choice" else []
    tx.add(row)
    tx.flush()
    touch_desk(tx)
    tx.emit(DeskChanged(f"contact field {row.label} {'added' if number is None else 'changed'}", by=actor.by))
    return row


def delete_field(tx: Tx, actor: Actor, number: int) -> ContactField:
    """Away with a field. What was written into it stays with the contacts, as an attribute without a field."""
    actor.must(SETTINGS)
    row = field(tx, number)
    tx.delete(row)
    touch_desk(tx)
    tx.emit(DeskChanged(f"contact field {row.label} deleted", by=actor.by))
    return row


def move_field(tx: Tx, actor: Actor, number: int, up: bool) -> None:
    """One place up or down; at the end nothing changes."""
    actor.must(SETTINGS)
    rows, row = contact_fields(tx), field(tx, number)
    at = rows.index(row)
    to = at - 1 if up else at + 1
    if not 0 <= to < len(rows):
        return
    rows.insert(to, rows.pop(at))
    for position, each in enumerate(rows, 1):
        each.position = position
        tx.add(each)
    tx.emit(DeskChanged(f"contact field {row.label} moved", by=actor.by))


def read_value(wanted: ContactField, given: Any) -> Any:
    """What somebody typed, or a program sent, as the field keeps it; None for nothing. Raises FieldRefused."""
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    told = {
        "text": f"At most {MOST_TEXT} characters fit.",
        "number": "Write a number, such as 12 or 12.5.",
        "date": "Write a day as 2026-12-24.",
        "choice": f"Choose one of {', '.join(wanted.choices)}.",
        "flag": "Choose yes or no.",
    }[wanted.kind]
    value = _READ[wanted.kind](given, wanted)
    if value is None:
        raise FieldRefused(f"field-{wanted.name}", told)
    return value


def read_attributes(tx: Tx, given: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as a program sends them: by kind where the desk has such a field, else any JSON that is not large.

    None takes one away. Raises FieldRefused.
    """
    known = {each.name: each for each in contact_fields(tx)}
    read: dict[str, Any] = {}
    for name, value in given.items():
        if name in known:
            try:
                read[name] = read_value(known[name], value)
            except FieldRefused as refused:
                raise FieldRefused(name, refused.sentence) from None
        elif not FREE_NAME.fullmatch(name) or name in TAKEN:
            raise FieldRefused(name[:80], _("{name} can't be the name of an attribute.", name=repr(name[:80])))
        elif len(json.dumps(value)) > FREE_CHARS:
            raise FieldRefused(
                name, _("At most {free_chars} characters of JSON fit into an attribute.", free_chars=FREE_CHARS)
            )
        else:
            read[name] = storable_json(value)
    return read


def stamp(row: ContactField) -> str:
    """Changes with what somebody may have seen in a form."""
    return sha256(json.dumps([row.label, row.choices]).encode()).hexdigest()[:16]


def used_by(tx: Tx, name: str) -> int:
    """How many people have something in it."""
    return tx.exec(select(func.count()).where(col(Contact.attributes)[name].as_string().is_not(None))).one()


def _name(typed: str, rows: list[ContactField]) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", typed.lower()).strip("_")[:40].strip("_")
    if not NAME.fullmatch(name):
        raise FieldRefused("name", _("Rules need a name of small letters, digits and _, beginning with a letter."))
    if name in TAKEN:
        raise FieldRefused("name", _("contact.{name} is something else already: choose another name.", name=name))
    if any(each.name == name for each in rows):
        raise FieldRefused("name", _("There is a field contact.{name}.", name=name))
    return name


def _choices(typed: str) -> list[str]:
    lines = (" ".join(storable(line).split()) for line in typed.splitlines())
    choices = list(dict.fromkeys(line for line in lines if line))
    if len(choices) < 2:
        raise FieldRefused("choices", _("Write at least two, one a line."))
    if len(choices) > MOST_CHOICES or any(len(each) > MOST_CHOICE for each in choices):
        raise FieldRefused(
            "choices",
            _(
                "At most {most_choices} of {most_choice} characters each fit.",
                most_choices=MOST_CHOICES,
                most_choice=MOST_CHOICE,
            ),
        )
    return choices


def _text(given: Any, __: ContactField) -> str | None:
    text = storable(given).strip() if isinstance(given, str) else ""
    return text if 0 < len(text) <= MOST_TEXT else None


def _number(given: Any, __: ContactField) -> int | float | None:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        value = float(given.strip().replace(",", ".") if isinstance(given, str) else given)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(value) or abs(value) > 1e15:
        return None
    return int(value) if value.is_integer() else value


def _date(given: Any, __: ContactField) -> str | None:
    try:
        return date.fromisoformat(given.strip()).isoformat() if isinstance(given, str) else None
    except ValueError:
        return None


def _choice(given: Any, wanted: ContactField) -> str | None:
    return given if given in wanted.choices else None


def _flag(given: Any, __: ContactField) -> bool | None:
    return given if isinstance(given, bool) else {"yes": True, "no": False}.get(str(given).strip().lower())


_READ = {"text": _text, "number": _number, "date": _date, "choice": _choice, "flag": _flag}
