"""`python app.py simulate`: how the desk would do, as it is, as a file would make it, and by other products' rules."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.desk import opened_store
from config import Settings
from config.settings import read_text
from hub import desk
from hub.experiments import Wanted, experiment
from storage import Store

BAR = 30


def simulate_desk(settings: Settings, wanted: Wanted, changed: Path | None) -> int:
    """Print how it would be; `changed` is a desk file beside the desk in force."""
    document = desk.read(read_text(changed), changed.parent) if changed else None
    with opened_store(settings) as store:
        tell(store, wanted, document, private=settings.webhook_allow_private)
    return 0


def tell(store: Store, wanted: Wanted, document: Mapping[str, Any] | None, *, private: bool = False) -> None:
    """Print a table of ways to hand out work and what to know about it."""
    found = experiment(store, wanted, document, _progress, private=private)
    told = found["told"]
    if wanted.days:
        print(
            f"{told['contacts']} pieces of work of the last {wanted.days} days, with the agents who were there and the "
            "work that each took. Nobody leaves: that is not recorded.\n"
        )
    else:
        print(
            f"{told['runs']} synthetic days of {told['hours']:g} hours with {told['per_hour']:.0f} contacts an hour, "
            f"as many for each rule as for the others, for {told['agents']} agents who are there all the time. "
            "Customers answer at once, so that nothing is parked.\n"
        )
    for name in told["unserved"]:
        print(f"! nobody can take what {f'rule {name!r}' if name else 'no rule'} lets through: it waits for ever\n")
    print(_table(found["rows"]))
    print(
        "\nin time: answered within their target; loss: late or lost, weighed by channel and twice for who has "
        "priority;\nin use: of the agents' capacity, with the spread between them; beside: difference in loss with its "
        "95 % interval."
    )
    print(_by_formula(found["staffing"]))
    for line in [*_equivalents(found.get("equivalents", ())), *_advice(found.get("advice"))]:
        print(line)
    print("\nNothing was changed. How it is simulated: docs/routing-policies.md")


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        filled = BAR * done // of
        print(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done} of {of} ", end="", file=sys.stderr, flush=True)
        if done == of:
            print("\r" + " " * (BAR + 20) + "\r", end="", file=sys.stderr, flush=True)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    channels = sorted({channel for row in rows for channel in row["channels"]})
    table = [["", "in time", "priority", "loss", "left", "in use", *(f"{name} p50/p95" for name in channels), "beside"]]
    for row in rows:
        cells = [_percent(row[name]) for name in ("in_time", "valued_in_time", "loss", "left")]
        cells.append(f"{_percent(row['occupancy'])} ± {100 * row['uneven']:.0f}")
        for channel in channels:
            waits = row["channels"].get(channel)
            cells.append(f"{_span(waits['p50'])}/{_span(waits['p95'])}" if waits else "")
        table.append([row["name"], *cells, _points(row["beside"]["loss"]) if row["beside"] else ""])
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells)
        ).rstrip()
        for cells in ([*zip(row, widths, strict=True)] for row in table)
    )


def _by_formula(staffing: Mapping[str, Any]) -> str:
    needed = {"erlang_c": "Erlang C", "erlang_a": "Erlang A, customers leave", "several": "several at a time"}
    told = ", ".join(f"{staffing[name]} ({what})" for name, what in needed.items() if name in staffing)
    return (
        f"\nBy formula, the busiest hour ({staffing['per_hour']:.0f} contacts) in one pool takes {told} agents for "
        f"{100 * staffing['share']:.1f} % within {_span(staffing['target'])}."
    )


def _equivalents(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    width = max(len(row["name"]) for row in rows)
    found = [f"  {row['name'].ljust(width)}  {row['agents'] or 'more than twice as many'}" for row in rows]
    return ["\nAgents needed for as many in time as this desk has:", *found]


def _advice(advice: Mapping[str, Any] | None) -> list[str]:
    """What would help, each with what it is worth."""
    if advice is None:
        return []
    release, lesson = advice["release"], advice["lesson"]
    lines = ["\nWhat would help:"]
    if release is None:
        lines.append("- room for urgent work: nothing to find, because all of the work can wait or none can")
    elif release["is_so"] or not release["sure"]:
        lines.append("- room for urgent work: no moment of release is surely better than what the desk has")
    else:
        which = " and ".join(release["channels"])
        how = f"let {which} leave {release['leave']} free until {release['until']} % of its target has passed"
        lines.append(f"- {how if release['until'] else f'let {which} leave nothing free'}: {_worth(release)}")
    if lesson is None or not lesson["sure"]:
        lines.append("- a further skill: nobody's is surely worth it")
    else:
        skills = ", ".join(f"{name} {level}" for name, level in lesson["skills"].items())
        what = f"queue {lesson['queue']}{f' ({skills})' if skills else ''}"
        lines.append(f"- a further skill: teach {what} to {', '.join(lesson['names'])}: {_worth(lesson)}")
    return lines


def _worth(gain: Mapping[str, Any]) -> str:
    return f"{_points(gain['in_time'])} points in time, {_points(gain['loss'])} of loss saved"


def _points(interval: Sequence[float | None]) -> str:
    mean, half = interval
    return f"{100 * (mean or 0.0):+.1f}{f' ± {100 * half:.1f}' if half is not None else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 6000 else f"{seconds / 3600:.1f}h"
