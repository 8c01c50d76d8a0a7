"""What whoever runs the hub is told: by the doctor beforehand, by the log when something breaks."""

from __future__ import annotations

import logging

import psycopg
import pytest

from cli.doctor import Finding, findings
from hub.desk import apply
from storage import Busy
from storage.access import SYSTEM
from storage.checks import note_check
from storage.clock import utcnow
from storage.outages import is_news
from tests.desk import Desk


def test_the_doctor_says_when_processes_want_more_connections_than_the_server_takes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> list[bool]:
        return [finding.well for finding in findings(desk.hub.settings) if finding.what == "connections"]

    if desk.hub.settings.embedded:
        assert found() == []
        return
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert found() == [True]
    desk.hub.settings = desk.hub.settings.changed(database_connections=40)
    assert found() == [False]


def test_the_log_shows_no_trace_of_an_outage_but_of_everything_else() -> None:
    def is_shown(error: Exception) -> bool:
        trace = (type(error), error, None)
        return is_news(logging.LogRecord("worker", logging.ERROR, __file__, 1, "a duty failed", (), trace))

    assert not is_shown(Busy("the database does not answer"))
    assert not is_shown(psycopg.OperationalError("connection refused"))
    assert is_shown(psycopg.errors.ProgramLimitExceeded("index row size 2992 exceeds maximum"))
    assert is_shown(LookupError("a bug"))


def test_the_doctor_says_when_a_calendar_runs_out(desk: Desk) -> None:
    events = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261224\nEND:VEVENT\nEND:VCALENDAR\n"
    office = {"name": "office", "time_zone": "Europe/Berlin", "hours": {"mon-fri": "09:00-17:00"}}
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"calendars": [{**office, "ics": events}, {**office, "name": "all year"}]})
    found = {one.what: one for one in findings(desk.hub.settings) if one.what.startswith("calendar")}
    assert found["calendar all year"].well
    assert "known until 2026-12-24" in str(found["calendar office"]) and "newer ics" in str(found["calendar office"])


def test_the_doctor_says_when_the_router_was_wrong_about_something(desk: Desk) -> None:
    def found() -> Finding:
        return next(one for one in findings(desk.hub.settings) if one.what == "what the router knows")

    assert found().well
    desk.hub.store.clock = utcnow  # which the doctor looks at
    desk.hub.store.submit(lambda tx: note_check(tx, "node-1", took_ms=12, differing=2))
    desk.hub.store.submit(lambda tx: note_check(tx, "node-1", took_ms=12, differing=0))
    assert not found().well and "it was wrong about something at" in str(found())
