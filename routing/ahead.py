"""What a desk makes of work the longer nobody takes it, worked out ahead: for the simulator, which has no database.

The steps of ladders and the queues that take what is too much, by the rules that `routing.climb` and `routing.onward`
follow live.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from routing.calendars import ALWAYS, Calendar
from routing.escalation import HIGHEST
from routing.ladder import Climb, following
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
    return tuple(_stands(book, place, channel, at, hours))


def ways_round(book: RuleBook, place: Placement, channel: str, at: datetime, hours: Hours = opening_hours) -> list[Way]:
    """Where else it goes while its queue is full: to the first of these that is not, at worst to the last."""
    if not place.queue.limits.exist:
        return []
    others = [place if other is place.queue else book.moved(place, other, "", {}) for other in _takers(book, place)]
    return [way(book, each, channel, at, hours) for each in others]


def _takers(book: RuleBook, place: Placement) -> list[QueueTerms]:
    queue, passed, found = place.queue, set[int](), list[QueueTerms]()
    while queue.id not in passed:
        if passed and book.can_be_taken(queue):
            found.append(queue)
            if not queue.limits.exist:
                return found
        passed.add(queue.id)
        queue = book.queues.get(queue.limits.queue_id or 0) or book.default or queue
    return [*found, book.default or queue]


def _stands(book: RuleBook, place: Placement, channel: str, at: datetime, hours: Hours) -> Iterator[Stand]:
    queue, skills, joined = place.queue, json.loads(place.skills), list[int]()
    own = place.rule_id is not None and bool(book.ladder(0, place.rule_id))
    ladder, climb = book.ladder(queue.id, place.rule_id), Climb(0, at, 0)
    due, used, since = hours(queue).add(at, book.target(queue.id, channel)), 0.0, at
    been, raised, credit = {queue.id}, 0, 0

    def stand(now: datetime) -> Stand:
        target = book.target(queue.id, channel)
        closed = max(0.0, (due - at).total_seconds() - target)
        asked = tuple(sorted(skills.items()))
        return Stand((now - at).total_seconds(), queue.id, asked, target, closed, tuple(joined), raised, credit)

    yield stand(at)
    while (step := following(ladder, climb.reached)) and (now := climb.next_at(ladder, hours(queue))):
        climb = Climb(step.after, now, step.after)
        skills, credit = step.skills(skills), credit + step.age_credit
        joined += [each for each in step.join if each not in (*joined, queue.id)]
        raised = min(raised + step.priority, max(HIGHEST - place.priority, 0))
        target = None if step.queue_id is None else book.queues.get(step.queue_id, book.default)
        if target is not None and target.id in been and not own:
            target = book.default  # where it would go to and fro it stays
        if target is not None and target.id != queue.id and (own or target.id not in been):
            used, since = used + hours(queue).elapsed(since, now), now
            due = hours(target).add(now, max(0.0, book.target(target.id, channel) - used))
            skills, joined, queue = book.asked_in(target, skills), [], target
            been.add(queue.id)
            if not own:
                ladder, climb = book.ladder(queue.id), Climb(0, now, 0)
        yield stand(now)
