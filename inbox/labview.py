"""What came of an experiment, in plain words and in the places of a picture: for the page and for nobody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from math import log
from typing import Any

from config.language import _, number

LEAST, MOST = 1.0, 86_400.0  # seconds at the ends of the picture of waits
TICKS = ((1.0, "1 s"), (10.0, "10 s"), (60.0, "1 min"), (600.0, "10 min"), (3600.0, "1 h"), (36_000.0, "10 h"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a difference means: its sentence, its colour, and the interval for those who want it."""

    words: str
    colour: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One measure before and after."""

    label: str
    before: str
    after: str
    verdict: Verdict | None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of the first picture: its length in per cent of the room."""

    name: str
    kind: str
    length: float
    value: str
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Wait:
    """From the middle to the slowest twentieth, both as places in per cent and in words."""

    whose: str
    kind: str
    start: float
    end: float
    told: str


@dataclass(frozen=True, slots=True)
class Busy:
    """How busy each agent is, as places in per cent."""

    whose: str
    kind: str
    dots: Sequence[float]
    mean: float
    told: str


def share(value: float) -> str:
    """A share as people say it."""
    return f"{number(100 * value, 1)} %"


def seconds(value: float) -> str:
    """A wait as people say it."""
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{number(value / 3600, 1)} h"


def verdict(interval: Sequence[float | None] | None, better: int, *, time: bool = False) -> Verdict | None:
    """A difference in words. `better` is 1 where more is better, -1 where less is, 0 where neither is."""
    if interval is None:
        return None
    mean, half = interval[0] or 0.0, interval[1]
    size = seconds(abs(mean)) if time else _("{points} points", points=number(100 * abs(mean), 1))
    if half is None:
        return Verdict(_("one day alone proves nothing"), "plain", f"{'+' if mean >= 0 else '−'}{size}")
    spread = seconds(half) if time else number(100 * half, 1)
    exact = f"{'+' if mean >= 0 else '−'}{size} ± {spread}"
    if abs(mean) <= half:
        return Verdict(_("no difference seen"), "plain", exact)
    good = mean * better > 0
    if not better:
        told = _("more by {size}, sure", size=size) if mean > 0 else _("less by {size}, sure", size=size)
        return Verdict(told, "plain", exact)
    told = _("better by {size}, sure", size=size) if good else _("worse by {size}, sure", size=size)
    return Verdict(told, "green" if good else "red", exact)


def headline(result: Mapping[str, Any]) -> str:
    """The one sentence that matters."""
    today, changed = _today(result), _changed(result)
    if changed is None:
        best = max((row for row in result["rows"] if row["kind"] != "bound"), key=lambda row: row["in_time"])
        if best is today:
            return _(
                "This desk answers {in_time} in time, and none of the others does better.",
                in_time=share(today["in_time"]),
            )
        could = _("“{name}” would reach {in_time}", name=best["name"], in_time=share(best["in_time"]))
        return _("This desk answers {in_time} in time; {could}.", in_time=share(today["in_time"]), could=could)
    told = verdict(changed["beside"]["in_time"], 1)
    assert told is not None
    return _(
        "With the change {in_time} would be answered in time, instead of {before}: {verdict}.",
        in_time=share(changed["in_time"]),
        before=share(today["in_time"]),
        verdict=told.words,
    )


def cards(result: Mapping[str, Any]) -> list[Card]:
    """The measures of the change beside those of today."""
    today, changed = _today(result), _changed(result)
    after = changed or {}

    def card(label: str, name: str, better: int, say: Any = share, hint: str = "", time: bool = False) -> Card:
        beside = changed["beside"][name] if changed else None
        return Card(
            label, say(today[name]), say(after[name]) if changed else "", verdict(beside, better, time=time), hint
        )

    found = [card(_("Answered in time"), "in_time", 1)]
    if today["valued"]:
        found.append(card(_("With priority, in time"), "valued_in_time", 1))
    found += [
        card(_("Usual wait"), "p50", -1, seconds, _("half of all wait less"), time=True),
        card(_("Long wait"), "p95", -1, seconds, _("one in twenty waits longer"), time=True),
        card(_("Left before an answer"), "left", -1),
        card(_("Agents in use"), "occupancy", 0, hint=_("of their capacity")),
        card(_("Unevenly busy"), "uneven", -1, hint=_("spread between agents")),
        card(_("Weighted loss"), "loss", -1, hint=_("late or lost; chat and priority count more")),
    ]
    needed = {row["kind"]: row["agents"] for row in result.get("equivalents", [])}
    if needed:
        more = _("over {agents}", agents=2 * today["agents"] + 2)
        found.append(
            Card(_("Agents for the same service"), str(needed["today"] or more),
                 str(needed["changed"] or more) if "changed" in needed else "", None, _("answers as many in time"))
        )  # fmt: skip
    return found


def bars(result: Mapping[str, Any]) -> list[Bar]:
    """What is late or lost by each way, the best first."""
    rows = sorted(result["rows"], key=lambda row: -row["in_time"])
    widest = max((1 - row["in_time"] for row in rows), default=0.0) or 1.0
    most = _("over {agents}", agents=2 * _today(result)["agents"] + 2)
    needed = {row["name"]: str(row["agents"] or most) for row in result.get("equivalents", [])}
    return [
        Bar(
            _called(row), row["kind"], round(100 * (1 - row["in_time"]) / widest, 2), _missed(row, needed),
            verdict(row["beside"]["in_time"] if row["beside"] else None, 1),
        )
        for row in rows
    ]  # fmt: skip


def waits(result: Mapping[str, Any]) -> list[tuple[str, list[Wait]]]:
    """By channel, of the desk today and changed."""
    shown = [row for row in (_today(result), _changed(result)) if row]
    kinds = sorted({kind for row in shown for kind in row["channels"]})
    found = []
    for kind in kinds:
        lines = []
        for row in shown:
            if (one := row["channels"].get(kind)) is not None:
                told = f"{seconds(one['p50'])} – {seconds(one['p95'])}"
                lines.append(Wait(_called(row), row["kind"], _place(one["p50"]), _place(one["p95"]), told))
        found.append((kind, lines))
    return found


def ticks() -> list[tuple[float, str]]:
    """The scale under the waits."""
    return [(_place(at), told) for at, told in TICKS]


def busy(result: Mapping[str, Any]) -> list[Busy]:
    """Each agent as a dot."""
    return [
        Busy(
            _called(row), row["kind"], [round(100 * min(1.0, dot), 2) for dot in row["busy"]],
            round(100 * row["occupancy"], 2), f"{share(row['occupancy'])} ± {100 * row['uneven']:.0f}",
        )
        for row in (_today(result), _changed(result))
        if row
    ]  # fmt: skip


def lines(before: str, after: str) -> list[tuple[str, str]]:
    """The lines of desk.yaml that differ, each with its class: added, removed, or those around them."""
    marks = {"+": "added", "-": "removed", "@": "place"}
    found = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    told = [(marks.get(line[:1], ""), line) for line in list(found)[2:]]
    return [(mark, "…" if mark == "place" else line) for mark, line in told]


def _today(result: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = result["rows"][0]
    return found


def _changed(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((row for row in result["rows"] if row["kind"] == "changed"), None)


def _called(row: Mapping[str, Any]) -> str:
    name: str = {"today": _("Today"), "changed": _("With the change")}.get(row["kind"], row["name"])
    return name[0].upper() + name[1:]


def _missed(row: Mapping[str, Any], needed: Mapping[str, str]) -> str:
    told = f"{100 * (1 - row['in_time']):.1f}"
    return f"{told} · {needed[row['name']]} agents" if row["name"] in needed else told


def _place(wait: float) -> float:
    """Where a wait stands on a scale on which ten times as long is as far everywhere."""
    kept = min(max(wait, LEAST), MOST)
    return round(2 + 96 * log(kept / LEAST) / log(MOST / LEAST), 2)
