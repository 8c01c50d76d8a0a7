"""Promises that run: a first reply, the next reply and the resolution of each routing episode."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel, col, select

from storage.columns import key, ref, utc
from storage.store import Tx

_RUNNING = text("ended_at IS NULL")
_TO_NOTE = text("next_at IS NOT NULL")


class SlaClock(SQLModel, table=True):
    """One promise of one episode. `kind` is first_reply, next_reply or resolution; at most one of a kind runs.

    It counts the open time of its queue's calendar: `used_seconds` up to `running_since`, and on from there; one that
    is paused has no `running_since`. `due_at` is when the target runs out if it goes on, `next_at` when there is a
    warning or a breach to note. Without a target in its queue it only counts.
    """

    __tablename__ = "sla_clock"
    __table_args__ = (
        Index(
            "uq_sla_clock_running", "conversation_id", "kind", unique=True, sqlite_where=_RUNNING,
            postgresql_where=_RUNNING,
        ),
        Index("ix_sla_clock_next", "next_at", sqlite_where=_TO_NOTE, postgresql_where=_TO_NOTE),
        Index("ix_sla_clock_conversation", "conversation_id", "id"),
    )  # fmt: skip

    id: int | None = key()
    work_item_id: int = ref("work_item.id")
    conversation_id: int = ref("conversation.id")
    kind: str = Field(max_length=12)
    target_seconds: int | None = None
    started_at: datetime = utc()
    used_seconds: int = 0
    running_since: datetime | None = utc(nullable=True)
    paused_at: datetime | None = utc(nullable=True)
    due_at: datetime | None = utc(nullable=True)
    next_at: datetime | None = utc(nullable=True)
    warned_at: datetime | None = utc(nullable=True)
    breached_at: datetime | None = utc(nullable=True)
    ended_at: datetime | None = utc(nullable=True)


def running_clocks(tx: Tx, conversation_id: int) -> list[SlaClock]:
    """The promises under way, the most pressing first; those that are paused or have no target last."""
    query = select(SlaClock).where(SlaClock.conversation_id == conversation_id, col(SlaClock.ended_at).is_(None))
    clocks = list(tx.exec(query.execution_options(populate_existing=True)))
    return sorted(clocks, key=lambda clock: (clock.due_at is None, clock.due_at or clock.started_at, clock.id))
