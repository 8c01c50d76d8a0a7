"""What leaves without a person having written it: counted by `hub.gate`, and mail to agents."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from storage.columns import BigId, key, ref, utc


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


class MailNotice(SQLModel, table=True):
    """A mail to an agent about a conversation; its id is in the address for answers.

    `reason` is assigned, offered, answered, or refused with the sentence `why`. `shown_to` is the newest message that
    it shows, empty until it leaves: what happens before then needs no notice of its own.
    """

    __tablename__ = "mail_notice"
    __table_args__ = (Index("ix_mail_notice_of", "agent_id", "conversation_id", "id"),)

    id: int | None = key()
    agent_id: int = ref("agent.id")
    conversation_id: int = ref("conversation.id")
    reason: str = Field(max_length=10)
    why: str = ""
    uuid: str = Field(max_length=36)
    shown_to: int | None = Field(default=None, sa_type=BigId)
    created_at: datetime = utc()
