"""People: contacts and the identities that reach them, the agents who answer, and how they sign in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, CompoundSelect, Index, UniqueConstraint, or_, text
from sqlalchemy.orm import aliased
from sqlmodel import Field, SQLModel, col, select

from storage.accountfacts import SignInsEnded
from storage.columns import BigId, json, key, ref, utc
from storage.store import Tx

ADMINS_LOCK = 7_316_011


class Contact(SQLModel, table=True):
    """One record of a person. `person_id` is the record that stands for the whole person: itself, until a merge.

    A merge only moves `person_id`; identities and conversations keep the record they came to, so that taking the
    merge back restores the same rows.
    """

    id: int | None = key()
    person_id: int | None = ref("contact.id", nullable=True, index=True)
    name: str = Field(default="", index=True)  # at most 200 characters
    language: str = ""
    company: str = ""
    attributes: dict[str, Any] = json()
    zone: str = Field(default="", sa_column_kwargs={"server_default": ""})  # their time zone, where somebody set it
    blocked_at: datetime | None = utc(nullable=True)  # what they write makes no work and rings nobody
    erased_at: datetime | None = utc(nullable=True)  # nothing is known of them any more
    created_at: datetime = utc()

    @property
    def shown(self) -> str:
        """What a list calls this person."""
        return self.name or f"Contact {self.id}"


class Identity(SQLModel, table=True):
    """A contact point: kind (email, phone, whatsapp, slack, chat, external) and normalised value. Never moved.

    `strength` is `channels.base.Strength`: how well it is proved that the contact uses it.
    """

    __table_args__ = (UniqueConstraint("kind", "value"),)

    id: int | None = key()
    contact_id: int = ref("contact.id", index=True)
    kind: str = Field(max_length=16)
    value: str = Field(max_length=320)
    shown: str = ""
    strength: int
    opted_out_at: datetime | None = utc(nullable=True)
    created_at: datetime = utc()

    @property
    def verified(self) -> bool:
        """Whether more than a claim or a cookie stands behind it."""
        return self.strength >= 60

    @property
    def proved(self) -> bool:
        """Whether somebody vouches for it: a network, a sender's domain, a signed token. A bare From does not."""
        return self.strength >= 75


class Merge(SQLModel, table=True):
    """One merge by hand: the records whose `person_id` moved, so that exactly those move back.

    `changed` has what the survivor's details were and became, by the field's name.
    """

    id: int | None = key()
    survivor_id: int = ref("contact.id", index=True)
    other_id: int = ref("contact.id", index=True)
    moved: list[int] = json(list)
    changed: dict[str, list[Any]] = json(added=True)
    by: str
    at: datetime = utc()
    undone_at: datetime | None = utc(nullable=True)


class Agent(SQLModel, table=True):
    """Somebody who answers. `load` and `capacity` are integer weights over all channels; offers count as load.

    `status` is available, away or offline. `role` is built in or the name of a `Role`. With `mail_notices`
    what concerns the agent is told by mail, and answers to it count. `signature` goes where an account's signature
    says so. `last_offer_at` is when work was last given to him or rang. Since `drained_at` he gets nothing new,
    whatever his status.
    """

    __table_args__ = (CheckConstraint("load >= 0", name="load"),)

    id: int | None = key()
    name: str
    email: str = Field(unique=True)
    role: str = "agent"
    password_hash: str = ""
    active: bool = True
    status: str = "offline"
    status_since: datetime | None = utc(nullable=True)
    status_why: str = Field(default="", sa_column_kwargs={"server_default": ""})
    idle_since: datetime | None = utc(nullable=True)
    load: int = 0
    capacity: int = 100
    missed_offers: int = 0
    profile_id: int | None = ref("routing_profile.id", nullable=True)
    last_offer_at: datetime | None = utc(nullable=True)
    drained_at: datetime | None = utc(nullable=True)
    slack_user_id: str | None = Field(default=None, unique=True)
    preferences: dict[str, Any] = json()
    mail_notices: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    signature: str = Field(default="", sa_column_kwargs={"server_default": ""})
    created_at: datetime = utc()

    @property
    def room(self) -> int:
        """How much weight still fits."""
        return self.capacity - self.load


class AgentPresence(SQLModel, table=True):
    """When an agent's browser was connected last. A table of its own: it is written all the time, beside all locks."""

    __tablename__ = "agent_presence"

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    seen_at: datetime = utc()


class AgentSkill(SQLModel, table=True):
    """An agent's level (1 to 5) in a skill."""

    __tablename__ = "agent_skill"

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    skill_id: int = Field(foreign_key="skill.id", primary_key=True, sa_type=BigId)
    level: int = 3


class AgentQueue(SQLModel, table=True):
    """Which queues an agent serves, and so whose conversations an agent may see."""

    __tablename__ = "agent_queue"

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    queue_id: int = Field(foreign_key="queue.id", primary_key=True, index=True, sa_type=BigId)


class Role(SQLModel, table=True):
    """A role that this desk has made: what it allows (`storage.access.PERMISSIONS`), and the queues whose
    conversations it sees beside those that its people serve.
    """

    __tablename__ = "desk_role"

    id: int | None = key()
    name: str = Field(max_length=64, unique=True)
    permissions: list[str] = json(list)
    queue_ids: list[int] = json(list)


class SignIn(SQLModel, table=True):
    """A browser that is signed in. `token_hash` is the SHA-256 of the cookie's secret; `how` says what let it in."""

    __tablename__ = "sign_in"

    id: int | None = key()
    agent_id: int = ref("agent.id", index=True)
    token_hash: str = Field(max_length=64, unique=True)
    user_agent: str = ""
    ip: str = ""
    how: str = Field(default="", sa_column_kwargs={"server_default": ""})
    created_at: datetime = utc()
    seen_at: datetime = utc()
    expires_at: datetime = utc()
    revoked_at: datetime | None = utc(nullable=True)


class SignInFailure(SQLModel, table=True):
    """A wrong password or code, or a link that was asked for, kept for a while to slow guessing down.

    `what` is "email:<address>", "ip:<address>", "code:<agent>" or "link:<address>".
    """

    __tablename__ = "sign_in_failure"
    __table_args__ = (Index("ix_sign_in_failure_what_at", "what", "at"),)

    id: int | None = key()
    what: str
    at: datetime = utc()


class ApiToken(SQLModel, table=True):
    """A bearer token for the API; only its SHA-256 is kept. `role` is as an agent's."""

    __tablename__ = "api_token"

    id: int | None = key()
    name: str
    role: str = "admin"
    token_hash: str = Field(max_length=64, unique=True)
    agent_id: int | None = ref("agent.id", nullable=True)
    created_at: datetime = utc()
    expires_at: datetime | None = utc(nullable=True)
    used_at: datetime | None = utc(nullable=True)
    revoked_at: datetime | None = utc(nullable=True)


def agent_by_email(tx: Tx, email: str) -> Agent | None:
    """The active agent with this address, whatever its case."""
    return tx.exec(select(Agent).where(Agent.email == email.strip().lower(), col(Agent.active))).first()


def admins_who_sign_in(tx: Tx) -> list[int]:
    """Who can sign in as an admin: by a password, or as they have done before."""
    admins = (
        "SELECT id FROM agent WHERE role = 'admin' AND active AND (password_hash <> '' "
        "OR EXISTS (SELECT 1 FROM sign_in WHERE sign_in.agent_id = agent.id)) ORDER BY id"
    )
    return [row[0] for row in tx.sql(admins).fetchall()]


def one_change_of_admins(tx: Tx) -> None:
    """Two admins who demote each other must not both find the other: to be called before anything is locked."""
    if tx.dialect == "postgresql":
        tx.sql(f"SELECT pg_advisory_xact_lock({ADMINS_LOCK})")


def end_sign_ins(tx: Tx, agent_id: int, why: str, by: str, *, but: int | None = None) -> int:
    """Sign every browser of an agent out, except the sign-in `but`; how many those were."""
    ended = tx.sql(
        "UPDATE sign_in SET revoked_at = ? WHERE agent_id = ? AND id <> ? AND revoked_at IS NULL AND expires_at > ?",
        tx.now, agent_id, but or 0, tx.now,
    ).rowcount  # fmt: skip
    if ended:
        tx.emit(SignInsEnded(agent_id, ended, why, by))
    return ended


def identities_of(tx: Tx, person_id: int) -> list[Identity]:
    """Every contact point of a person over all merged records, best proved first."""
    query = (
        select(Identity)
        .join(Contact, col(Contact.id) == col(Identity.contact_id))
        .where(Contact.person_id == person_id)
        .order_by(col(Identity.strength).desc(), col(Identity.id))
    )
    return list(tx.exec(query))


def persons_called(dialect: str, typed: str) -> CompoundSelect[Any]:
    """A query for who has this in the name or an address, in whatever case, over merged records: `person_id`s."""

    def within(text: Any) -> Any:
        # SQLite's LIKE knows no case of Latin letters; lower() around each text would make it three times as slow.
        return text.contains(typed, autoescape=True) if dialect == "sqlite" else text.icontains(typed, autoescape=True)

    named, reached = aliased(Contact), aliased(Contact)
    return (
        select(named.person_id)
        .where(within(col(named.name)))
        .union(
            select(reached.person_id)
            .join(Identity, col(Identity.contact_id) == col(reached.id))
            .where(or_(within(col(Identity.value)), within(col(Identity.shown))))
        )
    )
