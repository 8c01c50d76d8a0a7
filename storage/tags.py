"""Tags: words that the team puts on conversations, to find and count them by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlmodel import Field, SQLModel, col, select

from storage.columns import BigId, key, utc
from storage.store import Tx


class Tag(SQLModel, table=True):
    """A word in use, always in small letters."""

    id: int | None = key()
    name: str = Field(max_length=40, unique=True)


class ConversationTag(SQLModel, table=True):
    """A tag on a conversation; `by` is who put it there."""

    __tablename__ = "conversation_tag"

    conversation_id: int = Field(foreign_key="conversation.id", primary_key=True, sa_type=BigId)
    tag_id: int = Field(foreign_key="tag.id", primary_key=True, sa_type=BigId, index=True)
    by: str
    at: datetime = utc()


def tags_of(tx: Tx, conversation_ids: Iterable[int]) -> dict[int, list[str]]:
    """The tags of each conversation, by the alphabet."""
    query = (
        select(ConversationTag.conversation_id, Tag.name)
        .join(Tag, col(Tag.id) == col(ConversationTag.tag_id))
        .where(col(ConversationTag.conversation_id).in_(list(conversation_ids)))
        .order_by(col(Tag.name))
    )
    found: dict[int, list[str]] = {}
    for number, name in tx.exec(query):
        found.setdefault(number, []).append(name)
    return found


def all_tags(tx: Tx, limit: int = 200) -> list[str]:
    """Tags to choose from, by the alphabet."""
    return list(tx.exec(select(Tag.name).order_by(col(Tag.name)).limit(limit)))
