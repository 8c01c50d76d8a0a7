"""One gate for everything that leaves without a person having written it, so that no machine ever talks with another.

Every automatic message passes here, in the unit that makes it: what is counted is what was made, over all nodes and
through every crash. What is held is told with its reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from channels.mail.headers import sendable
from config.language import N_
from config.retold import stored
from config.settings import Settings
from hub.recipients import own_addresses, untagged
from hub.suppression import refusal
from storage import Tx
from storage.facts import AutomationHeld

ACKNOWLEDGEMENT, NOTICE = "acknowledgement", "notice"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GATE_LOCK = 7_316_004  # pg_advisory_xact_lock: two nodes must not both count the same messages and both send the last
# Addresses behind which nobody reads (RFC 3834 section 2, RFC 2142): machines, lists, and roles that machines write to.
MACHINES = re.compile(
    r"(mailer-daemon|postmaster|abuse|root|majordomo|listserv|.*no[._\-]?reply.*|do[._\-]?not[._\-]?reply|owner-.*|"
    r".*-(owner|request|bounces?|confirm))@"
)
MARKS = re.compile(r"^(\s*[\w.]{2,12}\s*:\s*)+")  # "Re: Auto: AW: "
NUMBERS = re.compile(r"\[?#?\d+\]?")

NOTE = "INSERT INTO automatic_send(kind, address, conversation_id, subject, held, at) VALUES(?, ?, ?, ?, ?, ?)"
COUNT = "SELECT count(*) FROM automatic_send WHERE held = '' AND at > ? AND "
TOLD = (
    "SELECT 1 FROM automatic_send WHERE conversation_id = ? AND at > ? AND kind = ? AND address = ? AND held <> '' "
    "LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Leaving:
    """An automatic message before it is made: what kind, to whom, about what."""

    kind: str
    address: str
    conversation_id: int
    subject: str


def may_leave(tx: Tx, settings: Settings, leaving: Leaving) -> bool:
    """Whether an automatic message may be made; if so it is counted in this unit, else it is held with its reason."""
    if tx.dialect == "postgresql":
        tx.sql(f"SELECT pg_advisory_xact_lock({GATE_LOCK})")
    why = _closed(tx, leaving.address) or _too_many(tx, settings, leaving)
    if why:
        hold_back(tx, leaving, why)
    else:
        _note(tx, leaving, "")
    return not why


def hold_back(tx: Tx, leaving: Leaving, why: str) -> None:
    """Note that an automatic message was not made, and say so in its conversation once a day."""
    told = tx.sql(TOLD, leaving.conversation_id, tx.now - DAY, leaving.kind, leaving.address).fetchone()
    _note(tx, leaving, why)
    if told is None:
        tx.emit(AutomationHeld(leaving.conversation_id, leaving.kind, why))


def forget_old_sends(tx: Tx) -> None:
    """What no window counts any more."""
    tx.sql("DELETE FROM automatic_send WHERE at < ?", tx.now - 2 * DAY)


def comparable(subject: str) -> str:
    """A subject without reply marks and numbers: what a machine that answers itself sends again and again."""
    return " ".join(NUMBERS.sub("", MARKS.sub("", subject.casefold())).split())[:200]


def _note(tx: Tx, leaving: Leaving, held: str) -> None:
    tx.sql(
        NOTE, leaving.kind, leaving.address[:320], leaving.conversation_id, comparable(leaving.subject), held, tx.now
    )  # fmt: skip


def _closed(tx: Tx, address: str) -> str:
    """Why nothing automatic may go to an address at all."""
    if not sendable(address):
        return stored("{address} is no address that mail can be sent to.", address=repr(address[:100]))
    if untagged(address) in own_addresses(tx):
        return stored("{address} is one of our own mailboxes.", address=address)
    if MACHINES.match(address):
        return stored("Nobody reads what is sent to {address}.", address=address)
    return refusal(tx, "email", address)


def _too_many(tx: Tx, settings: Settings, leaving: Leaving) -> str:
    """The cap that is reached, in a sentence."""

    def sent(within: timedelta, condition: str, *values: object) -> int:
        return int(tx.sql(COUNT + condition, tx.now - within, *values).fetchone()[0])

    kind, address = leaving.kind, leaving.address[:320]
    if sent(HOUR, "conversation_id = ?", leaving.conversation_id) >= settings.automatic_per_conversation:
        return N_("There have been too many automatic messages about this conversation within an hour.")
    if kind == NOTICE:
        count = sent(HOUR, "address = ? AND kind = ?", address, kind)
        told = stored("{address} has had {count} of them within an hour.", address=address, count=count)
        return told if count >= settings.automatic_per_agent else ""
    if sent(DAY, "address = ? AND kind = ?", address, kind) >= settings.automatic_per_recipient:
        return stored(
            "There have been too many automatic messages to {address} within a day: a machine may be answering.",
            address=address,
        )
    same = sent(DAY, "address = ? AND kind = ? AND subject = ?", address, kind, comparable(leaving.subject))
    if same >= settings.automatic_per_subject:
        return stored(
            "{address} has had this subject often enough within a day: a machine may be answering.", address=address
        )
    return ""
