"""What a chat visitor may see: the lines of this one chat identity and nothing else of the person's history."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from hub.hub import Hub
from hub.intake import OUTAGES
from hub.pump import SKIPPED, Happened, Wants, frame, latest_fact
from storage import Tx
from storage.columns import moment

LIMIT = 200
KEPT = 512
OUT = ("sent", "delivered", "read")  # an answer shows when it has left: it can still be taken back before

_IDENTITY = "(SELECT id FROM identity WHERE kind = 'chat' AND value = ?)"
_COLUMNS = (
    "SELECT i.value, m.id, m.kind, m.text, m.created_at, m.state_at, m.external_id, a.name FROM message m "
    "JOIN identity i ON i.id = m.identity_id LEFT JOIN agent a ON a.id = m.agent_id WHERE m.channel = 'chat' "
    "AND (m.kind = 'inbound' OR (m.kind = 'outbound' AND m.state IN ('sent','delivered','read'))) "
)
_OF_IDENTITY = f"{_COLUMNS}AND m.identity_id = {_IDENTITY} ORDER BY m.id DESC LIMIT ?"
_BY_ID = f"{_COLUMNS}AND m.id = ?"
_CHANGED = (
    "SELECT 1 FROM fact f WHERE f.id > ? AND f.name IN ('MessageReceived','DeliveryChanged') AND f.conversation_id IN "
    f"(SELECT m.conversation_id FROM message m WHERE m.channel = 'chat' AND m.identity_id = {_IDENTITY}) LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chat and whose it is."""

    visitor: str
    shown: dict[str, Any]


def lines_of(tx: Tx, visitor: str, after: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The visitor's last lines, oldest first, and the cursor from which a stream goes on without a gap.

    With `after`, a cursor of an earlier answer, the list is empty when nothing happened since.
    """
    cursor = latest_fact(tx)
    if after and tx.sql(_CHANGED, after, visitor).fetchone() is None:
        return [], cursor
    rows = tx.sql(_OF_IDENTITY, visitor, LIMIT).fetchall()
    return sorted((_line(row).shown for row in rows), key=lambda line: (line["at"], line["id"])), cursor


class Streams:
    """What each open chat is told. A fact's line is read once, however many visitors listen."""

    def __init__(self, hub: Hub):
        self._hub = hub
        self._lines: OrderedDict[int, Line | None] = OrderedDict()
        self._lock = threading.Lock()

    def wants(self, visitor: str) -> Wants:
        """The filter of one visitor's stream."""

        def line_for(fact: Happened) -> bytes | None:
            if fact.name == SKIPPED:
                return frame(fact, "sync", {})  # the widget asks for its lines again
            if not _concerns_chat(fact):
                return None
            try:
                line = self._line_of(fact)
            except OUTAGES:
                return frame(fact, "sync", {})
            return None if line is None or line.visitor != visitor else frame(fact, "message", line.shown)

        return line_for

    def _line_of(self, fact: Happened) -> Line | None:
        with self._lock:
            if fact.id in self._lines:
                return self._lines[fact.id]
        with self._hub.store.read() as tx:
            row = tx.sql(_BY_ID, fact.data["message_id"]).fetchone()
        line = None if row is None else _line(row)
        with self._lock:
            self._lines[fact.id] = line
            while len(self._lines) > KEPT:
                self._lines.popitem(last=False)
        return line


def _concerns_chat(fact: Happened) -> bool:
    if fact.name == "MessageReceived":
        return bool(fact.data["channel"] == "chat")
    return fact.name == "DeliveryChanged" and fact.data["state"] in OUT


def _line(row: Any) -> Line:
    """An inbound line carries the id that the widget gave it, so that it knows its own line again."""
    visitor, number, kind, text, created_at, state_at, external_id, agent = row
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
    return Line(visitor, shown)


def _first_name(agent: str | None) -> str:
    """Customers get a first name, never a whole one."""
    return (agent or "").partition(" ")[0]
