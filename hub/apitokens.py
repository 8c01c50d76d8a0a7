"""Bearer tokens of the API: made, shown once, known again, taken back."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from sqlmodel import col, select

from storage import Tx
from storage.access import ROLES, Actor, actor_for
from storage.accountfacts import TokenCreated
from storage.people import Agent, ApiToken

TOKEN_PREFIX = "swy_"


def create_token(tx: Tx, *, name: str, role: str = "admin", days: int | None = None) -> str:
    """A bearer token for the API, shown once; only its hash is kept. Raises ValueError for an unknown role."""
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; use one of {', '.join(ROLES)}")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires = None if days is None else tx.now + timedelta(days=days)
    row = ApiToken(name=name, role=role, token_hash=_digest(token), created_at=tx.now, expires_at=expires)
    tx.add(row)
    tx.flush()
    tx.emit(TokenCreated(row.id or 0, "system"))
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


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
