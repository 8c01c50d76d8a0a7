"""What would help a desk, found by trying it on the same customers: room for urgent work, a further skill, hands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from routing.demand import Reserve, Skills, Terms
from routing.orders import COST, COST_OF_OTHERS
from routing.simulation.lab import Sample, Trial, sort_of, with_agents
from routing.simulation.measures import Measures, paired
from routing.simulation.policies import Policy
from routing.supply import Candidate, Serving

DEFERRABLE = ("email", "mailhook", "form")  # nobody sits and waits for an answer
RELEASES = (0.0, 0.25, 0.4, 0.6, 0.8, 0.95)  # shares of the target; 0 keeps no room at all
TAUGHT = 3  # the level that somebody has in what he has just learnt
MOST_WANTS, MOST_GROUPS, MOST_DOUBLINGS = 3, 3, 4
LESSONS = MOST_WANTS * MOST_GROUPS + MOST_DOUBLINGS  # that are tried at most
FEWER_DAYS = 4

Played = Callable[[], None]  # told after each way that was tried


@dataclass(frozen=True, slots=True)
class Gain:
    """What would be better, in shares of the contacts, with the half widths of its intervals (`tried` ways count)."""

    in_time: tuple[float, float]
    loss: tuple[float, float]
    tried: int

    @property
    def is_sure(self) -> bool:
        """Whether less is lost, and not by chance."""
        return self.loss[0] - self.loss[1] > 0


@dataclass(frozen=True, slots=True)
class Release:
    """Work that can wait leaves `leave` of each agent free until this share of its target has passed; 0 for never."""

    leave: int
    until: float
    channels: tuple[str, ...]
    gain: Gain


@dataclass(frozen=True, slots=True)
class Lesson:
    """These agents learn to do the work of a queue that asks for these skills."""

    queue_id: int
    skills: Skills
    agent_ids: tuple[int, ...]
    gain: Gain


def release_point(
    sample: Sample, trial: Trial, policy: Policy, today: Sequence[Measures], played: Played
) -> Release | None:
    """The best moment at which work that can wait may take an agent's last room; None where nothing is to be won so.

    That is where everything can wait or nothing can.
    """
    came = [contact for number in sample.numbers for contact in trial.day(number)]
    channels = tuple(name for name in DEFERRABLE if any(one.channel == name for one in came))
    leave = max((one.weight for one in came if one.channel not in DEFERRABLE), default=0)
    if not channels or not leave:
        return None
    found: list[tuple[float, float, list[Measures]]] = []
    for until in RELEASES:
        days = sample.measures(replace(trial, terms=_reserving(trial.terms, channels, leave, until)), policy)
        found.append((fmean(day.loss for day in days), until, days))
        played()
    _, until, days = min(found, key=lambda one: one[:2])
    return Release(leave, until, channels, _gain(today, days, len(RELEASES)))


def lesson(sample: Sample, trial: Trial, policy: Policy, today: Sequence[Measures], played: Played) -> Lesson | None:
    """Which work to teach to whom: what is late most, taught to those who have the most time. None where nobody is
    left to be taught or nothing is late."""
    wants, spare = _late_and_spare(sample, trial, policy)
    groups: dict[object, list[Candidate]] = defaultdict(list)
    for one in sorted(trial.crew, key=lambda one: (spare.get(one.id, 0.0), one.id)):
        groups[sort_of(one)].append(one)
    pairs = []
    for queue_id, skills in wants[:MOST_WANTS]:
        able = [group for group in groups.values() if queue_id not in group[0].queues or not group[0].has(skills)]
        able.sort(key=lambda group: (fmean(spare.get(one.id, 0.0) for one in group), group[0].id))
        pairs += [(queue_id, skills, group) for group in able[:MOST_GROUPS]]
    best: Lesson | None = None
    losses = [day.loss for day in today]
    tried = len(pairs) + MOST_DOUBLINGS

    def after(queue_id: int, skills: Skills, pupils: Sequence[Candidate]) -> tuple[float, Lesson]:
        names = {one.id for one in pupils}
        crew = [taught(one, queue_id, skills) if one.id in names else one for one in trial.crew]
        days = sample.measures(replace(trial, crew=crew), policy)
        played()
        found = Lesson(queue_id, skills, tuple(one.id for one in pupils), _gain(today, days, tried))
        return fmean(losses) - fmean(day.loss for day in days), found

    won, group = 0.0, list[Candidate]()
    for queue_id, skills, members in pairs:
        more, found = after(queue_id, skills, members[:1])
        if best is None or more > won:
            won, best, group = more, found, members
    for number in (2**step for step in range(1, MOST_DOUBLINGS + 1)):
        if best is None or len(best.agent_ids) == len(group):
            break
        more, found = after(best.queue_id, best.skills, group[:number])
        if more < won * 1.1:  # each further pupil costs the same and must bring something
            break
        won, best = more, found
    return best


def agents_for(sample: Sample, trial: Trial, policy: Policy, in_time: float, most: int, played: Played) -> int | None:
    """The fewest agents with whom this share is answered in time, by halving; None when `most` are not enough."""
    low, high = 1, most + 1
    while low < high:
        middle = (low + high) // 2
        days = sample.measures(with_agents(trial, middle), policy)
        played()
        enough = bool(days) and fmean(day.in_time for day in days) >= in_time - 1e-9
        low, high = (low, middle) if enough else (middle + 1, high)
    return low if low <= most else None


def halvings(most: int) -> int:
    """How many ways `agents_for` tries at most."""
    return (most + 1).bit_length()


def taught(one: Candidate, queue_id: int, skills: Skills) -> Candidate:
    """An agent who has learnt to do this work as well."""
    knows = {**one.skills, **{name: max(level, TAUGHT, one.skills.get(name, 0)) for name, level in skills}}
    return replace(one, skills=knows, queues={**one.queues, queue_id: one.queues.get(queue_id, Serving())})


def _reserving(terms: Sequence[Terms], channels: Sequence[str], leave: int, until: float) -> list[Terms]:
    keeps = {name: Reserve(leave, until) for name in channels} if until else {}
    return [
        replace(one, reserve={**{name: kept for name, kept in one.reserve.items() if name not in channels}, **keeps})
        for one in terms
    ]


def _late_and_spare(sample: Sample, trial: Trial, policy: Policy) -> tuple[list[tuple[int, Skills]], dict[int, float]]:
    """The sorts of work that lose most by being late, and how busy each agent is."""
    lost: defaultdict[tuple[int, Skills], float] = defaultdict(float)
    busy: dict[int, list[float]] = defaultdict(list)
    for day in sample.smaller(FEWER_DAYS).days(trial, policy):
        for course in day.courses:
            one = course.came
            at = one.at - trial.begin
            if not course.in_time and any(start <= at <= end for start, end in sample.spans):
                lost[one.queue_id, one.skills] += COST.get(one.channel, COST_OF_OTHERS)
        for agent_id, share in day.occupancy.items():
            busy[agent_id].append(share)
    wants = sorted(lost, key=lambda want: (-lost[want], want))
    return wants, {agent_id: fmean(shares) for agent_id, shares in busy.items()}


def _gain(before: Sequence[Measures], after: Sequence[Measures], tried: int) -> Gain:
    return Gain(
        paired([day.in_time for day in after], [day.in_time for day in before], tried),
        paired([day.loss for day in before], [day.loss for day in after], tried),
        tried,
    )
