"""What a caller has asked for under a key of its own, so that asking again answers the same and does nothing."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from storage.access import Actor, Conflict
from storage.columns import BigId, utc
from storage.store import Tx


class IdempotencyKey(SQLModel, table=True):
    """A key (the API's Idempotency-Key header) of one caller. `digest` is the SHA-256 of what was asked for."""

    __tablename__ = "idempotency_key"

    by: str = Field(primary_key=True, max_length=32)
    value: str = Field(primary_key=True, max_length=255)
    digest: str = Field(max_length=64)
    message_id: int | None = Field(default=None, sa_type=BigId)
    at: datetime = utc()


def answered_before(tx: Tx, actor: Actor, value: str, digest: str) -> int | None:
    """The message that was made under this key; None when the key is new and now taken, see `remember`.

    Two requests at once wait for each other here. Raises Conflict when the key came with another request.
    """
    taken = tx.sql(
        "INSERT INTO idempotency_key(by, value, digest, at) VALUES(?, ?, ?, ?) ON CONFLICT (by, value) DO NOTHING",
        actor.by, value, digest, tx.now,
    )  # fmt: skip
    if taken.rowcount == 1:
        return None
    row = tx.sql(
        "SELECT digest, message_id FROM idempotency_key WHERE by = ? AND value = ?", actor.by, value
    ).fetchone()
    if row[0] != digest:
        raise Conflict("This Idempotency-Key was used for another request; choose a new one.")
    return int(row[1])


def remember(tx: Tx, actor: Actor, value: str, message_id: int) -> None:
    """What came of the request; in the unit that did it."""
    tx.sql("UPDATE idempotency_key SET message_id = ? WHERE by = ? AND value = ?", message_id, actor.by, value)
