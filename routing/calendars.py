"""Business time: whether a desk is open, when it opens next, and how long it was open between two moments.

Hours are written in local wall time and counted in real seconds. A wall time begins at the first moment at which the
local clock shows it or a later one: an hour that the clock shows twice counts as part of the opening around it, one
that it skips takes no time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

DAY = 1440  # minutes
HORIZON_YEARS = 20  # further ahead nobody has planned anything
_SECOND, _NONE = timedelta(seconds=1), timedelta()

Span = tuple[int, int]  # from and until, in minutes after a day's midnight; past DAY it runs into the next day
Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Closed:
    """What closes a desk in one year: whole local days, and times."""

    days: frozenset[date] = frozenset()
    times: tuple[Interval, ...] = ()


def _never_closed(year: int) -> Closed:
    return Closed()


class Calendar:
    """When a desk is open. Answers come from one table for each year, made when it is first needed.

    A special or closed day is decided from midnight to midnight: a night shift of the day before ends as it begins.
    A special day is open as it says even if it is a holiday; times that `closed` names are closed whatever else holds.
    """

    def __init__(
        self,
        name: str,
        zone: tzinfo,
        week: Sequence[Sequence[Span]],
        special: Mapping[date, Sequence[Span]] | None = None,
        closed: Callable[[int], Closed] = _never_closed,
    ):
        self.name = name
        self.zone = zone
        self._week = tuple(tuple(spans) for spans in week)
        self._special = {day: tuple(spans) for day, spans in (special or {}).items()}
        self._closed_in = closed
        self._years: dict[int, _Year] = {}
        self._closed: dict[int, Closed] = {}

    def is_open(self, moment: datetime) -> bool:
        """Whether somebody is there; the moment of closing is closed."""
        return self._year(moment.astimezone(UTC).year).is_open(moment)

    def next_opening(self, moment: datetime) -> datetime | None:
        """When it is open next: now if it is. None when it never is within HORIZON_YEARS."""
        moment = moment.astimezone(UTC)
        for year in range(moment.year, moment.year + HORIZON_YEARS):
            opening = self._year(year).opening(moment)
            if opening is not None:
                return opening
        return None

    def add(self, start: datetime, seconds: float) -> datetime:
        """The first moment at which it will have been open for so long since `start`.

        Nothing is added to a span that takes longer than HORIZON_YEARS: the answer is their end.
        """
        start = start.astimezone(UTC)
        left = timedelta(seconds=seconds)
        if left <= _NONE:
            return start
        left += self._year(start.year).open_until(start)
        for year in range(start.year, start.year + HORIZON_YEARS):
            table = self._year(year)
            if left <= table.total:
                return table.at(left)
            left -= table.total
        return datetime(start.year + HORIZON_YEARS, 1, 1, tzinfo=UTC)

    def elapsed(self, start: datetime, end: datetime) -> float:
        """How many seconds it was open between two moments; none when the second is not later."""
        start, end = start.astimezone(UTC), end.astimezone(UTC)
        if end <= start:
            return 0.0
        open_for = self._year(end.year).open_until(end) - self._year(start.year).open_until(start)
        for year in range(start.year, end.year):
            open_for += self._year(year).total
        return open_for.total_seconds()

    def openings(self, begin: datetime, end: datetime) -> list[Interval]:
        """The intervals in which it is open between two moments of one or several years."""
        begin, end = begin.astimezone(UTC), end.astimezone(UTC)
        found = [each for year in range(begin.year, end.year + 1) for each in self._year(year).intervals()]
        clipped = ((max(start, begin), min(until, end)) for start, until in found)
        return [(start, until) for start, until in clipped if start < until]

    def first_moment(self, day: date, minutes: int = 0) -> datetime:
        """The first moment at which the local clock shows this time of this day or a later one."""
        wall = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)
        moment = wall.replace(tzinfo=self.zone).astimezone(UTC)
        if self._wall(moment) == wall:
            return moment
        # The clock skips it (PEP 495: fold 1 then gives the earlier moment): look for the jump between the two.
        earlier = wall.replace(tzinfo=self.zone, fold=1).astimezone(UTC)
        low, high = 0, int((moment - earlier).total_seconds())
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._wall(earlier + middle * _SECOND) >= wall else (middle + 1, high)
        return earlier + low * _SECOND

    def _wall(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def _year(self, number: int) -> _Year:
        table = self._years.get(number)
        if table is None:
            table = self._years[number] = _Year(self._open_in(number))
        return table

    def _open_in(self, year: int) -> Iterator[Interval]:
        """What is open between the first and the last moment of a year in UTC, in order."""
        begin, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        shut = sorted(time for number in (year - 1, year, year + 1) for time in self._closing(number).times)
        for start, until in _without(_merged(self._shifts(begin, end)), _merged(shut)):
            if until > begin and start < end:
                yield max(start, begin), min(until, end)

    def _shifts(self, begin: datetime, end: datetime) -> list[Interval]:
        shifts = []
        day, last = begin.date() - timedelta(days=3), end.date() + timedelta(days=2)
        spans, _ = self._day(day)
        while day <= last:
            following = day + timedelta(days=1)
            next_spans, decided = self._day(following)
            for start, until in spans:
                ends = min(until, DAY) if decided else until
                shifts.append((self.first_moment(day, start), self.first_moment(day, ends)))
            day, spans = following, next_spans
        return sorted(shifts)

    def _day(self, day: date) -> tuple[Sequence[Span], bool]:
        """A local day's shifts, and whether they stand for the whole of that day."""
        if day in self._special:
            return self._special[day], True
        if day in self._closing(day.year).days:
            return (), True
        return self._week[day.weekday()], False

    def _closing(self, year: int) -> Closed:
        closed = self._closed.get(year)
        if closed is None:
            closed = self._closed[year] = self._closed_in(year)
        return closed


class _Year:
    """The openings of one year in UTC, with how long it was open up to the end of each."""

    __slots__ = ("_ends", "_opened", "_starts", "total")

    def __init__(self, intervals: Iterable[Interval]):
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []
        self._opened: list[timedelta] = []
        self.total = _NONE
        for start, end in intervals:
            self.total += end - start
            self._starts.append(start)
            self._ends.append(end)
            self._opened.append(self.total)

    def is_open(self, moment: datetime) -> bool:
        place = bisect_right(self._starts, moment) - 1
        return place >= 0 and moment < self._ends[place]

    def opening(self, moment: datetime) -> datetime | None:
        place = bisect_right(self._ends, moment)
        return max(self._starts[place], moment) if place < len(self._starts) else None

    def open_until(self, moment: datetime) -> timedelta:
        place = bisect_right(self._starts, moment) - 1
        if place < 0:
            return _NONE
        return self._opened[place] - max(self._ends[place] - moment, _NONE)

    def at(self, opened: timedelta) -> datetime:
        place = bisect_left(self._opened, opened)
        return self._ends[place] - (self._opened[place] - opened)

    def intervals(self) -> Iterator[Interval]:
        return zip(self._starts, self._ends, strict=True)


def _merged(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """Sorted intervals with those made one that touch; empty ones left out."""
    current: Interval | None = None
    for start, end in intervals:
        if current is not None and start <= current[1]:
            current = current[0], max(current[1], end)
        elif start < end:
            if current is not None:
                yield current
            current = start, end
    if current is not None:
        yield current


def _without(intervals: Iterable[Interval], taken_out: Iterable[Interval]) -> Iterator[Interval]:
    """What of merged intervals no other merged interval covers."""
    holes, place = list(taken_out), 0
    for start, end in intervals:
        while place < len(holes) and holes[place][0] < end:
            hole_start, hole_end = holes[place]
            if start < hole_start:
                yield start, hole_start
            start = max(start, hole_end)
            if hole_end > end:
                break  # it reaches into the next one
            place += 1
        if start < end:
            yield start, end


ALWAYS = Calendar("always", UTC, [[(0, DAY)]] * 7)
