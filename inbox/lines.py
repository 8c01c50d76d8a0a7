"""A row of the list as it is written. The same line is the same HTML: it is made once for all who see it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from flask import Blueprint, current_app
from markupsafe import Markup

from config.language import _, spoken
from inbox.excerpts import Part
from inbox.lists import Row
from inbox.screen import Place
from inbox.session import Viewer
from inbox.wording import Pill, clock, due, full

KEPT = 4096  # lines, of one or two kilobytes each
DRAFT_CHARS = 200


class Line(NamedTuple):
    """All that a row shows, in the words of `language`."""

    language: str
    id: int
    link: str
    current: bool
    unread: bool
    person: str
    channel: str
    moment: str  # ISO 8601
    moment_full: str
    moment_short: str
    subject: str
    replying: str
    draft: str
    found: tuple[Part, ...]
    by: str
    preview: str
    pill: Pill | None
    icon: str


def register(blueprint: Blueprint) -> None:
    """Let the list write its rows."""
    blueprint.add_app_template_global(written, "line")


def written(row: Row, place: Place, who: Viewer, now: datetime) -> Markup:
    """A row's HTML."""
    one = row.conversation
    pill, icon = due(one.due_at, now) if one.state == "open" else None, "clock"
    if one.state == "snoozed":
        until = full(one.snoozed_until, who.zone) if one.snoozed_until else _("until they reply")
        pill, icon = Pill(until, "clock"), "moon"
    number = one.id or 0
    line = Line(
        spoken(), number, place.link(number), place.open_id == number, row.unread and one.state != "resolved",
        row.person, one.channel, one.last_at.isoformat(), full(one.last_at, who.zone),
        clock(one.last_at, now, who.zone), one.subject, row.replying, row.draft[:DRAFT_CHARS], row.found, row.by,
        one.preview, pill, icon,
    )  # fmt: skip
    return _html(line) if place.query else _made(line)  # hardly two search for the same


def _html(line: Line) -> Markup:
    return Markup(current_app.jinja_env.get_template("inbox/_line.html").render(line=line))


_made = lru_cache(KEPT)(_html)
