"""Replies that wait for a moment."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from storage.columns import BigId, utc


class LaterReply(SQLModel, table=True):
    """A reply that leaves at `at`, if the customer has not written by then where it is `unless_they_write`.

    The row is gone once it has left, was held or was taken back.
    """

    __tablename__ = "later_reply"

    message_id: int = Field(foreign_key="message.id", primary_key=True, sa_type=BigId)
    at: datetime = utc(index=True)
    unless_they_write: bool = False
