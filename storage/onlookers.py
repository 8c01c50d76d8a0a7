"""Who is looking at what: one row for each agent, good for a few seconds."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from storage.columns import BigId, ref, utc


class Onlooker(SQLModel, table=True):
    """Where an agent is until `until`; `doing` is looking or replying."""

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    conversation_id: int = ref("conversation.id", index=True)
    doing: str = Field(max_length=10)
    until: datetime = utc()
