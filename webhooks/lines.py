"""What a chat visitor may see: the lines of this one chat identity and nothing else of the person's history."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from hub.hub import Hub
from hub.intake import OUTAGES
from hub.pump import Happened, Wants, frame, latest_fact
from storage import Tx
from storage.columns import moment

LIMIT = 200
KEPT = 512
OUT = ("sent", "delivered", "read")  # an answer shows when it has left: it can still be taken back before

_COLUMNS = (
    "SELECT m.id, m.kind, m.text, m.created_at, m.state_at, m.external_id, a.name, m.identity_id "
    "FROM message m LEFT JOIN agent a ON a.id = m.agent_id "
)
_SHOWN = "(m.kind = 'inbound' OR (m.kind = 'outbound' AND m.state IN ('sent','delivered','read')))"
_OF_IDENTITY = f"{_COLUMNS}WHERE m.channel = 'chat' AND m.identity_id = ? AND {_SHOWN} ORDER BY m.id DESC LIMIT ?"
_BY_ID = f"{_COLUMNS}WHERE m.id = ? AND m.channel = 'chat' AND {_SHOWN}"
_CHANGED = (
    "SELECT f.data FROM fact f WHERE f.id > ? AND f.name IN ('MessageReceived','DeliveryChanged') "
    "AND f.conversation_id IN (SELECT m.conversation_id FROM message m WHERE m.channel = 'chat' AND m.identity_id = ?) "
    "ORDER BY f.id LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chat and whose it is."""

    identity_id: int
    shown: dict[str, Any]


def identity_of(tx: Tx, visitor: str) -> int | None:
    """The visitor's contact point; None until something was written."""
    row = tx.sql("SELECT id FROM identity WHERE kind = 'chat' AND value = ?", visitor).fetchone()
    return None if row is None else int(row[0])


def lines_of(tx: Tx, visitor: str, after: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The visitor's last lines, oldest first, and the cursor from which a stream goes on without a gap.

    With `after`, a cursor of an earlier answer, the list is empty when nothing happened since.
    """
    cursor = latest_fact(tx)
    identity_id = identity_of(tx, visitor)
    if identity_id is None or (after and tx.sql(_CHANGED, after, identity_id).fetchone() is None):
        return [], cursor
    rows = tx.sql(_OF_IDENTITY, identity_id, LIMIT).fetchall()
    return sorted((_line(row).shown for row in rows), key=lambda line: (line["at"], line["id"])), cursor


class Streams:
    """What each open chat is told. A fact's line is read once, however many visitors listen."""

    def __init__(self, hub: Hub):
        self._hub = hub
        self._lines: OrderedDict[int, Line | None] = OrderedDict()
        self._lock = threading.Lock()

    def wants(self, visitor: str) -> Wants:
        """The filter of one visitor's stream."""
        known: list[int] = []

        def line_for(fact: Happened) -> bytes | None:
            if not _concerns_chat(fact):
                return None
            try:
                line = self._line_of(fact)
                if line is not None and not known:
                    self._learn(known, visitor)
            except OUTAGES:
                return frame(fact, "sync", {})  # the widget asks for its lines again
            if line is None or line.identity_id not in known:
                return None
            return frame(fact, "message", line.shown)

        return line_for

    def _line_of(self, fact: Happened) -> Line | None:
        with self._lock:
            if fact.id in self._lines:
                return self._lines[fact.id]
        with self._hub.store.read() as tx:
            row = tx.sql(_BY_ID, fact.data["message_id"]).fetchone()
        line = None if row is None or row[7] is None else _line(row)
        with self._lock:
            self._lines[fact.id] = line
            while len(self._lines) > KEPT:
                self._lines.popitem(last=False)
        return line

    def _learn(self, known: list[int], visitor: str) -> None:
        with self._hub.store.read() as tx:
            if (identity_id := identity_of(tx, visitor)) is not None:
                known.append(identity_id)


def _concerns_chat(fact: Happened) -> bool:
    if fact.name == "MessageReceived":
        return bool(fact.data["channel"] == "chat")
    return fact.name == "DeliveryChanged" and fact.data["state"] in OUT


def _line(row: Any) -> Line:
    """An inbound line carries the id that the widget gave it, so that it knows its own line again."""
    number, kind, text, created_at, state_at, external_id, agent, identity_id = row
    mine = kind == "inbound"
    at = moment(created_at if mine or state_at is None else state_at)
    shown = {
        "id": number,
        "client_id": external_id if mine else "",
        "from": "visitor" if mine else "agent",
        "name": "" if mine else _first_name(agent),
        "text": text,
        "at": at.isoformat() if at else "",
    }
    return Line(identity_id or 0, shown)


def _first_name(agent: str | None) -> str:
    """Customers get a first name, never a whole one."""
    return (agent or "").partition(" ")[0]
