"""Who may come in: agents and their passwords, signed-in browsers, API tokens."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlmodel import col, select

from storage import Store, Tx
from storage.access import ROLES, Actor, Conflict, NotFound, actor_for
from storage.desk import Queue, Skill, touch_desk
from storage.facts import DeskChanged
from storage.people import Agent, AgentQueue, AgentSkill, ApiToken, SignIn, SignInFailure, agent_by_email

TRIES = {"email": 5, "ip": 20}  # wrong passwords within WINDOW before the next try has to wait
WINDOW = timedelta(minutes=15)
SEEN_EVERY = timedelta(minutes=1)
MIN_PASSWORD = 10  # characters, NIST SP 800-63B asks for at least 8
MAX_PASSWORD = 1000  # hashing time must not be the caller's to choose
TOKEN_PREFIX = "swy_"


class SignInRefused(Exception):
    """Wrong address or password, or too many tries. The sentence is for the person at the door."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in; `stale` says that `keep_session` should note that it was seen."""

    sign_in_id: int
    agent: Agent
    stale: bool


@cache
def _hasher(cheap: bool) -> PasswordHasher:
    if cheap:
        return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hasher() -> PasswordHasher:
    """Argon2id as RFC 9106 4 recommends; SWITCHYARD_CHEAP_PASSWORDS=1 makes it worthless and quick, for tests only."""
    return _hasher(_cheap())


@cache
def _nobodys_hash(cheap: bool) -> str:
    return _hasher(cheap).hash(secrets.token_hex())


def _cheap() -> bool:
    return os.environ.get("SWITCHYARD_CHEAP_PASSWORDS") == "1"


def create_agent(
    tx: Tx,
    *,
    name: str,
    email: str,
    role: str = "agent",
    password: str = "",
    skills: Mapping[str, int] | None = None,
    queues: Iterable[str] = (),
    capacity: int = 100,
    by: str = "system",
) -> Agent:
    """Somebody new who answers; `skills` maps names to levels 1 to 5, `queues` are names. No password: no sign-in.

    Raises Conflict when the address is taken, NotFound for an unknown skill or queue, ValueError for a bad value.
    """
    email = email.strip().lower()
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; use one of {', '.join(ROLES)}")
    if "@" not in email:
        raise ValueError(f"{email!r} is no e-mail address")
    if tx.exec(select(Agent).where(Agent.email == email)).first() is not None:
        raise Conflict(f"There is an agent with the address {email} already.")
    agent = Agent(
        name=name.strip(),
        email=email,
        role=role,
        password_hash=_hashed(password) if password else "",
        capacity=capacity,
        status_since=tx.now,
        created_at=tx.now,
    )
    tx.add(agent)
    tx.flush()
    assert agent.id is not None
    for skill_name, level in (skills or {}).items():
        skill = tx.exec(select(Skill).where(Skill.name == skill_name)).first()
        if skill is None or skill.id is None:
            raise NotFound(f"There is no skill {skill_name!r}.")
        tx.add(AgentSkill(agent_id=agent.id, skill_id=skill.id, level=level))
    for queue_name in queues:
        queue = tx.exec(select(Queue).where(Queue.name == queue_name)).first()
        if queue is None or queue.id is None:
            raise NotFound(f"There is no queue {queue_name!r}.")
        tx.add(AgentQueue(agent_id=agent.id, queue_id=queue.id))
    touch_desk(tx)
    tx.emit(DeskChanged(f"agent {agent.id}", by))
    return agent


def set_password(tx: Tx, agent: Agent, password: str, by: str = "system") -> None:
    """Give an agent a new password and sign every browser out. Raises ValueError when it is too short or too long."""
    agent.password_hash = _hashed(password)
    tx.add(agent)
    tx.sql("UPDATE sign_in SET revoked_at = ? WHERE agent_id = ? AND revoked_at IS NULL", tx.now, agent.id)
    tx.emit(DeskChanged(f"password of agent {agent.id}", by))


def set_mail_notices(tx: Tx, agent: Agent, wanted: bool, by: str = "system") -> None:
    """Tell an agent by mail what is theirs, and let them answer by mail, or stop both at once."""
    if agent.mail_notices != wanted:
        agent.mail_notices = wanted
        tx.add(agent)
        tx.emit(DeskChanged(f"mail notices of agent {agent.id}", by))


def check_password(agent: Agent | None, password: str) -> bool:
    """Whether it is this agent's password; takes as long for an agent that does not exist."""
    if len(password) > MAX_PASSWORD:
        return False
    known = agent is not None and bool(agent.password_hash)
    stored = agent.password_hash if agent is not None and known else _nobodys_hash(_cheap())
    try:
        hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
    return known


def sign_in(
    store: Store, email: str, password: str, *, ip: str, user_agent: str = "", hours: int = 24 * 14
) -> tuple[Agent, str]:
    """Let a browser in for `hours`; answers the agent and the secret for its cookie, of which only a hash is kept.

    Takes the store and not a unit, because hashing takes a tenth of a second and nobody must wait for it.
    Raises SignInRefused; the failure is kept.
    """
    email = email.strip().lower()[:320]
    with store.read() as tx:
        _refuse_guessing(tx, email, ip)
        agent = agent_by_email(tx, email)
    if not check_password(agent, password) or agent is None:
        store.submit(lambda tx: _note_failure(tx, email, ip))
        raise SignInRefused("This address and password don't belong together. Check both and try again.")
    renewed = _hashed(password) if hasher().check_needs_rehash(agent.password_hash) else None
    secret = secrets.token_urlsafe(32)

    def unit(tx: Tx) -> None:
        if renewed:
            tx.sql("UPDATE agent SET password_hash = ? WHERE id = ?", renewed, agent.id)
        tx.sql("DELETE FROM sign_in_failure WHERE what = ?", f"email:{email}")
        tx.add(
            SignIn(
                agent_id=agent.id or 0,
                token_hash=_digest(secret),
                user_agent=user_agent[:300],
                ip=ip[:64],
                created_at=tx.now,
                seen_at=tx.now,
                expires_at=tx.now + timedelta(hours=hours),
            )
        )

    store.submit(unit)
    return agent, secret


def session_agent(tx: Tx, secret: str) -> Session | None:
    """The agent behind a cookie, or None when it is unknown, revoked or too old. Only reads."""
    if not secret or len(secret) > 200:
        return None
    found = tx.exec(
        select(SignIn, Agent)
        .join(Agent, col(Agent.id) == col(SignIn.agent_id))
        .where(
            SignIn.token_hash == _digest(secret),
            col(SignIn.revoked_at).is_(None),
            col(SignIn.expires_at) > tx.now,
            col(Agent.active),
        )
    ).first()
    if found is None:
        return None
    row, agent = found
    return Session(row.id or 0, agent, tx.now - row.seen_at >= SEEN_EVERY)


def keep_session(tx: Tx, sign_in_id: int, hours: int = 24 * 14) -> None:
    """Note that a browser was seen; its sign-in then lasts `hours` from now."""
    tx.sql(
        "UPDATE sign_in SET seen_at = ?, expires_at = ? WHERE id = ? AND revoked_at IS NULL",
        tx.now, tx.now + timedelta(hours=hours), sign_in_id,
    )  # fmt: skip


def sign_out(tx: Tx, secret: str) -> None:
    """End a browser's sign-in; an unknown secret changes nothing."""
    tx.sql("UPDATE sign_in SET revoked_at = ? WHERE token_hash = ? AND revoked_at IS NULL", tx.now, _digest(secret))


def forget_old_failures(tx: Tx) -> int:
    """Drop wrong passwords that no longer count, and sign-ins a month after their end; how many rows that were."""
    failures = tx.sql("DELETE FROM sign_in_failure WHERE at < ?", tx.now - WINDOW).rowcount
    sign_ins = tx.sql("DELETE FROM sign_in WHERE expires_at < ?", tx.now - timedelta(days=30)).rowcount
    return failures + sign_ins


def create_token(tx: Tx, *, name: str, role: str = "admin", days: int | None = None) -> str:
    """A bearer token for the API, shown once; only its hash is kept. Raises ValueError for an unknown role."""
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; use one of {', '.join(ROLES)}")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires = None if days is None else tx.now + timedelta(days=days)
    tx.add(ApiToken(name=name, role=role, token_hash=_digest(token), created_at=tx.now, expires_at=expires))
    tx.flush()
    tx.emit(DeskChanged(f"token {name}", "system"))
    return token


def token_actor(tx: Tx, token: str) -> Actor | None:
    """Who holds a bearer token, or None when it is unknown, revoked or expired. Only reads.

    A token that belongs to an agent sees what the agent sees.
    """
    if not token.startswith(TOKEN_PREFIX) or len(token) > 200:
        return None
    row = tx.exec(
        select(ApiToken).where(ApiToken.token_hash == _digest(token), col(ApiToken.revoked_at).is_(None))
    ).first()
    if row is None or (row.expires_at is not None and row.expires_at <= tx.now):
        return None
    if row.agent_id is None:
        return Actor(by=f"token:{row.id}", role=row.role)
    agent = tx.get(Agent, row.agent_id)
    if agent is None or not agent.active:
        return None
    actor = actor_for(tx, agent)
    return Actor(by=f"token:{row.id}", role=row.role, agent_id=actor.agent_id, queue_ids=actor.queue_ids)


def _hashed(password: str) -> str:
    if len(password) < MIN_PASSWORD:
        raise ValueError(f"a password needs at least {MIN_PASSWORD} characters")
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"a password may have at most {MAX_PASSWORD} characters")
    return hasher().hash(password)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _refuse_guessing(tx: Tx, email: str, ip: str) -> None:
    for kind, value in (("email", email), ("ip", ip)):
        recent = list(
            tx.exec(
                select(SignInFailure.at)
                .where(SignInFailure.what == f"{kind}:{value}", SignInFailure.at > tx.now - WINDOW)
                .order_by(col(SignInFailure.at).desc())
                .limit(TRIES[kind])
            )
        )
        if len(recent) == TRIES[kind]:
            left = recent[-1] + WINDOW - tx.now
            minutes = max(1, -(-int(left.total_seconds()) // 60))
            raise SignInRefused(
                f"Too many tries. Wait {minutes} {'minute' if minutes == 1 else 'minutes'} and try again."
            )


def _note_failure(tx: Tx, email: str, ip: str) -> None:
    for what in (f"email:{email}", f"ip:{ip}"):
        tx.add(SignInFailure(what=what, at=tx.now))
