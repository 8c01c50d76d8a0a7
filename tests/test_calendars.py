"""Business time against an oracle that walks the clock minute by minute, and plans as people write them."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.calendars import ALWAYS, DAY, Calendar, Closed, Span
from routing.hours import known_until, must_open, read_calendar

MINUTE = timedelta(minutes=1)
OFFICE = {"time_zone": "Europe/Berlin", "hours": {"mon-fri": "09:00-17:00"}}

# Each has something to trip over within four days of its date.
TURNS = [
    ("Europe/Berlin", date(2026, 3, 28)),
    ("Europe/Berlin", date(2026, 10, 24)),
    ("America/New_York", date(2026, 10, 31)),
    ("Australia/Lord_Howe", date(2026, 4, 4)),  # half an hour back
    ("Australia/Lord_Howe", date(2026, 10, 3)),  # half an hour forward
    ("Pacific/Apia", date(2011, 12, 29)),  # no 30 December
    ("Pacific/Kwajalein", date(1993, 8, 20)),  # no 21 August
    ("America/Havana", date(2026, 10, 31)),  # from 01:00 back to midnight
    ("America/Sao_Paulo", date(2018, 11, 3)),  # no midnight
    ("America/Sao_Paulo", date(2018, 2, 17)),  # midnight goes back to the day before
    ("Asia/Kathmandu", date(2026, 5, 1)),
    ("America/Mexico_City", date(2026, 12, 30)),  # a year ends
    ("Antarctica/Troll", date(2026, 3, 28)),  # two hours
]


class Walked:
    """The oracle: every minute in turn, by the latest time that the local clock has shown so far."""

    def __init__(self, zone: ZoneInfo, first: date, days: int, plan: Plan):
        begin = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(days=3)
        self.minutes = [begin + MINUTE * number for number in range((days + 6) * DAY)]
        self.open: dict[datetime, bool] = {}
        latest = datetime.min  # noqa: DTZ901 wall time
        for moment in self.minutes:
            latest = max(latest, moment.astimezone(zone).replace(tzinfo=None))
            shut = any(start <= moment < end for start, end in plan.closed_times)
            self.open[moment] = not shut and plan.covers(latest)

    def between(self, start: datetime, end: datetime) -> int:
        return sum(self.open[moment] for moment in self.minutes if start <= moment < end) * 60


class Plan:
    """Hours, special days and closings drawn at random."""

    def __init__(
        self,
        week: list[list[Span]],
        special: dict[date, list[Span]],
        closed_days: set[date],
        closed_times: list[tuple[datetime, datetime]],
    ):
        self.week, self.special = week, special
        self.closed_days, self.closed_times = closed_days, closed_times

    def covers(self, wall: datetime) -> bool:
        minute = wall.hour * 60 + wall.minute
        spans, decided = self.day(wall.date())
        before, _ = self.day(wall.date() - timedelta(days=1))
        return any(a <= minute < b for a, b in spans) or (not decided and any(a <= minute + DAY < b for a, b in before))

    def day(self, day: date) -> tuple[list[Span], bool]:
        if day in self.special:
            return self.special[day], True
        if day in self.closed_days:
            return [], True
        return self.week[day.weekday()], False

    def calendar(self, zone: ZoneInfo) -> Calendar:
        def closed(year: int) -> Closed:
            days = frozenset(day for day in self.closed_days if day.year == year)
            return Closed(days, tuple(self.closed_times))

        return Calendar("drawn", zone, self.week, self.special, closed)


spans = st.lists(
    st.tuples(st.integers(0, DAY - 1), st.integers(1, DAY)).map(lambda s: (s[0], min(s[0] + s[1], 2 * DAY - 1))),
    max_size=3,
)


@st.composite
def stories(draw: st.DrawFn) -> tuple[ZoneInfo, date, Plan]:
    name, first = draw(st.sampled_from(TURNS))
    nearby = [first + timedelta(days=number) for number in range(-2, 5)]
    midnight = datetime(first.year, first.month, first.day, tzinfo=UTC)
    minutes = st.integers(-DAY, 4 * DAY)
    times = draw(st.lists(st.tuples(minutes, st.integers(1, DAY)), max_size=2))
    return (
        ZoneInfo(name),
        first,
        Plan(
            draw(st.lists(spans, min_size=7, max_size=7)),
            draw(st.dictionaries(st.sampled_from(nearby), spans, max_size=2)),
            draw(st.sets(st.sampled_from(nearby), max_size=2)),
            [(midnight + MINUTE * a, midnight + MINUTE * (a + length)) for a, length in times],
        ),
    )


moments = st.tuples(st.integers(0, 4 * DAY), st.integers(0, 59_999_999))


@settings(max_examples=25, deadline=None)
@given(stories(), st.integers(0, 4 * DAY), st.integers(0, 4 * DAY))
def test_every_minute_is_as_the_local_clock_says(story: tuple[ZoneInfo, date, Plan], one: int, other: int) -> None:
    zone, first, plan = story
    calendar, walked = plan.calendar(zone), Walked(zone, first, 5, plan)
    midnight = datetime(first.year, first.month, first.day, tzinfo=UTC)
    for moment in walked.minutes[2 * DAY : -2 * DAY]:
        assert calendar.is_open(moment) == walked.open[moment], moment
    start, end = sorted((midnight + MINUTE * one, midnight + MINUTE * other))
    assert calendar.elapsed(start, end) == walked.between(start, end)
    opening = next((moment for moment in walked.minutes if moment >= start and walked.open[moment]), None)
    if opening is not None:
        assert calendar.next_opening(start) == opening


@settings(max_examples=100, deadline=None)
@given(stories(), moments, moments, st.integers(1, 3 * 86_400 * 10**6))
def test_adding_what_has_elapsed_leads_back(
    story: tuple[ZoneInfo, date, Plan], one: tuple[int, int], other: tuple[int, int], microseconds: int
) -> None:
    zone, first, plan = story
    calendar = plan.calendar(zone)
    midnight = datetime(first.year, first.month, first.day, tzinfo=UTC)
    start, end = sorted(midnight + timedelta(minutes=a, microseconds=b) for a, b in (one, other))
    open_for = calendar.elapsed(start, end)
    reached = calendar.add(start, open_for)
    assert start <= reached <= end and calendar.elapsed(start, reached) == open_for
    assert calendar.elapsed(reached, end) == 0  # nothing but closed time lies behind it

    later = calendar.add(start, microseconds / 10**6)
    if any(plan.week):
        assert calendar.elapsed(start, later) == microseconds / 10**6
        assert calendar.add(start, microseconds / 10**6 + 1) > later >= start
        assert calendar.add(end, microseconds / 10**6) >= later  # who starts later is not sooner done


def at(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_a_target_of_two_hours_at_closing_time_on_friday_is_due_on_monday() -> None:
    office = read_calendar("office", OFFICE)
    assert office.add(at("2026-11-27T16:00"), 2 * 3600) == at("2026-11-30T10:00")
    assert office.add(at("2026-11-28T12:00"), 60) == at("2026-11-30T09:01")
    assert office.add(at("2026-11-27T16:00"), 3600) == at("2026-11-27T17:00")
    assert office.next_opening(at("2026-11-28T12:00")) == at("2026-11-30T09:00")
    assert office.elapsed(at("2026-11-27T16:30"), at("2026-11-30T09:30")) == 3600


def test_a_night_shift_has_an_hour_less_in_spring_and_one_more_in_autumn() -> None:
    night = read_calendar("night", {"time_zone": "Europe/Berlin", "hours": {"sat": "22:00-06:00"}})
    hours = [night.elapsed(at(f"{day}T12:00"), at(f"{day}T12:00") + timedelta(days=1)) / 3600
             for day in ("2026-03-21", "2026-03-28", "2026-10-24")]  # fmt: skip
    assert hours == [8, 7, 9]


def test_a_holiday_closes_the_whole_day_and_a_special_day_opens_it() -> None:
    bavaria = {**OFFICE, "holidays": {"country": "DE", "region": "BY"}}
    closed = read_calendar("bavaria", bavaria)
    opened = read_calendar("bavaria", {**bavaria, "special": {"2026-01-06": ["10:00-12:00"]}})
    assert not closed.is_open(at("2026-01-06T11:00"))
    assert opened.is_open(at("2026-01-06T11:00")) and not opened.is_open(at("2026-01-06T13:00"))
    assert read_calendar("berlin", {**OFFICE, "holidays": {"country": "DE"}}).is_open(at("2026-01-06T11:00"))


def test_a_holiday_that_is_observed_on_another_day_counts() -> None:
    usa = read_calendar("usa", {"time_zone": "America/New_York", "hours": {"mon-fri": "09:00-17:00"},
                                "holidays": {"country": "US"}})  # fmt: skip
    friday = at("2026-07-03T10:00", "America/New_York")  # 4 July 2026 is a Saturday
    assert not usa.is_open(friday) and usa.next_opening(friday) == at("2026-07-06T09:00", "America/New_York")


def test_closed_dates_end_a_night_shift_at_midnight() -> None:
    plan = {"time_zone": "Europe/Berlin", "hours": {"mon-sun": "22:00-06:00"}, "closed": ["2026-12-24..2026-12-26"]}
    night = read_calendar("night", plan)
    assert night.openings(at("2026-12-23T12:00"), at("2026-12-28T12:00")) == [
        (at("2026-12-23T22:00"), at("2026-12-24T00:00")),
        (at("2026-12-27T22:00"), at("2026-12-28T06:00")),
    ]


ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Desk//Closings//EN
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
SUMMARY:Christmas
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART;TZID=Europe/Berlin:20261105T140000
DTEND;TZID=Europe/Berlin:20261105T153000
RRULE:FREQ=MONTHLY;BYDAY=1TH;UNTIL=20270205T000000Z
EXDATE;TZID=Europe/Berlin:20261203T140000
SUMMARY:Team meeting
END:VEVENT
BEGIN:VEVENT
UID:2
RECURRENCE-ID;TZID=Europe/Berlin:20270107T140000
DTSTART;TZID=Europe/Berlin:20270108T100000
DTEND;TZID=Europe/Berlin:20270108T110000
SUMMARY:Team meeting, moved
END:VEVENT
BEGIN:VEVENT
UID:3
STATUS:CANCELLED
DTSTART;VALUE=DATE:20261130
SUMMARY:Not closed after all
END:VEVENT
END:VCALENDAR
"""


def test_the_events_of_an_icalendar_text_close_the_desk() -> None:
    office = read_calendar("office", {**OFFICE, "ics": ICS})
    assert not office.is_open(at("2026-12-24T10:00")) and office.is_open(at("2026-12-28T10:00"))
    assert office.is_open(at("2026-11-30T10:00"))
    assert not office.is_open(at("2026-11-05T14:00")) and office.is_open(at("2026-11-05T15:30"))
    assert office.is_open(at("2026-12-03T14:30"))  # left out
    assert office.is_open(at("2027-01-07T14:30")) and not office.is_open(at("2027-01-08T10:30"))  # moved
    assert not office.is_open(at("2027-02-04T14:30")) and office.is_open(at("2027-03-04T14:30"))  # the last one
    assert office.elapsed(at("2026-11-05T09:00"), at("2026-11-05T17:00")) == 6.5 * 3600
    assert known_until({**OFFICE, "ics": ICS}, at("2026-11-24T10:00")) == date(2027, 2, 4)


def test_what_a_plan_knows_of_the_future_is_told() -> None:
    now = at("2026-11-24T10:00")
    assert known_until(OFFICE, now) is None
    assert known_until({**OFFICE, "holidays": {"country": "DE"}}, now) is None
    assert known_until({**OFFICE, "holidays": {"country": "LK"}}, now) == date(2026, 12, 31)  # moon by moon
    endless = ICS.replace(";UNTIL=20270205T000000Z", "")
    assert known_until({**OFFICE, "ics": endless}, now) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time_zone": "Europe/Berlim"}, "did you mean 'Europe/Berlin'?"),
        ({"time_zone": "../../etc/passwd"}, "write one such as Europe/Berlin"),
        ({"hours": {}}, "has no hours, so that work would wait for ever; write for instance {mon-fri: 09:00-17:00}"),
        ({"hours": {"mon-sun": []}}, "has no hours"),
        ({"hours": {"monday": "09:00-17:00"}}, "'monday' is no day; write one of mon, tue"),
        ({"hours": {"mon-fri": "09:00-17:00", "fri": "09:00-12:00"}}, "hours says fri twice"),
        ({"hours": {"mon": "9-17"}}, "write it as 09:00-17:00, past midnight as 22:00-06:00"),
        ({"hours": {"mon": "09:00-24:01"}}, "is no time"),
        ({"hours": {"mon": "09:00-09:00"}}, "is no time"),
        ({"hours": {"mon": "09:60-10:00"}}, "is no time"),
        ({"closed": ["24.12.2026"]}, "'24.12.2026' is no date; write it as 2026-12-24"),
        ({"closed": ["2026-12-26..2026-12-24"]}, "must go from an earlier to a later date"),
        ({"closed": ["2026-12-24"], "special": {"2026-12-24": "09:00-12:00"}}, "take one of them out"),
        ({"holidays": {"country": "Germany"}}, "write a country in two letters, such as DE or MX"),
        ({"holidays": {"country": "DE", "region": "BX"}}, "no region 'BX'; known are BB, BE, BW"),
        ({"ics": "hello"}, "ics is not a readable iCalendar text"),
        ({"ics": "BEGIN:VCALENDAR\nEND:VCALENDAR\n"}, "ics has no events"),
        ({"ics": ICS.replace("FREQ=MONTHLY;BYDAY=1TH", "FREQ=SECONDLY")}, "more than once a day"),
        ({"ics": "x" * 300_000}, "leave out years that are past"),
        ({"shifts": []}, "has an unknown key 'shifts'"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_with_the_way_out(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_calendar("office", {**OFFICE, **change})
    assert said in str(refused.value)


def test_a_calendar_that_stays_closed_is_refused() -> None:
    shut = ICS.replace("DTEND;VALUE=DATE:20261227", "RRULE:FREQ=DAILY")
    with pytest.raises(ValueError, match="never opens in the coming 20 years"):
        must_open(read_calendar("office", {**OFFICE, "ics": shut}), at("2026-12-24T10:00"))
    closed = read_calendar("office", {**OFFICE, "ics": shut})
    assert closed.add(at("2026-12-24T10:00"), 60) == datetime(2046, 1, 1, tzinfo=UTC)  # and yet time goes on
    must_open(read_calendar("office", OFFICE), at("2026-12-24T10:00"))


def test_always_is_elapsed_time() -> None:
    start = at("2026-12-31T23:00")
    assert ALWAYS.add(start, 7200.5) == start + timedelta(seconds=7200.5)
    assert ALWAYS.elapsed(start, start + timedelta(days=400)) == 400 * 86_400
    assert ALWAYS.is_open(start) and ALWAYS.next_opening(start) == start


def test_a_question_takes_microseconds() -> None:
    """Generous by a factor of ten on a busy machine; the tables of the years are made by then."""
    office = read_calendar("office", {**OFFICE, "holidays": {"country": "DE", "region": "BY"}, "ics": ICS})
    start = at("2026-11-27T16:00")
    office.add(start, 40 * 86_400)
    began = time.perf_counter()
    for number in range(1000):
        due = office.add(start + number * MINUTE, 4 * 3600)
        office.elapsed(start, due)
    assert (time.perf_counter() - began) / 2000 < 100e-6
