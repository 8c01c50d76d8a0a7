"""How things are said on the inbox's pages: times, sizes, names and channels, as template filters."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from uuid import uuid4

import phonenumbers
from flask import Blueprint
from markupsafe import Markup, escape

from config.language import N_, _, month, number, spoken, weekday, words
from config.retold import retold
from hub.deskchange import thing
from inbox.desktold import begun, told_finding

HUES = 12
KEPT = 8192  # moments and numbers that have been said: a list has the same ones again and again
SOON = timedelta(minutes=30)  # from here on a target is shown in colour and sorted under "Due now"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of channel: what people call it, its icon and its colour class."""

    label: str
    icon: str
    colour: str


KINDS = {
    "email": Kind(N_("Email"), "mail", "email"),
    "mailhook": Kind(N_("Email"), "mail", "email"),
    "sms": Kind("SMS", "sms", "sms"),
    "phone": Kind(N_("Phone"), "sms", "sms"),
    "chat": Kind(N_("Web chat"), "chat", "chat"),
    "form": Kind(N_("Web form"), "doc", "form"),
    "slack": Kind("Slack", "slack", "slack"),
    "whatsapp": Kind("WhatsApp", "wa", "wa"),
    "external": Kind(N_("Customer number"), "tag", "form"),
}
STATUS = words({"available": "Available", "away": "Away", "offline": "Offline"})
ROLE = words({"agent": "Agent", "supervisor": "Supervisor", "admin": "Admin"})


def kind(name: str) -> Kind:
    """A kind of channel or identity; an unknown one is shown under its own name."""
    found = KINDS.get(name) or Kind(name.capitalize() or N_("Message"), "inbox", "form")
    return replace(found, label=_(found.label))


def status_word(status: str) -> str:
    """Whether an agent takes work, in a word."""
    return STATUS.get(status, status)


def role_word(role: str) -> str:
    """A role's name; those that are built in are said in the reader's language."""
    return ROLE.get(role, role)


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
    return f"{number(count / 1_000_000, 1)} MB"


def address(value: str) -> str:
    """A phone number in groups; anything else as it is."""
    return _grouped(value) if value.startswith("+") else value


@lru_cache(KEPT)
def _grouped(value: str) -> str:
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
        return _("Yesterday")
    if local.year == today.year:
        return _("{day} {month}", day=local.day, month=month(local, short=True))
    return _("{day} {month} {year}", day=local.day, month=month(local, short=True), year=local.year)


def since(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """A day in the middle of a sentence: since today, since 3 May."""
    local, today = moment.astimezone(zone).date(), now.astimezone(zone).date()
    if local == today:
        return _("today")
    return _("yesterday") if local == today - timedelta(days=1) else clock(moment, now, zone)


def day(moment: datetime, now: datetime, zone: tzinfo) -> str:
    """The heading over a day's messages."""
    local, today = moment.astimezone(zone), now.astimezone(zone)
    if local.date() == today.date():
        return _("Today")
    if local.date() == (today - timedelta(days=1)).date():
        return _("Yesterday")
    parts = {"weekday": weekday(local), "day": local.day, "month": month(local)}
    if local.year == today.year:
        return _("{weekday}, {day} {month}", **parts)
    return _("{weekday}, {day} {month} {year}", **parts, year=local.year)


def at(moment: datetime, zone: tzinfo) -> str:
    """The time of day."""
    return moment.astimezone(zone).strftime("%H:%M")


def full(moment: datetime, zone: tzinfo) -> str:
    """Day and time, for tooltips and for moments to come."""
    return _full(spoken(), moment, zone)


@lru_cache(KEPT)
def _full(_language: str, moment: datetime, zone: tzinfo) -> str:
    local = moment.astimezone(zone)
    return _(
        "{weekday} {day} {month}, {time}",
        weekday=weekday(local, short=True), day=local.day, month=month(local, short=True), time=f"{local:%H:%M}",
    )  # fmt: skip


def span(length: timedelta) -> str:
    """A length of time in its one or two largest units."""
    minutes = max(0, int(length.total_seconds() // 60))
    if minutes < 60:
        return _("{minutes}m", minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return (
            _("{hours}h {minutes}m", hours=hours, minutes=minutes)
            if minutes and hours < 3
            else _("{hours}h", hours=hours)
        )
    return _("{hours}h", hours=hours) if hours < 48 else _("{days}d", days=hours // 24)


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
        return Pill(_("{time} over", time=span(now - moment)), "red")
    left = moment - now
    return Pill(span(left), "amber" if left <= SOON else "clock")


BECAME = {
    "received": Pill(N_("To be read"), "amber"),
    "accepted": Pill(N_("Accepted"), "green"),
    "duplicate": Pill(N_("Duplicate"), "plain"),
    "ignored": Pill(N_("Ignored"), "plain"),
    "quarantined": Pill(N_("Not readable"), "red"),
}


def became(state: str) -> Pill:
    """What became of something that arrived."""
    return replace(BECAME[state], text=_(BECAME[state].text))


def first_name(name: str) -> str:
    """What somebody is called in a row; a number is not a name, and stays whole."""
    return name.split()[0] if name[:1].isalpha() else name


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
    for word in (kind, initials, hue, size, address, clock, since, day, at, full, span, due, became, first_name,
                 naming, status_word, role_word, retold, thing, begun, told_finding):  # fmt: skip
        blueprint.add_app_template_filter(word)
