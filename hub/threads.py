"""Which conversation a message belongs to, and why: the first signal that holds decides."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from channels.base import Inbound, Strength
from storage import Tx
from storage.columns import moment
from storage.participants import is_participant

OPEN_FOR = timedelta(days=14)
REOPENS_FOR = timedelta(hours=24)
STRANGERS_FOR = timedelta(days=30)
BEGAN = "new conversation"  # why a message is where it is that continues nothing
FREE_FORM = ("sms", "whatsapp", "chat", "slack")  # kinds whose senders can't name a conversation

# Read under the row's lock; whether there is work is asked after it (`hub.intake`): a conversation that is resolved
# meanwhile would else be heard as open, without work that anybody is matched to.
STATE = (
    "SELECT v.id, v.state, v.last_at, c.person_id, v.waiting_since IS NOT NULL, v.merged_into_id, "
    "v.divided FROM conversation v "
    "JOIN contact c ON c.id = v.contact_id WHERE c.erased_at IS NULL AND "
)
THAT = "v.id = ?"
LATEST = "c.person_id = ? ORDER BY v.last_at DESC, v.id DESC LIMIT 1"
TAKES_PART = (
    "(c.person_id = ? OR EXISTS (SELECT 1 FROM participant p WHERE p.conversation_id = v.id AND p.address = ? "
    "AND p.how <> 'removed'))"
)
BY_REFERENCE = (
    "SELECT m.conversation_id FROM message m JOIN conversation v ON v.id = m.conversation_id JOIN contact c "
    f"ON c.id = v.contact_id WHERE m.external_id = ? AND {TAKES_PART} ORDER BY m.id DESC LIMIT 1"
)
BY_NUMBER = f"SELECT v.id FROM conversation v JOIN contact c ON c.id = v.contact_id WHERE v.id = ? AND {TAKES_PART}"
PARTED = (
    "SELECT m.conversation_id FROM message m JOIN conversation_move s ON s.to_id = m.conversation_id "
    "WHERE s.from_id = ? AND s.kind = 'split' AND m.external_id = ? ORDER BY m.id DESC LIMIT 1"
)
NUMBER = re.compile(r"\[#([1-9][0-9]{0,14})\]")  # a ticket number in a subject
NUMBERS = 3
# Mails overtake one another: greylisting holds the first one up and not its answer. Only the newest open conversations
# are searched, so a machine that writes all day costs no more than anybody. CROSS JOIN has SQLite begin at the person:
# it would else go through all open conversations with every mail.
_BY_ANSWER = (
    "SELECT m.conversation_id FROM message m JOIN (SELECT v.id FROM contact c CROSS JOIN conversation v "
    "WHERE c.person_id = ? AND v.contact_id = c.id AND v.state = 'open' ORDER BY v.id DESC LIMIT 5) recent "
    "ON recent.id = m.conversation_id WHERE {within}(CAST(m.refs AS TEXT), ?) > 0 ORDER BY m.id DESC LIMIT 1"
)
BY_ANSWER = {"sqlite": _BY_ANSWER.format(within="instr"), "postgresql": _BY_ANSWER.format(within="strpos")}


@dataclass(frozen=True, slots=True)
class Thread:
    """The conversation found: its state and why it was chosen."""

    conversation_id: int
    state: str
    why: str
    person_id: int
    age: timedelta  # since anything last happened in it
    waits: bool = False  # the customer has the last word
    divided: bool = False  # some of its messages are in conversations that were parted from it


def thread(tx: Tx, person_id: int, inbound: Inbound, kind: str, signed: tuple[int, ...]) -> Thread | None:
    """The conversation this continues, or None for a new one.

    `signed` are conversations that valid reply tokens or our own Message-IDs name; a stranger who got one by a
    forward may use it only while the matter is fresh. A reference to another message and a ticket number in the
    subject need the customer or a participant: both are known to everybody who ever saw the mail, or can be guessed,
    so they grant nothing to strangers.
    """
    point = inbound.sender.points[0]
    address = point.value if point.kind == "email" and point.strength >= Strength.MAIL else ""
    for conversation_id in signed:
        found = _look(tx, THAT, conversation_id, "signed reference")
        if found and found.divided:
            found = _parted(tx, found, inbound.references) or found
        if found and (found.person_id == person_id or found.age < STRANGERS_FOR):
            return found
        if found and address and is_participant(tx, conversation_id, address):
            return found
    if point.strength < Strength.MAIL and kind not in FREE_FORM:
        return None  # a claim typed into a form never enters an existing conversation
    for reference in inbound.references:
        row = tx.sql(BY_REFERENCE, reference, person_id, address).fetchone()
        if row is not None and (found := _look(tx, THAT, row[0], "answers a known message")):
            return found
    if kind not in FREE_FORM:
        numbered = _numbered(tx, person_id, address, inbound.subject)
        return numbered or (_answered_already(tx, person_id, inbound.external_id) if inbound.external_id else None)
    latest = _look(tx, LATEST, person_id, "open conversation")
    if latest is None or latest.age >= (REOPENS_FOR if latest.state == "resolved" else OPEN_FOR):
        return None
    return replace(latest, why="conversation resolved within a day") if latest.state == "resolved" else latest


def _parted(tx: Tx, old: Thread, references: Sequence[str]) -> Thread | None:
    """Where the message is now that this answers, when it was parted from the conversation that its token names."""
    for reference in references:
        row = tx.sql(PARTED, old.conversation_id, reference).fetchone()
        if row is not None:
            return _look(tx, THAT, row[0], old.why)
    return None


def _numbered(tx: Tx, person_id: int, address: str, subject: str) -> Thread | None:
    for number in NUMBER.findall(subject)[:NUMBERS]:
        row = tx.sql(BY_NUMBER, int(number), person_id, address).fetchone()
        if row is not None and (found := _look(tx, THAT, row[0], "ticket number in the subject")):
            return found
    return None


def _answered_already(tx: Tx, person_id: int, external_id: str) -> Thread | None:
    """Where a message of the same person is that answers this one and was faster."""
    row = tx.sql(BY_ANSWER[tx.dialect], person_id, json.dumps(external_id)).fetchone()
    return _look(tx, THAT, row[0], "answered by a message that came before it") if row is not None else None


def _look(tx: Tx, which: str, value: int, why: str) -> Thread | None:
    """One conversation, locked on PostgreSQL."""
    lock = " FOR NO KEY UPDATE OF v" if tx.dialect == "postgresql" else ""
    row = tx.sql(STATE + which + lock, value).fetchone()
    if row is None:
        return None
    if tx.hold("conversation", row[0]):
        return _look(tx, which, value, why)
    if row[5] is not None:  # merged: all of it is there now
        return _look(tx, THAT, row[5], why)
    return Thread(row[0], row[1], why, row[3], tx.now - (moment(row[2]) or tx.now), bool(row[4]), bool(row[6]))
