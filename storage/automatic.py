"""What left, or wanted to leave, without a person having written it: counted by `hub.gate`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from storage.columns import key, ref, utc


class AutomaticSend(SQLModel, table=True):
    """One automatic message to one address. Kept for as long as it counts; `held` is why it did not leave, if so.

    `kind` is acknowledgement or notice; `subject` is what is left of it when numbers and reply marks are gone.
    """

    __tablename__ = "automatic_send"
    __table_args__ = (
        Index("ix_automatic_send_address", "address", "at"),
        Index("ix_automatic_send_conversation", "conversation_id", "at"),
        Index("ix_automatic_send_at", "at"),
    )

    id: int | None = key()
    kind: str = Field(max_length=16)
    address: str = Field(max_length=320)
    conversation_id: int = ref("conversation.id")
    subject: str = Field(max_length=200)
    held: str = ""
    at: datetime = utc()
