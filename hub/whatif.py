"""A desk in the simulator: a synthetic day, or its own past days, as the desk is and as a file would make it.

Nothing is changed, and nothing is locked: a file is applied to a copy of the desk.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sqlalchemy import insert, select

from config.language import _
from hub.arrivals import past_arrivals
from hub.desk import apply
from routing.demand import Skills, Terms, scored_skill
from routing.floor import roster, seconds
from routing.lookups import is_of_the_clock, value_at
from routing.orders import speed
from routing.rules import Placement, RuleBook, rule_book
from routing.simulation.simulator import Shift, pace
from routing.simulation.traffic import PATIENCE, WORK, WORK_OF_OTHERS, Contact, Sort
from routing.supply import Candidate
from storage.access import SYSTEM, Conflict
from storage.calendars import CalendarPlan
from storage.deliveries import WebhookEndpoint
from storage.desk import (
    ChannelAccount,
    DeskVersion,
    Queue,
    RoutingProfile,
    RoutingRule,
    SavedReply,
    Skill,
    active_channels,
)
from storage.macros import Macro
from storage.people import Agent, AgentQueue, AgentSkill, Role
from storage.store import Store, Tx
from storage.tables import metadata

BUSY = 0.85  # of what the agents can do, where nobody says how much comes
MOST = 20_000  # pieces of past work that are looked at
CHANGES, BEGINS, ENDS = range(3)
LOOK_BACK = timedelta(days=30)  # to know who was there in the beginning
# In an order in which each refers to those before it.
DESK: tuple[Any, ...] = (
    CalendarPlan, Queue, Skill, RoutingProfile, Agent, AgentQueue, AgentSkill, ChannelAccount, RoutingRule, SavedReply,
    Macro, WebhookEndpoint, DeskVersion, Role,
)  # fmt: skip
SECRET = {"password_hash": "", "secret": ""}  # columns that a copy does without

Answer = TypeVar("Answer")

_HANDLED = (
    "SELECT work_item.id, work_item.skills, assignment.agent_id, assignment.started_at, assignment.ended_at "
    "FROM assignment JOIN work_item ON work_item.id = assignment.work_item_id "
    "WHERE assignment.ended_at IS NULL OR assignment.ended_at > ?"
)
_STATUSES = "SELECT at, data FROM fact WHERE name = 'AgentStatusChanged' AND at > ? ORDER BY id"


@dataclass(frozen=True, slots=True)
class Past:
    """Days that were: who wrote, and who came and went. Whoever is in `crew` has the status of the beginning."""

    contacts: list[Contact]
    crew: list[Candidate]
    shifts: list[Shift]


@dataclass(frozen=True, slots=True)
class DeskPlan:
    """A desk as the simulator needs it: everybody at work who serves a queue, and the kinds of its channels.

    `placed` is where each rule, by name, puts its work; under "" is all else. `names` are the agents'.
    """

    book: RuleBook
    crew: list[Candidate]
    kinds: list[str]
    placed: Mapping[str, tuple[int, Skills, int]]
    names: Mapping[int, str]

    @property
    def terms(self) -> tuple[Terms, ...]:
        """How its queues hand out work."""
        return self.book.terms

    @property
    def skills(self) -> int:
        """How many skills it knows."""
        return self.book.skills

    def sorts(self, names: Iterable[str], kinds: Iterable[str]) -> list[Sort]:
        """One sort of contact for each of these rules and kinds of channel, all equally frequent.

        Both may be another desk's: a rule that is not here leaves its work in the default queue.
        """
        found = []
        for name in names:
            queue_id, skills, priority = self.placed.get(name, self.placed[""])
            found += [
                Sort(
                    1.0, kind, queue_id, skills, self.book.weight(kind), self.book.target(queue_id, kind),
                    WORK.get(kind, WORK_OF_OTHERS), PATIENCE.get(kind, inf), priority,
                )
                for kind in kinds
            ]  # fmt: skip
        return found

    def per_hour(self) -> float:
        """How many contacts keep the agents busy."""
        sorts = self.sorts(self.placed, self.kinds)
        work = sum(sort.work for sort in sorts) / len(sorts)
        weight = sum(sort.weight for sort in sorts) / len(sorts)
        return BUSY * sum(pace(int(one.limits.capacity / weight)) for one in self.crew) / work * 3600.0

    def unserved(self) -> list[str]:
        """Rules whose work nobody can take; "" is what no rule claims."""
        return [
            name
            for name, (queue_id, skills, __) in self.placed.items()
            if not any(queue_id in one.queues and one.has(skills) for one in self.crew)
        ]


def desk_plan(tx: Tx) -> DeskPlan:
    """The desk as this transaction sees it, with everybody at work who serves a queue.

    Raises Conflict when it has no queue.
    """
    book = rule_book(tx)
    crew = [replace(one, status="available") for one in _crew(tx, book)]
    kinds = sorted({account.kind for account in active_channels(tx)})
    placed = {"": _placed(book.place({}))}
    for rule in book.rules:
        queue = rule.queue or book.default
        if queue is not None:
            placed[rule.name] = (queue.id, _skills(rule.skills), rule.priority)
    names = {int(number): name for number, name in tx.sql("SELECT id, name FROM agent WHERE active").fetchall()}
    return DeskPlan(book, crew, kinds, placed, names)


def past_days(tx: Tx, since: datetime, plan: DeskPlan | None = None) -> Past:
    """What came since then, placed by the rules of a desk (of this transaction's, unless a plan says otherwise), and
    who was there for it. Raises Conflict when it is too much.
    """
    number = int(tx.sql("SELECT count(*) FROM work_item WHERE enqueued_at >= ?", since).fetchone()[0])
    if number > MOST:
        raise Conflict(
            _(
                "{number} pieces of work came in these days, more than {most}: take fewer days.",
                number=number,
                most=MOST,
            )
        )
    now = rule_book(tx)
    book, present = (now, _crew(tx, now)) if plan is None else (plan.book, plan.crew)
    changes = _changes(tx, since - LOOK_BACK)
    crew, shifts = _presence(present, changes, since.timestamp())
    work = _attention(tx, since, _crew(tx, now), changes)
    clocks = [name for name in book.lookups if is_of_the_clock(name)]
    contacts = []
    for past in reversed(past_arrivals(tx, number) if number else []):
        item, at = past.item, past.item.enqueued_at
        values = past.arrival.values() | {name: value_at(name, at, book.queues_by_name) for name in clocks}
        place = book.place(values)
        target = book.target(place.queue.id, item.channel)
        due = place.queue.calendar.add(at, target)
        spent = work.get(item.id or 0) or WORK.get(item.channel, WORK_OF_OTHERS)
        contacts.append(
            Contact(
                at.timestamp(), item.channel, place.queue.id, _skills(place.skills), item.weight, target, spent,
                priority=place.priority, closed=max(0.0, (due - at).total_seconds() - target),
            )
        )  # fmt: skip
    return Past(sorted(contacts, key=lambda one: one.at), crew, shifts)


def as_changed(store: Store, document: Mapping[str, Any], ask: Callable[[Tx], Answer], *, private: bool) -> Answer:
    """What `ask` finds on the desk that a file would make. Of work, people and facts it sees nothing."""
    with _copy_of_the_desk(store) as copy:
        with copy.write() as tx:
            apply(tx, SYSTEM, document, private=private)
        with copy.read() as tx:
            return ask(tx)


@contextmanager
def _copy_of_the_desk(store: Store) -> Iterator[Store]:
    """How the desk is set up, in a database of its own: applying a file locks conversations and writers."""
    with TemporaryDirectory(prefix="switchyard-") as folder:
        copy = Store(f"sqlite:///{Path(folder) / 'desk.db'}", store.clock)
        try:
            metadata.create_all(copy.engine)
            with store.read() as real, copy.write() as tx:
                tx.sql("PRAGMA defer_foreign_keys = ON")  # a queue may name a later one
                for table in DESK:
                    rows = [dict(row) for row in real.connection().execute(select(table.__table__)).mappings()]
                    hidden = {name: empty for name, empty in SECRET.items() if name in table.__table__.c}
                    if rows:
                        tx.connection().execute(insert(table.__table__), [row | hidden for row in rows])
            yield copy
        finally:
            copy.close()


def _crew(tx: Tx, book: RuleBook) -> list[Candidate]:
    """Who serves a queue. What a profile lets an agent take by hand he takes as soon as he has room."""
    return [
        replace(one, limits=replace(one.limits, pull=frozenset()))
        for one in roster(tx, book)
        if one.queues and one.limits.capacity
    ]


def _changes(tx: Tx, since: datetime) -> dict[int, list[tuple[float, bool]]]:
    """When each agent became available or stopped being it."""
    changes: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for at, data in tx.sql(_STATUSES, since).fetchall():
        told = json.loads(data) if isinstance(data, str) else data
        changes[int(told["agent_id"])].append((seconds(at), told["status"] == "available"))
    return changes


def _presence(
    crew: Sequence[Candidate], changes: Mapping[int, Sequence[tuple[float, bool]]], begin: float
) -> tuple[list[Candidate], list[Shift]]:
    """Who is there in the beginning, and who comes and goes.

    Of whom nothing is known, he is there whenever anybody is; where nothing is known of anybody, all are always there.
    """
    known = {one.id: changes[one.id] for one in crew if changes.get(one.id)}
    together: list[tuple[float, bool]] = []
    there = {number for number, told in known.items() if not told[0][1]}  # the first change tells what was before
    before = bool(there) or not known
    for at, number, here in sorted((at, number, here) for number, told in known.items() for at, here in told):
        was = bool(there)
        (there.add if here else there.discard)(number)
        if bool(there) != was:
            together.append((at, bool(there)))
    begun, shifts = [], []
    for one in crew:
        told = known.get(one.id, together)
        here = not told[0][1] if told and one.id in known else before
        for at, change in told:
            if at <= begin:
                here = change
            else:
                shifts.append((at, one.id, change))
        begun.append(replace(one, status="available" if here else "away"))
    return begun, sorted(shifts)


def _attention(
    tx: Tx, since: datetime, crew: Iterable[Candidate], changes: Mapping[int, Sequence[tuple[float, bool]]]
) -> dict[int, float]:
    """Seconds of undivided skilled work that went into each piece of work: while its agent was there, and shared with
    all else that he had. The simulator's model of an agent, read backwards."""
    levels = {one.id: one.skills for one in crew}
    events: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
    speeds: dict[tuple[int, int], float] = {}
    for item_id, skills, agent_id, started, ended in tx.sql(_HANDLED, since).fetchall():
        events[agent_id] += [(seconds(started), BEGINS, item_id), (seconds(ended or tx.now), ENDS, item_id)]
        judged = scored_skill(_skills(skills))
        speeds[agent_id, item_id] = speed(levels.get(agent_id, {}).get(judged, 0))
    spent: dict[int, float] = defaultdict(float)
    for agent_id, told in events.items():
        known = changes.get(agent_id, ())
        here, last, open_now = not known or not known[0][1], 0.0, set[int]()
        for at, what, number in sorted([*told, *((at, CHANGES, int(change)) for at, change in known)]):
            if here and open_now:
                each = pace(len(open_now)) / len(open_now) * (at - last)
                for item_id in open_now:
                    spent[item_id] += each * speeds[agent_id, item_id]
            last = at
            if what == CHANGES:
                here = bool(number)
            else:
                (open_now.add if what == BEGINS else open_now.discard)(number)
    return spent


def _placed(place: Placement) -> tuple[int, Skills, int]:
    return (place.queue.id, _skills(place.skills), place.priority)


def _skills(document: Any) -> Skills:
    return tuple(sorted((json.loads(document) if isinstance(document, str) else document).items()))
