"""A day on the floor under a virtual clock, decided by the very engine that runs live.

Left out: ringing and declines, transfers, ladders, full queues, wrapping up, parking and labels. An agent with several
conversations works on all of them, a little slower on each (`CONCURRENCY`), and slower where he is less skilled
(`routing.orders.SPEED`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from math import inf
from typing import Protocol

from routing.demand import Waiting, scored_skill
from routing.engine import Decision
from routing.orders import speed
from routing.simulation.traffic import Contact
from routing.supply import Candidate

CONCURRENCY = (0.0, 1.0, 1.6, 1.95)  # speed of an agent with so many conversations, all of them taken together

COMES, GOES, ARRIVES, FINISHES, LEAVES = range(5)

Shift = tuple[float, int, bool]  # when which agent comes (or goes)


class Router(Protocol):
    """What decides: the engine, or a rule of somebody else's in its place."""

    def put_agent(self, candidate: Candidate, now: float) -> None: ...

    def put(self, item: Waiting, now: float) -> None: ...

    def drop(self, item_id: int) -> None: ...

    def decide(self, now: float) -> list[Decision]: ...

    @property
    def next_at(self) -> float: ...


@dataclass(slots=True)
class Course:
    """What became of a contact; None for what never happened."""

    contact: Contact
    started: float | None = None
    left: float | None = None
    ended: float | None = None
    agent_id: int = 0

    def waited(self, end: float) -> float:
        """Seconds without an agent, at the end of the day at the latest."""
        until = self.started if self.started is not None else self.left if self.left is not None else end
        return until - self.contact.at

    @property
    def in_time(self) -> bool:
        """Whether an agent had it before its target."""
        return self.started is not None and self.started <= self.contact.due


@dataclass(frozen=True, slots=True)
class Day:
    """A simulated day: what became of each contact, and the share of his capacity that each agent who came used."""

    courses: list[Course]
    occupancy: dict[int, float]
    end: float


class Worker:
    """An agent at work: what he has, and how much of each is left. While he is not there nothing goes on."""

    __slots__ = ("busy", "candidate", "left", "load", "now", "opened", "present", "speeds", "turn")

    def __init__(self, candidate: Candidate, now: float):
        self.candidate = candidate
        self.left: dict[int, float] = {}  # seconds of work by contact
        self.speeds: dict[int, float] = {}
        self.load, self.opened = 0, dict[str, int]()
        self.busy, self.present, self.now = 0.0, 0.0, now
        self.turn = 0

    def advance(self, now: float, since: float) -> None:
        """Work up to this moment; what came before `since` is not counted."""
        if self.is_here and now > self.now:
            counted = max(0.0, now - max(self.now, since))
            self.present += counted
            self.busy += counted * self.load
            each = pace(len(self.left)) / (len(self.left) or 1) * (now - self.now)
            for number, rate in self.speeds.items():
                self.left[number] -= each * rate
        self.now = now

    @property
    def is_here(self) -> bool:
        """Whether he works."""
        return self.candidate.status == "available"

    @property
    def occupancy(self) -> float:
        """The share of his capacity that was in use while he was there."""
        return self.busy / (self.present * self.candidate.limits.capacity or 1.0)

    def seen(self) -> Candidate:
        """The agent as the router sees him."""
        self.candidate = replace(self.candidate, load=self.load, open=dict(self.opened))
        return self.candidate

    def turn_up(self, here: bool, now: float) -> None:
        """Come or go."""
        idle = now if here and not self.left else self.candidate.idle_since
        self.candidate = replace(self.candidate, status="available" if here else "away", idle_since=idle)

    def next_end(self) -> tuple[float, int]:
        """When which of his conversations ends if nothing changes."""
        each = pace(len(self.left)) / len(self.left)
        return min(
            (self.now + max(0.0, left) / (each * self.speeds[number]), number) for number, left in self.left.items()
        )

    def take(self, number: int, contact: Contact, now: float) -> None:
        """Begin with a contact."""
        level = self.candidate.skills.get(scored_skill(contact.skills), 0)
        self.left[number], self.speeds[number] = contact.work, speed(level)
        self.load += contact.weight
        self.opened[contact.channel] = self.opened.get(contact.channel, 0) + 1
        recent = (*self.candidate.recent, now) if self.candidate.limits.rate else ()
        self.candidate = replace(self.candidate, idle_since=now, last_at=now, recent=recent)

    def finish(self, number: int, contact: Contact, now: float) -> None:
        """Be done with a contact."""
        del self.left[number], self.speeds[number]
        self.load -= contact.weight
        self.opened[contact.channel] -= 1
        if not self.left:
            self.candidate = replace(self.candidate, idle_since=now)


def pace(number: int) -> float:
    """How fast an agent is with so many conversations, all of them taken together."""
    return CONCURRENCY[min(number, len(CONCURRENCY) - 1)]


def simulate(
    contacts: Sequence[Contact],
    crew: Iterable[Candidate],
    router: Router,
    end: float,
    *,
    begin: float = 0.0,
    counted_from: float = 0.0,
    every: float = 0.0,
    shifts: Iterable[Shift] = (),
    priority: Callable[[Contact], int] = lambda contact: contact.priority,
) -> Day:
    """Play a day: `contacts` in order of time, `crew` as it is in the beginning, and who comes and goes later.

    Work is given out at once, or only `every` so many seconds. Occupancy counts from `counted_from`.
    """
    floor = _Floor(contacts, crew, shifts, router, begin, counted_from, priority)
    tick = begin + every if every else inf
    while True:
        now = min(floor.next_at, tick if every else router.next_at)
        if now > end:
            return floor.closed(end)
        told = floor.next_at > now  # nothing happens: time alone makes something possible
        while floor.next_at <= now:
            told |= floor.step()
        if every and now < tick:
            continue
        tick += every
        if told or every:
            floor.hand_out(now)


class _Floor:
    """The floor in the course of a day: what is going to happen, who is at work, and what became of whom."""

    def __init__(
        self, contacts: Sequence[Contact], crew: Iterable[Candidate], shifts: Iterable[Shift], router: Router,
        begin: float, counted_from: float, priority: Callable[[Contact], int],
    ):  # fmt: skip
        self.router, self.counted_from, self.priority = router, counted_from, priority
        self.courses = [Course(contact) for contact in contacts]
        self.events = [(contact.at, ARRIVES, number, 0) for number, contact in enumerate(contacts)]
        self.workers = {one.id: Worker(replace(one, load=0, open={}, labelled={}, recent=()), begin) for one in crew}
        self.events += [(at, COMES if here else GOES, who, 0) for at, who, here in shifts if who in self.workers]
        heapify(self.events)
        for worker in self.workers.values():
            router.put_agent(worker.candidate, begin)

    @property
    def next_at(self) -> float:
        """When something happens."""
        return self.events[0][0] if self.events else inf

    def step(self) -> bool:
        """Let the next thing happen; whether it leaves something to decide."""
        now, what, number, turn = heappop(self.events)
        if what == ARRIVES:
            self._arrive(number, now)
        elif what in (COMES, GOES):
            worker = self.workers[number]
            worker.advance(now, self.counted_from)
            worker.turn_up(what == COMES, now)
            self.router.put_agent(worker.seen(), now)
            self._announce(worker)
        elif what == LEAVES:
            course = self.courses[number]
            if course.started is None:
                course.left = now
                self.router.drop(number)
            return False
        else:
            worker = self.workers[number]
            if worker.turn != turn:
                return False
            worker.advance(now, self.counted_from)
            done = self.courses[worker.next_end()[1]]
            done.ended = now
            worker.finish(worker.next_end()[1], done.contact, now)
            self.router.put_agent(worker.seen(), now)
            self._announce(worker)
        return True

    def hand_out(self, now: float) -> None:
        """Let the router decide, and let whoever got something begin with it; where it rings at several, the first."""
        rescinded = {0}
        while rescinded:
            rescinded = set()
            for decision in self.router.decide(now):
                course, worker = self.courses[decision.item.id], self.workers[decision.agent_ids[0]]
                worker.advance(now, self.counted_from)
                worker.take(decision.item.id, course.contact, now)
                course.started, course.agent_id = now, worker.candidate.id
                self._announce(worker)
                rescinded.update(decision.agent_ids[1:])
            for agent_id in rescinded:
                self.router.put_agent(self.workers[agent_id].seen(), now)

    def closed(self, end: float) -> Day:
        """The day as it was."""
        for worker in self.workers.values():
            worker.advance(end, self.counted_from)
        there = {number: worker.occupancy for number, worker in self.workers.items() if worker.present}
        return Day(self.courses, there, end)

    def _arrive(self, number: int, now: float) -> None:
        one = self.courses[number].contact
        item = Waiting(
            number, number, one.queue_id, one.channel, one.weight, one.skills, self.priority(one), now,
            one.due, one.target,
        )  # fmt: skip
        self.router.put(item, now)
        if one.patience < inf:
            heappush(self.events, (now + one.patience, LEAVES, number, 0))

    def _announce(self, worker: Worker) -> None:
        """Of the endings that were announced for an agent the newest counts."""
        worker.turn += 1
        if worker.left and worker.is_here:
            heappush(self.events, (worker.next_end()[0], FINISHES, worker.candidate.id, worker.turn))
