"""What agents say again and again, as the desk file has it: the saved replies that everybody shares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from sqlmodel import col, select

from hub.deskchange import Change
from hub.deskvalues import Email, Entry, Name, Span, Text
from hub.slots import must_be_known
from routing.ladder import HIGHEST
from storage import Tx
from storage.desk import SavedReply

Shortcut = Annotated[str, StringConstraints(min_length=1, max_length=32, strip_whitespace=True)]
Words = Annotated[Text, AfterValidator(must_be_known)]


class ReplyEntry(Entry):
    """A text that agents use again and again."""

    shortcut: Shortcut
    title: Annotated[str, StringConstraints(max_length=100, strip_whitespace=True)] = ""
    text: Words


def _snoozed(value: Any) -> Any:
    return 0 if value == "reply" else value


class MacroEntry(Entry):
    """Several things done at once. `assign` is `me` or an agent's address; `snooze` a span, or `reply`."""

    name: Name
    reply: Words | None = None
    note: Words | None = None
    tags: list[Name] = []
    untag: list[Name] = []
    assign: Literal["me"] | Email | None = None
    queue: Name | None = None
    priority: int | None = Field(default=None, ge=-HIGHEST, le=HIGHEST)
    then: Literal["resolve"] | None = None
    snooze: Annotated[Literal[0] | Span | None, BeforeValidator(_snoozed)] = None


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
