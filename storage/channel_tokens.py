"""What OAuth providers granted to channels, sealed with a key that is not in the database."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from storage.columns import BigId, utc
from storage.store import Tx

KEEP = (
    "INSERT INTO channel_token(channel_id, sealed, expires_at, refreshed_at, problem) VALUES(?, ?, ?, ?, '') "
    "ON CONFLICT (channel_id) DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at, "
    "refreshed_at = excluded.refreshed_at, problem = ''"
)
FAILED = (
    "INSERT INTO channel_token(channel_id, sealed, expires_at, refreshed_at, problem) VALUES(?, '', ?, ?, ?) "
    "ON CONFLICT (channel_id) DO UPDATE SET problem = excluded.problem"
)


class ChannelToken(SQLModel, table=True):
    """The tokens of one channel. `problem` says why the last refresh failed; empty when it is well."""

    __tablename__ = "channel_token"

    channel_id: int = Field(foreign_key="channel.id", primary_key=True, sa_type=BigId)
    sealed: str = ""
    expires_at: datetime = utc()
    refreshed_at: datetime = utc()
    problem: str = ""


def token_of(tx: Tx, channel_id: int) -> ChannelToken | None:
    """What is kept for a channel."""
    return tx.get(ChannelToken, channel_id)


def keep_token(tx: Tx, channel_id: int, sealed: str, expires_at: datetime) -> None:
    """From now on these count."""
    tx.sql(KEEP, channel_id, sealed, expires_at, tx.now)


def note_token_problem(tx: Tx, channel_id: int, problem: str) -> None:
    """Refreshing failed; what is kept stays as it is."""
    tx.sql(FAILED, channel_id, tx.now, tx.now, problem)
