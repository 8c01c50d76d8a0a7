"""Experiments of the policy lab: what somebody wanted to try, how far it is, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from storage.columns import json, key, ref, utc

PENDING = ("waiting", "running")
_PENDING_SQL = text("state IN ('waiting','running')")


class Experiment(SQLModel, table=True):
    """`state` is waiting, running, done, cancelled or failed; only the first two change.

    `wanted` is what to play (hub.experiments.Wanted), `text` the changed desk as desk.yaml has it, or empty. `desk` is
    the version of the desk that it began with. `done` of `total` ways were played; `tries` counts the processes that
    began with it.
    """

    __table_args__ = (
        Index("ix_experiment_pending", "id", sqlite_where=_PENDING_SQL, postgresql_where=_PENDING_SQL),
        Index("ix_experiment_created_at", "created_at"),
    )

    id: int | None = key()
    agent_id: int | None = ref("agent.id", nullable=True)
    state: str = Field(default="waiting", max_length=10)
    wanted: dict[str, Any] = json()
    text: str = ""
    desk: int
    done: int = 0
    total: int = 0
    tries: int = 0
    result: dict[str, Any] = json()
    problem: str = ""
    created_at: datetime = utc()
    started_at: datetime | None = utc(nullable=True)
    ended_at: datetime | None = utc(nullable=True)
