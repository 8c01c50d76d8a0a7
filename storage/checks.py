"""What the leading router found when it last compared what it knows with the database. For metrics and the doctor."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from storage.columns import utc
from storage.store import Tx


class RoutingCheck(SQLModel, table=True):
    """The last comparison. `differing` agents and pieces of work were not as the router knew them, which must be 0.

    `ever` counts all that any check has found since the database was made, `differed_at` is the last one that did.
    """

    __tablename__ = "routing_check"

    id: int = Field(default=1, primary_key=True)
    at: datetime = utc()
    holder: str
    took_ms: int
    differing: int
    ever: int = 0
    differed_at: datetime | None = utc(nullable=True)


def note_check(tx: Tx, holder: str, took_ms: int, differing: int) -> None:
    """Write down what a check has found."""
    tx.sql(
        "INSERT INTO routing_check(id, at, holder, took_ms, differing, ever, differed_at) VALUES(1, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET at = excluded.at, holder = excluded.holder, took_ms = excluded.took_ms, "
        "differing = excluded.differing, ever = routing_check.ever + excluded.differing, "
        "differed_at = coalesce(excluded.differed_at, routing_check.differed_at)",
        tx.now, holder, took_ms, differing, differing, tx.now if differing else None,
    )  # fmt: skip


def last_check(tx: Tx) -> RoutingCheck | None:
    """What was found last; None before any router has led for a minute."""
    return tx.get(RoutingCheck, 1)
