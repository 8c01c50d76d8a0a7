"""An agent at work under a virtual clock: what he has, what rests with the customer, and what he wraps up.

He works on all his conversations at once, a little slower on each (`CONCURRENCY`), and slower where he is less skilled
(`routing.orders.SPEED`). What rests, and what he wraps up, takes room but none of his attention.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise

from routing.demand import scored_skill
from routing.orders import speed
from routing.shares import Share
from routing.simulation.traffic import Contact, Pause
from routing.supply import Candidate

CONCURRENCY = (0.0, 1.0, 1.6, 1.95)  # speed of an agent with so many conversations, all of them taken together


def pace(number: int) -> float:
    """How fast an agent is with so many conversations, all of them taken together."""
    return CONCURRENCY[min(number, len(CONCURRENCY) - 1)]


@dataclass(slots=True)
class Task:
    """A contact that an agent has: how fast he is with it, the seconds of work `left` up to the next pause or the end,
    the stretches of work after that, and the `weight` that it takes of his room now. `turn` counts its pauses.
    """

    contact: Contact
    speed: float
    left: float
    stretches: list[float]
    weight: int
    turn: int = 0
    parks_to: int = 0  # its weight once it is parked
    parked: bool = False


class Worker:
    """An agent, who has nothing yet. While he is not there nothing goes on but pauses and the time for wrapping up."""

    __slots__ = (
        "busy", "candidate", "labelled", "load", "now", "opened", "present", "resting", "turn", "working", "wrapping",
    )  # fmt: skip

    def __init__(self, candidate: Candidate, now: float):
        self.candidate = replace(candidate, load=0, open={}, labelled={}, recent=(), wrapping=0, wrapped={})
        self.working: dict[int, Task] = {}  # by contact
        self.resting: dict[int, Task] = {}
        self.wrapping: dict[int, Task] = {}
        self.load, self.opened, self.labelled = 0, Counter[str](), Counter[str]()
        self.busy, self.present, self.now = 0.0, 0.0, now
        self.turn = 0

    @property
    def is_here(self) -> bool:
        """Whether he works."""
        return self.candidate.status == "available"

    @property
    def occupancy(self) -> float:
        """The share of his capacity that was in use while he was there."""
        return self.busy / (self.present * self.candidate.limits.capacity or 1.0)

    def advance(self, now: float, since: float) -> None:
        """Work up to this moment; what came before `since` is not counted."""
        if self.is_here and now > self.now:
            counted = max(0.0, now - max(self.now, since))
            self.present += counted
            self.busy += counted * min(self.load, self.candidate.limits.capacity)
            each = pace(len(self.working)) / (len(self.working) or 1) * (now - self.now)
            for task in self.working.values():
                task.left -= each * task.speed
        self.now = now

    def seen(self) -> Candidate:
        """The agent as the router sees him."""
        self.candidate = replace(
            self.candidate, load=self.load, open=dict(self.opened), labelled=dict(self.labelled),
            wrapping=sum(task.weight for task in self.wrapping.values()),
            wrapped=Counter(task.contact.channel for task in self.wrapping.values()),
        )  # fmt: skip
        return self.candidate

    def turn_up(self, here: bool, now: float) -> None:
        """Come or go."""
        self.candidate = replace(self.candidate, status="available" if here else "away")
        if here:
            self._done(now)

    def next_stop(self) -> tuple[float, int]:
        """When he gets to a pause or the end of which of his conversations, if nothing changes."""
        each = pace(len(self.working)) / len(self.working)
        return min(
            (self.now + max(0.0, task.left) / (each * task.speed), number) for number, task in self.working.items()
        )

    def take(self, number: int, contact: Contact, now: float) -> None:
        """Begin with a contact."""
        level = self.candidate.skills.get(scored_skill(contact.skills), 0)
        stops = [0.0, *(min(pause.after, contact.work) for pause in contact.pauses), contact.work]
        first, *later = (end - start for start, end in pairwise(stops))
        self.working[number] = Task(contact, speed(level), first, later, contact.weight)
        self.load += contact.weight
        self._count(contact, 1)
        recent = (*self.candidate.recent, now) if self.candidate.limits.rate else ()
        self.candidate = replace(self.candidate, idle_since=now, last_at=now, recent=recent)

    # --- the customer has the word ----------------------------------------------------------------------------------

    def rest(self, number: int, share: Share | None) -> tuple[int, Pause]:
        """A pause begins; which one that is. `share` is kept once it is parked."""
        task = self.resting[number] = self.working.pop(number)
        task.turn += 1
        task.parks_to = task.weight if share is None else share.of(task.weight)
        return task.turn, task.contact.pauses[task.turn - 1]

    def rests(self, number: int, turn: int) -> bool:
        """Whether it is in this pause."""
        return number in self.resting and self.resting[number].turn == turn

    def park(self, number: int, now: float) -> None:
        """What rests takes less room from now on, or none."""
        task = self.resting[number]
        self._keep(task, task.parks_to)
        task.parked = True
        self._count(task.contact, -1)
        self._done(now)

    def is_over(self, number: int) -> bool:
        """Whether nothing is left to do for what is parked: it ends where it is."""
        return self.resting[number].parked and self.resting[number].stretches == [0.0]

    def go_on(self, number: int) -> None:
        """It takes its room again, also above what he can have."""
        task = self.working[number] = self.resting.pop(number)
        task.left = task.stretches.pop(0)
        if task.parked:
            self._keep(task, task.contact.weight)
            task.parked = False
            self._count(task.contact, 1)

    # --- the end ----------------------------------------------------------------------------------------------------

    def finish(self, number: int, share: Share | None, now: float) -> None:
        """Be done with a contact; with a share he wraps it up, and keeps that much of its room."""
        task = self.working.pop(number, None) or self.resting.pop(number)
        self._keep(task, 0 if share is None else share.of(task.weight))
        if share is None:
            self._count(task.contact, 0 if task.parked else -1)
            self._done(now)
        else:
            self.wrapping[number] = task

    def wrap_up(self, number: int, now: float) -> None:
        """The time to wrap it up is over."""
        task = self.wrapping.pop(number)
        self._keep(task, 0)
        self._count(task.contact, -1)
        self._done(now)

    def _keep(self, task: Task, weight: int) -> None:
        self.load += weight - task.weight
        task.weight = weight

    def _done(self, now: float) -> None:
        if not self.working:
            self.candidate = replace(self.candidate, idle_since=now)

    def _count(self, contact: Contact, more: int) -> None:
        self.opened[contact.channel] += more
        for label in contact.labels:
            self.labelled[label] += more
