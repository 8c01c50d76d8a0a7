"""What agents say again and again, as the desk file has it: the saved replies that everybody shares."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints
from sqlmodel import col, select

from hub.deskchange import Change
from hub.deskvalues import Entry, Text
from hub.slots import must_be_known
from storage import Tx
from storage.desk import SavedReply

Shortcut = Annotated[str, StringConstraints(min_length=1, max_length=32, strip_whitespace=True)]
Words = Annotated[Text, AfterValidator(must_be_known)]


class ReplyEntry(Entry):
    """A text that agents use again and again."""

    shortcut: Shortcut
    title: Annotated[str, StringConstraints(max_length=100, strip_whitespace=True)] = ""
    text: Words


def apply_replies(tx: Tx, entries: list[ReplyEntry]) -> list[Change]:
    """Make the shared saved replies those of the file; an agent's own stay."""
    changes = []
    rows = {row.shortcut: row for row in _shared(tx)}
    for entry in entries:
        row = rows.pop(entry.shortcut, None)
        if row is None:
            tx.add(SavedReply(**entry.model_dump()))
            changes.append(Change("+", f"saved reply {entry.shortcut}"))
            continue
        differing = [name for name in ("title", "text") if getattr(row, name) != getattr(entry, name)]
        for name in differing:
            setattr(row, name, getattr(entry, name))
        if differing:
            tx.add(row)
            changes.append(Change("~", f"saved reply {entry.shortcut}", ", ".join(differing)))
    for gone in rows.values():
        tx.delete(gone)
        changes.append(Change("-", f"saved reply {gone.shortcut}"))
    return changes


def replies_out(tx: Tx) -> list[dict[str, Any]]:
    """The shared saved replies as the file has them."""
    return [
        {"shortcut": row.shortcut} | ({"title": row.title} if row.title else {}) | {"text": row.text}
        for row in _shared(tx)
    ]


def _shared(tx: Tx) -> list[SavedReply]:
    return list(tx.exec(select(SavedReply).where(col(SavedReply.agent_id).is_(None)).order_by(col(SavedReply.id))))
