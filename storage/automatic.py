"""What leaves without a person having written it: counted by `hub.gate`, and mail to agents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from storage.columns import BigId, json, key, ref, utc


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


class NoticeChoices(SQLModel, table=True):
    """What an agent wants to be told and how, where it is not as `hub.concern` proposes.

    `choices` has the ways (desktop, sound, mail) by kind of concern. With `away_minutes` what concerns the agent while
    they are away is gathered for so long, and makes one mail.
    """

    __tablename__ = "notice_choices"

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    choices: dict[str, Any] = json()
    away_minutes: int = 0


class Digest(SQLModel, table=True):
    """One mail to an agent about all that has been gathered; with `away` only as long as they are.

    Until `taken_at` it gathers; what happens afterwards makes another.
    """

    __table_args__ = (Index("ix_digest_of", "agent_id", "taken_at"),)

    id: int | None = key()
    agent_id: int = ref("agent.id")
    away: bool
    uuid: str = Field(max_length=36)
    created_at: datetime = utc()
    taken_at: datetime | None = utc(nullable=True)


class DigestLine(SQLModel, table=True):
    """Something that concerned the agent of a digest: which kind (`hub.concern`), where, and by which message."""

    __tablename__ = "digest_line"

    id: int | None = key()
    digest_id: int = ref("digest.id", index=True)
    conversation_id: int = ref("conversation.id")
    message_id: int | None = Field(default=None, sa_type=BigId)
    kind: str = Field(max_length=10)
    at: datetime = utc()
