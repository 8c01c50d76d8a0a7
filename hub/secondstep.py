"""The second step of signing in: codes of an authenticator (TOTP, RFC 6238), and recovery codes for who has lost it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from config.language import N_, _
from hub.sealing import Envelope
from hub.signin import BY_RECOVERY, BY_STEP
from hub.throttle import SignInRefused, forgive, must_wait, note_try
from storage import Store, Tx
from storage.access import PEOPLE, Actor, Conflict, NotFound, permissions_of
from storage.accountfacts import RecoveryCodesMade, SecondStepChanged, SignInRulesChanged
from storage.doors import RecoveryCode, SecondStep, has_second_step, second_step_required, sign_in_rules
from storage.people import Agent, end_sign_ins

PERIOD = 30  # seconds that a code is shown (RFC 6238 4.1)
DIGITS = 6
SKEW = 1  # periods that a telephone's clock may be off, either way (RFC 6238 5.2)
SECRET_BYTES = 20  # as long as the hash (RFC 4226 4)
CODES = 10  # recovery codes
ISSUER = "Switchyard"
TOO_OFTEN = "too often"
WRONG = N_("This code does not fit. Type the six digits that your app shows now.")
SECRET_KEY_CHANGED = N_(
    "The hub's SECRET_KEY is another one than when this was set up: use a recovery code, or ask an admin to reset it."
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A set-up that waits for its first code."""

    secret: str  # in base32, for who types it
    uri: str  # what the QR code says


def code_at(secret: bytes, period: int, digits: int = DIGITS) -> str:
    """The code of one half minute (RFC 4226 5.3)."""
    digest = hmac.new(secret, period.to_bytes(8, "big"), hashlib.sha1).digest()
    at = digest[-1] & 15
    return str((int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF) % 10**digits).zfill(digits)


def begin(tx: Tx, envelope: Envelope, agent: Agent) -> None:
    """Make a new secret, which counts once a code of it was typed. Raises Conflict where there is one that counts."""
    row = tx.get(SecondStep, agent.id)
    if row is not None and row.confirmed_at is not None:
        raise Conflict(_("Your second step is set up already. Switch it off first."))
    row = row or SecondStep(agent_id=agent.id or 0, sealed="", created_at=tx.now)
    row.sealed = envelope.close(secrets.token_bytes(SECRET_BYTES).hex())
    row.created_at = tx.now
    tx.add(row)


def pending(tx: Tx, envelope: Envelope, agent: Agent) -> Pending | None:
    """What the authenticator has to know, while its first code is still to come."""
    row = tx.get(SecondStep, agent.id)
    secret = _opened(envelope, row) if row is not None and row.confirmed_at is None else None
    if secret is None:
        return None
    typed = base64.b32encode(secret).decode()
    name = quote(f"{ISSUER}:{agent.email}", safe="@")
    return Pending(typed, f"otpauth://totp/{name}?{urlencode({'secret': typed, 'issuer': ISSUER})}")


def confirm(store: Store, envelope: Envelope, agent: Agent, code: str) -> list[str]:
    """Take the first code: from now on signing in asks for one, and every other browser has to sign in again.

    Answers the recovery codes, which are shown this once. Raises SignInRefused and Conflict.
    """

    def unit(tx: Tx) -> list[str] | str:
        row = _held(tx, agent.id or 0)
        if row is None or row.confirmed_at is not None:
            raise Conflict(_("There is no second step that waits for its first code: open the page again."))
        if waiting := must_wait(tx, code=str(agent.id)):
            return waiting
        if not _take(tx, envelope, row, code):
            note_try(tx, "code", agent.id, code=str(agent.id))
            return _(WRONG)
        row.confirmed_at = tx.now
        tx.add(row)
        tx.emit(SecondStepChanged(agent.id or 0, True, f"agent:{agent.id}"))
        return _new_codes(tx, agent.id or 0)

    made = store.submit(unit)
    if isinstance(made, str):
        raise SignInRefused(made, wait=made != _(WRONG))
    return made


def prove(store: Store, envelope: Envelope, agent_id: int, code: str, *, ip: str) -> str:
    """How the second step was taken: by a code or a recovery code, each of which counts once. Raises SignInRefused.

    Looking, counting and taking are one unit: codes that come at the same time are tried one after the other.
    """

    def unit(tx: Tx) -> tuple[str, str]:
        row = _held(tx, agent_id)
        if waiting := must_wait(tx, code=str(agent_id), ip=ip):
            return TOO_OFTEN, waiting
        if row is not None and row.confirmed_at is not None:
            if _take(tx, envelope, row, code):
                return BY_STEP, ""
            if _take_recovery(tx, agent_id, code):
                return BY_RECOVERY, ""
            note_try(tx, "code", agent_id, code=str(agent_id), ip=ip)
            return "", _(WRONG if _opened(envelope, row) else SECRET_KEY_CHANGED)
        return "", _("The second step was switched off meanwhile: sign in again.")

    how, sentence = store.submit(unit)
    if how in ("", TOO_OFTEN):
        raise SignInRefused(sentence, wait=how == TOO_OFTEN)
    return how


def renew_codes(tx: Tx, agent: Agent) -> list[str]:
    """New recovery codes; those before count no more. Raises Conflict without a second step."""
    if not has_second_step(tx, agent.id or 0):
        raise Conflict(_("Set the second step up first."))
    return _new_codes(tx, agent.id or 0)


def codes_left(tx: Tx, agent_id: int) -> int:
    """How many recovery codes an agent still has."""
    left = tx.sql("SELECT count(*) FROM recovery_code WHERE agent_id = ? AND used_at IS NULL", agent_id)
    return int(left.fetchone()[0])


def switch_off(tx: Tx, agent: Agent) -> None:
    """Signing in asks this agent for no code any more. Raises Conflict where the desk wants one of everybody."""
    if second_step_required(tx):
        raise Conflict(
            _("Everybody here signs in with a second step. An admin can reset yours, so that you set it up anew.")
        )
    _remove(tx, agent.id or 0, f"agent:{agent.id}")


def reset(tx: Tx, actor: Actor, agent_id: int) -> None:
    """Take an agent's second step away, who has lost it, and sign them out. Raises Forbidden, NotFound and Conflict."""
    actor.must(PEOPLE)
    if (agent := tx.get(Agent, agent_id)) is None:
        raise NotFound(_("There is no agent {agent_id}.", agent_id=agent_id))
    actor.may_grant(permissions_of(tx, agent.role))
    if not _remove(tx, agent_id, actor.by):
        raise Conflict(_("There is no second step to reset."))
    end_sign_ins(tx, agent_id, "revoked", actor.by)


def require_of_all(tx: Tx, actor: Actor, wanted: bool) -> None:
    """Whether everybody who signs in with a password needs a second step. Raises Forbidden, and Conflict for an admin
    who has none: the rule would shut the door behind whoever made it.
    """
    actor.must(PEOPLE)
    rules = sign_in_rules(tx)
    if rules.second_step_required == wanted:
        return
    if wanted and actor.agent_id is not None and not has_second_step(tx, actor.agent_id):
        raise Conflict(_("Set up your own second step first; then you may ask it of everybody."))
    rules.second_step_required = wanted
    tx.add(rules)
    tx.emit(SignInRulesChanged(wanted, actor.by))


def _held(tx: Tx, agent_id: int) -> SecondStep | None:
    """The row, locked against whoever tries a code at the same time."""
    if tx.dialect == "postgresql":
        tx.sql("SELECT 1 FROM second_step WHERE agent_id = ? FOR UPDATE", agent_id).fetchall()
    return tx.get(SecondStep, agent_id)


def _opened(envelope: Envelope, row: SecondStep | None) -> bytes | None:
    text = envelope.open(row.sealed) if row is not None else None
    return bytes.fromhex(text) if text else None


def _take(tx: Tx, envelope: Envelope, row: SecondStep, typed: str) -> bool:
    """Whether it is a code of now that has not been taken before; it is taken then."""
    secret, digits = _opened(envelope, row), "".join(typed.split())
    if secret is None or len(digits) != DIGITS:
        return False
    now = int(tx.now.timestamp()) // PERIOD
    for period in range(now - SKEW, now + SKEW + 1):
        if period > row.last_step and hmac.compare_digest(code_at(secret, period).encode(), digits.encode()):
            row.last_step = period
            tx.add(row)
            return True
    return False


def _take_recovery(tx: Tx, agent_id: int, typed: str) -> bool:
    plain = "".join(typed.split()).replace("-", "").lower()
    taken = tx.sql(
        "UPDATE recovery_code SET used_at = ? WHERE agent_id = ? AND code_hash = ? AND used_at IS NULL",
        tx.now, agent_id, _digest(agent_id, plain),
    )  # fmt: skip
    return taken.rowcount == 1


def _new_codes(tx: Tx, agent_id: int) -> list[str]:
    tx.sql("DELETE FROM recovery_code WHERE agent_id = ?", agent_id)
    plain = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for __ in range(CODES)]  # 80 bits each
    for code in plain:
        tx.add(RecoveryCode(agent_id=agent_id, code_hash=_digest(agent_id, code)))
    tx.emit(RecoveryCodesMade(agent_id, f"agent:{agent_id}"))
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in plain]


def _remove(tx: Tx, agent_id: int, by: str) -> bool:
    tx.sql("DELETE FROM recovery_code WHERE agent_id = ?", agent_id)
    gone = tx.sql("DELETE FROM second_step WHERE agent_id = ? RETURNING confirmed_at", agent_id).fetchall()
    if gone and gone[0][0] is not None:
        tx.emit(SecondStepChanged(agent_id, False, by))
    forgive(tx, code=str(agent_id))
    return bool(gone)


def _digest(agent_id: int, code: str) -> str:
    return hashlib.sha256(f"{agent_id} {code}".encode("utf-8", "replace")).hexdigest()
