"""What a desk makes of work the longer nobody takes it, worked out ahead: for the simulator, which has no database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from routing.calendars import ALWAYS, Calendar
from routing.ladder import Climb, Ladder, Step, following
from routing.onward import next_queue, way_in
from routing.rules import Placement, QueueTerms, RuleBook
from routing.simulation.traffic import Stand, Way

SOME_DAY = datetime(2001, 1, 1, tzinfo=UTC)  # for days that are no particular ones

Hours = Callable[[QueueTerms], Calendar]


def opening_hours(queue: QueueTerms) -> Calendar:
    """The queue's own."""
    return queue.calendar


def always_open(_queue: QueueTerms) -> Calendar:
    """As if it never closed."""
    return ALWAYS


def way(book: RuleBook, place: Placement, channel: str, at: datetime, hours: Hours = opening_hours) -> Way:
    """Where work waits that comes at this moment, and for whom: first as it is placed, then with each step."""
    return tuple(_stands(_Course(book, place, channel, at, hours)))


def ways_round(book: RuleBook, place: Placement, channel: str, at: datetime, hours: Hours = opening_hours) -> list[Way]:
    """Where else it goes while its queue is full: to the first of these that is not, at worst to the last."""
    if not place.queue.limits.exist:
        return []
    full, found = {place.queue.id}, list[Way]()
    while True:
        queue = way_in(book, place.queue, lambda each: each.limits.exist and each.id in full)
        moved = place if queue is place.queue else book.past_full(place, queue)
        found.append(way(book, moved, channel, at, hours))
        if queue.id in full or not queue.limits.exist:
            return found
        full.add(queue.id)


@dataclass
class _Course:
    """How far work has come that nobody takes."""

    book: RuleBook
    place: Placement
    channel: str
    at: datetime
    hours: Hours
    joined: list[int] = field(default_factory=list)
    credit: int = 0
    used: float = 0.0  # seconds of its target, up to `since`

    def __post_init__(self) -> None:
        self.queue, self.skills = self.place.queue, json.loads(self.place.skills)
        self.priority, self.trace = self.place.priority, json.loads(self.place.trace)
        self.own = bool(self.book.ladder(0, self.place.rule_id))
        self.ladder: Ladder = self.book.ladder(self.queue.id, self.place.rule_id)
        self.climb = Climb(0, self.at, 0)
        self.since, self.due = self.at, self.hours(self.queue).add(self.at, self.target)

    @property
    def target(self) -> float:
        return self.book.target(self.queue.id, self.channel)

    def stand(self, now: datetime) -> Stand:
        closed = max(0.0, (self.due - self.at).total_seconds() - self.target)
        return Stand(
            (now - self.at).total_seconds(), self.queue.id, tuple(sorted(self.skills.items())), self.target, closed,
            tuple(self.joined), self.priority - self.place.priority, self.credit,
        )  # fmt: skip

    def take(self, step: Step, now: datetime) -> None:
        self.climb = Climb(step.after, now, step.after)
        self.skills, self.credit = step.skills(self.skills), self.credit + step.age_credit
        self.joined = step.joined(self.joined, self.queue.id)
        self.priority = step.raised(self.priority)
        # Whether the next one is full is not known ahead.
        onward = next_queue(self.book, self.queue.id, step, [] if self.own else self.trace, lambda _: False)
        if onward.queue is not None:
            self._go_on(onward.queue, now)

    def _go_on(self, queue: QueueTerms, now: datetime) -> None:
        self.used, self.since = self.used + self.hours(self.queue).elapsed(self.since, now), now
        self.queue, self.skills, self.joined = queue, self.book.asked_in(queue, self.skills), []
        self.due = self.hours(queue).add(now, max(0.0, self.target - self.used))
        self.trace.append({"step": "overflow", "queue_id": queue.id})
        if not self.own:
            self.ladder, self.climb = self.book.ladder(queue.id), Climb(0, now, 0)


def _stands(course: _Course) -> Iterator[Stand]:
    yield course.stand(course.at)
    while (step := following(course.ladder, course.climb.reached)) and (
        now := course.climb.next_at(course.ladder, course.hours(course.queue))
    ):
        course.take(step, now)
        yield course.stand(now)
