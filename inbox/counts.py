"""The numbers beside the names of views, channels and queues; every page has them, so they go past the ORM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from hub import views as saved
from hub.pump import latest_fact
from inbox.session import Viewer
from storage import Tx
from storage.access import receipts_seen_by
from storage.receipts import is_unseen
from storage.statements import spelled_out

WORK = (
    "SELECT state, channel, queue_id, assignee_id, count(*), count(escalated_at) FROM conversation "
    "WHERE state IN ('open', 'snoozed') GROUP BY state, channel, queue_id, assignee_id"
)
MENTIONS = "SELECT count(*) FROM mention WHERE agent_id = ? AND seen_at IS NULL"
UNREAD = (
    "SELECT count(*) FROM conversation v LEFT JOIN reading r ON r.conversation_id = v.id AND r.agent_id = ? "
    "WHERE v.assignee_id = ? AND v.state = 'open' AND v.waiting_since IS NOT NULL "
    "AND v.last_inbound_id > COALESCE(r.message_id, 0)"
)
_SPOILED = {dialect: spelled_out(is_unseen(), dialect) for dialect in ("sqlite", "postgresql")}


@dataclass(frozen=True, slots=True)
class SavedCount:
    """A saved view in the navigation: `whose` is "mine", "team" or "all"."""

    id: int
    name: str
    whose: str
    count: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many are in each view, and how many of my own I have not read."""

    views: dict[str, int] = field(default_factory=dict)
    channels: list[tuple[str, int]] = field(default_factory=list)
    queues: list[tuple[int, str, int]] = field(default_factory=list)
    unread: int = 0
    saved: list[SavedCount] = field(default_factory=list)


def counts(tx: Tx, who: Viewer) -> Counts:
    """What is open or snoozed and visible, and what each agent has for themselves."""
    tally: Counter[str] = Counter()
    channels: Counter[str] = Counter()
    queues: Counter[int] = Counter()
    for state, channel, queue_id, owner, number, escalated in _work(tx):
        if not who.actor.sees(queue_id, owner):
            continue
        if state == "snoozed":
            tally["snoozed"] += number
            continue
        tally["all"] += number
        tally["mine"] += number if owner == who.id else 0
        tally["unassigned"] += number if owner is None else 0
        if who.actor.sees_all:
            tally["escalated"] += escalated
        channels[channel] += number
        queues[queue_id or 0] += number
    tally["unreadable"] = _number(
        tx, f"SELECT count(*) FROM receipt WHERE {_SPOILED[tx.dialect]} AND {receipts_seen_by(who.actor, tx.dialect)}"
    )
    tally["mentions"] = _number(tx, MENTIONS, who.id)
    unread = _number(tx, UNREAD, who.id, who.id) + tally["mentions"]
    return Counts(dict(tally), _channels(tx, channels), _queues(tx, who, queues), unread, saved_counts(tx, who))


def saved_counts(tx: Tx, who: Viewer, *, fresh: bool = False) -> list[SavedCount]:
    """The saved views as they were counted last, or `fresh`: that takes its time, and nothing else waits for it."""
    tallies = saved.tallies(tx)
    found = []
    for row in saved.views(tx, who.actor):
        tally = tallies.fresh(tx, who.actor, row) if fresh else tallies.last(who.actor, row)
        whose = "mine" if row.agent_id else "team" if row.queue_id else "all"
        found.append(SavedCount(row.id or 0, row.name, whose, str(tally or "")))
    return found


_counted: WeakKeyDictionary[Any, tuple[int, Sequence[Any]]] = WeakKeyDictionary()


def _work(tx: Tx) -> Sequence[Any]:
    """What there is, by whose it is: counted once for all who look after the same fact."""
    newest = latest_fact(tx)
    kept = _counted.get(tx.bind)
    if kept is None or kept[0] != newest:
        kept = _counted[tx.bind] = newest, tx.sql(WORK).fetchall()
    return kept[1]


def _number(tx: Tx, statement: str, *values: int) -> int:
    return int(tx.sql(statement, *values).fetchone()[0])


def _channels(tx: Tx, channels: Counter[str]) -> list[tuple[str, int]]:
    kinds = [row[0] for row in tx.sql("SELECT kind FROM channel WHERE active ORDER BY id").fetchall()]
    return [(kind, channels[kind]) for kind in dict.fromkeys([*kinds, *sorted(kind for kind in channels if kind)])]


def _queues(tx: Tx, who: Viewer, queues: Counter[int]) -> list[tuple[int, str, int]]:
    rows = tx.sql("SELECT id, name FROM queue WHERE active ORDER BY id").fetchall()
    shown = [(number, name) for number, name in rows if who.actor.sees_all or number in who.actor.queue_ids]
    return [(number, name, queues[number]) for number, name in shown]
