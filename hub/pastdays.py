"""A desk's own past days in the simulator: who wrote, how much work that was, and who was there for it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from config.language import _
from hub.arrivals import past_arrivals
from hub.whatif import DeskPlan, read_skills, serving
from routing.ahead import way, ways_round
from routing.demand import scored_skill
from routing.floor import read_labels, seconds
from routing.lookups import is_of_the_clock, value_at
from routing.orders import speed
from routing.rules import rule_book
from routing.simulation.simulator import Shift
from routing.simulation.traffic import WORK, WORK_OF_OTHERS, Contact
from routing.simulation.worker import pace
from routing.supply import Candidate
from storage.access import Conflict
from storage.store import Tx

MOST = 20_000  # pieces of past work that are looked at
CHANGES, BEGINS, GOES_ON, RESTS, ENDS = range(5)
LOOK_BACK = timedelta(days=30)  # to know who was there in the beginning
_OF_THESE_DAYS = "assignment.ended_at IS NULL OR assignment.ended_at > ?"
_HANDLED = (
    "SELECT work_item.id, work_item.conversation_id, work_item.skills, assignment.agent_id, assignment.started_at, "
    "assignment.ended_at FROM assignment JOIN work_item ON work_item.id = assignment.work_item_id "
    f"WHERE {_OF_THESE_DAYS}"
)
_WORDS = (
    "SELECT conversation_id, created_at, kind = 'outbound' FROM message WHERE kind IN ('inbound','outbound') "
    "AND automatic = '' AND state <> 'draft' "
    f"AND conversation_id IN (SELECT conversation_id FROM assignment WHERE {_OF_THESE_DAYS}) "
    "ORDER BY conversation_id, created_at, id"
)
_SLEEP = (
    "SELECT conversation_id, at, name = 'ConversationSnoozed' FROM fact "
    "WHERE name IN ('ConversationSnoozed','ConversationWoken') AND at > ? ORDER BY id"
)
_STATUSES = "SELECT at, data FROM fact WHERE name = 'AgentStatusChanged' AND at > ? ORDER BY id"


@dataclass(frozen=True, slots=True)
class Past:
    """Days that were: who wrote, and who came and went. Whoever is in `crew` has the status of the beginning."""

    contacts: list[Contact]
    crew: list[Candidate]
    shifts: list[Shift]


@dataclass(slots=True)
class Attention:
    """What a piece of work took: `work` in seconds of undivided skilled attention, and when it rested meanwhile: after
    how much of it, and for how long.
    """

    work: float = 0.0
    pauses: list[tuple[float, float]] = field(default_factory=list)


NONE = Attention()


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
    book, present = (now, serving(tx, now)) if plan is None else (plan.book, plan.crew)
    changes = _changes(tx, since - LOOK_BACK)
    crew, shifts = _presence(present, changes, since.timestamp())
    attention = _attention(tx, since, serving(tx, now), changes)
    clocks = [name for name in book.lookups if is_of_the_clock(name)]
    contacts = []
    for past in reversed(past_arrivals(tx, number) if number else []):
        item, at = past.item, past.item.enqueued_at
        values = past.arrival.values() | {name: value_at(name, at, book.queues_by_name) for name in clocks}
        place = book.served_place(book.open_place(book.place(values), at))
        first, *steps = way(book, place, item.channel, at)
        took = attention.get(item.id or 0, NONE)
        contacts.append(
            Contact(
                at.timestamp(), item.channel, first.queue_id, first.skills, item.weight, first.target,
                took.work or WORK.get(item.channel, WORK_OF_OTHERS), priority=place.priority, closed=first.closed,
                labels=read_labels(place.labels), pauses=tuple(took.pauses), steps=tuple(steps),
                ways=tuple(ways_round(book, place, item.channel, at)),
            )
        )  # fmt: skip
    return Past(sorted(contacts, key=lambda one: one.at), crew, shifts)


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
) -> dict[int, Attention]:
    """What went into each piece of work: while its agent was there and it did not rest, and shared with all else that
    they had to do. The simulator's model of an agent, read backwards.
    """
    levels = {one.id: one.skills for one in crew}
    events: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
    speeds: dict[tuple[int, int], float] = {}
    rests = _rests(tx, since)
    for item_id, conversation_id, skills, agent_id, started, ended in tx.sql(_HANDLED, since).fetchall():
        begin, end = seconds(started), seconds(ended or tx.now)
        events[agent_id] += [(begin, BEGINS, item_id), (end, ENDS, item_id)]
        events[agent_id] += [
            (max(at, begin), RESTS if resting else GOES_ON, item_id)
            for at, resting in _within(rests.get(conversation_id, ()), begin, end)
        ]
        judged = scored_skill(read_skills(skills))
        speeds[agent_id, item_id] = speed(levels.get(agent_id, {}).get(judged, 0))
    found: dict[int, Attention] = defaultdict(Attention)
    for agent_id, told in events.items():
        known = changes.get(agent_id, ())
        here, last = not known or not known[0][1], 0.0
        working, resting = set[int](), dict[int, float]()
        for at, what, number in sorted([*told, *((at, CHANGES, int(change)) for at, change in known)]):
            if here and working:
                each = pace(len(working)) / len(working) * (at - last)
                for item_id in working:
                    found[item_id].work += each * speeds[agent_id, item_id]
            last = at
            if what == CHANGES:
                here = bool(number)
                continue
            if number in resting:
                found[number].pauses.append((found[number].work, at - resting.pop(number)))
            (working.add if what in (BEGINS, GOES_ON) else working.discard)(number)
            if what == RESTS:
                resting[number] = at
    return found


def _rests(tx: Tx, since: datetime) -> dict[int, list[tuple[float, bool]]]:
    """When each conversation began to rest, because the customer had the word or it slept, and when it went on."""
    told: dict[int, list[tuple[float, int, bool]]] = defaultdict(list)
    sources = ((_WORDS, since), (_SLEEP, since - LOOK_BACK))
    for source, (statement, begin) in enumerate(sources):
        for conversation_id, at, rests in tx.sql(statement, begin).fetchall():
            told[conversation_id].append((seconds(at), source, bool(rests)))
    found: dict[int, list[tuple[float, bool]]] = {}
    for conversation_id, changes in told.items():
        found[conversation_id], now = [], [False] * len(sources)
        for at, source, rests in sorted(changes, key=lambda each: each[0]):
            before, now[source] = any(now), rests
            if any(now) != before:
                found[conversation_id].append((at, not before))
    return found


def _within(told: Sequence[tuple[float, bool]], begin: float, end: float) -> list[tuple[float, bool]]:
    """What of this counts between two moments: how it was in the beginning, and what changed."""
    before = [each for each in told if each[0] <= begin][-1:]
    return [*(each for each in before if each[1]), *(each for each in told if begin < each[0] < end)]
