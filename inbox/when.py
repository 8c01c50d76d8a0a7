"""Moments as people write them: "tomorrow 9", "in 2 hours", "fri 14:30", "1 dec"; where the agent is."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, tzinfo

from config.language import _, spoken

MORNING = time(8)
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# The same in other languages, word by word.
TYPED = {
    "de": {
        "heute": "today", "morgen": "tomorrow", "abend": "tonight", "nächste": "next", "nächsten": "next",
        "nächster": "next", "einer": "an", "einem": "a", "um": "at", "am": "on", "uhr": "h",
        "minute": "minutes", "minuten": "minutes", "std": "hours", "stunde": "hours", "stunden": "hours",
        "tag": "days", "tagen": "days", "woche": "week", "wochen": "weeks",
        "mo": "mon", "di": "tue", "mi": "wed", "do": "thu", "fr": "fri", "sa": "sat", "so": "sun",
        "montag": "mon", "dienstag": "tue", "mittwoch": "wed", "donnerstag": "thu", "freitag": "fri",
        "samstag": "sat", "sonntag": "sun",
        "januar": "jan", "februar": "feb", "märz": "mar", "april": "apr", "mai": "may", "juni": "jun",
        "juli": "jul", "august": "aug", "september": "sep", "oktober": "oct", "november": "nov", "dezember": "dec",
        "mär": "mar", "okt": "oct", "dez": "dec",
    },
}  # fmt: skip
FURTHEST = timedelta(days=366)
_IN = re.compile(r"(?:in )?(an?|\d{1,4}) ?(minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)")
_TIME = re.compile(r"(?:^|\s)(?:at )?(\d{1,2})(?:[:.](\d{2}))?\s?(am|pm|h)?$")
_DATES = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})"),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})?"),
    re.compile(r"(?P<d>\d{1,2})(?:st|nd|rd|th|\.)? (?P<w>[a-z]{3})[a-z]*(?: (?P<y>\d{4}))?"),
    re.compile(r"(?P<w>[a-z]{3})[a-z]* (?P<d>\d{1,2})(?:st|nd|rd|th)?(?:,? (?P<y>\d{4}))?"),
)


class NotUnderstood(ValueError):
    """What was written is no moment ahead. The sentence says what would be."""


def moment_of(typed: str, now: datetime, zone: tzinfo) -> datetime:
    """The next such moment. Raises NotUnderstood."""
    said = TYPED.get(spoken(), {})
    words = " ".join(said.get(word, word) for word in typed.lower().replace(",", " ").split())
    local = now.astimezone(zone)
    found = _span(words, local) or _dated(words, local)
    if found is None:
        told = _(
            "“{typed}” is no time we know; try “tomorrow 9:00”, “in 2 hours” or “fri 14:30”.", typed=typed.strip()[:60]
        )
        raise NotUnderstood(told)
    if found <= now:
        raise NotUnderstood(_("“{typed}” is past; choose a moment ahead.", typed=typed.strip()[:60]))
    if found - now > FURTHEST:
        raise NotUnderstood(_("That is more than a year ahead."))
    return found.astimezone(now.tzinfo)


def _span(words: str, local: datetime) -> datetime | None:
    found = _IN.fullmatch(words)
    if found is None:
        return None
    count = 1 if found[1].startswith("a") else int(found[1])
    moment = local + timedelta(**{UNITS[found[2][0]]: count})
    return moment if moment > local else None


def _dated(words: str, local: datetime) -> datetime | None:
    """A day and a time, either of which may be missing: a day means its morning, a time the next such one."""
    for day_words, at in _splits(words):
        if not day_words and at is not None:
            today = datetime.combine(local.date(), at, local.tzinfo)
            return today if today > local else datetime.combine(local.date() + timedelta(days=1), at, local.tzinfo)
        moment = _on(day_words, at, local)
        if moment is not None:
            return moment
    return None


def _splits(words: str) -> list[tuple[str, time | None]]:
    """Ways to read it: a time at the end, or none; "1 dec" has a number that is no time."""
    ways: list[tuple[str, time | None]] = [(words, None)]
    found = _TIME.search(words)
    if found is not None and (at := _time(found[1], found[2], found[3])) is not None:
        day = words[: found.start()].strip().removesuffix(" at").strip()
        # A bare number is a time only behind a day that can't be a month: "fri 9", not "dec 9".
        if day[:3] not in MONTHS or found[2] or found[3]:
            ways.insert(0, (day, at))
    return ways


def _time(hour: str, minute: str | None, half: str | None) -> time | None:
    number = int(hour)
    if half in ("am", "pm"):
        if not 1 <= number <= 12:
            return None
        number = number % 12 + (12 if half == "pm" else 0)
    return time(number, int(minute or 0)) if number < 24 and int(minute or 0) < 60 else None


def _on(words: str, at: time | None, local: datetime) -> datetime | None:
    clock = at or MORNING
    ahead = {"today": 0, "tonight": 0, "tomorrow": 1, "tmr": 1}.get(words)
    if words == "tonight":
        clock = at or time(19)
    if words == "next week":
        ahead = 7 - local.weekday()
    name = words.removeprefix("next ").removeprefix("on ")
    if ahead is None and name[:3] in DAYS and name in (DAYS[DAYS.index(name[:3])], _whole(name)):
        ahead = (DAYS.index(name[:3]) - local.weekday()) % 7
        if ahead == 0 and datetime.combine(local.date(), clock, local.tzinfo) <= local:
            ahead = 7
    if ahead is not None:
        return datetime.combine(local.date() + timedelta(days=ahead), clock, local.tzinfo)
    return _on_date(words.removeprefix("on "), clock, local)


def _whole(name: str) -> str:
    whole = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return whole[DAYS.index(name[:3])]


def _on_date(words: str, clock: time, local: datetime) -> datetime | None:
    for pattern in _DATES:
        found = pattern.fullmatch(words)
        if found is None:
            continue
        parts = found.groupdict()
        word = parts.get("w")
        if word is not None and word not in MONTHS:
            return None
        month = MONTHS.index(word) + 1 if word else int(parts["m"])
        try:
            year = int(parts["y"]) if parts["y"] else local.year
            moment = datetime.combine(date(year, month, int(parts["d"])), clock, local.tzinfo)
            if not parts["y"] and moment <= local:
                moment = datetime.combine(date(year + 1, month, int(parts["d"])), clock, local.tzinfo)
        except ValueError:
            return None
        return moment
    return None
