"""A desk's own past days in the simulator: who wrote, how much work that was, and who was there for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

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
from routing.simulation.traffic import WORK, WORK_OF_OTHERS, Contact, Pause
from routing.simulation.worker import pace
from routing.supply import Candidate
from storage.access import Conflict
from storage.columns import read_json
from storage.store import Tx

MOST = 20_000  # pieces of past work that are looked at
LOOK_BACK = timedelta(days=30)  # to know who was there in the beginning
CHANGES, ENDS, BEGINS, GOES_ON, RESTS, SLEEPS = range(6)  # in which order at one moment
_OF_THESE_DAYS = "assignment.ended_at IS NULL OR assignment.ended_at > ?"
_HANDLED = (
    "SELECT work_item.id, work_item.conversation_id, work_item.skills, assignment.agent_id, assignment.started_at, "
    "assignment.ended_at FROM assignment JOIN work_item ON work_item.id = assignment.work_item_id "
    f"WHERE {_OF_THESE_DAYS}"
)
ANSWERED, TAKEN_BACK, WROTE = "ReplyQueued", "ReplyUndone", "MessageReceived"
FALLS_ASLEEP, WAKES = "ConversationSnoozed", "ConversationWoken"
BEGINS_ANEW = ("ConversationResolved", "ConversationReopened")
TOLD = (ANSWERED, TAKEN_BACK, WROTE, FALLS_ASLEEP, WAKES, *BEGINS_ANEW)
_TOLD = (
    "SELECT conversation_id, at, name, data FROM fact "
    f"WHERE conversation_id IN (SELECT conversation_id FROM assignment WHERE {_OF_THESE_DAYS}) "
    f"AND name IN ({', '.join(repr(name) for name in TOLD)}) ORDER BY id"
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
    """What a piece of work took: `work` in seconds of undivided skilled attention, and when it rested meanwhile."""

    work: float = 0.0
    pauses: list[Pause] = field(default_factory=list)


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
        took = attention.get(item.id or 0) or Attention(WORK.get(item.channel, WORK_OF_OTHERS))
        contacts.append(
            Contact(
                at.timestamp(), item.channel, first.queue_id, first.skills, item.weight, first.target,
                took.work, priority=place.priority, closed=first.closed,
                labels=read_labels(place.labels), pauses=tuple(took.pauses), steps=tuple(steps),
                ways=tuple(ways_round(book, place, item.channel, at)),
            )
        )  # fmt: skip
    return Past(sorted(contacts, key=lambda one: one.at), crew, shifts)


def _changes(tx: Tx, since: datetime) -> dict[int, list[tuple[float, bool]]]:
    """When each agent became available or stopped being it."""
    changes: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for at, data in tx.sql(_STATUSES, since).fetchall():
        told = read_json(data)
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


@dataclass(slots=True)
class _Hands:
    """What an agent has in hand. `spent` counts the seconds that each of it got, had he had it all the time."""

    here: bool
    now: float = 0.0
    spent: float = 0.0
    working: dict[int, float] = field(default_factory=dict)  # `spent` when he began with it, by item

    def advance(self, now: float) -> None:
        if self.here and self.working:
            self.spent += pace(len(self.working)) / len(self.working) * (now - self.now)
        self.now = now

    def begin(self, item_id: int) -> None:
        self.working.setdefault(item_id, self.spent)

    def leave(self, item_id: int) -> float:
        return self.spent - self.working.pop(item_id, self.spent)


def _attention(
    tx: Tx, since: datetime, crew: Iterable[Candidate], changes: Mapping[int, Sequence[tuple[float, bool]]]
) -> dict[int, Attention]:
    """What went into each piece of work: while its agent was there and it did not rest, and shared with all else that
    they had to do. The simulator's model of an agent, read backwards.
    """
    levels = {one.id: one.skills for one in crew}
    events: list[tuple[float, int, int, int]] = []  # when what happens to whom and to which item
    hands: dict[int, _Hands] = {}
    speeds: dict[tuple[int, int], float] = {}
    rests = _rests(tx, since)
    for item_id, conversation_id, skills, agent_id, started, ended in tx.sql(_HANDLED, since).fetchall():
        begin, end = seconds(started), seconds(ended or tx.now)
        judged = scored_skill(read_skills(skills))
        speeds[agent_id, item_id] = speed(levels.get(agent_id, {}).get(judged, 0))
        if agent_id not in hands:
            known = changes.get(agent_id, ())
            hands[agent_id] = _Hands(not known or not known[0][1])
            events += [(at, CHANGES, agent_id, int(here)) for at, here in known]
        if end > begin:
            within = _within(rests.get(conversation_id, ()), begin, end)
            events += [(begin, BEGINS, agent_id, item_id), (end, ENDS, agent_id, item_id)]
            events += [(at, what, agent_id, item_id) for at, what in within]
    found = {item_id: Attention() for __, item_id in speeds}
    resting: dict[tuple[int, int], tuple[float, bool]] = {}
    for at, what, agent_id, number in sorted(events):
        hand = hands[agent_id]
        hand.advance(at)
        if what == CHANGES:
            hand.here = bool(number)
            continue
        took, which = found[number], (agent_id, number)
        took.work += hand.leave(number) * speeds[which]
        if which in resting:
            began, slept = resting.pop(which)
            took.pauses.append(Pause(took.work, at - began, slept))
        if what in (RESTS, SLEEPS):
            resting[which] = (at, what == SLEEPS)
        elif what != ENDS:
            hand.begin(number)
    return found


def _rests(tx: Tx, since: datetime) -> dict[int, list[tuple[float, int]]]:
    """When each conversation began to rest, because the customer had the word or it slept, and when it went on.

    By its facts, which keep their conversation when its messages are merged into another. Each further answer is a
    rest of its own, because parking counts from the last one.
    """
    found: dict[int, list[tuple[float, int]]] = defaultdict(list)
    answered, asleep = set[int](), set[int]()
    for number, at, name, data in tx.sql(_TOLD, since).fetchall():
        if name == ANSWERED:
            answered.add(number)
        elif name == FALLS_ASLEEP:
            asleep.add(number)
        elif name == WAKES:
            asleep.discard(number)
        elif name in BEGINS_ANEW:
            answered.discard(number)
            asleep.discard(number)
        elif name == TAKEN_BACK or not _is_automatic(data):
            answered.discard(number)
        told, now = found[number], SLEEPS if number in asleep else RESTS if number in answered else GOES_ON
        if now != (told[-1][1] if told else GOES_ON) or (now == RESTS and name == ANSWERED):
            told.append((seconds(at), now))
    return found


def _is_automatic(data: Any) -> bool:
    return bool(read_json(data).get("automatic"))


def _within(told: Sequence[tuple[float, int]], begin: float, end: float) -> list[tuple[float, int]]:
    """What of this counts between two moments: how it was in the beginning, and what changed."""
    before = [what for at, what in told if at <= begin][-1:]
    return [*((begin, what) for what in before if what != GOES_ON), *(each for each in told if begin < each[0] < end)]
