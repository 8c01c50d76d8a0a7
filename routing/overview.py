"""The floor at a glance: what waits in which queue and how late, and who is there. The database makes the sums."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from routing.floor import read_labels
from routing.handout import Profile
from routing.promises import FIRST_REPLY
from routing.rules import WEIGHT, WEIGHTS, QueueTerms, RuleBook, rule_book
from storage.columns import moment, read_json
from storage.store import Tx

MOST = 40  # pieces of waiting work that are listed
LIGHTEST = min(WEIGHT, *WEIGHTS.values())

_WAITING = "SELECT queue_id, count(*), min(order_time) FROM work_item AS item WHERE state = 'queued' GROUP BY queue_id"
# By `+` SQLite is kept from grouping along an index that knows nothing of due_at.
_LATE = "SELECT +queue_id, count(*) FROM work_item AS item WHERE state = 'queued' AND due_at <= ? GROUP BY 1"
_SOON = (
    "SELECT +queue_id, count(*) FROM work_item AS item WHERE state = 'queued' AND due_at > ? AND due_at <= ? "
    "AND due_at <= {soon} GROUP BY 1"
)
# Snoozed work stands in its queue too, but waits for nobody. Found first: PostgreSQL, having counted the tables while
# they were empty, would go through all conversations for each that waits.
_ASLEEP = (
    "WITH asleep AS MATERIALIZED (SELECT id FROM conversation WHERE state = 'snoozed') "
    "SELECT item.queue_id, count(*), sum(CASE WHEN item.due_at <= ? THEN 1 ELSE 0 END), "
    "sum(CASE WHEN item.due_at > ? AND item.due_at <= {soon} THEN 1 ELSE 0 END) FROM asleep "
    "JOIN work_item AS item ON item.conversation_id = asleep.id AND item.state = 'queued' GROUP BY item.queue_id"
)
_OLDEST_AWAKE = (
    "SELECT item.order_time FROM work_item AS item JOIN conversation ON conversation.id = item.conversation_id "
    "AND conversation.state = 'open' WHERE item.state = 'queued' AND item.queue_id = ? "
    "ORDER BY item.order_time, item.id LIMIT 1"
)
_SERVING = (
    "SELECT agent_queue.queue_id, count(*), "
    "sum(CASE WHEN status = 'available' AND drained_at IS NULL THEN 1 ELSE 0 END), "
    "sum(CASE WHEN status = 'available' AND drained_at IS NULL AND load + ? <= capacity THEN 1 ELSE 0 END) "
    "FROM agent_queue JOIN agent ON agent.id = agent_queue.agent_id AND agent.active GROUP BY agent_queue.queue_id"
)
_AGENTS = (
    "SELECT id, name, status, status_since, drained_at, load, capacity, profile_id, status_why FROM agent WHERE active "
    "AND (load > 0 OR EXISTS (SELECT 1 FROM agent_queue WHERE agent_queue.agent_id = agent.id))"
)
# Not along the index of all that agents ever had, as with queues above.
_HAVE = (
    "SELECT +assignment.agent_id, work_item.channel, work_item.labels, count(*), "
    "sum(CASE WHEN assignment.parked_at IS NULL THEN 0 ELSE 1 END) FROM assignment "
    "JOIN work_item ON work_item.id = assignment.work_item_id WHERE assignment.ended_at IS NULL GROUP BY 1, 2, 3"
)
_WRAPS = (
    "SELECT assignment.agent_id, work_item.channel, work_item.labels, count(*), max(assignment.wrap_until) "
    "FROM assignment JOIN work_item ON work_item.id = assignment.work_item_id WHERE wrap_until IS NOT NULL "
    "GROUP BY assignment.agent_id, work_item.channel, work_item.labels"
)
_RINGING = "SELECT agent_id, count(*) FROM offer WHERE state = 'offered' GROUP BY agent_id"
# Asked for its state by its key: an EXISTS is a join, in which a PostgreSQL that has counted nothing yet may go through
# all open conversations for each piece of work.
_NEXT = (
    "SELECT item.conversation_id, item.queue_id, item.channel, item.weight, item.skills, item.priority, "
    "item.order_time, item.due_at, item.pinned_at, item.pin_agent_id, item.pin_until, item.labels "
    "FROM work_item AS item WHERE item.state = 'queued'{which} AND (SELECT conversation.state FROM conversation "
    "WHERE conversation.id = item.conversation_id) = 'open' ORDER BY {order} LIMIT ?"
)
_IN_TURN = "item.due_at, item.queue_id, item.channel, item.order_time, item.id"  # as ix_work_item_due stands
_ORDER = {"available": 0, "away": 1, "offline": 2}


@dataclass(frozen=True, slots=True)
class QueueLine:
    """A queue now. `late` have missed their next target, `soon` are in its last part; of the `members`, `there` are
    available and `free` have room for at least the lightest conversation."""

    id: int
    name: str
    waiting: int
    oldest: datetime | None
    soon: int
    late: int
    members: int
    there: int
    free: int
    paused: bool
    paused_why: str
    closed: bool


@dataclass(frozen=True, slots=True)
class AgentLine:
    """An agent now. `has` counts conversations by kind of channel, `rings` those that ring. `labels` counts those with
    each label, and `full` names the channels and labels of which he has as many as his profile allows. `parked` of what
    he has waits for the customer, and he wraps up `wraps` more, the last until `wraps_until`."""

    id: int
    name: str
    status: str
    since: datetime | None
    drained: bool
    load: int
    capacity: int
    has: tuple[tuple[str, int], ...]
    rings: int
    labels: tuple[tuple[str, int], ...] = ()
    full: tuple[str, ...] = ()
    parked: int = 0
    wraps: int = 0
    wraps_until: datetime | None = None
    why: str = ""  # what was said or found when the status changed

    @property
    def number(self) -> int:
        """How many conversations they have."""
        return sum(number for _, number in self.has)


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """A conversation that waits."""

    conversation_id: int
    queue_id: int
    channel: str
    weight: int
    skills: tuple[tuple[str, int], ...]
    priority: int
    since: datetime | None
    due_at: datetime | None
    pinned: bool
    pin_agent_id: int | None
    pin_until: datetime | None
    labels: tuple[str, ...] = ()


def queue_lines(tx: Tx) -> list[QueueLine]:
    """Every active queue, by its place on the desk."""
    book = rule_book(tx)
    waiting = {row[0]: (row[1], moment(row[2])) for row in tx.sql(_WAITING).fetchall()}
    late = Counter(dict(tx.sql(_LATE, tx.now).fetchall()))
    soon: Counter[int] = Counter()
    if book.queues:
        near, values = _soon(book, tx.now)
        last = max(value for value in values if isinstance(value, datetime))
        soon.update(dict(tx.sql(_SOON.format(soon=near), tx.now, last, *values).fetchall()))
        for queue_id, number, overdue, pressing in tx.sql(
            _ASLEEP.format(soon=near), tx.now, tx.now, *values
        ).fetchall():
            oldest = tx.sql(_OLDEST_AWAKE, queue_id).fetchone()
            stood = waiting.get(queue_id, (number, None))[0]  # on PostgreSQL it may have come since that was counted
            waiting[queue_id] = (max(0, stood - number), moment(oldest[0]) if oldest else None)
            late[queue_id] -= overdue
            soon[queue_id] -= pressing
    serving = {row[0]: row[1:] for row in tx.sql(_SERVING, LIGHTEST).fetchall()}
    said = {row[0]: row[1] for row in tx.sql("SELECT id, paused_why FROM queue WHERE active").fetchall()}
    paused = {terms.id for terms in book.terms if terms.paused}
    lines = []
    for queue in sorted(book.queues.values(), key=lambda one: one.id):
        number, oldest = waiting.get(queue.id, (0, None))
        members, there, free = serving.get(queue.id, (0, 0, 0))
        lines.append(
            QueueLine(
                queue.id, queue.name, number, oldest, soon[queue.id], late[queue.id], members, there, free,
                queue.id in paused, said.get(queue.id, ""), not queue.calendar.is_open(tx.now),
            )
        )  # fmt: skip
    return lines


def agent_lines(tx: Tx) -> list[AgentLine]:
    """Everybody who serves a queue or has work: who is there first, then by name."""
    has: dict[int, Counter[str]] = defaultdict(Counter)
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    counted: dict[int, Counter[str]] = defaultdict(Counter)  # against the limits of channels and labels
    parked, wraps = Counter[int](), Counter[int]()
    until: dict[int, datetime] = {}
    for agent_id, channel, named, number, resting in tx.sql(_HAVE).fetchall():
        has[agent_id][channel] += number
        parked[agent_id] += int(resting)
        labels[agent_id].update(dict.fromkeys(read_labels(named), number))
        counted[agent_id].update(dict.fromkeys([channel, *_named(named)], number - int(resting)))
    for agent_id, channel, named, number, last in tx.sql(_WRAPS).fetchall():
        wraps[agent_id] += number
        until[agent_id] = max(until.get(agent_id, tx.now), moment(last) or tx.now)
        counted[agent_id].update(dict.fromkeys([channel, *_named(named)], number))
    rings, book = dict(tx.sql(_RINGING).fetchall()), rule_book(tx)
    lines = [
        AgentLine(
            agent_id, name, status, moment(since), drained is not None, load, capacity,
            tuple(sorted(has[agent_id].items())), rings.get(agent_id, 0), tuple(sorted(labels[agent_id].items())),
            _full(book.profile(profile_id), counted[agent_id]), parked[agent_id], wraps[agent_id], until.get(agent_id),
            why,
        )
        for agent_id, name, status, since, drained, load, capacity, profile_id, why in tx.sql(_AGENTS).fetchall()
    ]  # fmt: skip
    return sorted(lines, key=lambda line: (_ORDER.get(line.status, 3), line.drained, line.name, line.id))


def waiting_lines(tx: Tx, queue_id: int | None = None, most: int = MOST) -> list[WaitingLine]:
    """The waiting work that is due first, pinned first of all; then what has no target, the oldest first."""
    which, values = ("", ()) if queue_id is None else (" AND item.queue_id = ?", (queue_id,))
    rows: list[Any] = []
    for condition, order in (
        (" AND item.pinned_at IS NOT NULL", "item.pinned_at, item.id"),
        (" AND item.pinned_at IS NULL AND item.due_at IS NOT NULL", _IN_TURN),
        (" AND item.pinned_at IS NULL AND item.due_at IS NULL", "item.order_time, item.id"),
    ):
        if len(rows) < most:
            statement = _NEXT.format(which=which + condition, order=order)
            rows += tx.sql(statement, *values, most - len(rows)).fetchall()
    return [_waiting(row) for row in rows]


def _full(profile: Profile, counted: Mapping[str, int]) -> tuple[str, ...]:
    limits = profile.limits_of(0)
    full = [name for name, most in limits.channels.items() if counted.get(name, 0) >= most]
    return (*sorted(full), *sorted(name for name, most in limits.labels.items() if counted.get(f"#{name}", 0) >= most))


def _named(document: Any) -> list[str]:
    """Labels, told apart from channels of the same name."""
    return [f"#{label}" for label in read_labels(document)]


def _waiting(row: Any) -> WaitingLine:
    conversation_id, queue_id, channel, weight, skills, priority, since, due_at, pinned, agent_id, until = row[:11]
    required = read_json(skills)
    return WaitingLine(
        conversation_id, queue_id, channel, weight, tuple(sorted(required.items())), priority, moment(since),
        moment(due_at), pinned is not None, agent_id, moment(until), read_labels(row[11]),
    )  # fmt: skip


def _soon(book: RuleBook, now: datetime) -> tuple[str, tuple[Any, ...]]:
    """Up to when what is due counts as soon: the part of the first reply's target that is left when it is warned of."""
    branches, values = [], list[Any]()
    for queue in book.queues.values():
        own = [channel for channel, targets in queue.promises.channels.items() if FIRST_REPLY in targets]
        until = f"CASE item.channel{' WHEN ? THEN ?' * len(own)} ELSE ? END" if own else "?"
        branches.append(f"WHEN {queue.id} THEN {until}")
        for channel in own:
            values += [channel, now + _left(queue, channel)]
        values.append(now + _left(queue, ""))
    return f"CASE item.queue_id {' '.join(branches)} ELSE NULL END", tuple(values)


def _left(queue: QueueTerms, channel: str) -> timedelta:
    target = queue.promises.target(FIRST_REPLY, channel) or 0
    return timedelta(seconds=target * (100 - queue.promises.warn_at) / 100)
