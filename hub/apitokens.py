"""Bearer tokens of the API: made, shown once, known again, taken back."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlmodel import col, select

from channels.text import storable
from config.language import _
from hub.refusals import FieldRefused
from storage import Tx
from storage.access import TOKENS, Actor, Conflict, NotFound, actor_for, known_roles, permissions_of, terms_of
from storage.accountfacts import TokenCreated, TokenRevoked
from storage.people import Agent, ApiToken

SEEN_EVERY = timedelta(minutes=1)
MOST_NAME, MOST_DAYS = 64, 3650
TOKEN_PREFIX = "swy_"


def create_token(
    tx: Tx, *, name: str, role: str = "admin", days: int | None = None, agent_id: int | None = None, by: str = "system"
) -> str:
    """A bearer token for the API, shown once; only its hash is kept. Raises ValueError for an unknown role.

    One that belongs to an agent sees what they see, may at most what they may, and ends with their account.
    """
    if role not in (known := known_roles(tx)):
        raise ValueError(f"{role!r} is no role; use one of {', '.join(known)}")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    expires = None if days is None else tx.now + timedelta(days=days)
    row = ApiToken(
        name=name, role=role, token_hash=_digest(token), agent_id=agent_id, created_at=tx.now, expires_at=expires
    )
    tx.add(row)
    tx.flush()
    tx.emit(TokenCreated(row.id or 0, by))
    return token


def make_token(tx: Tx, actor: Actor, *, name: str, role: str, days: int | None, own: bool) -> str:
    """`create_token` by a person; `own` makes it theirs. Raises Forbidden, also for a role that may more than they do,
    and FieldRefused.
    """
    actor.must(TOKENS)
    name = storable(name).strip()[:MOST_NAME]
    if not name:
        raise FieldRefused("name", _("Say what it is for: the name stands beside everything that it does."))
    if role not in known_roles(tx):
        raise FieldRefused("role", _("Choose one of the roles."))
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise FieldRefused("days", _("Choose from 1 to {most_days} days.", most_days=MOST_DAYS))
    actor.may_grant(permissions_of(tx, role), terms_of(tx, role)[1])
    return create_token(tx, name=name, role=role, days=days, agent_id=actor.agent_id if own else None, by=actor.by)


def tokens(tx: Tx, actor: Actor) -> list[tuple[ApiToken, str]]:
    """Every token with the name of its agent: those that count first, the newest of all. Raises Forbidden."""
    actor.must(TOKENS)
    query = select(ApiToken, Agent.name).join(Agent, col(Agent.id) == col(ApiToken.agent_id), isouter=True)
    rows = [(token, name or "") for token, name in tx.exec(query.order_by(col(ApiToken.id).desc()))]
    return sorted(rows, key=lambda row: not counts(row[0], tx.now))


def counts(token: ApiToken, now: datetime) -> bool:
    """Whether it opens anything still."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now)


def revoke_token(tx: Tx, actor: Actor, token_id: int) -> None:
    """It opens nothing any more. Raises Forbidden, NotFound, and Conflict when it was revoked before."""
    actor.must(TOKENS)
    if tx.get(ApiToken, token_id) is None:
        raise NotFound(_("There is no token {token_id}.", token_id=token_id))
    ended = tx.sql("UPDATE api_token SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", tx.now, token_id)
    if not ended.rowcount:
        raise Conflict(_("It is revoked already."))
    tx.emit(TokenRevoked(token_id, actor.by))


def token_actor(tx: Tx, token: str) -> Actor | None:
    """Who holds a bearer token, or None when it is unknown, revoked or expired. Only reads."""
    row = _row(tx, token)
    if row is None:
        return None
    granted, seen = terms_of(tx, row.role)
    if row.agent_id is None:
        return Actor(f"token:{row.id}", row.role, None, seen, granted)
    agent = tx.get(Agent, row.agent_id)
    if agent is None or not agent.active:
        return None
    owner = actor_for(tx, agent)
    return Actor(
        f"token:{row.id}", row.role, owner.agent_id, owner.queue_ids, permissions_of(tx, row.role) & owner.permissions
    )


def is_stale(tx: Tx, token: str) -> bool:
    """Whether `note_use` should note that a token is in use."""
    row = _row(tx, token)
    return row is not None and (row.used_at is None or tx.now - row.used_at >= SEEN_EVERY)


def note_use(tx: Tx, token: str) -> None:
    """It was used just now."""
    tx.sql("UPDATE api_token SET used_at = ? WHERE token_hash = ?", tx.now, _digest(token))


def _row(tx: Tx, token: str) -> ApiToken | None:
    if not token.startswith(TOKEN_PREFIX) or len(token) > 200:
        return None
    row = tx.exec(select(ApiToken).where(ApiToken.token_hash == _digest(token))).first()
    return row if row is not None and counts(row, tx.now) else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
