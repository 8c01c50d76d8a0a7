"""What a simulated day was like, in numbers, and how sure the difference between two policies is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sqrt, tan
from statistics import NormalDist, fmean, pstdev, stdev

from routing.orders import COST, COST_OF_OTHERS
from routing.simulation.simulator import Course, Day

VALUED = 2.0  # how much more it costs to be late for a preferred customer


@dataclass(frozen=True, slots=True)
class Waits:
    """How the customers of a channel fared: waits in seconds, the rest as shares."""

    number: int
    p50: float
    p95: float
    in_time: float
    left: float


@dataclass(frozen=True, slots=True)
class Measures:
    """A day in numbers; all but waits and `number` are shares.

    `loss` weighs each late or lost contact by its channel and twice for preferred customers, beside the loss of
    being late for everybody.
    """

    number: int
    in_time: float
    valued_in_time: float
    loss: float
    left: float
    occupancy: float
    uneven: float  # standard deviation of the agents' occupancy
    longest: float
    channels: dict[str, Waits]
    p50: float
    p95: float
    valued: int  # how many are preferred customers who would not wait for ever
    occupied: dict[int, float]  # occupancy by agent, over the whole day


def measure(day: Day, counted_from: float = 0.0, counted_until: float | None = None) -> Measures:
    """Count the contacts that came in this span: those of the last hour may still wait for a target of theirs."""
    until = day.end if counted_until is None else counted_until
    counted = [one for one in day.courses if counted_from <= one.contact.at <= until]
    kinds = sorted({one.contact.channel for one in counted}, key=lambda name: (-_cost_of(name), name))
    channels = {name: _waits([one for one in counted if one.contact.channel == name], day.end) for name in kinds}
    valued = [one for one in counted if one.contact.priority > 0 and one.contact.patience < float("inf")]
    used = list(day.occupancy.values())
    waits = sorted(one.waited(day.end) for one in counted)
    return Measures(
        len(counted),
        _share(counted),
        _share(valued),
        sum(_cost(one) for one in counted if not one.in_time) / (sum(map(_cost, counted)) or 1.0),
        sum(one.left is not None for one in counted) / (len(counted) or 1),
        fmean(used) if used else 0.0,
        pstdev(used) if used else 0.0,
        max(waits, default=0.0),
        channels,
        quantile(waits, 0.5),
        quantile(waits, 0.95),
        len(valued),
        day.occupancy,
    )


def gap(loss: float, bound: float, first_come: float) -> float:
    """How much of the way from the bound to first come, first served a policy loses: 0 is the bound itself."""
    return (loss - bound) / (first_come - bound) if first_come > bound else 0.0


def paired(ours: Sequence[float], theirs: Sequence[float], tried: int = 1) -> tuple[float, float]:
    """The mean difference over days that both had, and the half width of its 95 % interval (Student's t).

    Of the best of several that were `tried` the interval is wider, so that it holds for all of them (Bonferroni).
    """
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    if len(differences) < 2:
        return fmean(differences), float("inf")
    point = _student(len(differences) - 1, 1.0 - 0.025 / tried)
    return fmean(differences), point * stdev(differences) / sqrt(len(differences))


def _student(freedom: int, share: float) -> float:
    """The point of Student's t below which this share lies: exact for one and two degrees of freedom, else by the
    Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5)."""
    if freedom == 1:
        return tan(pi * (share - 0.5))
    if freedom == 2:
        return (2 * share - 1) * sqrt(2 / (4 * share * (1 - share)))
    z = NormalDist().inv_cdf(share)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _waits(courses: Sequence[Course], end: float) -> Waits:
    waits = [one.waited(end) for one in courses]
    left = sum(one.left is not None for one in courses)
    return Waits(len(courses), quantile(waits, 0.5), quantile(waits, 0.95), _share(courses), left / (len(courses) or 1))


def _share(courses: Sequence[Course]) -> float:
    return sum(one.in_time for one in courses) / len(courses) if courses else 1.0


def _cost_of(channel: str) -> float:
    return COST.get(channel, COST_OF_OTHERS)


def _cost(course: Course) -> float:
    return _cost_of(course.contact.channel) * (VALUED if course.contact.priority > 0 else 1.0)
