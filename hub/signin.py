"""Signing in and out: browsers that are let in, what they hold, where an agent is signed in."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam
from sqlmodel import col, select

from config.language import ENGLISH, _, spoken
from hub.agentmail import ASKED
from hub.people import check_password, hashed, hasher
from hub.throttle import SignInRefused, forgive, tried
from storage import Store, Tx
from storage.access import Conflict, NotFound
from storage.accountfacts import SignedIn, SignInsEnded
from storage.doors import has_second_step, second_step_required
from storage.people import Agent, SignIn, agent_by_email

SEEN_EVERY = timedelta(minutes=1)
BY_PASSWORD, BY_STEP, BY_RECOVERY, BY_PROVIDER = "password", "second step", "recovery code", "single sign-on"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in; `stale` says that `keep_session` should note that it was seen.

    With `step_missing` the desk asks for a second step that this agent has not set up: nothing else may be done first.
    """

    sign_in_id: int
    agent: Agent
    stale: bool
    step_missing: bool = False


def passed(store: Store, email: str, password: str, *, ip: str) -> Agent:
    """The agent who has this address and password.

    Raises SignInRefused; the failure is kept.
    """
    email = email.strip().lower()[:320]
    with store.read() as tx:
        agent = agent_by_email(tx, email)
    number = agent.id if agent else None
    if not tried(store, lambda: check_password(agent, password), "password", number, email=email, ip=ip) or not agent:
        raise SignInRefused(_("This address and password don't belong together. Check both and try again."))
    if hasher().check_needs_rehash(agent.password_hash):
        agent.password_hash = renewed = hashed(password)
        store.submit(lambda tx: tx.sql("UPDATE agent SET password_hash = ? WHERE id = ?", renewed, agent.id).rowcount)
    return agent


def let_in(store: Store, agent: Agent, how: str, *, ip: str = "", user_agent: str = "", hours: int = 24 * 14) -> str:
    """Sign a browser in for `hours`; the secret for its cookie, of which only a hash is kept.

    The language that is spoken is kept for mail to the agent.
    """
    secret = secrets.token_urlsafe(32)

    def unit(tx: Tx) -> None:
        forgive(tx, email=agent.email, code=str(agent.id))
        row = SignIn(
            agent_id=agent.id or 0, token_hash=_digest(secret), user_agent=user_agent[:300], ip=ip[:64], how=how,
            created_at=tx.now, seen_at=tx.now, expires_at=tx.now + timedelta(hours=hours),
        )  # fmt: skip
        tx.add(row)
        tx.flush()
        tx.emit(SignedIn(agent.id or 0, row.id or 0, how, f"agent:{agent.id}"))
        known = tx.get_one(Agent, agent.id)
        if known.preferences.get(ASKED, ENGLISH) != spoken():
            known.preferences = {**known.preferences, ASKED: spoken()}
            tx.add(known)

    store.submit(unit)
    return secret


# Every page asks this first; putting the question together would take longer than the answer.
_BY_COOKIE = (
    select(SignIn, Agent)
    .join(Agent, col(Agent.id) == col(SignIn.agent_id))
    .where(
        SignIn.token_hash == bindparam("digest"),
        col(SignIn.revoked_at).is_(None),
        col(SignIn.expires_at) > bindparam("now"),
        col(Agent.active),
    )
)


def session_agent(tx: Tx, secret: str) -> Session | None:
    """The agent behind a cookie, or None when it is unknown, revoked or too old. Only reads."""
    if not secret or len(secret) > 200:
        return None
    found = tx.exec(_BY_COOKIE, params={"digest": _digest(secret), "now": tx.now}).first()
    if found is None:
        return None
    row, agent = found
    # Who comes by single sign-on has shown a second step where the organisation wants one.
    asked = row.how != BY_PROVIDER and second_step_required(tx)
    missing = asked and not has_second_step(tx, agent.id or 0)
    return Session(row.id or 0, agent, tx.now - row.seen_at >= SEEN_EVERY, missing)


def keep_session(tx: Tx, sign_in_id: int, hours: int = 24 * 14) -> None:
    """Note that a browser was seen; its sign-in then lasts `hours` from now."""
    tx.sql(
        "UPDATE sign_in SET seen_at = ?, expires_at = ? WHERE id = ? AND revoked_at IS NULL",
        tx.now, tx.now + timedelta(hours=hours), sign_in_id,
    )  # fmt: skip


def sign_out(tx: Tx, secret: str) -> None:
    """End a browser's sign-in; an unknown secret changes nothing."""
    ended = tx.sql(
        "UPDATE sign_in SET revoked_at = ? WHERE token_hash = ? AND revoked_at IS NULL RETURNING agent_id",
        tx.now, _digest(secret),
    ).fetchall()  # fmt: skip
    for (agent_id,) in ended:
        tx.emit(SignInsEnded(agent_id, 1, "signed out", f"agent:{agent_id}"))


def sign_ins_of(tx: Tx, agent_id: int) -> list[SignIn]:
    """Where an agent is signed in, the browser that was seen last first."""
    query = select(SignIn).where(
        SignIn.agent_id == agent_id, col(SignIn.revoked_at).is_(None), col(SignIn.expires_at) > tx.now
    )
    return list(tx.exec(query.order_by(col(SignIn.seen_at).desc(), col(SignIn.id).desc())))


def end_sign_in(tx: Tx, agent_id: int, sign_in_id: int, by: str) -> None:
    """Sign one browser of an agent out. Raises NotFound where it is none of theirs, Conflict when it has ended."""
    row = tx.get(SignIn, sign_in_id)
    if row is None or row.agent_id != agent_id:
        raise NotFound(_("There is no sign-in {sign_in_id}.", sign_in_id=sign_in_id))
    ended = tx.sql("UPDATE sign_in SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", tx.now, sign_in_id)
    if not ended.rowcount:
        raise Conflict(_("That browser is signed out already."))
    tx.emit(SignInsEnded(agent_id, 1, "revoked", by))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
