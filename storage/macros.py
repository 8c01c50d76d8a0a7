"""Macros: several things done at once, under a name."""

from __future__ import annotations

from typing import Any

from sqlmodel import Field, SQLModel

from storage.columns import json, key


class Macro(SQLModel, table=True):
    """`does` is what `hub.macros.Does` reads: a reply, a note, tags, an owner or queue, a priority, and an end."""

    id: int | None = key()
    name: str = Field(max_length=64, unique=True)
    does: dict[str, Any] = json()
