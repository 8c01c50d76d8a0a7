"""What closes a desk from outside its own plan: public holidays, and the events of an iCalendar file (RFC 5545)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

from dateutil.rrule import rruleset, rrulestr

from config.language import N_
from config.retold import stored
from routing.calendars import Closed, Interval

MAX_BYTES = 256_000
MAX_EVENTS = 2_000
MANY, GENERATIONS = 5_000, 2100  # times, year
DAY = timedelta(days=1)
# Nothing closes a desk by the hour, and a made-up time zone could change its offset every second.
BUSY = re.compile(r"FREQ=(?:SECONDLY|MINUTELY|HOURLY)", re.I)
BUSY_ZONE = re.compile(r"BEGIN:VTIMEZONE(?:(?!END:VTIMEZONE).)*FREQ=(?!YEARLY)", re.I | re.S)

Closings = Callable[[int], Closed]  # what is closed in a year


def public_holidays(country: str, region: str = "") -> Closings:
    """A country's public holidays, with those of a region in it. Raises ValueError for one that is not known."""
    import holidays  # takes a quarter of a second, and most desks have none

    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise ValueError(
            stored(
                "holidays of {country} are not known; write a country in two letters, such as DE or MX",
                country=repr(country),
            )
        )
    if region and region not in known[country]:
        told = stored("known are {known}", known=", ".join(known[country])) if known[country] else N_("leave it out")
        raise ValueError(
            stored(
                "holidays of {country} have no region {region}; {told}", country=country, region=repr(region), told=told
            )
        )

    def closed(year: int) -> Closed:
        return Closed(frozenset(holidays.country_holidays(country, subdiv=region or None, years=year, expand=False)))

    return closed


@dataclass(frozen=True, slots=True)
class Series:
    """One event with its repetitions, in wall time. Without a zone it takes whole days."""

    starts: Any  # a rruleset
    length: timedelta
    zone: tzinfo | None
    ends: date | None  # the local day of the last one; None when it repeats for ever

    def between(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Starts of what touches a time."""
        starts: Iterable[datetime] = self.starts.between(begin - self.length, end, inc=True)
        yield from starts


@dataclass(frozen=True, slots=True)
class Events:
    """The events of an iCalendar file. All-day ones close days, others times."""

    series: tuple[Series, ...]

    @property
    def last(self) -> date | None:
        """The day of the last event; None when one repeats for ever."""
        days = [each.ends for each in self.series]
        return None if None in days else max((day for day in days if day is not None), default=None)

    def closed(self, year: int) -> Closed:
        """What they close in a year."""
        begin, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001 wall time
        days: set[date] = set()
        times: list[Interval] = []
        for each in self.series:
            for start in each.between(begin, end):
                if each.zone is None:
                    days.update(start.date() + DAY * number for number in range(each.length.days))
                else:
                    opened = start.replace(tzinfo=each.zone).astimezone(UTC)
                    times.append((opened, (start + each.length).replace(tzinfo=each.zone).astimezone(UTC)))
        return Closed(frozenset(day for day in days if day.year == year), tuple(times))


def events(text: str, zone: tzinfo) -> Events:
    """Read an iCalendar text; times without a zone are in `zone`. Raises ValueError."""
    if len(text) > MAX_BYTES:
        raise ValueError(
            stored("is longer than {max_bytes} characters: leave out years that are past", max_bytes=f"{MAX_BYTES:,}")
        )
    unfolded = re.sub(r"\r?\n[ \t]", "", text)
    if BUSY.search(unfolded) or BUSY_ZONE.search(unfolded):
        raise ValueError(N_("repeats something more than once a day: closings are days or single times"))
    from icalendar import Calendar

    try:
        walked: list[Any] = Calendar.from_ical(text).walk("VEVENT")
        found = [each for each in walked if each.get("status") != "CANCELLED"]
        if not found:
            raise ValueError(N_("has no events (VEVENT)"))
        if len(found) > MAX_EVENTS:
            raise ValueError(
                stored("has more than {max_events} events: leave out years that are past", max_events=f"{MAX_EVENTS:,}")
            )
        moved: dict[str, list[datetime]] = {}
        for each in found:
            if "recurrence-id" in each:
                moved.setdefault(str(each.get("uid")), []).append(_wall(each["recurrence-id"].dt, _zone(each, zone)))
        return Events(tuple(series for each in found if (series := _series(each, zone, moved)) is not None))
    except ValueError as error:
        if str(error).startswith("has "):
            raise
        raise ValueError(stored("is not a readable iCalendar text: {error}", error=error)) from None
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        # What the library stumbles over in texts that are damaged.
        raise ValueError(stored("is not a readable iCalendar text ({name})", name=type(error).__name__)) from None


def _series(event: Any, zone: tzinfo, moved: dict[str, list[datetime]]) -> Series | None:
    begin = event["dtstart"].dt
    own = _zone(event, zone)
    length = _length(event, own)
    if length <= timedelta():
        return None
    starts, start = rruleset(cache=True), _wall(begin, own)
    starts.rdate(start)
    endless = False
    for rule in _several(event.get("rrule")):
        until = rule.get("until")
        if until:
            rule["until"] = [_until(until[0], own)]
        # One that goes on for generations is not counted through.
        endless = endless or not (
            rule.get("count", [MANY])[0] < MANY or (until and rule["until"][0].year < GENERATIONS)
        )
        starts.rrule(rrulestr(rule.to_ical().decode(), dtstart=start))
    for moment in _moments(event.get("rdate")):
        starts.rdate(_wall(moment[0] if isinstance(moment, tuple) else moment, own))
    left_out = [] if "recurrence-id" in event else moved.get(str(event.get("uid")), [])
    for each in [*(_wall(moment, own) for moment in _moments(event.get("exdate"))), *left_out]:
        starts.exdate(each)
    last = None if endless else max((each for each in starts), default=start)
    return Series(
        starts,
        length,
        own if isinstance(begin, datetime) else None,
        last and (last + length - timedelta.resolution).date(),
    )


def _length(event: Any, zone: tzinfo) -> timedelta:
    begin = event["dtstart"].dt
    if "dtend" in event:
        return _wall(event["dtend"].dt, zone) - _wall(begin, zone)
    if "duration" in event:
        length = event["duration"].dt
        return length if isinstance(length, timedelta) else timedelta()
    return timedelta() if isinstance(begin, datetime) else DAY


def _zone(event: Any, zone: tzinfo) -> tzinfo:
    begin = event["dtstart"].dt
    return begin.tzinfo if isinstance(begin, datetime) and begin.tzinfo is not None else zone


def _wall(moment: date, zone: tzinfo) -> datetime:
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time())
    return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)


def _until(moment: date, zone: tzinfo) -> datetime:
    return _wall(moment, zone) if isinstance(moment, datetime) else datetime.combine(moment, time(23, 59, 59))


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _moments(value: Any) -> list[Any]:
    return [each.dt for listed in _several(value) for each in listed.dts]
