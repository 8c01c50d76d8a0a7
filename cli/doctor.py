"""Commands that look and tell: is everything in order, do the channels log in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select

from channels.base import CheckFailed, Checks, NotConfigured
from config import Settings
from hub import Hub, Opened
from hub.mailhealth import URGENT_DAYS, folder_health, secret_ages, token_problems
from hub.recipients import MAIL_KINDS
from inbox import assets
from routing.agents import load_drift
from routing.hours import known_until
from storage.access import NotFound
from storage.calendars import CalendarPlan
from storage.checks import last_check
from storage.migrations import HEAD, current, is_current
from storage.receipts import STUCK_AFTER, stuck

CALENDAR_AHEAD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `mend` says what to do when it is not well."""

    what: str
    well: bool
    told: str = ""
    mend: str = ""

    def __str__(self) -> str:
        mark = "ok  " if self.well else "BAD "
        line = f"{mark} {self.what}{': ' + self.told if self.told else ''}"
        return line if self.well or not self.mend else f"{line}\n     {self.mend}"


def examine(settings: Settings) -> int:
    """Look at everything; 0 when all is well, 1 otherwise."""
    well = True
    for finding in findings(settings):
        print(finding)
        well = well and finding.well
    return 0 if well else 1


def findings(settings: Settings) -> Iterator[Finding]:
    """Settings, files, database, desk, channels, in the order in which one needs the other."""
    yield Finding("database", True, "SQLite in one process" if settings.embedded else "PostgreSQL")
    yield _public_address(settings)
    yield _folder(settings)
    missing = assets.missing()
    yield Finding("browser assets", not missing, ", ".join(missing), "Run `make run` once with a network.")
    hub = Hub(settings)
    try:
        try:
            at = current(hub.store)
        except SQLAlchemyError as error:
            yield Finding("connection", False, type(error).__name__, "Is DATABASE_URL right and the server up?")
            return
        if not settings.embedded:
            yield _connections(hub)
        yield Finding("schema", at >= HEAD, at or "empty", "Run `python app.py db upgrade`.")
        if at < HEAD:
            return
        yield _drift(hub)
        yield _routing(hub)
        yield from _stuck(hub)
        yield from _calendars(hub)
        for opened in hub.channels():
            yield _channel(opened)
        yield from _mail(hub)
        yield from _notices(hub)
    finally:
        hub.stop()


def check_channels(settings: Settings, name: str | None) -> int:
    """Log in to every channel, or to one; 0 when all passed."""
    hub = Hub(settings)
    try:
        if not is_current(hub.store):
            raise NotFound("The database is empty or old: run `python app.py db upgrade` first.")
        chosen = [hub.channel_named(name)] if name else hub.channels()
        if not chosen:
            raise NotFound("There are no channels yet: describe them in a desk.yaml and run `python app.py apply`.")
        results = [_channel(opened) for opened in chosen]
        names = [f" {opened.account.name} " for opened in chosen]
        results += [finding for finding in _mail(hub) if any(each in f"{finding.what} " for each in names)]
    finally:
        hub.stop()
    for finding in results:
        print(finding)
    return 0 if all(finding.well for finding in results) else 1


def _public_address(settings: Settings) -> Finding:
    local = not settings.public_base_url
    told = f"{settings.base_url}{' (not set: only this machine reaches it)' if local else ''}"
    return Finding("public address", True, told)


def _folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    usable = os.access(folder if folder.exists() else folder.absolute().parent, os.W_OK)
    return Finding("data folder", usable, str(folder), "The process must be able to write there; set DATA_DIR.")


def _connections(hub: Hub) -> Finding:
    """Every process may open all of its pool, and one connection more that listens."""
    with hub.store.read() as tx:
        row = tx.sql(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        ).fetchone()
    each, web = hub.settings.database_connections + 1, os.environ.get("WEB_CONCURRENCY", "")
    processes = (int(web) if web.isdecimal() else 1) + 1  # and a worker
    told = f"the server takes {row[0]}, enough for {row[0] // each} processes of {each}"
    mend = f"{processes} processes run: lower DATABASE_CONNECTIONS or WEB_CONCURRENCY, or raise max_connections."
    return Finding("connections", processes * each <= row[0], told, mend)


def _drift(hub: Hub) -> Finding:
    with hub.store.read() as tx:
        drift = load_drift(tx)
    told = ", ".join(f"agent {number} has {load}, should have {due}" for number, (load, due) in drift.items())
    return Finding("agents' load", not drift, told, "Please report this with the log of the last day.")


def _routing(hub: Hub) -> Finding:
    with hub.store.read() as tx:
        check, now = last_check(tx), tx.now
    recent = check is not None and check.differed_at is not None and check.differed_at > now - timedelta(days=1)
    told = f"it was wrong about something at {check.differed_at:%Y-%m-%d %H:%M} UTC" if check and recent else ""
    mend = "It has mended that by itself. Please report it with the log of that minute."
    return Finding("what the router knows", not recent, told, mend)


def _stuck(hub: Hub) -> Iterator[Finding]:
    with hub.store.read() as tx:
        unread, unseen = stuck(tx)
    told = f"{unread} have waited for {STUCK_AFTER.seconds // 60} minutes" if unread else ""
    yield Finding("unread receipts", not unread, told, "Does a hub or a worker run, and is their channel switched on?")
    told = f"nobody has looked at {unseen}" if unseen else ""
    mend = "Open Could not be read in the inbox: each has its reason, a Retry, and Leave it."
    yield Finding("unreadable receipts", not unseen, told, mend)


def _calendars(hub: Hub) -> Iterator[Finding]:
    """Whether what closes a desk from outside is known for long enough."""
    with hub.store.read() as tx:
        plans, now = [row for row in tx.exec(select(CalendarPlan)) if row.active], tx.now
    for row in plans:
        end = known_until(row.plan, now)
        well = end is None or end > (now + CALENDAR_AHEAD).date()
        told = f"its holidays or iCalendar events are known until {end}" if end else ""
        mend = "Put a newer ics into desk.yaml, or name the closed dates there, and apply it."
        yield Finding(f"calendar {row.name}", well, told, mend)


def _mail(hub: Hub) -> Iterator[Finding]:
    """What is known of the folders that are followed, the tokens and the secrets; none of it asks a server."""
    with hub.store.read() as tx:
        folders, problems = folder_health(hub, tx), token_problems(tx)
    for each in folders:
        started = each.silent is not None or each.problem
        mend = "" if each.problem else "Does a hub or a worker run? Its log says why it does not get there."
        yield Finding(f"mailbox {each.channel} {each.folder}", each.well or not started, str(each), mend)
    for name, problem in problems.items():
        yield Finding(f"token of {name}", False, problem)
    for secret in secret_ages(hub):
        mend = "Make a new one at the provider, and put it and its day into the channel's settings."
        yield Finding(f"secret of {secret.channel}", secret.days > URGENT_DAYS, str(secret), mend)


def _notices(hub: Hub) -> Iterator[Finding]:
    """Whether agents who want mail can get it."""
    by = hub.settings.notices_by
    if by:
        found = any(each.account.name == by and each.account.kind in MAIL_KINDS for each in hub.channels())
        yield Finding("mail notices", found, f"by {by}", "Set notices_by to the name of an active mail channel.")


def _channel(opened: Opened) -> Finding:
    what = f"channel {opened.account.name} ({opened.account.kind})"
    try:
        channel = opened.must()
        if not isinstance(channel, Checks):
            return Finding(what, True, "nothing to log in to")
        channel.check()
    except (CheckFailed, NotConfigured) as error:
        return Finding(what, False, str(error))
    return Finding(what, True, "logged in")
