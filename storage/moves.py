"""Messages that went to another conversation: one divided in two, or two made one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel

from storage.columns import json, key, ref, utc


class ConversationMove(SQLModel, table=True):
    """One division or merge by hand. `kind` is split or merge; `moved` are the messages that went over.

    `before` is how the merged conversation stood, so that it can be so again.
    """

    __tablename__ = "conversation_move"

    id: int | None = key()
    kind: str = Field(max_length=5)
    from_id: int = ref("conversation.id", index=True)
    to_id: int = ref("conversation.id", index=True)
    moved: list[int] = json(list)
    before: dict[str, Any] = json()
    by: str
    at: datetime = utc()
    undone_at: datetime | None = utc(nullable=True)
