"""A desk in the simulator, as it is and as a file would make it.

Nothing is changed, and nothing is locked: a file is applied to a copy of the desk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sqlalchemy import insert, select

from hub.desk import apply
from routing.ahead import SOME_DAY, always_open, way, ways_round
from routing.demand import Skills, Terms
from routing.floor import read_labels, roster
from routing.rules import Placement, RuleBook, rule_book
from routing.simulation.lab import handling
from routing.simulation.traffic import PATIENCE, WORK, WORK_OF_OTHERS, Sort
from routing.simulation.worker import pace
from routing.supply import Candidate
from storage.access import SYSTEM
from storage.calendars import CalendarPlan
from storage.columns import read_json
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
# In an order in which each refers to those before it.
DESK: tuple[Any, ...] = (
    CalendarPlan, Queue, Skill, RoutingProfile, Agent, AgentQueue, AgentSkill, ChannelAccount, RoutingRule, SavedReply,
    Macro, WebhookEndpoint, DeskVersion, Role,
)  # fmt: skip
SECRET = {"password_hash": "", "secret": ""}  # columns that a copy does without

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class DeskPlan:
    """A desk as the simulator needs it: everybody at work who serves a queue, and the kinds of its channels.

    `placed` is where each rule, by name, puts its work; under "" is all else. `names` are the agents'.
    """

    book: RuleBook
    crew: list[Candidate]
    kinds: list[str]
    placed: Mapping[str, Placement]
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
            place = self.placed.get(name, self.placed[""])
            for kind in kinds:
                first, *steps = way(self.book, place, kind, SOME_DAY, always_open)
                found.append(
                    Sort(
                        1.0, kind, first.queue_id, first.skills, self.book.weight(kind), first.target,
                        WORK.get(kind, WORK_OF_OTHERS), PATIENCE.get(kind, inf), place.priority,
                        read_labels(place.labels), tuple(steps),
                        tuple(ways_round(self.book, place, kind, SOME_DAY, always_open)),
                    )
                )  # fmt: skip
        return found

    def per_hour(self) -> float:
        """How many contacts keep the agents busy."""
        sorts = self.sorts(self.placed, self.kinds)
        work = sum(handling(sort, self.book.queues) for sort in sorts) / len(sorts)
        weight = sum(sort.weight for sort in sorts) / len(sorts)
        return BUSY * sum(pace(int(one.limits.capacity / weight)) for one in self.crew) / work * 3600.0

    def unserved(self) -> list[str]:
        """Rules whose work nobody can take; "" is what no rule claims."""
        return [
            name
            for name, place in self.placed.items()
            if not self.book.can_be_taken(place.queue, place.skills, place.rule_id)
        ]


def desk_plan(tx: Tx) -> DeskPlan:
    """The desk as this transaction sees it, with everybody at work who serves a queue.

    Raises Conflict when it has no queue.
    """
    book = rule_book(tx)
    crew = [replace(one, status="available") for one in serving(tx, book)]
    kinds = sorted({account.kind for account in active_channels(tx)})
    placed = {"": book.place({})}
    for rule in book.rules:
        queue = rule.queue or book.default
        if queue is not None:
            own = rule.id if rule.ladder else None
            trace = json.dumps([{"step": "rule", "queue_id": queue.id}])
            placed[rule.name] = Placement(queue, rule.skills, rule.priority, trace, "", own, rule.labels)
    names = {int(number): name for number, name in tx.sql("SELECT id, name FROM agent WHERE active").fetchall()}
    return DeskPlan(book, crew, kinds, placed, names)


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


def serving(tx: Tx, book: RuleBook) -> list[Candidate]:
    """Who serves a queue. What a profile lets an agent take by hand he takes as soon as he has room."""
    return [
        replace(one, limits=replace(one.limits, pull=frozenset()))
        for one in roster(tx, book)
        if one.queues and one.limits.capacity
    ]


def read_skills(document: Any) -> Skills:
    """Skills as they are stored, for the engine."""
    return tuple(sorted(read_json(document).items()))
