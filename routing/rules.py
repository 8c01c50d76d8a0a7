"""The desk's rules in memory: which queue, skills and priority a piece of work gets, and why."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from sqlmodel import col, select

from config.language import _
from routing.agents import skills_by_queue
from routing.calendars import ALWAYS, Calendar
from routing.conditions import Condition, Fields, read_condition
from routing.handout import COOLDOWN, MISSED_LIMIT, NO_PROFILE, Profile, read_profile, read_terms
from routing.hours import read_calendar
from routing.ladder import Ladder, Step, read_ladder
from routing.limits import NONE, Limits, read_limits
from routing.lookups import is_looked_up
from routing.promises import FIRST_REPLY, KINDS, Promises, promised
from routing.returning import USUALLY, LastAgent, read_last_agent
from routing.shares import NONE_KEPT, Shares, read_parking, read_wrap_up
from storage.access import Conflict
from storage.calendars import CalendarPlan
from storage.desk import Queue, RoutingProfile, RoutingRule, changes_desk, default_queue, desk_version
from storage.store import Tx

__all__ = ["Placement", "QueueTerms", "Rule", "RuleBook", "rule_book"]

log = logging.getLogger(__name__)

WEIGHTS: Mapping[str, int] = {"chat": 30, "sms": 25, "whatsapp": 25, "email": 20, "form": 20, "slack": 20}
WEIGHT = 20  # of any other kind of channel
TARGET = 4 * 3600.0  # seconds, where the queue is not known any more


@dataclass(frozen=True, slots=True)
class QueueTerms:
    """What a queue promises and how it rings."""

    id: int
    name: str
    first_reply: timedelta
    ring: timedelta
    calendar: Calendar = ALWAYS
    cooldown: timedelta = timedelta(seconds=COOLDOWN)
    missed_limit: int = MISSED_LIMIT
    promises: Promises = field(default_factory=Promises)
    escalate: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    hold_when_closed: bool = False
    closed_queue_id: int | None = None
    ladder: Ladder = ()
    limits: Limits = NONE
    last_agent: LastAgent = USUALLY
    wrap_up: Shares = NONE_KEPT
    park: Shares = NONE_KEPT

    def holds(self, now: datetime) -> bool:
        """Whether work waits here for the opening instead of an agent."""
        return self.hold_when_closed and not self.calendar.is_open(now)


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule. `queue` None leaves the default queue."""

    id: int
    name: str
    condition: Condition
    queue: QueueTerms | None
    skills: str  # as JSON: written for every piece of work
    labels: str  # as JSON, too
    priority: int
    ladder: Ladder = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where work goes. `skills`, `labels` and `trace` are JSON texts, `why` is for the fact.

    `rule_id` is the rule whose ladder counts; None leaves it to the queue.
    """

    queue: QueueTerms
    skills: str
    priority: int
    trace: str
    why: str
    rule_id: int | None = None
    labels: str = "[]"


class RuleBook:
    """One state of the desk, read once and used until the desk changes.

    `lookups` are the values that its rules ask for and that cost something to know; `skills` is the number of skills.
    """

    def __init__(
        self, version: int, queues: list[Queue], default_id: int | None, rules: list[RoutingRule],
        calendars: Mapping[int | None, Calendar] | None = None, skills: int = 0,
        profiles: Mapping[int, Profile] | None = None,
        staff: Mapping[int, Sequence[Mapping[str, int]]] | None = None,
    ):  # fmt: skip
        self.version = version
        self.calendars = calendars or {}
        self.queues = {
            int(queue.id or 0): _terms(queue, self.calendars.get(queue.calendar_id, ALWAYS)) for queue in queues
        }
        self.counted = {kind for kind in KINDS if any(queue.promises.names(kind) for queue in self.queues.values())}
        self.default = None if default_id is None else self.queues[default_id]
        self.terms = tuple(read_terms(queue) for queue in queues)
        self._paused = {terms.id for terms in self.terms if terms.paused}
        self._profiles = profiles or {}
        graces = [seconds for one in (NO_PROFILE, *self._profiles.values()) for seconds in one.graces.values()]
        self.shortest_grace = timedelta(seconds=min(graces)) if graces else None
        self.skills = skills
        self._staff = staff or {}  # by queue the skills of each agent who serves it
        self._best = {queue_id: _best_levels(crew) for queue_id, crew in self._staff.items()}
        self._takeable: dict[tuple[int, str, int | None], bool] = {}
        self.rules = tuple(compiled for rule in rules if (compiled := self._compiled(rule)) is not None)
        asked = {name for rule in self.rules for name in rule.condition.asks}
        self.lookups = tuple(sorted(name for name in asked if is_looked_up(name)))
        self._ladders = {rule.id: rule.ladder for rule in self.rules if rule.ladder}
        self.has_ladders = bool(self._ladders) or any(queue.ladder for queue in self.queues.values())
        self.wraps_up = any(queue.wrap_up.exist for queue in self.queues.values())
        self.parks = any(queue.park.exist for queue in self.queues.values())
        self.queues_by_name = {queue.name: queue for queue in self.queues.values()}
        self._unmatched = None if self.default is None else self._by_default(self.default)

    def place(self, values: Mapping[str, Any]) -> Placement:
        """The first rule that holds decides. Raises Conflict when the desk has no queue at all."""
        if self._unmatched is None or self.default is None:
            raise Conflict(_("There is no active queue: add one in Settings or in desk.yaml."))
        fields = Fields(values)
        for rule in self.rules:
            if rule.condition.holds(fields):
                queue = rule.queue or self.default
                trace = self._trace(rule, fields, queue)
                own = rule.id if rule.ladder else None
                return Placement(queue, rule.skills, rule.priority, trace, f"rule {rule.name}", own, rule.labels)
        return self._unmatched

    def target(self, queue_id: int, channel: str) -> float:
        """Seconds in which work of a queue is to be answered first."""
        queue = self.queues.get(queue_id)
        return TARGET if queue is None else float(queue.promises.target(FIRST_REPLY, channel) or TARGET)

    def open_place(self, place: Placement, now: datetime) -> Placement:
        """Where work goes at this moment: a queue that is closed may have named another one."""
        queue, passed = place.queue, set[int]()
        while (other := self.queues.get(queue.closed_queue_id or 0)) and not queue.calendar.is_open(now):
            if queue.id in passed:
                return place
            passed.add(queue.id)
            queue = other
        if queue is place.queue:
            return place
        closed = place.queue.name
        return self.moved(place, queue, f"{closed} is closed", {"step": "closed", "closed": closed})

    def moved(self, place: Placement, queue: QueueTerms, why: str, step: Mapping[str, Any]) -> Placement:
        """The same work in another queue, with the reason; skills that nobody there has are no longer required."""
        asked = json.loads(place.skills)
        skills = self.asked_in(queue, asked)
        dropped = sorted(asked.keys() - skills.keys())
        told = {**step, "queue_id": queue.id, "queue": queue.name} | ({"dropped": dropped} if dropped else {})
        trace = json.dumps([*json.loads(place.trace), told])
        return replace(place, queue=queue, trace=trace, why=why, skills=json.dumps(skills))

    def asked_in(self, queue: QueueTerms, skills: Mapping[str, int]) -> dict[str, int]:
        """What of these skills is asked for in a queue: those that somebody there has."""
        best = self._best.get(queue.id, {})
        return {name: level for name, level in skills.items() if best.get(name, 0) >= level}

    def served_place(self, place: Placement) -> Placement:
        """Where work goes that nobody can ever take where it is to go: the default queue, if it is served.

        Skills that nobody there has are no longer required. A paused queue keeps its work, served or not.
        """
        to, name = self.default, place.queue.name
        if to is None or not self._staff.get(to.id) or self.can_be_taken(place.queue, place.skills, place.rule_id):
            return place
        return replace(
            self.moved(place, to, f"nobody can take it in {name}", {"step": "unserved", "unserved": name}),
            rule_id=None,
        )

    def past_full(self, place: Placement, queue: QueueTerms) -> Placement:
        """The same work in the queue that takes it because its own is full."""
        full = place.queue.name
        return self.moved(place, queue, f"{full} is full", {"step": "full", "full": full})

    def can_be_taken(self, queue: QueueTerms, skills: str = "{}", rule_id: int | None = None) -> bool:
        """Whether somebody serves the queue who can take such work, now or at a later step of its ladder."""
        key = (queue.id, skills, rule_id)
        if key not in self._takeable:
            self._takeable[key] = queue.id in self._paused or self._is_takeable(queue.id, json.loads(skills), rule_id)
        return self._takeable[key]

    def _is_takeable(self, queue_id: int, skills: Mapping[str, int], rule_id: int | None) -> bool:
        queues = {queue_id}
        for step in (Step(0), *self.ladder(queue_id, rule_id)):
            if step.queue_id is not None:
                return True
            skills, queues = step.skills(skills), queues | set(step.join)
            crew = [one for each in queues for one in self._staff.get(each, ())]
            if any(all(one.get(name, 0) >= level for name, level in skills.items()) for one in crew):
                return True
        return False

    def ladder(self, queue_id: int, rule_id: int | None = None) -> Ladder:
        """What changes for work of a queue while it waits; a rule's own ladder goes before the queue's."""
        queue = self.queues.get(queue_id)
        return self._ladders.get(rule_id or 0) or (queue.ladder if queue is not None else ())

    def weight(self, channel: str) -> int:
        """How much of an agent's capacity one conversation of this kind takes."""
        return WEIGHTS.get(channel, WEIGHT)

    def profile(self, number: int | None) -> Profile:
        """An agent's profile; the usual one for those who have none."""
        return self._profiles.get(number or 0, NO_PROFILE)

    def graces(self, number: int | None) -> Mapping[str, int]:
        """For how many seconds agents of a profile may lose their connection before their work goes elsewhere."""
        return self.profile(number).graces

    def _compiled(self, rule: RoutingRule) -> Rule | None:
        try:
            condition = read_condition(rule.condition)
        except ValueError as error:
            # Mail must go on arriving when a rule from an older version can't be read: the rule is left out.
            log.error("routing rule %s is left out: %s", rule.id, error)
            return None
        queue = None if rule.queue_id is None else self.queues.get(rule.queue_id)
        ladder = _ladder(f"rule {rule.name}", rule.ladder)
        skills, labels = json.dumps(rule.skills), json.dumps(rule.labels)
        return Rule(int(rule.id or 0), rule.name, condition, queue, skills, labels, rule.priority, ladder)

    @staticmethod
    def _trace(rule: Rule, fields: Fields, queue: QueueTerms) -> str:
        step = {"step": "rule", "rule_id": rule.id, "rule": rule.name, "queue_id": queue.id, "queue": queue.name}
        step |= {"labels": json.loads(rule.labels)} if rule.labels != "[]" else {}
        return json.dumps([{**step, "leaves": rule.condition.evaluate(fields)[1]}])

    def _by_default(self, queue: QueueTerms) -> Placement:
        trace = [{"step": "default", "rules": len(self.rules), "queue_id": queue.id, "queue": queue.name}]
        return Placement(queue, "{}", 0, json.dumps(trace), "default queue")


def _best_levels(crew: Sequence[Mapping[str, int]]) -> dict[str, int]:
    best: dict[str, int] = {}
    for skills in crew:
        for name, level in skills.items():
            best[name] = max(level, best.get(name, 0))
    return best


_books: WeakKeyDictionary[Any, RuleBook] = WeakKeyDictionary()


def rule_book(tx: Tx) -> RuleBook:
    """The rules as they are now. Kept per database engine; costs one read of the desk's version per transaction.

    A transaction that changes the desk reads them anew and keeps nothing: it may be rolled back.
    """
    version = desk_version(tx)
    if changes_desk(tx):
        return _read_book(tx, version)
    book = _books.get(tx.bind)
    if book is None or book.version != version:
        book = _books[tx.bind] = _read_book(tx, version)
    return book


def _read_book(tx: Tx, version: int) -> RuleBook:
    queues = list(tx.exec(select(Queue).where(col(Queue.active))))
    rules = tx.exec(
        select(RoutingRule).where(col(RoutingRule.active)).order_by(col(RoutingRule.position), col(RoutingRule.id))
    )
    default = default_queue(tx)
    return RuleBook(
        version,
        queues,
        None if default is None else default.id,
        list(rules),
        {row.id: _read(row) for row in tx.exec(select(CalendarPlan))},
        int(tx.sql("SELECT count(*) FROM skill").fetchone()[0]),
        {int(row.id or 0): read_profile(row) for row in tx.exec(select(RoutingProfile))},
        skills_by_queue(tx),
    )


def terms_now(tx: Tx, queue_id: int) -> QueueTerms:
    """A queue's terms as this transaction sees them, also while the desk is being changed."""
    queue = tx.get_one(Queue, queue_id)
    plan = None if queue.calendar_id is None else tx.get(CalendarPlan, queue.calendar_id)
    return _terms(queue, ALWAYS if plan is None else _read(plan))


def _terms(queue: Queue, calendar: Calendar) -> QueueTerms:
    said = queue.handout
    return QueueTerms(
        int(queue.id or 0),
        queue.name,
        timedelta(seconds=queue.first_reply_seconds),
        timedelta(seconds=queue.offer_seconds),
        calendar,
        timedelta(seconds=said.get("cooldown", COOLDOWN)),
        said.get("missed_limit", MISSED_LIMIT),
        promised(queue.first_reply_seconds, queue.sla),
        queue.escalate,
        queue.hold_when_closed,
        queue.closed_queue_id,
        _ladder(f"queue {queue.name}", queue.ladder),
        read_limits(queue.limits),
        read_last_agent(said.get("last_agent", {})),
        read_wrap_up(said.get("wrap_up", {})),
        read_parking(said.get("park", {})),
    )


def _ladder(whose: str, document: list[dict[str, Any]]) -> Ladder:
    try:
        return read_ladder(document)
    except (TypeError, ValueError) as error:
        log.error("the ladder of %s is left out: %s", whose, error)
        return ()


def _read(row: CalendarPlan) -> Calendar:
    try:
        return read_calendar(row.name, row.plan)
    except ValueError as error:
        # Work must go on when a plan can't be read any more, as with rules: its queues are open all the time.
        log.error("calendar %s is left out: %s", row.name, error)
        return ALWAYS
