"""What is due to leave, lane by lane: a lane is one sender's way to one target, and no lane holds up another.

A subscriber that is away for hours leaves a hundred thousand deliveries behind, and couriers look many times a second:
so a look takes its time by the number of lanes, whatever waits in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from storage import Tx
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


class Lane(NamedTuple):
    """A lane with work to be done, and how much of it."""

    state: str
    sender: str
    target: str
    due: int


def lanes_due(tx: Tx, states: Iterable[str], senders: Iterable[str], most: int) -> list[Lane]:
    """Where something is due, what is due for longest first; of each lane at most `most` are counted."""
    ways = [(state, sender) for state in states for sender in senders]
    statement = DUE.format(ways=", ".join(["(?, ?)"] * len(ways)))
    return [
        Lane(*row)
        for row in tx.sql(statement, *(part for way in ways for part in way), tx.now, most, tx.now).fetchall()
    ]


def take(tx: Tx, lanes: Sequence[Lane], lease: timedelta) -> list[Delivery]:
    """Claim as many as the lanes say, or adopt what nobody settled, until the lease ends; in the order of their ids."""
    lock = " FOR UPDATE SKIP LOCKED" if tx.dialect == "postgresql" else ""
    ids = []
    for state, sender, target, due in lanes:
        statement = TAKE.format(change=CLAIM if state == "queued" else ADOPT, lock=lock)
        ids += [row[0] for row in tx.sql(statement, state, tx.now, sender, target, due, tx.now + lease).fetchall()]
    return [row for number in sorted(ids) if (row := tx.get(Delivery, number)) is not None]
