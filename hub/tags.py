"""Tagging: words on a conversation, put there and taken off by whoever may see it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlmodel import select

from channels.text import storable
from routing.locks import held
from storage import Tx
from storage.access import ANSWER, Actor, Conflict
from storage.facts import ConversationTagged, ConversationUntagged
from storage.tags import ConversationTag, Tag, tags_of

MAX_CHARS, MOST = 40, 30  # of one tag; on one conversation
_GET = "INSERT INTO tag(name) VALUES(?) ON CONFLICT (name) DO NOTHING"


def read_tags(typed: str | Iterable[str]) -> list[str]:
    """Tags as they are kept, from what somebody typed between commas. Raises Conflict for one that is too long."""
    parts = typed.split(",") if isinstance(typed, str) else typed
    names = [" ".join(re.sub(r"[#,\x00-\x1f]", " ", storable(part)).split()).lower() for part in parts]
    if long := [name for name in names if len(name) > MAX_CHARS]:
        raise Conflict(f"A tag has at most {MAX_CHARS} characters; “{long[0][:MAX_CHARS]}…” has {len(long[0])}.")
    return list(dict.fromkeys(name for name in names if name))


def tag(tx: Tx, actor: Actor, conversation_id: int, typed: str | Iterable[str]) -> list[str]:
    """Put tags on it; answers those that were not there. Raises NotFound and Conflict."""
    actor.must(ANSWER)
    held(tx, actor, conversation_id)
    there = set(tags_of(tx, [conversation_id]).get(conversation_id, []))
    fresh = [name for name in read_tags(typed) if name not in there]
    if len(there) + len(fresh) > MOST:
        raise Conflict(f"A conversation has at most {MOST} tags.")
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
    held(tx, actor, conversation_id)
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
