"""What is due to leave, lane by lane: a lane is one sender's way to one target, and no lane holds up another.

A subscriber that is away for hours leaves a hundred thousand deliveries behind, and couriers look many times a second:
so a look takes its time by the number of lanes, whatever waits in them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from storage import Tx
from storage.clock import Clock
from storage.columns import moment
from storage.deliveries import Delivery

# From each target to the next by the index ix_delivery_lane; what waits behind the first `most` is not counted.
DUE = (
    "WITH RECURSIVE way(state, sender) AS (VALUES {ways}), lane(state, sender, target) AS ("
    "SELECT state, sender, (SELECT min(target) FROM delivery d WHERE d.state = way.state AND d.sender = way.sender) "
    "FROM way UNION ALL SELECT state, sender, (SELECT min(d.target) FROM delivery d "
    "WHERE d.state = lane.state AND d.sender = lane.sender AND d.target > lane.target) "
    "FROM lane WHERE target IS NOT NULL), "
    "first(state, sender, target, due_at) AS (SELECT state, sender, target, (SELECT min(d.due_at) FROM delivery d "
    "WHERE d.state = lane.state AND d.sender = lane.sender AND d.target = lane.target) "
    "FROM lane WHERE target IS NOT NULL) "
    "SELECT state, sender, target, (SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE d.state = first.state "
    "AND d.sender = first.sender AND d.target = first.target AND d.due_at <= ? LIMIT ?) AS first_of_them) "
    "FROM first WHERE due_at <= ? ORDER BY due_at, sender, target"
)
# Materialized, because PostgreSQL may run a subquery once for every row: each run would find as many rows again.
TAKE = (
    "WITH due AS MATERIALIZED (SELECT id FROM delivery WHERE state = ? AND due_at <= ? AND sender = ? AND target = ? "
    "ORDER BY due_at, id LIMIT ?{lock}) "
    "UPDATE delivery SET {change}, due_at = ? WHERE id IN (SELECT id FROM due) RETURNING id"
)
CLAIM = "state = 'sending', claims = claims + 1, attempts = attempts + 1, begun_at = NULL, in_doubt = false"
ADOPT = "in_doubt = true"

AWAY_AFTER = 3  # tries in a row that met nobody
FIRST_REST, LONGEST_REST = timedelta(seconds=1), timedelta(seconds=30)


class Lane(NamedTuple):
    """A lane with work to be done, and how much of it."""

    state: str
    sender: str
    target: str
    due: int


class Absences:
    """Lanes whose other end is away, as this process has seen it: who tries in vain says so for all who wait behind.

    After a few tries in a row that met nobody one delivery tries at a time, with a rest between that doubles; the first
    that is answered opens the lane again. The others keep their own tries for when somebody is there.
    """

    def __init__(self, clock: Clock):
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[int, datetime]] = {}  # failures in a row, and until when to rest
        self._noting = threading.Lock()

    def note(self, sender: str, target: str, *, away: bool) -> None:
        """How a try went. Whoever refuses a thing is there."""
        with self._noting:
            if not away:
                self._seen.pop((sender, target), None)
                return
            failures = self._seen.get((sender, target), (0, None))[0] + 1
            self._seen[sender, target] = failures, self._clock() + _rest(failures)

    def room(self, lane: Lane, room: int) -> int:
        """How many of a lane's deliveries may try now, where there is room for so many."""
        with self._noting:
            failures, until = self._seen.get((lane.sender, lane.target), (0, None))
            if until is None or failures < AWAY_AFTER:
                return room
            if self._clock() < until:
                return 0
            # Whatever becomes of the try, and if nobody ever hears of it: the next one is after a rest.
            self._seen[lane.sender, lane.target] = failures, self._clock() + _rest(failures)
            return min(room, 1)


def _rest(failures: int) -> timedelta:
    return min(FIRST_REST * (1 << min(max(failures - AWAY_AFTER, 0), 10)), LONGEST_REST)


def lanes_due(tx: Tx, states: Iterable[str], senders: Iterable[str], most: int) -> list[Lane]:
    """Where something is due, what is due for longest first; of each lane at most `most` are counted."""
    ways = [(state, sender) for state in states for sender in senders]
    statement = DUE.format(ways=", ".join(["(?, ?)"] * len(ways)))
    return [
        Lane(*row)
        for row in tx.sql(statement, *(part for way in ways for part in way), tx.now, most, tx.now).fetchall()
    ]


def before_all(tx: Tx, sender: str, target: str) -> datetime:
    """When something has to be due that somebody waits for, to leave before what waits in its lane."""
    first = tx.sql(
        "SELECT min(due_at) FROM delivery WHERE state = 'queued' AND sender = ? AND target = ?", sender, target
    ).fetchone()
    at = moment(first[0]) if first else None
    return tx.now if at is None or at > tx.now else at - timedelta(milliseconds=1)


def take(tx: Tx, lanes: Sequence[Lane], lease: timedelta) -> list[Delivery]:
    """Claim as many as the lanes say, or adopt what nobody settled, until the lease ends; in the order of their ids."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "postgresql" else ""
    ids = []
    for state, sender, target, due in lanes:
        statement = TAKE.format(change=CLAIM if state == "queued" else ADOPT, lock=lock)
        ids += [row[0] for row in tx.sql(statement, state, tx.now, sender, target, due, tx.now + lease).fetchall()]
    return [row for number in sorted(ids) if (row := tx.get(Delivery, number)) is not None]
