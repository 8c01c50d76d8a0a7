"""The floor as it stands in the database: who is there and what waits, as the engine sees them."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from routing.demand import Skills, Waiting
from routing.handout import USUAL
from routing.rules import LIGHTEST, RuleBook
from routing.supply import Candidate
from storage.columns import moment
from storage.store import Tx

log = logging.getLogger(__name__)

_OPEN = (
    "SELECT offer.agent_id, work_item.channel, count(*) FROM offer JOIN work_item ON work_item.id = offer.work_item_id "
    "WHERE offer.state = 'offered' GROUP BY offer.agent_id, work_item.channel UNION ALL "
    "SELECT assignment.agent_id, work_item.channel, count(*) FROM assignment "
    "JOIN work_item ON work_item.id = assignment.work_item_id WHERE assignment.ended_at IS NULL "
    "GROUP BY assignment.agent_id, work_item.channel"
)
STATUS = "CASE WHEN status = 'available' AND drained_at IS NOT NULL THEN 'draining' ELSE status END"
RECENT = "SELECT agent_id, offered_at FROM offer WHERE offered_at > ?"
COOLING = "SELECT work_item_id, agent_id, until FROM cooldown WHERE until > ?"
COLUMNS = (
    "id, conversation_id, queue_id, channel, weight, skills, priority, order_time, version, due_at, pinned_at, "
    "pin_agent_id, pin_until"
)

# Of work of one kind only the head of the line matters: a long queue costs a sort in the database, not in Python.
HEADS = """
SELECT {columns} FROM work_item
WHERE id IN (SELECT id FROM (
    SELECT item.id, row_number() OVER (
        PARTITION BY item.queue_id, item.channel, item.weight, item.skills, item.priority, item.pinned_at IS NULL,
            item.pin_agent_id
        ORDER BY item.order_time {direction}, item.id {direction}
    ) AS place
    FROM work_item AS item JOIN conversation ON conversation.id = item.conversation_id AND conversation.state = 'open'
    WHERE item.state = 'queued' AND item.weight <= ? AND item.queue_id IN ({marks})
) AS line WHERE place <= ?)
"""


def roster(tx: Tx, book: RuleBook) -> list[Candidate]:
    """Every active agent with skills, queues and what he has now, whatever the status."""
    skills: dict[int, dict[str, int]] = defaultdict(dict)
    for agent_id, name, level in tx.sql(
        "SELECT agent_skill.agent_id, skill.name, agent_skill.level FROM agent_skill "
        "JOIN skill ON skill.id = agent_skill.skill_id"
    ).fetchall():
        skills[agent_id][name] = level
    queues: dict[int, list[int]] = defaultdict(list)
    for agent_id, queue_id in tx.sql("SELECT agent_id, queue_id FROM agent_queue").fetchall():
        queues[agent_id].append(queue_id)
    opened: dict[int, Counter[str]] = defaultdict(Counter)
    for agent_id, channel, number in tx.sql(_OPEN).fetchall():
        opened[agent_id][channel] += number
    rows = tx.sql(
        f"SELECT id, {STATUS}, capacity, load, idle_since, last_offer_at, profile_id FROM agent "
        "WHERE active ORDER BY id"
    ).fetchall()
    recent = _recent(tx, book, [row[6] for row in rows])
    found = []
    for agent_id, status, capacity, load, idle, last, profile_id in rows:
        profile = book.profile(profile_id)
        serving = {queue_id: profile.serving.get(queue_id, USUAL) for queue_id in queues[agent_id]}
        found.append(
            Candidate(
                agent_id, status, skills[agent_id], serving, profile.limits_of(capacity), load, seconds(idle),
                seconds(last), opened[agent_id], recent=recent.get(agent_id, ()),
            )
        )  # fmt: skip
    return found


def _recent(tx: Tx, book: RuleBook, profile_ids: Iterable[int | None]) -> dict[int, tuple[float, ...]]:
    """When work came to whom, as far back as the rates of the profiles in use look."""
    limits = [book.profile(number).limits_of(0) for number in set(profile_ids)]
    window = max((one.window for one in limits if one.rate), default=0.0)
    found: dict[int, list[float]] = defaultdict(list)
    if window:
        since = tx.now - timedelta(seconds=window)
        for agent_id, at in tx.sql(RECENT, since).fetchall():
            found[agent_id].append(seconds(at))
    return {agent_id: tuple(sorted(moments)) for agent_id, moments in found.items()}


def seconds(value: str | datetime | None) -> float:
    """A stored moment as the engine counts it; 0 for never."""
    found = moment(value)
    return 0.0 if found is None else found.timestamp()


def most_room(tx: Tx) -> int:
    """The weight that the freest available agent could take: 0 when nobody is there."""
    row = tx.sql(
        "SELECT max(capacity - load) FROM agent WHERE active AND status = 'available' AND drained_at IS NULL"
    ).fetchone()
    return int(row[0] or 0)


def first_waiting(
    tx: Tx, book: RuleBook, candidates: Iterable[Candidate], most: int, unreadable: set[int]
) -> list[Waiting]:
    """The first of queued work of each kind: as much as could be taken, and whatever cools down before it."""
    present = [one for one in candidates if one.status == "available" and one.load < one.limits.capacity]
    holding = {queue.id for queue in book.queues.values() if queue.holds(tx.now)}
    queues = sorted({queue for one in present for queue in one.queues} - holding)
    if not queues:
        return []
    cooling = _cooling(tx)
    room = max(one.limits.capacity - one.load for one in present)
    slots = sum((one.limits.capacity - one.load) // LIGHTEST for one in present)
    newest = {terms.id for terms in book.terms if terms.work_order == "lifo"}
    rows: list[Any] = []
    for direction, some in (("", [n for n in queues if n not in newest]), ("DESC", [n for n in queues if n in newest])):
        if some:
            statement = HEADS.format(columns=COLUMNS, direction=direction, marks=",".join("?" * len(some)))
            rows += tx.sql(statement, room, *some, min(slots, most) + len(cooling)).fetchall()
    return [
        _seen(book, row, skills, cooling.get(row[0], {}))
        for row in rows
        if (skills := _skills(row[5], row[0], unreadable)) is not None
    ]


def one_waiting(tx: Tx, book: RuleBook, item_id: int) -> Waiting | None:
    """A work item as if it waited; None when what it requires can't be read."""
    row = tx.sql(f"SELECT {COLUMNS} FROM work_item WHERE id = ?", item_id).fetchone()
    skills = _skills(row[5], item_id, {item_id})
    asked = tx.sql(f"{COOLING} AND work_item_id = ?", tx.now, item_id).fetchall()
    return None if skills is None else _seen(book, row, skills, {row[1]: seconds(row[2]) for row in asked})


def _seen(book: RuleBook, row: Any, skills: Skills, cooling: Mapping[int, float]) -> Waiting:
    """A row of `COLUMNS` as the engine sees it. What has no target left counts by its age."""
    item_id, conversation_id, queue_id, channel, weight, _, priority, ordered, version, due_at, pinned, *kept = row
    since = seconds(ordered)
    target = book.target(queue_id, channel)
    due = seconds(due_at) if due_at is not None else since + target
    return Waiting(
        item_id, conversation_id, queue_id, channel, weight, skills, priority, since, due, target, version,
        prefer=kept[0] or 0, prefer_until=seconds(kept[1]), cooling=cooling, pinned=pinned is not None,
    )  # fmt: skip


def _cooling(tx: Tx) -> dict[int, dict[int, float]]:
    """Until when not to ask whom, by item."""
    found: dict[int, dict[int, float]] = {}
    for item_id, agent_id, until in tx.sql(COOLING, tx.now).fetchall():
        found.setdefault(item_id, {})[agent_id] = seconds(until)
    return found


def _skills(document: Any, item_id: int, unreadable: set[int]) -> Skills | None:
    """What an item requires; None when it can't be read: one bad row must not stop the others."""
    if document in ("{}", {}):
        return ()
    skills = json.loads(document) if isinstance(document, str) else document
    if isinstance(skills, dict) and all(type(level) is int for level in skills.values()):
        return tuple(sorted(skills.items()))
    if item_id not in unreadable:
        unreadable.add(item_id)
        log.error("work item %s is left out: its skills are no map of names to levels; an agent can claim it", item_id)
    return None
