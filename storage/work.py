"""Work: one routing episode of a conversation, the offers made for it and who owned it when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, bindparam, literal_column, text
from sqlmodel import Field, SQLModel, col, select

from storage.columns import BigId, json, key, moment, ref, utc
from storage.store import Tx

LIVE = ("queued", "offered", "assigned")
_LIVE_SQL = text("state IN ('queued','offered','assigned')")
_QUEUED_SQL = text("state = 'queued'")
_PINNED_SQL = text("pinned_at IS NOT NULL")
_OFFERED_SQL = text("state = 'offered'")
_OPEN_SQL = text("ended_at IS NULL")
_STEP_SQL = text("step_at IS NOT NULL")
_WRAPS_SQL = text("wrap_until IS NOT NULL")
_PARKS_SQL = text("park_at IS NOT NULL")


class WorkItem(SQLModel, table=True):
    """One routing episode of one conversation; at most one is live. A reopened conversation gets a new one.

    `state` is queued, offered, assigned, closed or cancelled. `order_time` is the moment its age counts from and
    survives declines and transfers. `due_at` is when the next target of its clocks runs out (storage/clocks.py),
    `breached_at` when the first one did. `skills` maps name to lowest level,
    `labels` are kinds of which an agent's profile may allow only so many at once.
    `trace` says how rules led here. `version` is the compare-and-set counter. Since `pinned_at` it goes before
    everything, up to `pin_until` to `pin_agent_id` alone if there is one.

    Its ladder (routing/ladder.py) is that of the rule `ladder_rule_id`, else of its queue. It has waited `ladder_used`
    seconds of open time up to `ladder_since`, and on from there; what an agent has stands still and has no
    `ladder_since`. Steps up to `ladder_reached` seconds are taken, the next comes at `step_at`. They let the agents of
    the queues `joined` have it as well, and `age_credit` is how far they moved `order_time` back.
    Until `prefer_until` it is kept for the agent `prefer_id`.
    """

    __tablename__ = "work_item"
    __table_args__ = (
        Index("uq_work_item_live", "conversation_id", unique=True, sqlite_where=_LIVE_SQL, postgresql_where=_LIVE_SQL),
        Index(
            "ix_work_item_waiting",
            "queue_id",
            "order_time",
            "id",
            sqlite_where=_QUEUED_SQL,
            postgresql_where=_QUEUED_SQL,
        ),
        Index(
            "ix_work_item_due",
            "due_at",
            "queue_id",
            "channel",
            "order_time",
            "id",
            sqlite_where=_QUEUED_SQL,
            postgresql_where=_QUEUED_SQL,
        ),
        Index("ix_work_item_pinned", "pinned_at", "id", sqlite_where=_PINNED_SQL, postgresql_where=_PINNED_SQL),
        Index("ix_work_item_agent", "agent_id", "state"),
        Index("ix_work_item_step", "step_at", sqlite_where=_STEP_SQL, postgresql_where=_STEP_SQL),
    )

    id: int | None = key()
    conversation_id: int = ref("conversation.id", index=True)
    queue_id: int = ref("queue.id")
    channel: str = Field(max_length=16)
    weight: int
    skills: dict[str, int] = json()
    labels: list[str] = json(list, added=True)
    priority: int = 0
    state: str = Field(default="queued", max_length=10)
    agent_id: int | None = ref("agent.id", nullable=True)
    enqueued_at: datetime = utc()
    order_time: datetime = utc()
    due_at: datetime | None = utc(nullable=True)
    first_reply_at: datetime | None = utc(nullable=True)
    breached_at: datetime | None = utc(nullable=True)
    closed_at: datetime | None = utc(nullable=True)
    trace: list[dict[str, Any]] = json(list)
    pinned_at: datetime | None = utc(nullable=True)
    pin_agent_id: int | None = Field(default=None, sa_type=BigId)
    pin_until: datetime | None = utc(nullable=True)
    ladder_rule_id: int | None = Field(default=None, sa_type=BigId)
    ladder_used: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    ladder_since: datetime | None = utc(nullable=True)
    ladder_reached: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    step_at: datetime | None = utc(nullable=True)
    joined: list[int] = json(list, added=True)
    age_credit: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    prefer_id: int | None = ref("agent.id", nullable=True)
    prefer_until: datetime | None = utc(nullable=True)
    version: int = 0


class Offer(SQLModel, table=True):
    """A ring at one agent; a queue may let one item ring at several at once.

    `state` is offered, accepted, declined, expired, rescinded or cancelled. Only offered ever changes. `explanation`
    says why this agent: how many were eligible, who was passed over and why, the top candidates.
    """

    __table_args__ = (
        Index(
            "uq_offer_live",
            "work_item_id",
            "agent_id",
            unique=True,
            sqlite_where=_OFFERED_SQL,
            postgresql_where=_OFFERED_SQL,
        ),
        Index("ix_offer_agent", "agent_id", "state"),
        Index("ix_offer_expiry", "state", "expires_at"),
        Index("ix_offer_at", "offered_at"),
    )

    id: int | None = key()
    work_item_id: int = ref("work_item.id", index=True)
    conversation_id: int = ref("conversation.id")
    agent_id: int = ref("agent.id")
    state: str = Field(default="offered", max_length=10)
    weight: int
    offered_at: datetime = utc()
    expires_at: datetime = utc()
    ended_at: datetime | None = utc(nullable=True)
    explanation: dict[str, Any] = json()


# Given as a parameter, the state would have SQLite plan each query anew to see whether uq_offer_live serves it.
RINGS = col(Offer.state) == literal_column("'offered'")


class Assignment(SQLModel, table=True):
    """A period of ownership; at most one of a conversation is open. `via` is that of ConversationAssigned.

    `weight` is what it takes of the agent's capacity now: all that the work weighs, less of it while it is parked
    (since `parked_at`), and after the end, up to `wrap_until`, what is kept for wrapping up. `park_at` is the moment at
    which parking is looked at next.
    """

    __table_args__ = (
        Index("uq_assignment_open", "conversation_id", unique=True, sqlite_where=_OPEN_SQL, postgresql_where=_OPEN_SQL),
        Index("ix_assignment_agent", "agent_id", "ended_at"),
        Index("ix_assignment_wrap", "agent_id", "wrap_until", sqlite_where=_WRAPS_SQL, postgresql_where=_WRAPS_SQL),
        Index("ix_assignment_park", "park_at", sqlite_where=_PARKS_SQL, postgresql_where=_PARKS_SQL),
    )

    id: int | None = key()
    conversation_id: int = ref("conversation.id")
    work_item_id: int = ref("work_item.id")
    agent_id: int = ref("agent.id")
    weight: int
    via: str = Field(max_length=10)
    over_capacity_by: int = 0
    by: str
    started_at: datetime = utc()
    ended_at: datetime | None = utc(nullable=True)
    ended_why: str = ""
    wrap_until: datetime | None = utc(nullable=True)
    parked_at: datetime | None = utc(nullable=True)
    park_at: datetime | None = utc(nullable=True)
    explanation: dict[str, Any] = json()


class Cooldown(SQLModel, table=True):
    """Don't offer this item to this agent again before `until`: it was declined or missed there."""

    __table_args__ = (Index("ix_cooldown_until", "until"),)

    work_item_id: int = Field(foreign_key="work_item.id", primary_key=True, sa_type=BigId)
    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    until: datetime = utc()


def live_item(tx: Tx, conversation_id: int) -> WorkItem | None:
    """The episode that is under way."""
    query = select(WorkItem).where(WorkItem.conversation_id == conversation_id, col(WorkItem.state).in_(LIVE))
    return tx.exec(query).first()


def open_assignment(tx: Tx, conversation_id: int) -> Assignment | None:
    """Who owns the conversation now."""
    query = select(Assignment).where(Assignment.conversation_id == conversation_id, col(Assignment.ended_at).is_(None))
    return tx.exec(query).first()


def wrap_ups(tx: Tx, agent_id: int) -> list[Assignment]:
    """What an agent is done with and wraps up, what ends first before."""
    query = select(Assignment).where(Assignment.agent_id == agent_id, col(Assignment.wrap_until).is_not(None))
    return list(tx.exec(query.order_by(col(Assignment.wrap_until), col(Assignment.id))))


def wraps_until(tx: Tx, agent_id: int) -> datetime | None:
    """When the last of what an agent wraps up ends; None when there is nothing."""
    until = "SELECT max(wrap_until) FROM assignment WHERE agent_id = ? AND wrap_until IS NOT NULL"
    return moment(tx.sql(until, agent_id).fetchone()[0])


def parked_by(tx: Tx, agent_id: int) -> set[int]:
    """The conversations of an agent that are parked."""
    mine = select(Assignment.conversation_id).where(Assignment.agent_id == agent_id)
    return set(tx.exec(mine.where(col(Assignment.ended_at).is_(None), col(Assignment.parked_at).is_not(None))))


def latest_labels(tx: Tx, conversation_id: int) -> list[str]:
    """The labels of a conversation's episode that is under way, or was last."""
    query = select(WorkItem.labels).where(WorkItem.conversation_id == conversation_id).order_by(col(WorkItem.id).desc())
    return list(tx.exec(query.limit(1)).first() or ())


# Every page asks: putting the question together would take longer than the answer.
_RINGING = select(Offer).where(Offer.agent_id == bindparam("agent_id"), RINGS).order_by(col(Offer.id))


def live_offers(tx: Tx, agent_id: int) -> list[Offer]:
    """What rings at an agent now, oldest first."""
    return list(tx.exec(_RINGING, params={"agent_id": agent_id}))


def rings_at(tx: Tx, agent_id: int, conversation_id: int) -> bool:
    """Whether a conversation rings at an agent now."""
    query = select(Offer.id).where(Offer.conversation_id == conversation_id, Offer.agent_id == agent_id, RINGS)
    return tx.exec(query).first() is not None
