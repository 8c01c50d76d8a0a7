"""Work taken by hand: what an agent may take now, the best first. The engine ranks; skills and limits hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from config.language import _, words
from routing.demand import Waiting
from routing.engine import Engine
from routing.floor import roster, waiting
from routing.handout import Profile
from routing.rules import RuleBook, rule_book
from routing.supply import Candidate, Slot, objection
from storage.people import Agent
from storage.store import Tx
from storage.work import WorkItem

KEPT = 5  # of each kind of work: more than one may be cooling down, or be gone when it is taken
SHOWN = 3
MOST = 50

# Of work of one kind only the first matters; `{key}` is what its line is ordered by.
_HEADS = """
SELECT conversation_id FROM (
    SELECT item.conversation_id, row_number() OVER (
        PARTITION BY item.queue_id, item.channel, item.weight, item.skills, item.labels, item.priority,
            item.pinned_at IS NULL, item.pin_agent_id, item.joined
        ORDER BY {key}, item.id
    ) AS place
    FROM work_item AS item JOIN conversation ON conversation.id = item.conversation_id AND conversation.state = 'open'
    WHERE item.state = 'queued' AND {which}
) AS line WHERE place <= ?
"""
_KEYS = {"slack": "coalesce(item.due_at, item.order_time)", "lifo": "item.order_time DESC"}
_KEYS["deadline"] = _KEYS["slack"]
_AGE = "item.order_time"
_SOONER = (
    "SELECT count(*) FROM work_item WHERE state = 'queued' AND due_at < ? AND id <> ? AND queue_id IN "
    "(SELECT queue_id FROM agent_queue WHERE agent_id = ?)"
)
_HINDERS = words(
    {
        "room": "you have no room",
        "wrap_up": "you are wrapping up; say that you are done first",
        "channel": "you have as many of this channel as your profile allows",
        "label": "you have as many of its kind as your profile allows",
        "blocked": "what you have open must not be interrupted by it",
        "rate": "you got as much in this time as your profile allows",
    }
)


def choices(tx: Tx, agent_id: int, most: int = MOST) -> list[Waiting]:
    """What this agent may take by hand now, what the engine would give first before; the first few of each kind."""
    book = rule_book(tx)
    found = roster(tx, book, [agent_id])
    if not found or tx.get_one(Agent, agent_id).drained_at is not None:
        return []
    one, profile, now = _by_hand(found[0]), _profile(tx, book, agent_id), tx.now.timestamp()
    engine = Engine(book.terms, book.skills)
    engine.put_agent(one, now)
    for item in waiting(tx, book, set(), _first(tx, book, one)):
        if item.prefer_until <= now or item.prefer == agent_id:
            engine.put(item, now)
    closed = {queue.id for queue in book.queues.values() if queue.holds(tx.now)}
    closed |= {terms.id for terms in book.terms if terms.paused}
    return [
        item
        for item in engine.ranking(agent_id, now, most=MOST)
        if item.queue_id not in closed and item.channel not in profile.push and not _objection(one, item, now)
    ][:most]


def why_next(item: Waiting, place: int, ranked: list[Waiting], now: float) -> dict[str, Any]:
    """The explanation of an assignment that an agent asked for: what else there was, and what came after it."""
    return {
        "why": "next",
        "place": place,
        "of": len(ranked),
        "queue_id": item.queue_id,
        "skills": dict(item.skills),
        "weight": item.weight,
        "waited": round(now - item.order_time, 3),
        "due_in": round(item.due - now, 3),
        "rivals": [
            {"conversation_id": one.conversation_id, "queue_id": one.queue_id}
            for one in ranked
            if one.id != item.id
        ][:SHOWN],
    }  # fmt: skip


def why_chosen(tx: Tx, item: WorkItem, agent_id: int) -> dict[str, Any]:
    """The explanation of a free choice: how many that are due sooner were left."""
    sooner = 0 if item.due_at is None else int(tx.sql(_SOONER, item.due_at, item.id, agent_id).fetchone()[0])
    return {"why": "chosen", "sooner": sooner, "waited": round((tx.now - item.order_time).total_seconds(), 3)}


def hindrance(tx: Tx, item: WorkItem, agent_id: int) -> str:
    """Why an agent may not take this by hand; "" when nothing but room is in the way."""
    book = rule_book(tx)
    found = roster(tx, book, [agent_id])
    if not found:
        return ""
    one, profile = _by_hand(found[0]), _profile(tx, book, agent_id)
    if item.channel in profile.push:
        channel = item.channel.capitalize()
        return _("{channel} comes to you by itself: your profile does not let you choose it.", channel=channel)
    lacking = _told({name: level for name, level in item.skills.items() if one.skills.get(name, 0) < level})
    if lacking:
        return _(
            "It requires {skills}, which you don't have: answer it all the same, or ask a supervisor to assign it.",
            skills=lacking,
        )
    why = _objection(one, item, tx.now.timestamp())
    return "" if why in ("", "room") else _("You can't take it now: {why}.", why=_HINDERS.get(why, why))


def _first(tx: Tx, book: RuleBook, one: Candidate) -> list[int]:
    orders = {terms.id: terms.work_order for terms in book.terms}
    by_key: dict[str, list[int]] = {}
    for queue_id in sorted(one.queues):
        if queue_id in orders:
            by_key.setdefault(_KEYS.get(orders[queue_id], _AGE), []).append(queue_id)
    found: list[int] = []
    for key, queues in by_key.items():
        statement = _HEADS.format(key=key, which=f"item.queue_id IN ({','.join('?' * len(queues))})")
        found += [row[0] for row in tx.sql(statement, *queues, KEPT).fetchall()]
    # Work of other queues that one's own has joined by now.
    statement = _HEADS.format(key=_AGE, which="item.joined <> '[]'")
    return found + [row[0] for row in tx.sql(statement, KEPT).fetchall()]


def _by_hand(one: Candidate) -> Candidate:
    """Somebody who takes work: status and what is meant for the router only don't count."""
    return replace(one, status="available", limits=replace(one.limits, pull=frozenset()))


def _objection(one: Candidate, item: Waiting | WorkItem, now: float) -> str:
    recent = [at for at in one.recent if at > now - one.limits.window]
    slot = Slot(item.channel, item.weight, tuple(item.labels))
    return objection(one, slot, one.load, one.open, one.labelled, 0 < one.limits.rate <= len(recent))


def _profile(tx: Tx, book: RuleBook, agent_id: int) -> Profile:
    return book.profile(tx.get_one(Agent, agent_id).profile_id)


def _told(skills: Mapping[str, int]) -> str:
    return " and ".join(f"{name} ≥ {level}" for name, level in sorted(skills.items()))
