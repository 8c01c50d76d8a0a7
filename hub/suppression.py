"""Addresses that nothing may be sent to: who asked for it or what proved it, since when, until when."""

from __future__ import annotations

from datetime import timedelta

from storage import Tx
from storage.access import Actor, Conflict, NotFound, person_for
from storage.facts import ContactChanged
from storage.people import Identity

BOUNCE_KEPT = timedelta(days=90)  # mailboxes come back: after that an address is tried once more

# A person's word (stop, complaint, manual) is never replaced by what a machine found out.
SUPPRESS = (
    "INSERT INTO suppression(kind, value, reason, source, at, until) VALUES(?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (kind, value) DO UPDATE SET reason = excluded.reason, source = excluded.source, at = excluded.at, "
    "until = excluded.until WHERE suppression.reason = 'bounce'"
)
IN_FORCE = "SELECT reason FROM suppression WHERE kind = ? AND value = ? AND (until IS NULL OR until > ?)"
TOLD = {
    "stop": "This person sent STOP: no further messages may go to this address. Try another channel.",
    "bounce": "Mail to this address came back for good. Ask the customer for another one, or allow it again.",
    "complaint": "This person reported an earlier message as spam; nothing may be sent there.",
}
LIFTABLE = ("bounce", "complaint", "manual")


def suppress(tx: Tx, kind: str, value: str, *, reason: str, source: str) -> None:
    """Send nothing more to an address; for a bounce only a while, for a person's word until somebody lifts it."""
    until = tx.now + BOUNCE_KEPT if reason == "bounce" else None
    tx.sql(SUPPRESS, kind, value, reason, source[:500], tx.now, until)


def lift(tx: Tx, kind: str, value: str, *reasons: str) -> bool:
    """Allow an address again where it is suppressed for one of these reasons; whether it was."""
    marks = ", ".join("?" for _ in reasons)
    lifted = tx.sql(
        f"DELETE FROM suppression WHERE kind = ? AND value = ? AND reason IN ({marks})", kind, value, *reasons
    )
    return lifted.rowcount > 0


def allow_again(tx: Tx, actor: Actor, identity_id: int) -> Identity:
    """An agent takes responsibility for writing to an address that bounced, complained or was blocked by hand.

    Raises NotFound, or Conflict where only the person may lift it (STOP) or nothing stands in the way.
    """
    identity = tx.get(Identity, identity_id)
    if identity is None:
        raise NotFound(f"There is no address {identity_id}.")
    person = person_for(tx, actor, identity.contact_id)
    if not lift(tx, identity.kind, identity.value, *LIFTABLE):
        stopped = suppressed(tx, identity.kind, identity.value) == "stop"
        raise Conflict("Only the customer can take a STOP back." if stopped else "This address is allowed already.")
    tx.emit(ContactChanged(person.id or 0, "suppression", by=actor.by))
    return identity


def suppressed(tx: Tx, kind: str, value: str) -> str:
    """Why nothing may go to this address (stop, bounce, complaint or manual), or an empty string."""
    row = tx.sql(IN_FORCE, kind, value, tx.now).fetchone()
    return str(row[0]) if row else ""


def refusal(tx: Tx, kind: str, value: str) -> str:
    """`suppressed` as the sentence for whoever wants to write there."""
    reason = suppressed(tx, kind, value)
    return TOLD.get(reason, "This address is blocked by hand.") if reason else ""
