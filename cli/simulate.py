"""`python app.py simulate`: how the desk would do, as it is, as a file would make it, and by other products' rules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import fmean

from cli.desk import opened_store
from config import Settings
from config.settings import read_text
from hub import desk
from hub.whatif import DeskPlan, as_changed, desk_plan, past_days
from routing.rules import WEIGHTS
from routing.simulation.lab import Trial, simulated
from routing.simulation.measures import Measures, measure, paired
from routing.simulation.policies import PEERS, Policy, reserved
from routing.simulation.traffic import Contact, bank_curve, synthetic_day
from storage import Store, Tx
from storage.access import Conflict

AS_IS = Policy("as it is")
BOUND = replace(AS_IS, name="bound: everybody can do everything", pooled=True)
DAY = 86_400.0
BAR = 30


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to simulate. `days` of the past, or `runs` synthetic days of `hours` with `per_hour` contacts."""

    changed: Path | None = None
    days: int = 0
    runs: int = 8
    hours: float = 8.0
    per_hour: float = 0.0
    curve: str = "flat"


Row = tuple[str, Sequence[Measures]]


def simulate_desk(settings: Settings, wanted: Wanted) -> int:
    """Print how it would be."""
    document = desk.read(read_text(wanted.changed), wanted.changed.parent) if wanted.changed else None
    with opened_store(settings) as store:
        tell(store, wanted, document, private=settings.webhook_allow_private)
    return 0


def tell(store: Store, wanted: Wanted, document: dict[str, object] | None, *, private: bool = False) -> None:
    """Print a table of policies and what to know about it. `document` is the changed desk."""
    rows = (_replay if wanted.days else _synthetic)(store, wanted, document, private)
    print(_table(rows))
    print(
        "\nin time: answered within their target; loss: late or lost, weighed by channel and twice for who has "
        "priority;\nin use: of the agents' capacity, with the spread between them; beside: difference in loss with its "
        "95 % interval.\nNothing was changed. How it is simulated: docs/routing-policies.md"
    )


def _synthetic(store: Store, wanted: Wanted, document: dict[str, object] | None, private: bool) -> list[Row]:
    with store.read() as tx:
        plan = _must_be_able(desk_plan(tx))
    names = list(plan.placed)
    per_hour = wanted.per_hour or plan.per_hour()
    curve = bank_curve() if wanted.curve == "bank" else (1.0,)
    seconds = wanted.hours * 3600.0

    def trial(of: DeskPlan) -> Trial:
        sorts = of.sorts(names, plan.kinds)

        def day(seed: int) -> list[Contact]:
            return synthetic_day(sorts, per_hour, seconds, seed, curve=curve)

        return Trial("synthetic", of.crew, of.terms, of.skills, day, seconds, 0.0, seconds)

    print(
        f"{wanted.runs} synthetic days of {wanted.hours:g} hours with {per_hour:.0f} contacts an hour, as many for "
        f"each rule as for the others, for {len(plan.crew)} agents who are there all the time.\n"
    )
    for name in plan.unserved():
        print(f"! nobody can take what {f'rule {name!r}' if name else 'no rule'} lets through: it waits for ever\n")
    trials = [("this desk", trial(plan))]
    if document is not None and wanted.changed is not None:
        changed = _must_be_able(as_changed(store, document, desk_plan, private=private))
        trials.append((wanted.changed.name, trial(changed)))

    def measured(of: Trial, policy: Policy) -> list[Measures]:
        days = []
        for seed in range(wanted.runs):
            days.append(measure(simulated(of, policy, seed), 0.0, seconds - min(3600.0, seconds / 8)))
        return days

    return _rows(trials, measured)


def _replay(store: Store, wanted: Wanted, document: dict[str, object] | None, private: bool) -> list[Row]:
    with store.read() as tx:
        since = tx.now - timedelta(days=wanted.days)

    def trial(tx: Tx) -> Trial:
        plan, past = desk_plan(tx), past_days(tx, since)
        return Trial(
            "past", past.crew, plan.terms, plan.skills, lambda _: past.contacts, wanted.days * DAY, 0.0,
            wanted.days * DAY, since.timestamp(), past.shifts,
        )  # fmt: skip

    with store.read() as tx:
        today = trial(tx)
    contacts = today.day(0)
    if not contacts:
        raise Conflict(f"Nothing came in the last {wanted.days} days: leave --days out for a synthetic day.")
    print(
        f"{len(contacts)} pieces of work of the last {wanted.days} days, with the agents who were there and the work "
        "that each took. Nobody leaves: that is not recorded.\n"
    )
    trials = [("this desk", today)]
    if document is not None and wanted.changed is not None:
        trials.append((wanted.changed.name, as_changed(store, document, trial, private=private)))

    def measured(of: Trial, policy: Policy) -> list[Measures]:
        day = simulated(of, policy, 0)
        found = [measure(day, of.begin + n * DAY, of.begin + (n + 1) * DAY) for n in range(wanted.days)]
        return [one for one in found if one.number]

    return _rows(trials, measured)


def _rows(trials: Sequence[tuple[str, Trial]], measured: Callable[[Trial, Policy], list[Measures]]) -> list[Row]:
    """Each desk as it is, then today's desk with room kept for urgent work, and by the rules of others."""
    today = trials[0][1]
    planned = [(name, of, AS_IS) for name, of in trials]
    roomy = Policy("this desk, e-mail leaves room for a chat", reserved(WEIGHTS["chat"]))
    planned += [(policy.name, today, policy) for policy in (roomy, *PEERS, BOUND)]
    rows: list[Row] = []
    for done, (name, of, policy) in enumerate(planned):
        _progress(done, len(planned))
        rows.append((name, measured(of, policy)))
    _progress(len(planned), len(planned))
    return rows


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        filled = BAR * done // of
        print(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done} of {of} ", end="", file=sys.stderr, flush=True)
        if done == of:
            print("\r" + " " * (BAR + 20) + "\r", end="", file=sys.stderr, flush=True)


def _table(rows: Sequence[Row]) -> str:
    channels = sorted({channel for _, days in rows for day in days for channel in day.channels})
    table = [["", "in time", "priority", "loss", "left", "in use", *(f"{name} p50/p95" for name in channels), "beside"]]
    first = [day.loss for day in rows[0][1]]
    for name, days in rows:
        cells = [
            _percent(days, lambda m: m.in_time), _percent(days, lambda m: m.valued_in_time),
            _percent(days, lambda m: m.loss), _percent(days, lambda m: m.left),
            f"{_percent(days, lambda m: m.occupancy)} ± {100 * fmean(day.uneven for day in days):.0f}",
        ]  # fmt: skip
        for channel in channels:
            waits = [day.channels[channel] for day in days if channel in day.channels]
            cells.append(f"{_span(fmean(w.p50 for w in waits))}/{_span(fmean(w.p95 for w in waits))}")
        mean, half = paired([day.loss for day in days], first)
        sure = f" ± {100 * half:.1f}" if len(days) > 1 else ""
        table.append([name, *cells, "" if days is rows[0][1] else f"{100 * mean:+.1f}{sure}"])
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells)
        ).rstrip()
        for cells in ([*zip(row, widths, strict=True)] for row in table)
    )


def _percent(days: Sequence[Measures], of: Callable[[Measures], float]) -> str:
    return f"{100 * fmean(of(day) for day in days):.1f} %"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 6000 else f"{seconds / 3600:.1f}h"


def _must_be_able(plan: DeskPlan) -> DeskPlan:
    if not plan.crew:
        raise Conflict("No agent serves a queue: add agents with queues to the desk first.")
    if not plan.kinds:
        raise Conflict("The desk has no channel: add one first.")
    return plan
