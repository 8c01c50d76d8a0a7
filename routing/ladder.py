"""What changes the longer work waits: levels are relaxed, others join, it goes elsewhere, somebody is told.

Pure: what is known of the waiting comes in, what is to be done comes out. Time is open time of the queue's calendar.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from config.language import _, n_
from routing.calendars import Calendar

TOLD = ("slack", "supervisors")  # by whoever follows the fact
HIGHEST = 1000  # priority


@dataclass(frozen=True, slots=True)
class Step:
    """What holds once work has waited for `after` seconds.

    `require` are the skills it needs from then on and no others; `relax` lowers levels that it asks for and leaves
    all others alone, 0 being none at all. Agents of the queues `join` may take it as well. `age_credit` seconds are
    added to its age, `priority` to its priority; it goes to the queue `queue_id`, and `notify` are told.
    """

    after: int
    require: Mapping[str, int] | None = None
    relax: Mapping[str, int] = field(default_factory=dict)
    join: tuple[int, ...] = ()
    age_credit: int = 0
    priority: int = 0
    queue_id: int | None = None
    notify: tuple[str, ...] = ()

    def skills(self, asked: Mapping[str, int]) -> dict[str, int]:
        """What work that asked for this asks for from now on."""
        if self.require is not None:
            return dict(self.require)
        lowered = {name: min(level, self.relax.get(name, level)) for name, level in asked.items()}
        return {name: level for name, level in lowered.items() if level}

    def joined(self, joined: Sequence[int], queue_id: int) -> list[int]:
        """The queues beside its own whose agents may take it from now on."""
        return [*joined, *(each for each in self.join if each not in (*joined, queue_id))]

    def raised(self, priority: int) -> int:
        """The priority that it has from now on."""
        return min(priority + self.priority, max(HIGHEST, priority))


Ladder = tuple[Step, ...]  # each later than the one before


class Climb(NamedTuple):
    """How far work has come: it has waited `used` seconds up to `since`, and on from there unless that is None.

    Steps up to `reached` seconds are taken.
    """

    used: int
    since: datetime | None
    reached: int

    def waited(self, calendar: Calendar, now: datetime) -> int:
        """Seconds of open time up to now."""
        return self.used if self.since is None else self.used + int(calendar.elapsed(self.since, now))

    def resting(self, calendar: Calendar, now: datetime) -> Climb:
        """Somebody has it: from now on it does not wait."""
        return self._replace(used=self.waited(calendar, now), since=None)

    def next_at(self, ladder: Ladder, calendar: Calendar) -> datetime | None:
        """When its next step comes; None when there is none, or it does not wait."""
        step = following(ladder, self.reached)
        if step is None or self.since is None:
            return None
        return calendar.add(self.since, step.after - self.used)


def following(ladder: Ladder, reached: int) -> Step | None:
    """The first step that is not taken yet."""
    return next((step for step in ladder if step.after > reached), None)


def in_force(ladder: Ladder, reached: int) -> int:
    """How many steps are taken."""
    return sum(step.after <= reached for step in ladder)


def read_ladder(document: Sequence[Mapping[str, Any]]) -> Ladder:
    """A ladder as it is stored: a list of {after, require, relax, join, age_credit, priority, queue_id, notify}."""
    steps = [Step(**each) for each in document]
    return tuple(replace(step, join=tuple(step.join), notify=tuple(step.notify)) for step in steps)


def told_step(step: Step, queues: Mapping[int, str], asked: Mapping[str, int] | None = None) -> list[str]:
    """What a step does, in parts of a sentence. Where it is known what was `asked` for, only what changes is told."""
    parts = []
    if step.require is not None:
        wanted = _(" and ").join(f"{name} ≥ {level}" for name, level in sorted(step.require.items()))
        parts.append(_("it needs {skills}", skills=wanted or _("no skill")))
    for name, level in sorted(step.relax.items()):
        if asked is None or asked.get(name, 0) > level:
            lower = _("{skill} ≥ {level} will do", skill=name, level=level)
            parts.append(lower if level else _("{skill} is no longer required", skill=name))
    if step.join:
        joining = _listed(queues.get(each, _("a queue that is gone")) for each in step.join)
        parts.append(_("{queues} may take it as well", queues=joining))
    if step.priority:
        parts.append(_("its priority rises by {priority}", priority=step.priority))
    if step.age_credit:
        parts.append(_("it counts as {time} older", time=span(step.age_credit)))
    if step.queue_id is not None:
        parts.append(_("it goes to {queue}", queue=queues.get(step.queue_id, _("the default queue"))))
    if step.notify == ("slack",):
        parts.append(_("Slack is told"))
    elif step.notify:
        called = {"slack": "Slack", "supervisors": _("supervisors")}
        parts.append(_("{who} are told", who=_listed(called.get(each, each) for each in step.notify)))
    return parts


def span(seconds: int) -> str:
    """A length of time in words."""
    if seconds % 86_400 == 0:
        return n_("{count} day", "{count} days", seconds // 86_400)
    if seconds % 3600 == 0:
        return n_("{count} hour", "{count} hours", seconds // 3600)
    if seconds % 60 == 0:
        return n_("{count} minute", "{count} minutes", seconds // 60)
    return n_("{count} second", "{count} seconds", seconds)


def _listed(names: Iterable[str]) -> str:
    parts = list(names)
    return parts[0] if len(parts) == 1 else _("{names} and {name}", names=", ".join(parts[:-1]), name=parts[-1])
