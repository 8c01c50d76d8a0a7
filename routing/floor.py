"""The floor as it stands in the database: who is there and what waits, as the engine sees them."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from routing.demand import Skills, Waiting
from routing.handout import USUAL
from routing.rules import RuleBook
from routing.supply import Candidate
from storage.columns import moment, read_json
from storage.store import Tx

log = logging.getLogger(__name__)

# What an agent has that is not parked, or wraps up, by channel and labels; the marks are filled in by `_among`. By `+`
# SQLite is kept from grouping along the index of all that agents ever had.
OPEN = (
    "SELECT offer.agent_id, work_item.channel, work_item.labels, count(*), 0, 0 FROM offer "
    "JOIN work_item ON work_item.id = offer.work_item_id WHERE offer.state = 'offered'{ringing} "
    "GROUP BY offer.agent_id, work_item.channel, work_item.labels UNION ALL "
    "SELECT +assignment.agent_id, work_item.channel, work_item.labels, count(*), 0, 0 FROM assignment "
    "JOIN work_item ON work_item.id = assignment.work_item_id "
    "WHERE assignment.ended_at IS NULL AND assignment.parked_at IS NULL{owned} GROUP BY 1, 2, 3 UNION ALL "
    "SELECT assignment.agent_id, work_item.channel, work_item.labels, count(*), count(*), sum(assignment.weight) "
    "FROM assignment JOIN work_item ON work_item.id = assignment.work_item_id "
    "WHERE assignment.wrap_until IS NOT NULL{owned} "
    "GROUP BY assignment.agent_id, work_item.channel, work_item.labels"
)
STATUS = "CASE WHEN status = 'available' AND drained_at IS NOT NULL THEN 'draining' ELSE status END"
RECENT = "SELECT agent_id, offered_at FROM offer WHERE offered_at > ?"
COOLING = "SELECT work_item_id, agent_id, until FROM cooldown WHERE until > ?"
_COLUMNS = (
    "work_item.id, work_item.conversation_id, work_item.queue_id, work_item.channel, work_item.weight, "
    "work_item.skills, work_item.priority, work_item.order_time, work_item.version, work_item.due_at, "
    "work_item.pinned_at, work_item.pin_agent_id, work_item.pin_until, work_item.joined, work_item.age_credit, "
    "work_item.prefer_id, work_item.prefer_until, work_item.labels"
)
# The longer list is that of an index; without it SQLite goes through all work of a conversation that ever was.
QUEUED = (
    f"SELECT {_COLUMNS} FROM work_item JOIN conversation ON conversation.id = work_item.conversation_id "
    "AND conversation.state = 'open' "
    "WHERE work_item.state IN ('queued','offered','assigned') AND work_item.state = 'queued'"
)


def roster(tx: Tx, book: RuleBook, only: Collection[int] | None = None) -> list[Candidate]:
    """Every active agent, or `only` these, with skills, queues and what he has now, whatever the status."""
    skills: dict[int, dict[str, int]] = defaultdict(dict)
    among, ids = _among("agent_skill.agent_id", only)
    for agent_id, name, level in tx.sql(
        "SELECT agent_skill.agent_id, skill.name, agent_skill.level FROM agent_skill "
        f"JOIN skill ON skill.id = agent_skill.skill_id WHERE true{among}", *ids,
    ).fetchall():  # fmt: skip
        skills[agent_id][name] = level
    queues: dict[int, list[int]] = defaultdict(list)
    among, ids = _among("agent_id", only)
    for agent_id, queue_id in tx.sql(
        f"SELECT agent_id, queue_id FROM agent_queue WHERE true{among} ORDER BY queue_id", *ids
    ).fetchall():
        queues[agent_id].append(queue_id)
    opened: dict[int, Counter[str]] = defaultdict(Counter)
    labelled: dict[int, Counter[str]] = defaultdict(Counter)
    wrapped: dict[int, Counter[str]] = defaultdict(Counter)
    wrapping: Counter[int] = Counter()
    statement = OPEN.format(ringing=_among("offer.agent_id", only)[0], owned=_among("assignment.agent_id", only)[0])
    for agent_id, channel, labels, number, done, weight in tx.sql(statement, *ids, *ids, *ids).fetchall():
        opened[agent_id][channel] += number
        if done:
            wrapped[agent_id][channel] += done
            wrapping[agent_id] += int(weight)
        for label in read_labels(labels):
            labelled[agent_id][label] += number
    among, ids = _among("id", only)
    rows = tx.sql(
        f"SELECT id, {STATUS}, capacity, load, idle_since, last_offer_at, profile_id FROM agent "
        f"WHERE active{among} ORDER BY id", *ids,
    ).fetchall()  # fmt: skip
    recent = _recent(tx, book, {row[6] for row in rows}, only)
    found = []
    for agent_id, status, capacity, load, idle, last, profile_id in rows:
        profile = book.profile(profile_id)
        serving = {queue_id: profile.serving.get(queue_id, USUAL) for queue_id in queues[agent_id]}
        found.append(
            Candidate(
                agent_id, status, skills[agent_id], serving, profile.limits_of(capacity), load, seconds(idle),
                seconds(last), opened[agent_id], labelled[agent_id], recent.get(agent_id, ()),
                wrapping[agent_id], wrapped[agent_id], rings=profile.rings,
            )
        )  # fmt: skip
    return found


def _recent(
    tx: Tx, book: RuleBook, profile_ids: Iterable[int | None], only: Collection[int] | None
) -> dict[int, tuple[float, ...]]:
    """When work came to whom, as far back as the rates of the profiles in use look."""
    limits = [book.profile(number).limits_of(0) for number in profile_ids]
    window = max((one.window for one in limits if one.rate), default=0.0)
    found: dict[int, list[float]] = defaultdict(list)
    if window:
        among, ids = _among("agent_id", only)
        since = tx.now - timedelta(seconds=window)
        for agent_id, at in tx.sql(RECENT + among, since, *ids).fetchall():
            found[agent_id].append(seconds(at))
    return {agent_id: tuple(sorted(moments)) for agent_id, moments in found.items()}


def read_labels(document: Any) -> tuple[str, ...]:
    """A work item's labels as either driver hands them over."""
    if document in ("[]", []):
        return ()
    return tuple(sorted(read_json(document)))


def _among(column: str, only: Collection[int] | None) -> tuple[str, list[int]]:
    """A further condition and its values. Marks are padded to powers of two, so that few statements are different."""
    if only is None:
        return "", []
    ids = sorted(only) or [0]
    ids += ids[-1:] * ((1 << (len(ids) - 1).bit_length()) - len(ids))
    return f" AND {column} IN ({','.join('?' * len(ids))})", ids


def seconds(value: str | datetime | None) -> float:
    """A stored moment as the engine counts it; 0 for never."""
    found = moment(value)
    return 0.0 if found is None else found.timestamp()


def waiting(
    tx: Tx, book: RuleBook, unreadable: set[int], conversation_ids: Collection[int] | None = None
) -> list[Waiting]:
    """All queued work that somebody could get, or that of these conversations. What can't be read is left out, and
    said once: `unreadable` are those of which it was.
    """
    among, ids = _among("work_item.conversation_id", conversation_ids)
    rows = tx.sql(QUEUED + among, *ids).fetchall()
    cooling = _cooling(tx, None if conversation_ids is None else [row[0] for row in rows])
    return [
        _seen(book, row, skills, cooling.get(row[0], {}))
        for row in rows
        if (skills := _skills(row[5], row[0], unreadable)) is not None
    ]


def one_waiting(tx: Tx, book: RuleBook, item_id: int) -> Waiting | None:
    """A work item as if it waited; None when what it requires can't be read."""
    row = tx.sql(f"SELECT {_COLUMNS} FROM work_item WHERE id = ?", item_id).fetchone()
    skills = _skills(row[5], item_id, {item_id})
    return None if skills is None else _seen(book, row, skills, _cooling(tx, [item_id]).get(item_id, {}))


def _seen(book: RuleBook, row: Any, skills: Skills, cooling: Mapping[int, float]) -> Waiting:
    """A row of `_COLUMNS` as the engine sees it. What has no target left counts by its age."""
    item_id, conversation_id, queue_id, channel, weight, _, priority, ordered, version, due_at = row[:10]
    pinned, pin_agent, pin_until, joined, credit, prefer, prefer_until, labels = row[10:]
    if pinned is not None:
        prefer, prefer_until = pin_agent, pin_until
    since = seconds(ordered)
    target = book.target(queue_id, channel)
    due = seconds(due_at) - credit if due_at is not None else since + target
    return Waiting(
        item_id, conversation_id, queue_id, channel, weight, skills, priority, since, due, target, version,
        read_labels(labels), tuple(read_json(joined)), prefer or 0,
        prefer_until=seconds(prefer_until), cooling=cooling, pinned=pinned is not None,
    )  # fmt: skip


def _cooling(tx: Tx, item_ids: Collection[int] | None) -> dict[int, dict[int, float]]:
    """Until when not to ask whom, by item."""
    among, ids = _among("work_item_id", item_ids)
    found: dict[int, dict[int, float]] = {}
    for item_id, agent_id, until in tx.sql(COOLING + among, tx.now, *ids).fetchall():
        found.setdefault(item_id, {})[agent_id] = seconds(until)
    return found


def _skills(document: Any, item_id: int, unreadable: set[int]) -> Skills | None:
    """What an item requires; None when it can't be read: one bad row must not stop the others."""
    if document in ("{}", {}):
        return ()
    skills = read_json(document)
    if isinstance(skills, dict) and all(type(level) is int for level in skills.values()):
        return tuple(sorted(skills.items()))
    if item_id not in unreadable:
        unreadable.add(item_id)
        log.error("work item %s is left out: its skills are no map of names to levels; an agent can claim it", item_id)
    return None
