"""How things are said on the inbox's pages: times, sizes, names and channels, as template filters."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from uuid import uuid4

import phonenumbers
from flask import Blueprint
from markupsafe import Markup, escape

HUES = 12
SOON = timedelta(minutes=30)  # from here on a target is shown in colour and sorted under "Due now"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of channel: what people call it, its icon and its colour class."""

    label: str
    icon: str
    colour: str


KINDS = {
    "email": Kind("Email", "mail", "email"),
    "mailhook": Kind("Email", "mail", "email"),
    "sms": Kind("SMS", "sms", "sms"),
    "phone": Kind("Phone", "sms", "sms"),
    "chat": Kind("Web chat", "chat", "chat"),
    "form": Kind("Web form", "doc", "form"),
    "slack": Kind("Slack", "slack", "slack"),
    "whatsapp": Kind("WhatsApp", "wa", "wa"),
    "external": Kind("Customer number", "tag", "form"),
}


def kind(name: str) -> Kind:
    """A kind of channel or identity; an unknown one is shown under its own name."""
    return KINDS.get(name, Kind(name.capitalize() or "Message", "inbox", "form"))


def initials(name: str) -> str:
    """Two letters for an avatar; a number sign for somebody who is only a number."""
    words = [word for word in name.replace("(", " ").split() if word[0].isalnum()]
    if not words or not words[0][0].isalpha():
        return "#"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


def hue(name: str) -> str:
    """The same colour class for the same name, always."""
    return f"h{zlib.crc32(name.encode('utf-8', 'replace')) % HUES}"


def size(count: int) -> str:
    """Bytes, as a file list says it."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.0f} KB"
    return f"{count / 1_000_000:.1f} MB"


def address(value: str) -> str:
    """A phone number in groups; anything else as it is."""
    if not value.startswith("+"):
        return value
    try:
        return phonenumbers.format_number(phonenumbers.parse(value), phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    except phonenumbers.NumberParseException:
        return value


def clock(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """When a row last changed: the time today, then the day."""
    local, today = moment.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return local.strftime("%H:%M")
    if local.date() == (today - timedelta(days=1)).date():
        return "Yesterday"
    if local.year == today.year:
        return f"{local.day} {local:%b}"
    return f"{local.day} {local:%b} {local.year}"


def day(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """The heading over a day's messages."""
    local, today = moment.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return "Today"
    if local.date() == (today - timedelta(days=1)).date():
        return "Yesterday"
    year = f" {local.year}" if local.year != today.year else ""
    return f"{local:%A}, {local.day} {local:%B}{year}"


def at(moment: datetime, zone: tzinfo) -> str:
    """The time of day."""
    return moment.astimezone(zone).strftime("%H:%M")


def full(moment: datetime, zone: tzinfo) -> str:
    """Day and time, for tooltips and for moments to come."""
    local = moment.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M}"


def span(length: timedelta) -> str:
    """A length of time in its one or two largest units."""
    minutes = max(0, int(length.total_seconds() // 60))
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours}h {minutes}m" if minutes and hours < 3 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"


@dataclass(frozen=True, slots=True)
class Pill:
    """A small mark: `colour` is red, amber, green, clock or plain."""

    text: str
    colour: str


def due(moment: datetime | None, now: datetime) -> Pill | None:
    """How long until a target, or how long ago it passed. Colour only when it matters."""
    if moment is None:
        return None
    if moment <= now:
        return Pill(f"{span(now - moment)} over", "red")
    left = moment - now
    return Pill(span(left), "amber" if left <= SOON else "clock")


BECAME = {
    "received": Pill("To be read", "amber"),
    "accepted": Pill("Accepted", "green"),
    "duplicate": Pill("Duplicate", "plain"),
    "ignored": Pill("Ignored", "plain"),
    "quarantined": Pill("Not readable", "red"),
}


def became(state: str) -> Pill:
    """What became of something that arrived."""
    return BECAME[state]


def first_name(name: str) -> str:
    """What a colleague is called in a row."""
    return name.split()[0] if name.split() else name


def naming(text: Markup, names: list[str]) -> Markup:
    """A note with the colleagues whom it names marked; the text is HTML already, and its tags are left alone."""
    called = [re.escape(str(escape(name))) for each in names for name in (each, first_name(each))]
    if not called:
        return text
    name = re.compile(rf"@(?:{'|'.join(sorted(called, key=len, reverse=True))})(?!\w)", re.IGNORECASE)
    parts = re.split(r"(<[^>]*>)", str(text))
    parts[::2] = [name.sub(r'<b class="at">\g<0></b>', part) for part in parts[::2]]
    return Markup("".join(parts))


def register(blueprint: Blueprint) -> None:
    """Make the words known to every template."""
    blueprint.add_app_template_global(uuid4, "new_id")
    for word in (kind, initials, hue, size, address, clock, day, at, full, span, due, became, first_name, naming):
        blueprint.add_app_template_filter(word)
