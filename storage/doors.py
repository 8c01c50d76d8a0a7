"""What letting people in needs beside the password: second steps, recovery codes, links by mail, the desk's own rules.

Nothing here lets anybody in who reads it: secrets are sealed with a key that is not in the database, codes are hashed,
and links are made from SECRET_KEY when their mail leaves.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import false
from sqlmodel import Field, SQLModel

from storage.columns import BigId, key, ref, utc
from storage.store import Tx


class SecondStep(SQLModel, table=True):
    """An agent's authenticator (RFC 6238). It counts once a first code has proved it (`confirmed_at`).

    `last_step` is the newest half minute whose code was taken: no code counts twice.
    """

    __tablename__ = "second_step"

    agent_id: int = Field(foreign_key="agent.id", primary_key=True, sa_type=BigId)
    sealed: str
    last_step: int = Field(default=0, sa_type=BigId)
    created_at: datetime = utc()
    confirmed_at: datetime | None = utc(nullable=True)


class RecoveryCode(SQLModel, table=True):
    """One of the codes that stand in for a lost authenticator, each once. Only its SHA-256 is kept."""

    __tablename__ = "recovery_code"

    id: int | None = key()
    agent_id: int = ref("agent.id", index=True)
    code_hash: str = Field(max_length=64, unique=True)
    used_at: datetime | None = utc(nullable=True)


END_LINKS = "UPDATE access_link SET used_at = ? WHERE agent_id = ? AND used_at IS NULL"


class AccessLink(SQLModel, table=True):
    """A link by mail with which an agent chooses a password, once. `kind` is reset or invitation.

    `nonce` makes its address with SECRET_KEY; `uuid` is the mail's.
    """

    __tablename__ = "access_link"

    id: int | None = key()
    agent_id: int = ref("agent.id", index=True)
    kind: str = Field(max_length=16)
    nonce: str = Field(max_length=64)
    uuid: str = Field(max_length=36)
    by: str
    created_at: datetime = utc()
    expires_at: datetime = utc()
    used_at: datetime | None = utc(nullable=True)


class SignInRules(SQLModel, table=True):
    """What the desk asks of everybody who signs in. One row, or none while nothing was decided."""

    __tablename__ = "sign_in_rules"

    id: int = Field(default=1, primary_key=True)
    second_step_required: bool = Field(default=False, sa_column_kwargs={"server_default": false()})


def sign_in_rules(tx: Tx) -> SignInRules:
    """What counts now."""
    return tx.get(SignInRules, 1) or SignInRules()


def second_step_required(tx: Tx) -> bool:
    """Whether it is asked of everybody; every page wants to know, so it goes past the ORM."""
    row = tx.sql("SELECT second_step_required FROM sign_in_rules WHERE id = 1").fetchone()
    return bool(row and row[0])


def has_second_step(tx: Tx, agent_id: int) -> bool:
    """Whether signing in asks this agent for a code."""
    found = tx.sql("SELECT 1 FROM second_step WHERE agent_id = ? AND confirmed_at IS NOT NULL", agent_id)
    return found.fetchone() is not None
