"""Values of rules that cost something to know: worked out for one arrival, and only when an active rule asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from routing.calendars import Calendar
from routing.fields import DAYS, QUEUE_FIELD, field_named
from storage.columns import moment
from storage.store import Tx

SAMPLE_FOR = timedelta(seconds=1)
OPEN_CONVERSATIONS = "contact.open_conversations"
_OPEN = (
    "SELECT count(*) FROM conversation JOIN contact ON contact.id = conversation.contact_id "
    "WHERE contact.person_id = (SELECT person_id FROM contact WHERE id = ?) "
    "AND conversation.state <> 'resolved' AND conversation.id <> ?"
)
_WAITING = (  # the longer list is that of an index; without it SQLite goes through all work that ever was
    "SELECT queue_id, count(*), min(order_time) FROM work_item "
    "WHERE state IN ('queued','offered','assigned') AND state = 'queued' GROUP BY queue_id"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """How the queues stood at a moment: by id how many wait and since when the oldest does."""

    at: datetime
    queues: Mapping[int, tuple[int, datetime]]

    def value(self, queue_id: int, what: str) -> int:
        """How many wait, or how many seconds the oldest does; 0 for an empty queue."""
        waiting, oldest = self.queues.get(queue_id, (0, self.at))
        return waiting if what == "waiting" else max(0, int((self.at - oldest).total_seconds()))


_samples: WeakKeyDictionary[Any, Sample] = WeakKeyDictionary()


def is_looked_up(key: str) -> bool:
    """Whether a value of `Condition.asks` is one of these."""
    return field_named(key.partition("@")[0] if key.startswith("time.") else key).looked_up


class Open(Protocol):
    """What has to be known of a queue: its id and when it is open."""

    @property
    def id(self) -> int: ...

    @property
    def calendar(self) -> Calendar: ...


def is_of_the_clock(key: str) -> bool:
    """Whether a moment is all that has to be known for it, so that it can be told of the past as well."""
    return key.startswith("time.") or ((found := QUEUE_FIELD.fullmatch(key)) is not None and found[2] == "open")


def value_at(key: str, now: datetime, queues: Mapping[str, Open]) -> Any:
    """`time.of_day@Europe/Stockholm`, `queue.Shipping.open` and their like at a moment; None for no such queue."""
    if (found := QUEUE_FIELD.fullmatch(key)) is not None:
        return queues[found[1]].calendar.is_open(now) if found[1] in queues else None
    name, _, zone = key.partition("@")
    there = now.astimezone(ZoneInfo(zone))
    if name == "time.weekday":
        return DAYS[there.weekday()]
    return f"{there:%H:%M}" if name == "time.of_day" else there.date().isoformat()


def looked_up(
    tx: Tx, asks: Iterable[str], contact_id: int, conversation_id: int, queues: Mapping[str, Open]
) -> dict[str, Any]:
    """The values of these names. A queue that there is no more has none."""
    values: dict[str, Any] = {}
    for key in asks:
        if is_of_the_clock(key):
            values[key] = value_at(key, tx.now, queues)
        elif key == OPEN_CONVERSATIONS:
            values[key] = int(tx.sql(_OPEN, contact_id, conversation_id).fetchone()[0])
        elif (found := QUEUE_FIELD.fullmatch(key)) and found[1] in queues:
            values[key] = queue_sample(tx).value(queues[found[1]].id, found[2])
    return values


def queue_sample(tx: Tx) -> Sample:
    """The queues as they stood within the last second. Kept per database engine."""
    sample = _samples.get(tx.bind)
    if sample is None or not sample.at <= tx.now < sample.at + SAMPLE_FOR:
        rows = tx.sql(_WAITING).fetchall()
        sample = Sample(tx.now, {int(queue): (int(n), moment(oldest) or tx.now) for queue, n, oldest in rows})
        _samples[tx.bind] = sample
    return sample
