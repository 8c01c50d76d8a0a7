"""Saved replies: everybody's and one's own, found by a few letters, filled for a conversation, edited in Settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from hashlib import sha256
from typing import Any

from sqlalchemy import or_
from sqlmodel import col, select

from channels.text import storable
from config.language import _
from hub.refusals import FieldRefused
from hub.slots import fill, must_be_known, values_of
from storage import Tx
from storage.access import REPLIES, Actor, Conflict, Forbidden, NotFound, conversation_for
from storage.desk import SavedReply, touch_desk
from storage.facts import DeskChanged

MAX_SHORTCUT, MAX_TITLE, MAX_TEXT = 32, 100, 20_000  # characters


@dataclass(frozen=True, slots=True)
class Wanted:
    """A saved reply as somebody wants it. `own` is for its author alone."""

    shortcut: str
    text: str
    title: str = ""
    own: bool = False


@dataclass(frozen=True, slots=True)
class Filled:
    """A saved reply with the words for one conversation."""

    reply: SavedReply
    text: str


def may_edit_shared(actor: Actor) -> bool:
    """Whether this actor edits what everybody uses."""
    return actor.may(REPLIES)


def saved_replies(tx: Tx, actor: Actor) -> list[SavedReply]:
    """Those this actor may use, by their shortcuts; of two with one shortcut the own comes first."""
    mine = or_(col(SavedReply.agent_id).is_(None), col(SavedReply.agent_id) == actor.agent_id)
    rows = tx.exec(select(SavedReply).where(mine)).all()
    return sorted(rows, key=lambda row: (row.shortcut.lower(), row.agent_id is None))


def saved_reply(tx: Tx, actor: Actor, number: int) -> SavedReply:
    """One of them. Raises NotFound."""
    row = tx.get(SavedReply, number)
    if row is None or row.agent_id not in (None, actor.agent_id):
        raise NotFound(_("There is no saved reply {number}.", number=number))
    return row


def found(
    tx: Tx, actor: Actor, conversation_id: int, typed: str, *, zone: tzinfo = UTC, limit: int = 8
) -> list[Filled]:
    """What fits the letters typed behind the slash, best first, filled for a conversation. Raises NotFound."""
    conversation = conversation_for(tx, actor, conversation_id)
    ranked = [(rank, row) for row in saved_replies(tx, actor) if (rank := closeness(typed, row)) is not None]
    best = [row for __, row in sorted(ranked, key=lambda pair: pair[0])[:limit]]
    values = values_of(tx, actor, conversation, zone) if best else {}
    return [Filled(row, fill(row.text, values)) for row in best]


def closeness(typed: str, reply: SavedReply) -> int | None:
    """How near a reply is to a few letters; None when they are not in it."""
    wanted, shortcut, title = typed.lower(), reply.shortcut.lower(), reply.title.lower()
    fits = (
        shortcut == wanted,
        shortcut.startswith(wanted),
        any(word.startswith(wanted) for word in re.split(r"\W+", title)),
        _are_in(wanted, shortcut),
        wanted in title,
        len(wanted) > 2 and wanted in reply.text.lower(),
        len(wanted) > 1 and _are_in(wanted, title),
    )
    return next((rank for rank, fit in enumerate(fits) if fit), None)


def create(tx: Tx, actor: Actor, wanted: Wanted) -> SavedReply:
    """Add one. Raises FieldRefused, and Forbidden for everybody's where the actor may only have own ones."""
    row = SavedReply(**_checked(tx, actor, wanted, None))
    _must_edit(actor, row)
    tx.add(row)
    tx.flush()
    _tell(tx, actor, row, "added")
    return row


def change(tx: Tx, actor: Actor, number: int, wanted: Wanted, seen: str) -> SavedReply:
    """Say it otherwise. `seen` is the stamp of what was changed: somebody else's change is never overwritten.

    Raises FieldRefused, Conflict, NotFound and Forbidden.
    """
    row = saved_reply(tx, actor, number)
    _must_edit(actor, row)
    if stamp(row) != seen:
        raise Conflict(
            _(
                "Somebody changed /{shortcut} meanwhile. Reload the page; what you typed is still here.",
                shortcut=row.shortcut,
            )
        )
    for name, value in _checked(tx, actor, wanted, number).items():
        setattr(row, name, value)
    _must_edit(actor, row)
    tx.add(row)
    _tell(tx, actor, row, "changed")
    return row


def delete(tx: Tx, actor: Actor, number: int) -> SavedReply:
    """Take one away. Raises NotFound and Forbidden."""
    row = saved_reply(tx, actor, number)
    _must_edit(actor, row)
    tx.delete(row)
    _tell(tx, actor, row, "deleted")
    return row


def stamp(row: SavedReply) -> str:
    """What a form carries to know whether somebody else was faster."""
    return sha256(repr((row.shortcut, row.title, row.text, row.agent_id)).encode()).hexdigest()[:16]


def _checked(tx: Tx, actor: Actor, wanted: Wanted, number: int | None) -> dict[str, Any]:
    shortcut = storable(wanted.shortcut).strip().removeprefix("/")
    title, text = storable(wanted.title).strip(), storable(wanted.text).replace("\r\n", "\n").strip()
    if not shortcut or len(shortcut) > MAX_SHORTCUT or re.search(r"[\s/]", shortcut):
        raise FieldRefused(
            "shortcut",
            _(
                "A shortcut is one word of at most {max_shortcut} characters, such as express.",
                max_shortcut=MAX_SHORTCUT,
            ),
        )
    if len(title) > MAX_TITLE:
        raise FieldRefused("title", _("A title has at most {max_title} characters.", max_title=MAX_TITLE))
    if not text or len(text) > MAX_TEXT:
        raise FieldRefused(
            "text",
            _("Write what it says.") if not text else _("At most {max_text} characters fit.", max_text=f"{MAX_TEXT:,}"),
        )
    try:
        must_be_known(text)
    except ValueError as error:
        raise FieldRefused("text", _("{error}.", error=error)) from None
    owner = actor.agent_id if wanted.own else None
    same = select(SavedReply).where(SavedReply.shortcut == shortcut, SavedReply.agent_id == owner)
    taken = tx.exec(same).first()
    if taken is not None and taken.id != number:
        raise FieldRefused("shortcut", _("/{shortcut} is taken; choose another word.", shortcut=shortcut))
    return {"shortcut": shortcut, "title": title, "text": text, "agent_id": owner}


def _must_edit(actor: Actor, row: SavedReply) -> None:
    if row.agent_id is None and not may_edit_shared(actor):
        raise Forbidden(_("Only supervisors and admins change what everybody uses; yours alone you can have yourself."))


def _tell(tx: Tx, actor: Actor, row: SavedReply, what: str) -> None:
    if row.agent_id is None:
        touch_desk(tx)
        tx.emit(DeskChanged(f"saved reply {row.shortcut} {what}", by=actor.by))


def _are_in(letters: str, word: str) -> bool:
    """Whether they stand in it in this order."""
    rest = iter(word)
    return all(letter in rest for letter in letters)
