"""Conversations and their messages: what one row may do, and the questions asked of several."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel, col, select

from storage.columns import BigId, Json, json, key, ref, utc
from storage.people import Contact
from storage.store import Tx


class Conversation(SQLModel, table=True):
    """One matter with one person over any number of channels. `state` is open, snoozed or resolved.

    `waiting_since` is the moment of the oldest customer message that nobody has answered. `due_at` is when
    the next target of its clocks runs out, for the list's order.
    """

    __table_args__ = (
        Index("ix_conversation_list", "state", "last_at", "id"),
        Index("ix_conversation_mine", "assignee_id", "state", "last_at", "id"),
        Index("ix_conversation_queue", "queue_id", "state", "last_at", "id"),
        Index("ix_conversation_contact", "contact_id", "state", "id"),
        Index(
            "ix_conversation_unassigned",
            "state",
            "last_at",
            "id",
            sqlite_where=text("assignee_id IS NULL"),
            postgresql_where=text("assignee_id IS NULL"),
        ),
    )

    id: int | None = key()
    contact_id: int = ref("contact.id")
    subject: str = ""
    state: str = Field(default="open", max_length=10)
    channel: str = Field(default="", max_length=16)  # kind of the last customer message
    queue_id: int | None = ref("queue.id", nullable=True)
    assignee_id: int | None = ref("agent.id", nullable=True)
    priority: int = 0
    waiting_since: datetime | None = utc(nullable=True)
    due_at: datetime | None = utc(nullable=True)
    snoozed_until: datetime | None = utc(nullable=True, index=True)
    escalated_at: datetime | None = utc(nullable=True)  # supervisors should look at it
    last_at: datetime = utc()
    last_message_id: int = Field(default=0, sa_type=BigId)
    last_inbound_id: int = Field(default=0, sa_type=BigId)
    preview: str = ""
    message_count: int = 0
    merged_into_id: int | None = Field(default=None, sa_type=BigId)  # where all of it is now: see hub/moves.py
    divided: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})  # some of it is elsewhere
    created_at: datetime = utc()


_CHAT_SQL = text("channel = 'chat'")


class Message(SQLModel, table=True):
    """One message. `kind` is inbound, outbound or note; `state` is a DeliveryState for outbound ones, else empty.

    `text` is what a person reads, all of it; from `quoted_at` on it is quoted history, and from
    `signature_at` up to there a signature. `html` is as it arrived and never shown; `safe_html` is made of it by
    version `safe_version` of the sanitiser. `language` is a guess (ISO 639-1). `external_id` is the provider's id or
    the Message-ID.
    """

    __table_args__ = (
        Index("ix_message_conversation", "conversation_id", "id"),
        Index("ix_message_external", "external_id"),
        Index("ix_message_chat", "identity_id", "id", sqlite_where=_CHAT_SQL, postgresql_where=_CHAT_SQL),
    )

    id: int | None = key()
    conversation_id: int = ref("conversation.id")
    kind: str = Field(max_length=10)
    channel_id: int | None = ref("channel.id", nullable=True)
    channel: str = Field(default="", max_length=16)
    contact_id: int | None = ref("contact.id", nullable=True)
    agent_id: int | None = ref("agent.id", nullable=True)
    identity_id: int | None = ref("identity.id", nullable=True)
    receipt_id: int | None = ref("receipt.id", nullable=True, index=True)
    to_address: str = ""  # inbound: ours that was written to; outbound: the customer's
    cc: list[str] = json(list)
    bcc: list[str] = Field(
        default_factory=list, sa_type=Json, nullable=False, sa_column_kwargs={"server_default": text("'[]'")}
    )
    subject: str = ""
    text: str = ""
    html: str = ""
    quoted_at: int | None = None
    signature_at: int | None = None
    safe_html: str = Field(default="", sa_column_kwargs={"server_default": ""})
    safe_version: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    language: str = Field(default="", max_length=8, sa_column_kwargs={"server_default": ""})
    fields: dict[str, str] = json()
    external_id: str = ""
    refs: list[str] = json(list)
    why: str = ""  # inbound: why it was attached here
    automatic: str = ""
    flags: list[str] = json(list)
    authenticity: dict[str, str] = json(added=True)
    uuid: str | None = Field(default=None, max_length=36, unique=True)
    state: str = Field(default="", max_length=10)
    state_why: str = ""
    state_at: datetime | None = utc(nullable=True)
    send_after: datetime | None = utc(nullable=True)
    sent_at: datetime | None = utc(nullable=True)  # when its author sent it, as far as known
    created_at: datetime = utc()

    @property
    def visible_text(self) -> str:
        """The new part of a reply, without signature and quoted history."""
        end = self.quoted_at if self.signature_at is None else self.signature_at
        return self.text if end is None else self.text[:end].rstrip()

    @property
    def signature(self) -> str:
        """What the sender's program or habit puts under every mail."""
        return "" if self.signature_at is None else self.text[self.signature_at : self.quoted_at].strip()


class Attachment(SQLModel, table=True):
    """A file of a message; its bytes are the blob `sha256`."""

    __table_args__ = (
        Index(
            "ix_attachment_waiting",
            "due_at",
            "id",
            sqlite_where=text("source_url <> ''"),
            postgresql_where=text("source_url <> ''"),
        ),
        Index("ix_attachment_blob", "sha256", sqlite_where=text("sha256 <> ''"), postgresql_where=text("sha256 <> ''")),
    )

    id: int | None = key()
    message_id: int | None = ref("message.id", index=True, nullable=True)
    name: str
    content_type: str
    size: int
    sha256: str = Field(max_length=64)
    cid: str = ""
    inline: bool = False
    source_url: str = ""  # media that is still to be fetched from the provider; sha256 is empty until then
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # at fetching it
    due_at: datetime | None = utc(nullable=True)  # when to fetch it next; empty means at once
    uploaded_by: int | None = ref("agent.id", nullable=True)  # set while it waits in a draft
    created_at: datetime = utc()


class Draft(SQLModel, table=True):
    """What an agent has typed and not sent, per conversation and kind (reply or note): see hub/drafts.py.

    `text` is for the channel that is chosen; what was typed for other channels waits `aside`, by their number.
    """

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    conversation_id: int = Field(foreign_key="conversation.id", primary_key=True, sa_type=BigId)
    kind: str = Field(primary_key=True, max_length=8)
    text: str
    channel_id: int | None = ref("channel.id", nullable=True)
    copies: dict[str, str] = json(added=True)  # cc and bcc as they were typed
    files: list[int] = json(list, added=True)
    aside: dict[str, str] = json(added=True)
    html: str = Field(default="", sa_column_kwargs={"server_default": ""})  # `text` with its formatting
    saved_at: datetime = utc()


class Reading(SQLModel, table=True):
    """How far an agent has read a conversation."""

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    conversation_id: int = Field(foreign_key="conversation.id", primary_key=True, sa_type=BigId)
    message_id: int = Field(sa_type=BigId)
    at: datetime = utc()


def timeline(tx: Tx, person_id: int, *, before: int | None = None, limit: int = 50) -> list[Message]:
    """A person's messages over all conversations and channels, newest first."""
    query = (
        select(Message)
        .join(Conversation, col(Conversation.id) == col(Message.conversation_id))
        .join(Contact, col(Contact.id) == col(Conversation.contact_id))
        .where(Contact.person_id == person_id)
    )
    if before is not None:
        query = query.where(col(Message.id) < before)
    return list(tx.exec(query.order_by(col(Message.id).desc()).limit(limit)))


def messages_of(tx: Tx, conversation_id: int, *, before: int | None = None, limit: int = 200) -> list[Message]:
    """The last messages of a conversation, oldest first."""
    query = select(Message).where(Message.conversation_id == conversation_id)
    if before is not None:
        query = query.where(col(Message.id) < before)
    return list(tx.exec(query.order_by(col(Message.id).desc()).limit(limit)))[::-1]


def attachments_of(tx: Tx, message_ids: list[int]) -> dict[int, list[Attachment]]:
    """The files of several messages, by message."""
    found: dict[int, list[Attachment]] = {}
    for file in tx.exec(
        select(Attachment).where(col(Attachment.message_id).in_(message_ids)).order_by(col(Attachment.id))
    ):
        found.setdefault(file.message_id or 0, []).append(file)
    return found


def now_in(tx: Tx, conversation_id: int) -> int:
    """Where all of a conversation is now: itself, or the one that it was merged into."""
    row = tx.sql("SELECT merged_into_id FROM conversation WHERE id = ?", conversation_id).fetchone()
    return conversation_id if row is None or row[0] is None else now_in(tx, row[0])
