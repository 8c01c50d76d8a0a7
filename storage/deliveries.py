"""Everything that has to leave the house: one row per hand-over, claimed, tried, settled, retried, kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from storage.columns import BigId, json, key, ref, utc


class Delivery(SQLModel, table=True):
    """An intention to hand something to the outside, by one of the senders "channel", "copy", "slack" or "webhook".

    `state` is queued, sending, sent, uncertain, failed or cancelled. `due_at` is when to try next, and while it is
    sending the end of the lease: a crashed sender's row falls due again by itself. `claims` only grows and fences: a
    settle with an older claim changes nothing. `begun_at` is when this claim's hand-over began; without it nothing
    was sent yet. `in_doubt` says that nobody is sending any more and the provider has to be asked. `attempts` counts
    on the schedule and starts anew when a person says "again". `dedupe_key` makes creating it twice impossible.
    `paced` says that its `due_at` is the turn that its account's pace gave it.
    """

    __table_args__ = (
        UniqueConstraint("sender", "dedupe_key"),
        Index("ix_delivery_lane", "state", "sender", "target", "due_at", "id"),
        Index("ix_delivery_target", "sender", "target", "id"),
    )

    id: int | None = key()
    sender: str = Field(max_length=8)
    target: str = Field(max_length=64)  # "channel:<id>", "slack:<id>", "endpoint:<id>": for rates and logs
    dedupe_key: str = Field(max_length=128)
    message_id: int | None = ref("message.id", nullable=True, index=True)
    payload: dict[str, Any] = json()
    state: str = Field(default="queued", max_length=10)
    due_at: datetime = utc()
    claims: int = 0
    begun_at: datetime | None = utc(nullable=True)
    in_doubt: bool = False
    attempts: int = 0
    error: str = ""
    response: dict[str, Any] = json()  # what the other side said last: status, first bytes, milliseconds
    external_id: str = ""
    created_at: datetime = utc()
    ended_at: datetime | None = utc(nullable=True)
    paced: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class Pacing(SQLModel, table=True):
    """When an account, or one domain at an account, may send next, and up to when turns are given away already."""

    __tablename__ = "pacing"

    key: str = Field(primary_key=True, max_length=320)  # "channel:<id>" or "channel:<id> <domain>"
    free_at: datetime = utc()
    queue_until: datetime = utc()


class Unsubscription(SQLModel, table=True):
    """Somebody wants no more mail to many from this channel; answers still reach them."""

    identity_id: int = Field(foreign_key="identity.id", primary_key=True, sa_type=BigId)
    channel_id: int = Field(foreign_key="channel.id", primary_key=True, sa_type=BigId)
    at: datetime = utc()


class Suppression(SQLModel, table=True):
    """An address nothing may be sent to, and why: stop, bounce, complaint or manual. Without `until` it never ends."""

    __table_args__ = (UniqueConstraint("kind", "value"),)

    id: int | None = key()
    kind: str = Field(max_length=16)
    value: str = Field(max_length=320)
    reason: str = Field(max_length=16)
    source: str = ""
    at: datetime = utc()
    until: datetime | None = utc(nullable=True)


class WebhookEndpoint(SQLModel, table=True):
    """A subscriber of our facts: Standard Webhooks, signed with `secret` ("whsec_" + base64)."""

    __tablename__ = "webhook_endpoint"

    id: int | None = key()
    name: str = Field(unique=True)
    url: str
    secret: str
    events: list[str] = json(list)  # dotted types such as "message.received"; empty means all
    active: bool = True
    failing_since: datetime | None = utc(nullable=True)
    problem: str = ""
    created_at: datetime = utc()


class SlackNotice(SQLModel, table=True):
    """The one Slack message that stands for a conversation; later changes update it in place.

    The row is there before the message is: without a `ts` somebody may have posted it and crashed before saying so.
    `fact_id` is the newest fact that the message shows. Until `busy_until` one sender has it to itself.
    """

    __tablename__ = "slack_notice"

    conversation_id: int = Field(foreign_key="conversation.id", primary_key=True, sa_type=BigId)
    channel: str
    ts: str = ""
    fact_id: int = Field(default=0, sa_type=BigId)
    busy_until: datetime | None = utc(nullable=True)
    updated_at: datetime = utc()


class Follower(SQLModel, table=True):
    """How far a reader of facts has come; moved in the unit that writes what it makes of them."""

    name: str = Field(primary_key=True, max_length=64)
    fact_id: int = Field(default=0, sa_type=BigId)
    moved_at: datetime = utc()
