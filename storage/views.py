"""Saved views: lists of conversations that somebody has put together, for themselves, a team or everybody."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from storage.columns import json, key, ref


class SavedView(SQLModel, table=True):
    """A name and a condition (hub/viewfields.py): of one agent, of those who serve one queue, or of everybody."""

    __tablename__ = "saved_view"
    __table_args__ = (Index("ix_saved_view_agent_id", "agent_id"),)

    id: int | None = key()
    name: str = Field(max_length=40)
    condition: dict[str, Any] = json()
    agent_id: int | None = ref("agent.id", nullable=True)
    queue_id: int | None = ref("queue.id", nullable=True)
