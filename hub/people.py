"""Agents and their passwords."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlmodel import select

from config.language import _
from storage import Tx
from storage.access import Conflict, NotFound, known_roles
from storage.accountfacts import PasswordChanged
from storage.desk import Queue, Skill, touch_desk
from storage.doors import END_LINKS
from storage.facts import DeskChanged
from storage.people import Agent, AgentQueue, AgentSkill, end_sign_ins

MIN_PASSWORD = 10  # characters, NIST SP 800-63B asks for at least 8
MAX_PASSWORD = 1000  # hashing time must not be the caller's to choose


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
    if role not in (known := known_roles(tx)):
        raise ValueError(f"{role!r} is no role; use one of {', '.join(known)}")
    if "@" not in email:
        raise ValueError(f"{email!r} is no e-mail address")
    if tx.exec(select(Agent).where(Agent.email == email)).first() is not None:
        raise Conflict(_("There is an agent with the address {email} already.", email=email))
    agent = Agent(
        name=name.strip(),
        email=email,
        role=role,
        password_hash=hashed(password) if password else "",
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
            raise NotFound(_("There is no skill {skill_name}.", skill_name=repr(skill_name)))
        tx.add(AgentSkill(agent_id=agent.id, skill_id=skill.id, level=level))
    for queue_name in queues:
        queue = tx.exec(select(Queue).where(Queue.name == queue_name)).first()
        if queue is None or queue.id is None:
            raise NotFound(_("There is no queue {queue_name}.", queue_name=repr(queue_name)))
        tx.add(AgentQueue(agent_id=agent.id, queue_id=queue.id))
    touch_desk(tx)
    tx.emit(DeskChanged(f"agent {agent.id}", by))
    return agent


def set_password(tx: Tx, agent: Agent, password: str, by: str = "system", how: str = "by hand") -> None:
    """Give an agent a new password, end the links for one, and sign every browser out.

    Raises ValueError when it is too short or too long.
    """
    agent.password_hash = hashed(password)
    tx.add(agent)
    tx.sql(END_LINKS, tx.now, agent.id)
    end_sign_ins(tx, agent.id or 0, "password changed", by)
    tx.emit(PasswordChanged(agent.id or 0, how, by))


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


def hashed(password: str) -> str:
    """What is stored of a password. Raises ValueError when it is too short or too long."""
    if len(password) < MIN_PASSWORD:
        raise ValueError(f"a password needs at least {MIN_PASSWORD} characters")
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"a password may have at most {MAX_PASSWORD} characters")
    return hasher().hash(password)
