"""A calendar as people write it: days of the week, closed and special dates, holidays, an iCalendar text."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from config.language import N_
from config.retold import stored
from routing.calendars import DAY, HORIZON_YEARS, Calendar, Closed, Span
from routing.closings import Closings, Events, events, public_holidays

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_CLOSING = 366  # days
KEYS = ("time_zone", "hours", "holidays", "closed", "special", "ics")
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")


def read_calendar(name: str, plan: Mapping[str, Any]) -> Calendar:
    """The calendar that a plan describes; equal plans give the same one. Raises ValueError with a sentence.

    `plan` has time_zone, hours and perhaps holidays, closed, special and ics, as they stand in desk.yaml.
    """
    return _read(name, json.dumps(plan, sort_keys=True))


def must_open(calendar: Calendar, now: datetime) -> None:
    """Raises ValueError for a calendar that stays closed: work would wait for ever."""
    if calendar.next_opening(now) is None:
        raise ValueError(
            stored(
                "never opens in the coming {years} years: something in closed, holidays or ics covers all its hours; "
                "take that out or write other hours",
                years=HORIZON_YEARS,
            )
        )


def known_until(plan: Mapping[str, Any], now: datetime) -> date | None:
    """The day after which a plan's iCalendar text or holidays close nothing any more; None when they go on."""
    ends = []
    if plan.get("ics"):
        ends.append(events(plan["ics"], ZoneInfo(plan["time_zone"])).last)
    if plan.get("holidays"):
        closed = public_holidays(plan["holidays"]["country"], plan["holidays"].get("region", ""))
        years = (year for year in range(now.year - 1, now.year + 3) if not closed(year).days)
        ends.append(next((date(year - 1, 12, 31) for year in years), None))
    return min((end for end in ends if end is not None), default=None)


@lru_cache(maxsize=200)
def _read(name: str, text: str) -> Calendar:
    plan: dict[str, Any] = json.loads(text)
    if unknown := [key for key in plan if key not in KEYS]:
        raise ValueError(
            stored("has an unknown key {unknown}; known are {known}", unknown=repr(unknown[0]), known=", ".join(KEYS))
        )
    zone = _zone(plan.get("time_zone", ""))
    week = _week(plan.get("hours") or {})
    special = {_date(day): _spans(hours, f"special {day}") for day, hours in (plan.get("special") or {}).items()}
    for day in (day for entry in plan.get("closed") or [] for day in _dates(entry)):
        if special.get(day):
            raise ValueError(stored("says that {day} is closed and that it is special: take one of them out", day=day))
        special[day] = ()
    return Calendar(name, zone, week, special, _closed(plan, zone))


def _closed(plan: Mapping[str, Any], zone: ZoneInfo) -> Closings:
    sources: list[Closings] = []
    if plan.get("holidays"):
        sources.append(public_holidays(plan["holidays"].get("country", ""), plan["holidays"].get("region", "")))
    if plan.get("ics"):
        sources.append(_events(plan["ics"], zone).closed)

    def closed(year: int) -> Closed:
        each = [source(year) for source in sources]
        return Closed(
            frozenset(day for one in each for day in one.days), tuple(time for one in each for time in one.times)
        )

    return closed


def _events(text: str, zone: ZoneInfo) -> Events:
    try:
        return events(text, zone)
    except ValueError as error:
        raise ValueError(stored("ics {error}", error=error)) from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "write one such as Europe/Berlin"
        raise ValueError(stored("time_zone {name} is not known; {hint}", name=repr(name), hint=hint)) from None


def _week(hours: Mapping[str, Any]) -> list[tuple[Span, ...]]:
    week: list[tuple[Span, ...]] = [()] * 7
    said: set[int] = set()
    for days, written in hours.items():
        for day in _weekdays(days):
            if day in said:
                raise ValueError(stored("hours says {days} twice", days=DAYS[day]))
            said.add(day)
            week[day] = _spans(written, f"hours {days}")
    if not any(week):
        raise ValueError(
            N_("has no hours, so that work would wait for ever; write for instance {mon-fri: 09:00-17:00}")
        )
    return week


def _weekdays(written: str) -> Iterator[int]:
    first, _, last = written.strip().lower().partition("-")
    if first not in DAYS or (last or first) not in DAYS:
        raise ValueError(
            stored(
                "hours: {written} is no day; write one of {known}, or two of them as mon-fri",
                written=repr(written),
                known=", ".join(DAYS),
            )
        )
    begin, end = DAYS.index(first), DAYS.index(last or first)
    for number in range((end - begin) % 7 + 1):
        yield (begin + number) % 7


def _spans(written: Any, place: str) -> tuple[Span, ...]:
    return tuple(_span(each, place) for each in ([written] if isinstance(written, str) else written))


def _span(written: Any, place: str) -> Span:
    found = _HOURS.fullmatch(written.strip()) if isinstance(written, str) else None
    if found is not None:
        begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
        if begin < DAY and end <= DAY and begin != end and int(found[2]) < 60 and int(found[4]) < 60:
            return begin, end if end > begin else end + DAY
    raise ValueError(
        f"{place}: "
        + stored("{written} is no time; write it as 09:00-17:00, past midnight as 22:00-06:00", written=repr(written))
    )


def _date(written: str) -> date:
    try:
        return date.fromisoformat(written.strip())
    except ValueError:
        raise ValueError(stored("{written} is no date; write it as 2026-12-24", written=repr(written))) from None


def _dates(written: str) -> Iterator[date]:
    first, _, last = written.partition("..")
    begin = _date(first)
    end = _date(last) if last else begin
    if not timedelta() <= end - begin <= timedelta(days=LONGEST_CLOSING):
        raise ValueError(
            stored(
                "{written} must go from an earlier to a later date, at most {longest_closing} days",
                written=repr(written),
                longest_closing=LONGEST_CLOSING,
            )
        )
    for number in range((end - begin).days + 1):
        yield begin + timedelta(days=number)
