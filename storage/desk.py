"""How the desk is set up: channels, queues, skills and rules, edited in Settings or applied from desk.yaml."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, false, text
from sqlmodel import Field, SQLModel, col, select

from storage.columns import json, key, ref, utc
from storage.store import Tx


class ChannelAccount(SQLModel, table=True):
    """One configured account of a channel kind. Secrets in `settings` are `env:NAME` or `file:/path` references."""

    __tablename__ = "channel"

    id: int | None = key()
    name: str = Field(max_length=64, unique=True)
    kind: str = Field(max_length=16)
    address: str = ""
    settings: dict[str, Any] = json()
    active: bool = True
    checked_at: datetime | None = utc(nullable=True)
    problem: str = ""  # the sentence of the last failed connection; empty when healthy
    created_at: datetime = utc()


class Skill(SQLModel, table=True):
    """Something an agent can do: a language, a product, a procedure."""

    id: int | None = key()
    name: str = Field(max_length=64, unique=True)


class Queue(SQLModel, table=True):
    """Where work waits. Targets count while its calendar is open; without one that is always."""

    id: int | None = key()
    name: str = Field(max_length=64, unique=True)
    first_reply_seconds: int = 4 * 3600
    offer_seconds: int = 30
    calendar_id: int | None = ref("calendar.id", nullable=True)
    sla: dict[str, Any] = json(added=True)  # all but first_reply: see routing/promises.py
    escalate: dict[str, Any] = json(added=True)  # on_warning and on_breach: see routing/escalation.py
    hold_when_closed: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    closed_queue_id: int | None = ref("queue.id", nullable=True)  # takes what comes while this one is closed
    handout: dict[str, Any] = json(added=True)  # in which order and with what reserve: see routing/handout.py
    paused_why: str = Field(default="", sa_column_kwargs={"server_default": ""})  # what was said when it was paused
    ladder: list[dict[str, Any]] = json(list, added=True)  # what changes with waiting: see routing/ladder.py
    limits: dict[str, Any] = json(added=True)  # when it is full, and where work goes then: see routing/limits.py
    is_default: bool = False
    active: bool = True


class RoutingProfile(SQLModel, table=True):
    """How much of what agents with this profile get at once, and how: see routing/handout.py.

    `serving` maps a queue's number, as text, to how they serve it where that is not the usual way.
    """

    __tablename__ = "routing_profile"

    id: int | None = key()
    name: str = Field(max_length=64, unique=True)
    limits: dict[str, Any] = json()
    serving: dict[str, Any] = json()
    active: bool = True


class RoutingRule(SQLModel, table=True):
    """The first rule by `position` whose condition holds decides queue, skills and priority.

    `condition` is the tree of routing/rules.py; `skills` maps a skill's name to the lowest level that will do;
    `labels` are kinds of work of which profiles let an agent have only so many at once.
    """

    __tablename__ = "routing_rule"

    id: int | None = key()
    position: int
    name: str
    condition: dict[str, Any] = json()
    queue_id: int | None = ref("queue.id", nullable=True)
    skills: dict[str, int] = json()
    labels: list[str] = json(list, added=True)
    priority: int = 0
    ladder: list[dict[str, Any]] = json(list, added=True)  # goes before the queue's own
    active: bool = True


class SavedReply(SQLModel, table=True):
    """A text agents use again and again: everybody's, or one agent's own. `text` may have slots: see hub/slots.py."""

    __tablename__ = "saved_reply"
    __table_args__ = (
        Index(
            "ux_saved_reply_shared",
            "shortcut",
            unique=True,
            sqlite_where=text("agent_id IS NULL"),
            postgresql_where=text("agent_id IS NULL"),
        ),
        Index("ux_saved_reply_own", "agent_id", "shortcut", unique=True),
    )

    id: int | None = key()
    shortcut: str = Field(max_length=32)
    title: str = Field(default="", max_length=100, sa_column_kwargs={"server_default": ""})
    text: str
    agent_id: int | None = ref("agent.id", nullable=True)


class Lease(SQLModel, table=True):
    """Who leads a duty that only one process may do; `epoch` fences writes of a leader that lost it."""

    name: str = Field(primary_key=True, max_length=128)
    holder: str
    epoch: int = 0
    expires_at: datetime = utc()


def channel_by_name(tx: Tx, name: str) -> ChannelAccount | None:
    """The account with this key."""
    return tx.exec(select(ChannelAccount).where(ChannelAccount.name == name)).first()


def active_channels(tx: Tx) -> list[ChannelAccount]:
    """Every account in use, oldest first."""
    return list(tx.exec(select(ChannelAccount).where(col(ChannelAccount.active)).order_by(col(ChannelAccount.id))))


def default_queue(tx: Tx) -> Queue | None:
    """Where work goes that no rule claims."""
    query = select(Queue).where(col(Queue.active)).order_by(col(Queue.is_default).desc(), col(Queue.id))
    return tx.exec(query).first()


class DeskVersion(SQLModel, table=True):
    """Counts changes of the desk, so that processes know when what they keep in memory is old. One row."""

    __tablename__ = "desk_version"

    id: int = Field(default=1, primary_key=True)
    version: int = 0


def desk_version(tx: Tx) -> int:
    """The number of the desk's present state, read once per transaction."""
    if "desk_version" not in tx.memo:
        row = tx.sql("SELECT version FROM desk_version WHERE id = 1").fetchone()
        tx.memo["desk_version"] = row[0] if row else 0
    return int(tx.memo["desk_version"])


def touch_desk_from(tx: Tx, seen: int) -> bool:
    """`touch_desk` for somebody who saw the desk in its state `seen`; False, and nothing done, when that is past."""
    _changing(tx)
    touched = tx.sql(
        "INSERT INTO desk_version(id, version) VALUES(1, 1) ON CONFLICT (id) DO UPDATE "
        "SET version = desk_version.version + 1 WHERE desk_version.version = ? RETURNING version", seen,
    )  # fmt: skip
    return touched.fetchone() is not None


def touch_desk(tx: Tx) -> None:
    """Say that channels, queues, skills, rules or people changed; every change of those calls this."""
    _changing(tx)
    tx.sql(
        "INSERT INTO desk_version(id, version) VALUES(1, 1) "
        "ON CONFLICT (id) DO UPDATE SET version = desk_version.version + 1"
    )


def changes_desk(tx: Tx) -> bool:
    """Whether this transaction has changed the desk: what it reads of it may never come to be."""
    return "desk_changed" in tx.memo


def _changing(tx: Tx) -> None:
    tx.memo.pop("desk_version", None)
    tx.memo["desk_changed"] = True
