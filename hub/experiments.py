"""An experiment on the desk: its own past days or synthetic ones, as it is, changed, and by other products' rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import lru_cache
from itertools import accumulate
from math import inf, isfinite
from statistics import fmean
from typing import Any

from config.language import _
from hub.pastdays import past_days
from hub.whatif import DeskPlan, as_changed, desk_plan
from routing.rules import WEIGHTS
from routing.simulation.advice import (
    FEWER_DAYS,
    LESSONS,
    RELEASES,
    Gain,
    Lesson,
    Release,
    agents_for,
    halvings,
    lesson,
    release_point,
)
from routing.simulation.lab import Sample, Trial, handling, with_agents
from routing.simulation.measures import Measures, paired
from routing.simulation.policies import PEERS, Policy, reserved
from routing.simulation.staffing import Pool, agents_needed
from routing.simulation.traffic import Contact, bank_curve, synthetic_day
from routing.simulation.worker import CONCURRENCY
from storage import Store, Tx
from storage.access import Conflict

AS_IS = Policy("as it is")
ROOMY = Policy("this desk, e-mail leaves room for a chat", reserved(WEIGHTS["chat"]))
BOUND = replace(AS_IS, name="bound: everybody can do everything", pooled=True)
DAY, HOUR = 86_400.0, 3600.0
MOST_CONTACTS = 200_000  # over all synthetic days of one way to hand out work
MOST_AGENTS = 5_000
BUSIEST = 60  # agents whose occupancy a picture can show side by side
COMPARED = ("in_time", "valued_in_time", "loss", "left", "occupancy", "uneven", "p50", "p95")

Told = Callable[[int, int], None]  # how many ways of how many were played


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to play: `days` of the past, or `runs` synthetic days of `hours` with `per_hour` contacts.

    `name` is what the changed desk is called, `agents` how many it has (0: those it has). `recommend` looks for what
    would help, `equivalents` for the number of agents that each way would need. Without `peers` the desk is alone.
    """

    days: int = 0
    runs: int = 8
    hours: float = 8.0
    per_hour: float = 0.0
    curve: str = "flat"
    name: str = ""
    agents: int = 0
    peers: bool = True
    recommend: bool = False
    equivalents: bool = False

    def must_be_playable(self) -> None:
        """Raises Conflict for what would take too long."""
        if not self.days and self.runs * self.hours * self.per_hour > MOST_CONTACTS:
            raise Conflict(
                _(
                    "That is more than {most_contacts} contacts: take fewer or shorter days, or fewer an hour.",
                    most_contacts=MOST_CONTACTS,
                )
            )
        if self.agents > MOST_AGENTS:
            raise Conflict(_("At most {most_agents} agents can be played.", most_agents=MOST_AGENTS))


@dataclass(frozen=True, slots=True)
class Row:
    """One way to hand out the work. `kind` is today, changed, ours, peer or bound."""

    name: str
    kind: str
    trial: Trial
    policy: Policy


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played: a sample of days, the desks in it, and what to know about them."""

    sample: Sample
    plan: DeskPlan
    today: Trial
    changed: Trial | None
    told: dict[str, Any]


def experiment(
    store: Store, wanted: Wanted, document: Mapping[str, Any] | None, told: Told, *, private: bool = False
) -> dict[str, Any]:
    """Play it, and say what came of it as plain values. `document` is the changed desk.

    Raises Conflict where the desk has nothing to play with, DeskError for a file that can't be applied.
    """
    wanted.must_be_playable()
    setting = (_past if wanted.days else _synthetic)(store, wanted, document, private)
    rows = _rows(wanted, setting)
    steps = _Steps(told, len(rows), wanted, sum(row.kind != "bound" for row in rows), len(setting.today.crew))
    played = [(row, steps.after(setting.sample.measures(row.trial, row.policy))) for row in rows]
    today = played[0][1]
    found: dict[str, Any] = {
        "told": setting.told,
        "rows": [_summary(row, days, today) for row, days in played],
        "staffing": _staffing(setting, today),
    }
    if wanted.recommend:
        found["advice"] = _advice(setting, today, steps)
    if wanted.equivalents:
        found["equivalents"] = _equivalents(setting, played, steps)
    steps.end()
    return found


class _Steps:
    """How far it is: a step for each way that is played over the whole sample."""

    def __init__(self, told: Told, rows: int, wanted: Wanted, compared: int, agents: int):
        parts = [rows, *([len(RELEASES), LESSONS] if wanted.recommend else [])]
        parts += [halvings(_most(agents)) * compared] if wanted.equivalents else []
        self._told, self._ends = told, list(accumulate(parts))
        self._part, self._done = 0, 0
        told(0, self._ends[-1])

    def step(self) -> None:
        """One more."""
        self._done = min(self._done + 1, self._ends[self._part])
        self._told(self._done, self._ends[-1])

    def after(self, days: list[Measures]) -> list[Measures]:
        """One more, with what came of it."""
        self.step()
        return days

    def next_part(self) -> None:
        """Whatever was left of a part is not needed."""
        self._done = self._ends[self._part]
        self._part += 1

    def end(self) -> None:
        """All of it."""
        self._told(self._ends[-1], self._ends[-1])


def _synthetic(store: Store, wanted: Wanted, document: Mapping[str, Any] | None, private: bool) -> Setting:
    with store.read() as tx:
        plan = _must_be_able(desk_plan(tx))
    names = list(plan.placed)
    per_hour = wanted.per_hour or plan.per_hour()
    replace(wanted, per_hour=per_hour).must_be_playable()
    curve = bank_curve() if wanted.curve == "bank" else (1.0,)
    seconds = wanted.hours * HOUR

    def trial(of: DeskPlan, agents: int = 0) -> Trial:
        sorts = of.sorts(names, plan.kinds)

        @lru_cache(wanted.runs)
        def day(seed: int) -> list[Contact]:
            return synthetic_day(sorts, per_hour, seconds, seed, curve=curve)

        made = Trial("synthetic", of.crew, of.terms, of.skills, day, seconds, 0.0, seconds, house=of.book.queues)
        return with_agents(made, agents) if agents else made

    changed = None
    if document is not None:
        changed = trial(_must_be_able(as_changed(store, document, desk_plan, private=private)), wanted.agents)
    elif wanted.agents:
        changed = trial(plan, wanted.agents)
    told = {"runs": wanted.runs, "hours": wanted.hours, "per_hour": per_hour, "agents": len(plan.crew),
            "unserved": plan.unserved()}  # fmt: skip
    counted = seconds - min(HOUR, seconds / 8)
    return Setting(Sample(range(wanted.runs), [(0.0, counted)]), plan, trial(plan), changed, told)


def _past(store: Store, wanted: Wanted, document: Mapping[str, Any] | None, private: bool) -> Setting:
    with store.read() as tx:
        since = tx.now - timedelta(days=wanted.days)

    def trial(tx: Tx, plan: DeskPlan) -> Trial:
        past = past_days(tx, since, plan)
        return Trial(
            "past", past.crew, plan.terms, plan.skills, lambda __: past.contacts, wanted.days * DAY, 0.0,
            wanted.days * DAY, since.timestamp(), past.shifts, plan.book.queues,
        )  # fmt: skip

    with store.read() as tx:
        plan = _must_be_able(desk_plan(tx))
        today = trial(tx, plan)
    contacts = today.day(0)
    if not contacts:
        raise Conflict(
            _("Nothing came in the last {days} days: leave --days out for a synthetic day.", days=wanted.days)
        )
    changed = today if wanted.agents else None
    if document is not None:
        other = _must_be_able(as_changed(store, document, desk_plan, private=private))
        with store.read() as tx:
            changed = trial(tx, other)
    if changed is not None and wanted.agents:
        changed = with_agents(changed, wanted.agents)
    told = {"days": wanted.days, "contacts": len(contacts), "agents": len(plan.crew), "unserved": []}
    spans = [(number * DAY, (number + 1) * DAY) for number in range(wanted.days)]
    return Setting(Sample((0,), spans), plan, today, changed, told)


def _rows(wanted: Wanted, setting: Setting) -> list[Row]:
    """The desk as it is and changed, then today's desk with room kept for urgent work, and by the rules of others."""
    today = setting.today
    rows = [Row("this desk", "today", today, AS_IS)]
    if setting.changed is not None:
        rows.append(Row(_called(wanted), "changed", setting.changed, AS_IS))
    if wanted.peers:
        rows.append(Row(ROOMY.name, "ours", today, ROOMY))
        rows += [Row(peer.name, "peer", today, peer) for peer in PEERS]
        rows.append(Row(BOUND.name, "bound", today, BOUND))
    return rows


def _called(wanted: Wanted) -> str:
    return wanted.name or (f"with {wanted.agents} agents" if wanted.agents else "with the change")


def _summary(row: Row, days: Sequence[Measures], today: Sequence[Measures]) -> dict[str, Any]:
    """A row in means over its days, with its difference to today in each measure."""
    busy: dict[int, list[float]] = {}
    for day in days:
        for agent_id, share in day.occupied.items():
            busy.setdefault(agent_id, []).append(share)
    kinds = sorted({name for day in days for name in day.channels})
    beside = {name: _paired(days, today, name) for name in COMPARED}
    means = {name: fmean(getattr(day, name) for day in days) for name in COMPARED}
    return {
        "name": row.name,
        "kind": row.kind,
        "spans": len(days),
        "agents": len(row.trial.crew),
        "number": fmean(day.number for day in days),
        "valued": sum(day.valued for day in days),
        **means,
        "channels": {name: _channel(name, days) for name in kinds},
        "beside": None if days is today else beside,
        "busy": _thinned([fmean(shares) for shares in busy.values()]),
    }


def _channel(name: str, days: Sequence[Measures]) -> dict[str, float]:
    had = [day.channels[name] for day in days if name in day.channels]
    return {
        "number": fmean(one.number for one in had),
        **{what: fmean(getattr(one, what) for one in had) for what in ("p50", "p95", "in_time", "left")},
    }


def _paired(days: Sequence[Measures], today: Sequence[Measures], name: str) -> tuple[float, float | None]:
    return _finite(paired([getattr(day, name) for day in days], [getattr(day, name) for day in today]))


def _finite(interval: tuple[float, float]) -> tuple[float, float | None]:
    """An interval as JSON can say it: of a single day nothing is sure."""
    return interval[0], interval[1] if isfinite(interval[1]) else None


def _thinned(shares: Sequence[float]) -> list[float]:
    ordered = sorted(shares)
    if len(ordered) <= BUSIEST:
        return ordered
    return [ordered[place * (len(ordered) - 1) // (BUSIEST - 1)] for place in range(BUSIEST)]


def _staffing(setting: Setting, today: Sequence[Measures]) -> dict[str, Any]:
    """How many agents formulas ask for, for the busiest hour in one pool and the same share in time.

    Erlang C has customers who never leave and agents who do one thing at a time, Erlang A customers who leave, the
    third agents who do several at a time.
    """
    trial, sample = setting.today, setting.sample
    came = [[one for one in trial.day(number) if _counted(one, trial, sample)] for number in sample.numbers]
    everybody = [one for day in came for one in day]
    hours = Counter((number, int((one.at - trial.begin) // HOUR)) for number, day in enumerate(came) for one in day)
    busiest: dict[int, int] = {}
    for (number, hour), many in hours.items():
        span = number if len(sample.spans) == 1 else int(hour * HOUR // DAY)
        busiest[span] = max(busiest.get(span, 0), many)
    per_second = fmean(busiest.values()) / HOUR
    work = fmean(handling(one, trial.house) for one in everybody)
    hurried = [one.patience for one in everybody if one.patience < inf]
    urgent = min(Counter(one.target for one in everybody).items(), key=lambda each: (each[0], -each[1]))[0]
    share = min(0.995, max(0.5, fmean(day.in_time for day in today)))
    pools = {
        "erlang_c": Pool(per_second, work),
        "erlang_a": Pool(per_second, work, fmean(hurried) if hurried else inf),
        "several": Pool(per_second, work, fmean(hurried) if hurried else inf, CONCURRENCY[1:]),
    }
    needed = {name: agents_needed(pool, urgent, share, 1.0 - share).agents for name, pool in pools.items()}
    if not hurried:
        del needed["erlang_a"]
    return {**needed, "per_hour": per_second * HOUR, "work": work, "target": urgent, "share": share,
            "agents": len(trial.crew)}  # fmt: skip


def _counted(one: Contact, trial: Trial, sample: Sample) -> bool:
    return any(start <= one.at - trial.begin <= end for start, end in sample.spans)


def _advice(setting: Setting, today: Sequence[Measures], steps: _Steps) -> dict[str, Any]:
    steps.next_part()
    release = release_point(setting.sample, setting.today, AS_IS, today, steps.step)
    steps.next_part()
    learnt = lesson(setting.sample, setting.today, AS_IS, today, steps.step)
    return {
        "release": None if release is None else _release(setting, release),
        "lesson": None if learnt is None else _lesson(setting, learnt),
    }


def _release(setting: Setting, release: Release) -> dict[str, Any]:
    has = {
        (name, kept.until if (kept := one.reserve.get(name)) else 0.0)
        for one in setting.today.terms
        for name in release.channels
    }
    is_so = all(until == release.until for __, until in has)
    return {
        "leave": release.leave, "until": round(100 * release.until), "channels": list(release.channels),
        "is_so": is_so, **_gain(release.gain),
    }  # fmt: skip


def _lesson(setting: Setting, learnt: Lesson) -> dict[str, Any]:
    queue = setting.plan.book.queues[learnt.queue_id].name
    return {
        "queue": queue, "skills": dict(learnt.skills), "agents": list(learnt.agent_ids),
        "names": [setting.plan.names.get(number, "?") for number in learnt.agent_ids], **_gain(learnt.gain),
    }  # fmt: skip


def _gain(gain: Gain) -> dict[str, Any]:
    told = asdict(gain)
    return told | {name: _finite(told[name]) for name in ("in_time", "loss")} | {"sure": gain.is_sure}


def _equivalents(
    setting: Setting, played: Sequence[tuple[Row, Sequence[Measures]]], steps: _Steps
) -> list[dict[str, Any]]:
    """How many agents each way needs to answer as many in time as this desk does with those it has."""
    steps.next_part()
    sample = setting.sample.smaller(FEWER_DAYS)
    goal = fmean(day.in_time for day in sample.measures(setting.today, AS_IS))
    most = _most(len(setting.today.crew))
    return [
        {
            "name": row.name, "kind": row.kind,
            "agents": agents_for(sample, row.trial, row.policy, goal, most, steps.step),
        }
        for row, __ in played
        if row.kind != "bound"
    ]  # fmt: skip


def _most(agents: int) -> int:
    """Beyond this nobody would go on looking."""
    return 2 * agents + 2


def _must_be_able(plan: DeskPlan) -> DeskPlan:
    if not plan.crew:
        raise Conflict(_("No agent serves a queue: add agents with queues to the desk first."))
    if not plan.kinds:
        raise Conflict(_("The desk has no channel: add one first."))
    return plan
