"""A calendar invitation (RFC 5545, RFC 5546) as a few sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from icalendar import Calendar

from channels.mail.headers import line

MAX_BYTES = 256_000
MAX_FIELD = 300
# A made-up time zone can change its offset every second; the library would write all changes down.
BUSY_ZONE = re.compile(rb"FREQ=(?:SECONDLY|MINUTELY|HOURLY|DAILY|WEEKLY)|INTERVAL", re.I)
ZONE = re.compile(rb"BEGIN:VTIMEZONE.{0,20000}?END:VTIMEZONE", re.I | re.S)
ANSWERS = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "may come", "DELEGATED": "sends somebody else"}
METHODS = ("PUBLISH", "REQUEST", "REPLY", "ADD", "CANCEL", "REFRESH", "COUNTER", "DECLINECOUNTER")


def invitation(data: bytes, method: str = "") -> dict[str, str]:
    """`calendar.*` fields: method, what, when (in the invitation's own time zone), start (ISO 8601), where, organizer,
    answer. Empty where it can't be read; it is a file then like any other.
    """
    if len(data) > MAX_BYTES or any(BUSY_ZONE.search(each) for each in ZONE.findall(data)):
        return {}
    try:
        calendar = Calendar.from_ical(data)
        event = next((each for each in calendar.walk() if each.name in ("VEVENT", "VTODO")), None)
        if event is None:
            return {}
        named = str(calendar.get("method") or method).upper()
        found = {"method": named if named in METHODS else "", "what": _said(event.get("summary"))}
        found |= _when(event) | {"where": _said(event.get("location")), "organizer": _person(event.get("organizer"))}
        found |= {"answer": _answer(event) if named == "REPLY" else ""}
    except Exception:  # the library raises what its input makes it stumble over
        return {}
    return {f"calendar.{name}": value for name, value in found.items() if value}


def _said(value: Any) -> str:
    return line(str(value))[:MAX_FIELD].encode("utf-8", "replace").decode() if value is not None else ""


def _person(value: Any) -> str:
    if value is None:
        return ""
    name = _said(value.params.get("CN"))
    address = _said(re.sub(r"^mailto:", "", str(value), flags=re.I))
    return f"{name} <{address}>" if name and name != address else address


def _answer(event: Any) -> str:
    attendees = event.get("attendee")
    first = attendees[0] if isinstance(attendees, list) else attendees
    if first is None:
        return ""
    word = ANSWERS.get(str(first.params.get("PARTSTAT", "")).upper(), "answered")
    return f"{_person(first)} {word}"


def _when(event: Mapping[str, Any]) -> dict[str, str]:
    start = event["dtstart"] if "dtstart" in event else event.get("due")
    if start is None:
        return {}
    begin, end = start.dt, event["dtend"].dt if "dtend" in event else None
    if end is None and "duration" in event and isinstance(event["duration"].dt, timedelta):
        end = begin + event["duration"].dt
    words = _all_day(begin, end) if not isinstance(begin, datetime) else _timed(begin, end, start.params.get("TZID"))
    return {"when": words + (", repeated" if "rrule" in event else ""), "start": begin.isoformat()}


def _all_day(begin: date, end: date | None) -> str:
    last = end - timedelta(days=1) if end is not None else begin  # an end is the first day after
    return f"{_day(begin)}, all day" if last <= begin else f"{_day(begin)} to {_day(last)}"


def _timed(begin: datetime, end: Any, zone: str | None) -> str:
    words = f"{_day(begin)}, {begin:%H:%M}"
    if isinstance(end, datetime):
        words += f" to {end:%H:%M}" if end.date() == begin.date() else f" to {_day(end)}, {end:%H:%M}"
    name = _said(zone) or (str(begin.tzinfo) if begin.tzinfo is not None else "")
    offset = f"{begin:%z}"
    shown = f" (UTC{offset[:3]}:{offset[3:5]})" if offset and name.upper() not in ("UTC", "") else ""
    return f"{words} {name}{shown}".rstrip() if name else f"{words}, local time"


def _day(day: date) -> str:
    return f"{day:%A}, {day.day} {day:%B} {day.year}"
