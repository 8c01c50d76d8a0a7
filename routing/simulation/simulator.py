"""A day on the floor under a virtual clock, decided by the very engine that runs live.

Left out: ringing and declines, transfers, what a missed target sets off, and that work is kept for whoever had the
customer last; who goes keeps what he has, and wrapping up takes all of its time. A step of a ladder goes to its queue
although that is full, and a closed queue hands out as if it were open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from heapq import heapify, heappop, heappush
from math import inf
from typing import Protocol

from routing.demand import Waiting
from routing.engine import Decision
from routing.shares import Share, Shares
from routing.simulation.traffic import Contact
from routing.simulation.worker import Worker
from routing.supply import Candidate

COMES, GOES, ARRIVES, STOPS, LEAVES, CLIMBS, RETURNS, PARKS, WRAPPED = range(9)

Shift = tuple[float, int, bool]  # when which agent comes (or goes)


class Fullness(Protocol):
    """When a queue is full; None is never."""

    @property
    def size(self) -> int | None: ...

    @property
    def wait(self) -> timedelta | None: ...


class Habits(Protocol):
    """What a queue does beside handing out its work."""

    @property
    def wrap_up(self) -> Shares: ...

    @property
    def park(self) -> Shares: ...

    @property
    def limits(self) -> Fullness: ...


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
    """What became of a contact, which stands as it did in the end; None for what never happened.

    `came` is the contact as its queue took it, `late` whether it was due while it stood otherwise than in the end.
    """

    contact: Contact
    came: Contact
    late: bool = False
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
        return self.started is not None and self.started <= self.contact.due and not self.late


@dataclass(frozen=True, slots=True)
class Day:
    """A simulated day: what became of each contact, and the share of his capacity that each agent who came used."""

    courses: list[Course]
    occupancy: dict[int, float]
    end: float


def simulate(
    contacts: Sequence[Contact],
    crew: Iterable[Candidate],
    router: Router,
    end: float,
    *,
    begin: float = 0.0,
    counted_from: float = 0.0,
    house: Mapping[int, Habits] | None = None,
    every: float = 0.0,
    shifts: Iterable[Shift] = (),
    priority: Callable[[Contact], int] = lambda contact: contact.priority + contact.raised,
) -> Day:
    """Play a day: `contacts` in order of time, `crew` as it is in the beginning, and who comes and goes later.

    `house` are the habits of the queues that have any. Work is given out at once, or only `every` so many seconds.
    Occupancy counts from `counted_from`.
    """
    floor = _Floor(contacts, crew, shifts, router, begin, counted_from, house or {}, priority)
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
        begin: float, counted_from: float, house: Mapping[int, Habits], priority: Callable[[Contact], int],
    ):  # fmt: skip
        self.router, self.counted_from, self.house, self.priority = router, counted_from, house, priority
        self.courses = [Course(contact, contact) for contact in contacts]
        self.events = [(contact.at, ARRIVES, number, 0) for number, contact in enumerate(contacts)]
        self.workers = {one.id: Worker(one, begin) for one in crew}
        self.events += [(at, COMES if here else GOES, who, 0) for at, who, here in shifts if who in self.workers]
        heapify(self.events)
        self.limited = {number for number, one in house.items() if one.limits.size is not None or one.limits.wait}
        # Of queues that may be full what waits, with its place in order and since when.
        self.waiting: dict[int, dict[int, tuple[float, float]]] = {queue_id: {} for queue_id in self.limited}
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
        elif what == LEAVES:
            return self._leave(number, now)
        elif what == CLIMBS:
            return self._climb(number, turn, now)
        elif what in (COMES, GOES):
            worker = self._at_work(number, now)
            worker.turn_up(what == COMES, now)
            self._tell(worker, now)
        elif what == STOPS:
            worker = self.workers[number]
            return worker.turn == turn and self._stop(worker, now)
        else:
            return self._go_on(what, number, turn, now)
        return True

    def hand_out(self, now: float) -> None:
        """Let the router decide, and let whoever got something begin with it; where it rings at several, the first."""
        rescinded = {0}
        while rescinded:
            rescinded = set()
            for decision in self.router.decide(now):
                course, worker = self.courses[decision.item.id], self._at_work(decision.agent_ids[0], now)
                self._no_longer_waits(decision.item.id)
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

    # --- what waits -------------------------------------------------------------------------------------------------

    def _arrive(self, number: int, now: float) -> None:
        course = self.courses[number]
        for way in course.contact.ways:
            if not self._is_full(course.contact.queue_id, now):
                break
            course.contact = course.came = course.contact.going(way)
        one = course.contact
        self._wait(number, now)
        for place, stand in enumerate(one.steps):
            heappush(self.events, (one.at + stand.after, CLIMBS, number, place))
        if one.patience < inf:
            heappush(self.events, (now + one.patience, LEAVES, number, 0))

    def _climb(self, number: int, place: int, now: float) -> bool:
        course = self.courses[number]
        if course.started is not None or course.left is not None:
            return False
        self._no_longer_waits(number)
        course.late |= course.contact.due < now
        course.contact = course.contact.standing(course.contact.steps[place])
        self._wait(number, now)
        return True

    def _leave(self, number: int, now: float) -> bool:
        course = self.courses[number]
        if course.started is None:
            course.left = now
            self._no_longer_waits(number)
            self.router.drop(number)
        return False

    def _wait(self, number: int, now: float) -> None:
        one = self.courses[number].contact
        if one.queue_id in self.limited:
            self.waiting[one.queue_id][number] = (one.at - one.credit, one.at)
        item = Waiting(
            number, number, one.queue_id, one.channel, one.weight, one.skills, self.priority(one),
            one.at - one.credit, one.due - one.credit, one.target, labels=one.labels, groups=one.groups,
        )  # fmt: skip
        self.router.put(item, now)

    def _no_longer_waits(self, number: int) -> None:
        self.waiting.get(self.courses[number].contact.queue_id, {}).pop(number, None)

    def _is_full(self, queue_id: int, now: float) -> bool:
        if queue_id not in self.limited:
            return False
        limits, there = self.house[queue_id].limits, self.waiting[queue_id].values()
        if limits.size is not None and len(there) >= limits.size:
            return True
        return limits.wait is not None and bool(there) and min(there)[1] <= now - limits.wait.total_seconds()

    # --- who is at work ---------------------------------------------------------------------------------------------

    def _stop(self, worker: Worker, now: float) -> bool:
        """He gets to a pause, or to the end."""
        worker.advance(now, self.counted_from)
        number = worker.next_stop()[1]
        one = self.courses[number].contact
        habits = self.house.get(one.queue_id)
        if not worker.working[number].stretches:
            self._end(worker, number, None if habits is None else habits.wrap_up.on(one.channel), now)
            return True
        share = None if habits is None else habits.park.on(one.channel)
        turn, pause = worker.rest(number, share)
        heappush(self.events, (now + pause.seconds, RETURNS, number, turn))
        if share is not None and (after := 0 if pause.sleeps else share.seconds) < pause.seconds:
            heappush(self.events, (now + after, PARKS, number, turn))
        self._announce(worker)
        return False

    def _end(self, worker: Worker, number: int, share: Share | None, now: float) -> None:
        worker.finish(number, share, now)
        self.courses[number].ended = now
        if share is not None:
            heappush(self.events, (now + share.seconds, WRAPPED, number, 0))
        self._tell(worker, now)

    def _go_on(self, what: int, number: int, turn: int, now: float) -> bool:
        """A pause or the time to wrap up has gone by."""
        worker = self._at_work(self.courses[number].agent_id, now)
        if what == WRAPPED:
            worker.wrap_up(number, now)
        elif not worker.rests(number, turn):
            return False
        elif what == PARKS:
            worker.park(number, now)
        elif worker.is_over(number):
            self._end(worker, number, None, now)
            return True
        else:
            worker.go_on(number)
        self._tell(worker, now)
        return True

    def _at_work(self, agent_id: int, now: float) -> Worker:
        worker = self.workers[agent_id]
        worker.advance(now, self.counted_from)
        return worker

    def _tell(self, worker: Worker, now: float) -> None:
        self.router.put_agent(worker.seen(), now)
        self._announce(worker)

    def _announce(self, worker: Worker) -> None:
        """Of the stops that were announced for an agent the newest counts."""
        worker.turn += 1
        if worker.working and worker.is_here:
            heappush(self.events, (worker.next_stop()[0], STOPS, worker.candidate.id, worker.turn))
