"""What happens to work: put into a queue, offered, owned, handed on, answered and closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routing.rules import rule_book
from storage.facts import ConversationQueued
from storage.store import Tx

_INSERT_ITEM = (
    "INSERT INTO work_item(conversation_id, queue_id, channel, weight, skills, priority, state, enqueued_at, "
    "order_time, due_at, trace, version) VALUES(?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, 0) "
    "ON CONFLICT (conversation_id) WHERE state IN ('queued','offered','assigned') DO NOTHING RETURNING id"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Work that came in, as rules see it. `attributes` are the contact's, its language under "language"."""

    conversation_id: int
    contact_id: int
    channel: str
    channel_name: str
    subject: str
    text: str
    attributes: Mapping[str, Any]


def enqueue(tx: Tx, arrival: Arrival) -> int:
    """Begin a routing episode: rules decide queue, skills and priority; the first-reply clock starts.

    Answers the work item's id: the one under way if there is one already, which then stays as it is. Raises
    Conflict when the desk has no queue. The hot path of everything that arrives: driver statements only.
    """
    book = rule_book(tx)
    place = book.place(_values(arrival))
    due_at = tx.now + place.queue.first_reply
    row = tx.sql(
        _INSERT_ITEM,
        arrival.conversation_id, place.queue.id, arrival.channel, book.weight(arrival.channel), place.skills,
        place.priority, tx.now, tx.now, due_at, place.trace,
    ).fetchone()  # fmt: skip
    if row is None:
        live = "SELECT id FROM work_item WHERE conversation_id = ? AND state IN ('queued','offered','assigned')"
        return int(tx.sql(live, arrival.conversation_id).fetchone()[0])
    tx.sql(
        "UPDATE conversation SET queue_id = ?, priority = ?, due_at = ?, assignee_id = NULL WHERE id = ?",
        place.queue.id, place.priority, due_at, arrival.conversation_id,
    )  # fmt: skip
    tx.emit(ConversationQueued(arrival.conversation_id, int(row[0]), place.queue.id, place.why))
    return int(row[0])


def _values(arrival: Arrival) -> dict[str, Any]:
    values: dict[str, Any] = {f"contact.{name}": value for name, value in arrival.attributes.items()}
    values["item.channel"] = arrival.channel
    values["item.channel_name"] = arrival.channel_name
    values["item.subject"] = arrival.subject
    values["item.text"] = arrival.text
    return values
