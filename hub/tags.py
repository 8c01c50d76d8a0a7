"""Tagging: words on a conversation, put there and taken off by whoever may see it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlmodel import col, func, select

from channels.text import storable
from config.language import _
from hub.refusals import FieldRefused
from routing.locks import held_unmerged
from storage import Tx
from storage.access import ANSWER, SETTINGS, Actor, Conflict, NotFound
from storage.facts import ConversationTagged, ConversationUntagged, DeskChanged
from storage.macros import Macro
from storage.tags import ConversationTag, Tag, tags_of
from storage.views import SavedView

MAX_CHARS, MOST = 40, 30  # of one tag; on one conversation
_GET = "INSERT INTO tag(name) VALUES(?) ON CONFLICT (name) DO NOTHING"


def read_tags(typed: str | Iterable[str]) -> list[str]:
    """Tags as they are kept, from what somebody typed between commas. Raises Conflict for one that is too long."""
    parts = typed.split(",") if isinstance(typed, str) else typed
    names = [" ".join(re.sub(r"[#,\x00-\x1f]", " ", storable(part)).split()).lower() for part in parts]
    if long := [name for name in names if len(name) > MAX_CHARS]:
        raise Conflict(
            _(
                "A tag has at most {max_chars} characters; “{long}…” has {long2}.",
                max_chars=MAX_CHARS,
                long=long[0][:MAX_CHARS],
                long2=len(long[0]),
            )
        )
    return list(dict.fromkeys(name for name in names if name))


def tag(tx: Tx, actor: Actor, conversation_id: int, typed: str | Iterable[str]) -> list[str]:
    """Put tags on it; answers those that were not there. Raises NotFound and Conflict."""
    actor.must(ANSWER)
    held_unmerged(tx, actor, conversation_id)
    there = set(tags_of(tx, [conversation_id]).get(conversation_id, []))
    fresh = [name for name in read_tags(typed) if name not in there]
    if len(there) + len(fresh) > MOST:
        raise Conflict(_("A conversation has at most {most} tags.", most=MOST))
    for name in sorted(fresh):  # in one order, so that two units never wait crosswise
        tx.sql(_GET, name)
    for name in fresh:
        number = tx.exec(select(Tag.id).where(Tag.name == name)).one() or 0
        tx.add(ConversationTag(conversation_id=conversation_id, tag_id=number, by=actor.by, at=tx.now))
    if fresh:
        tx.flush()
        tx.emit(ConversationTagged(conversation_id, tuple(fresh), by=actor.by))
    return fresh


def untag(tx: Tx, actor: Actor, conversation_id: int, typed: str | Iterable[str]) -> list[str]:
    """Take tags off it; answers those that were there. Raises NotFound."""
    actor.must(ANSWER)
    held_unmerged(tx, actor, conversation_id)
    there = set(tags_of(tx, [conversation_id]).get(conversation_id, []))
    gone = [name for name in read_tags(typed) if name in there]
    for name in gone:
        tx.sql(
            "DELETE FROM conversation_tag WHERE conversation_id = ? AND tag_id = (SELECT id FROM tag WHERE name = ?)",
            conversation_id, name,
        )  # fmt: skip
    if gone:
        tx.emit(ConversationUntagged(conversation_id, tuple(gone), by=actor.by))
    return gone


@dataclass(frozen=True, slots=True)
class Use:
    """A tag: on how many conversations, in which macros it is, and how many saved views ask for it."""

    id: int
    name: str
    conversations: int
    macros: tuple[str, ...] = ()
    views: int = 0


def tags_in_use(tx: Tx, actor: Actor) -> list[Use]:
    """Every tag, those on most conversations first. Raises Forbidden."""
    actor.must(SETTINGS)
    count = dict(
        tx.exec(select(ConversationTag.tag_id, func.count()).group_by(col(ConversationTag.tag_id))).all()
    )  # fmt: skip
    found = [Use(row.id or 0, row.name, count.get(row.id or 0, 0)) for row in tx.exec(select(Tag))]
    return sorted(found, key=lambda use: (-use.conversations, use.name))


def tag_in_use(tx: Tx, actor: Actor, tag_id: int) -> Use:
    """One of them, with its macros. Raises Forbidden and NotFound."""
    actor.must(SETTINGS)
    row = tx.get(Tag, tag_id)
    if row is None:
        raise NotFound(_("There is no tag {tag_id}.", tag_id=tag_id))
    on = tx.exec(select(func.count()).select_from(ConversationTag).where(ConversationTag.tag_id == tag_id)).one()
    views = sum(view.condition != _renamed(view.condition, row.name, "") for view in tx.exec(select(SavedView)))
    return Use(tag_id, row.name, on, tuple(macro.name for macro in _macros_with(tx, row.name)), views)


def named(tx: Tx, typed: str, but: int) -> Use | None:
    """The other tag that has this name already, if there is one. Raises FieldRefused for what is no name."""
    row = tx.exec(select(Tag).where(Tag.name == _one(typed), Tag.id != but)).first()
    return None if row is None else Use(row.id or 0, row.name, 0)


def rename_tag(tx: Tx, actor: Actor, tag_id: int, typed: str) -> str:
    """Another name, on conversations, in macros and in saved views. Where a tag has that name, the two become one.

    What was done, in a sentence. Raises Forbidden, NotFound and FieldRefused.
    """
    before, name = tag_in_use(tx, actor, tag_id), _one(typed)
    other = named(tx, name, tag_id)
    if name == before.name:
        return "Nothing was changed."
    for macro in _macros_with(tx, before.name):
        _rewrite(tx, macro, before.name, name)
    for view in tx.exec(select(SavedView)):
        view.condition = _renamed(view.condition, before.name, name)
        tx.add(view)
    if other is None:
        tx.sql("UPDATE tag SET name = ? WHERE id = ?", name, tag_id)
    else:
        tx.sql(
            "INSERT INTO conversation_tag(conversation_id, tag_id, by, at) SELECT conversation_id, ?, by, at "
            "FROM conversation_tag WHERE tag_id = ? ON CONFLICT DO NOTHING", other.id, tag_id,
        )  # fmt: skip
        _forget(tx, tag_id)
    tx.emit(DeskChanged(f"tag {before.name} renamed to {name}", by=actor.by))
    return f"“{before.name}” is now part of “{name}”." if other else f"“{before.name}” is now called “{name}”."


def remove_tag(tx: Tx, actor: Actor, tag_id: int) -> str:
    """Off every conversation and out of every macro that does something else as well; its name.

    Raises Forbidden, NotFound, and Conflict while a macro does nothing else.
    """
    use = tag_in_use(tx, actor, tag_id)
    for macro in _macros_with(tx, use.name):
        _rewrite(tx, macro, use.name, None)
        if not macro.does:
            raise Conflict(_("The macro “{macro}” does nothing else: delete it first.", macro=macro.name))
    _forget(tx, tag_id)
    tx.emit(DeskChanged(f"tag {use.name} removed", by=actor.by))
    return use.name


def _one(typed: str) -> str:
    try:
        names = read_tags([typed])
    except Conflict as refused:
        raise FieldRefused("name", str(refused)) from None
    if not names:
        raise FieldRefused("name", _("Type a name of letters and digits."))
    return names[0]


def _forget(tx: Tx, tag_id: int) -> None:
    tx.sql("DELETE FROM conversation_tag WHERE tag_id = ?", tag_id)
    tx.sql("DELETE FROM tag WHERE id = ?", tag_id)


def _macros_with(tx: Tx, name: str) -> list[Macro]:
    rows = tx.exec(select(Macro).order_by(col(Macro.name)))
    return [row for row in rows if name in (*row.does.get("tags", ()), *row.does.get("untag", ()))]


def _renamed(condition: Any, before: str, name: str) -> Any:
    """A view's condition that asks for another tag."""
    if isinstance(condition, list):
        return [_renamed(each, before, name) for each in condition]
    if not isinstance(condition, dict):
        return condition
    if condition.get("field") == "tag":
        value = condition.get("value")
        if isinstance(value, list):
            return {**condition, "value": list(dict.fromkeys(name if each == before else each for each in value))}
        return {**condition, "value": name} if value == before else condition
    return {key: _renamed(inner, before, name) for key, inner in condition.items()}


def _rewrite(tx: Tx, macro: Macro, name: str, instead: str | None) -> None:
    does = dict(macro.does)
    for key in ("tags", "untag"):
        kept = dict.fromkeys(instead if each == name else each for each in does.pop(key, ()))
        if names := [each for each in kept if each]:
            does[key] = names
    macro.does = does
    tx.add(macro)
