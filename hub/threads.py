"""Which conversation a message belongs to, and why: the first signal that holds decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from channels.base import Inbound, Strength
from storage import Tx
from storage.columns import moment

OPEN_FOR = timedelta(days=14)
REOPENS_FOR = timedelta(hours=24)
FREE_FORM = ("sms", "whatsapp", "chat", "slack")  # kinds whose senders can't name a conversation

_COLUMNS = (
    "SELECT v.id, v.state, v.last_at, w.id FROM conversation v JOIN contact c ON c.id = v.contact_id "
    "LEFT JOIN work_item w ON w.conversation_id = v.id AND w.state IN ('queued','offered','assigned') "
)
BY_ID = _COLUMNS + "WHERE v.id = ?"
LATEST = _COLUMNS + "WHERE c.person_id = ? ORDER BY v.last_at DESC, v.id DESC LIMIT 1"
BY_REFERENCE = (
    "SELECT m.conversation_id FROM message m JOIN conversation v ON v.id = m.conversation_id "
    "JOIN contact c ON c.id = v.contact_id WHERE m.external_id = ? AND c.person_id = ? ORDER BY m.id DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Thread:
    """The conversation found: its state, whether an episode of work is under way, and why it was chosen."""

    conversation_id: int
    state: str
    has_work: bool
    why: str


def thread(tx: Tx, person_id: int, inbound: Inbound, kind: str, signed: tuple[int, ...]) -> Thread | None:
    """The conversation this continues, or None for a new one.

    `signed` are conversations that valid reply tokens or our own Message-IDs name. A reference to another person's
    message needs that person: ids are known to everybody who was ever in copy, so they grant nothing to strangers.
    """
    for conversation_id in signed:
        if found := _by_id(tx, conversation_id, "signed reference"):
            return found
    if inbound.sender.points[0].strength < Strength.MAIL and kind not in FREE_FORM:
        return None  # a claim typed into a form never enters an existing conversation
    for reference in inbound.references:
        row = tx.sql(BY_REFERENCE, reference, person_id).fetchone()
        if row is not None and (found := _by_id(tx, row[0], "answers a known message")):
            return found
    return _open_conversation(tx, person_id) if kind in FREE_FORM else None


def _by_id(tx: Tx, conversation_id: int, why: str) -> Thread | None:
    row = tx.sql(BY_ID, conversation_id).fetchone()
    return None if row is None else Thread(row[0], row[1], row[3] is not None, why)


def _open_conversation(tx: Tx, person_id: int) -> Thread | None:
    row = tx.sql(LATEST, person_id).fetchone()
    if row is None:
        return None
    age = tx.now - (moment(row[2]) or tx.now)
    if row[1] != "resolved" and age < OPEN_FOR:
        return Thread(row[0], row[1], row[3] is not None, "open conversation")
    if row[1] == "resolved" and age < REOPENS_FOR:
        return Thread(row[0], row[1], False, "conversation resolved within a day")
    return None
