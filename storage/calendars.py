"""When somebody is there, as the desk's file says it."""

from __future__ import annotations

from typing import Any

from sqlmodel import Field, SQLModel

from storage.columns import json, key


class CalendarPlan(SQLModel, table=True):
    """One calendar. `plan` is what desk.yaml says of it; routing/hours.py reads it."""

    __tablename__ = "calendar"

    id: int | None = key()
    name: str = Field(max_length=64, unique=True)
    plan: dict[str, Any] = json()
    active: bool = True
