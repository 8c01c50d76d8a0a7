"""What time it is where a person is: in the zone that somebody set, or where their telephone number is from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import timezone

from storage.people import Contact, Identity

UNKNOWN = "Etc/Unknown"
NIGHT = time(21), time(8)  # when most people don't want to be rung up


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A moment on their clock. `why` says how we know: "set" or "phone"."""

    at: datetime
    zone: str
    why: str

    @property
    def night(self) -> bool:
        begins, ends = NIGHT
        return self.at.time() >= begins or self.at.time() < ends

    def ahead_of(self, here: datetime) -> timedelta:
        """By how much their clock is ahead of one of ours."""
        return (self.at.utcoffset() or timedelta()) - (here.utcoffset() or timedelta())


def local_time(person: Contact, identities: Iterable[Identity], now: datetime) -> LocalTime | None:
    """None where nothing tells it, or their number's country has clocks that differ now."""
    if person.zone:
        return LocalTime(now.astimezone(ZoneInfo(person.zone)), person.zone, "set")
    for identity in identities:
        if identity.kind not in ("phone", "whatsapp"):
            continue
        zones = [ZoneInfo(name) for name in zones_of(identity.value)]
        if len({now.astimezone(zone).utcoffset() for zone in zones}) == 1:
            return LocalTime(now.astimezone(zones[0]), zones[0].key, "phone")
    return None


def zones_of(number: str) -> tuple[str, ...]:
    """The zones that a telephone number may be in; none for one that is no country's."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ()
    known = [name for name in timezone.time_zones_for_number(parsed) if name != UNKNOWN]
    country = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    return tuple(known) or _zones_by_country().get(country, ())


@cache
def _zones_by_country() -> dict[str, tuple[str, ...]]:
    """From the tz database's own table: for numbers of a country that tell no place in it."""
    table: dict[str, tuple[str, ...]] = {}
    for line in (files("tzdata") / "zoneinfo" / "zone.tab").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            country, _, name, *_ = line.split("\t")
            table[country] = (*table.get(country, ()), name)
    return table
