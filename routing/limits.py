"""When a queue is full: so many wait in it, or the oldest has waited so long. What comes then goes elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from storage.columns import moment
from storage.store import Tx

_WAITING = (
    "SELECT count(*) FROM (SELECT 1 FROM work_item WHERE state IN ('queued','offered','assigned') "
    "AND state = 'queued' AND queue_id = ? LIMIT ?) AS waiting"
)
_OLDEST = (
    "SELECT enqueued_at FROM work_item WHERE state IN ('queued','offered','assigned') AND state = 'queued' "
    "AND queue_id = ? ORDER BY order_time, id LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """`size` is the most that may wait, `wait` the longest that the oldest may have waited; None is no limit.

    `queue_id` takes what comes to a full queue; without it the default queue does.
    """

    size: int | None = None
    wait: timedelta | None = None
    queue_id: int | None = None

    @property
    def exist(self) -> bool:
        """Whether there is any limit."""
        return self.size is not None or self.wait is not None


NONE = Limits()


class Limited(Protocol):
    """What has to be known of a queue."""

    @property
    def id(self) -> int: ...

    @property
    def limits(self) -> Limits: ...


def read_limits(document: Mapping[str, Any]) -> Limits:
    """Limits as they are stored: {size, wait, queue_id}."""
    if not document:
        return NONE
    wait = document.get("wait")
    return Limits(document.get("size"), None if wait is None else timedelta(seconds=wait), document.get("queue_id"))


def is_full(tx: Tx, queue: Limited) -> bool:
    """Whether nothing more goes into a queue. What comes at the same moment on several nodes may exceed its size."""
    limits = queue.limits
    if limits.size is not None and tx.sql(_WAITING, queue.id, limits.size).fetchone()[0] >= limits.size:
        return True
    if limits.wait is None:
        return False
    row = tx.sql(_OLDEST, queue.id).fetchone()
    return row is not None and (moment(row[0]) or tx.now) <= tx.now - limits.wait
