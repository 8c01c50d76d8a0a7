"""Who was named in a note."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import SQLModel

from storage.columns import key, ref, utc


class Mention(SQLModel, table=True):
    """An agent was named in a note, and has seen it or not."""

    __table_args__ = (Index("ix_mention_agent", "agent_id", "conversation_id", "seen_at"),)

    id: int | None = key()
    agent_id: int = ref("agent.id")
    conversation_id: int = ref("conversation.id", index=True)
    message_id: int = ref("message.id", index=True)
    at: datetime = utc()
    seen_at: datetime | None = utc(nullable=True)
