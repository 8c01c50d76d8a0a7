"""Addresses that nothing may be sent to: who asked for it or what proved it, since when, until when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import col, or_, select

from config.language import _, words
from storage import Tx
from storage.access import CONTACTS, Actor, Conflict, NotFound, person_for
from storage.batches import placeholders
from storage.deliveries import Suppression
from storage.facts import AddressAllowed
from storage.people import Contact, Identity

BOUNCE_KEPT = timedelta(days=90)  # mailboxes come back: after that an address is tried once more

# A person's word (stop, manual, a complaint that is proved) has no end, and what a machine found out replaces none.
SUPPRESS = (
    "INSERT INTO suppression(kind, value, reason, source, at, until) VALUES(?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (kind, value) DO UPDATE SET reason = excluded.reason, source = excluded.source, at = excluded.at, "
    "until = excluded.until WHERE suppression.until IS NOT NULL"
)
IN_FORCE = "SELECT reason FROM suppression WHERE kind = ? AND value = ? AND (until IS NULL OR until > ?)"
TOLD = words(
    {
        "stop": "This person sent STOP: no further messages may go to this address. Try another channel.",
        "bounce": "Mail to this address came back for good. Ask the customer for another one, or allow it again.",
        "complaint": "This person reported an earlier message as spam; nothing may be sent there.",
    }
)
LIFTABLE = ("bounce", "complaint", "manual")


def suppress(tx: Tx, kind: str, value: str, *, reason: str, source: str, proved: bool = True) -> None:
    """Send nothing more to an address; for a bounce only a while, for a person's word until somebody lifts it.

    A complaint that is not `proved` to be the person's word counts like a bounce.
    """
    until = tx.now + BOUNCE_KEPT if reason == "bounce" or not proved else None
    tx.sql(SUPPRESS, kind, value, reason, source[:500], tx.now, until)


def lift_for_now(tx: Tx, kind: str, value: str) -> None:
    """Its owner wrote: what blocked the address for a while does so no longer."""
    tx.sql("DELETE FROM suppression WHERE kind = ? AND value = ? AND until IS NOT NULL", kind, value)


def lift(tx: Tx, kind: str, value: str, *reasons: str) -> bool:
    """Allow an address again where it is suppressed for one of these reasons; whether it was."""
    marks = placeholders(reasons)
    lifted = tx.sql(
        f"DELETE FROM suppression WHERE kind = ? AND value = ? AND reason IN ({marks})", kind, value, *reasons
    )
    return lifted.rowcount > 0


def allow_again(tx: Tx, actor: Actor, contact_id: int, identity_id: int) -> Identity:
    """An agent takes responsibility for writing to an address that bounced, complained or was blocked by hand.

    Raises NotFound also for another person's address, or Conflict where only the person may lift it (STOP) or nothing
    stands in the way.
    """
    actor.must(CONTACTS)
    person = person_for(tx, actor, contact_id)
    identity = tx.get(Identity, identity_id)
    if identity is None or tx.get_one(Contact, identity.contact_id).person_id != person.id:
        raise NotFound(_("This person has no address {identity_id}.", identity_id=identity_id))
    reason = suppressed(tx, identity.kind, identity.value)
    if reason not in LIFTABLE:
        stopped = reason == "stop"
        raise Conflict(
            _("Only the customer can take a STOP back.") if stopped else _("This address is allowed already.")
        )
    lift(tx, identity.kind, identity.value, reason)
    tx.emit(AddressAllowed(person.id or 0, identity_id, reason, by=actor.by))
    return identity


def reasons(tx: Tx, identities: Iterable[Identity]) -> dict[int, str]:
    """Why nothing may go to some of these, by the identity's id: stop, bounce, complaint or manual."""
    return {number: closing.reason for number, closing in closings(tx, identities).items()}


@dataclass(frozen=True, slots=True)
class Closing:
    """Why nothing may go to an address, since when, and who said so or what proved it."""

    reason: str
    source: str
    at: datetime

    @property
    def words(self) -> str:
        return {"stop": "sent STOP", "bounce": "came back", "complaint": "reported spam"}.get(self.reason, "blocked")


def closings(tx: Tx, identities: Iterable[Identity]) -> dict[int, Closing]:
    """The same with its source, by the identity's id."""
    numbers = {(identity.kind, identity.value): identity.id or 0 for identity in identities}
    return {
        numbers[row.kind, row.value]: Closing(row.reason, row.source, row.at)
        for row in _in_force(tx, [value for __, value in numbers])
        if (row.kind, row.value) in numbers
    }


def suppressed(tx: Tx, kind: str, value: str) -> str:
    """Why nothing may go to this address (stop, bounce, complaint or manual), or an empty string."""
    row = tx.sql(IN_FORCE, kind, value, tx.now).fetchone()
    return str(row[0]) if row else ""


def refusal(tx: Tx, kind: str, value: str) -> str:
    """`suppressed` as the sentence for whoever wants to write there."""
    reason = suppressed(tx, kind, value)
    return TOLD.get(reason, _("This address is blocked by hand.")) if reason else ""


def _in_force(tx: Tx, values: list[str]) -> Iterable[Suppression]:
    return tx.exec(
        select(Suppression).where(
            col(Suppression.value).in_(values), or_(col(Suppression.until).is_(None), col(Suppression.until) > tx.now)
        )
    )
