"""Moments as people write them, on Tuesday 24 November 2026, eleven in the morning in Berlin."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.language import speaking
from inbox.when import NotUnderstood, moment_of

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("typed", "local"),
    [
        ("in 2 hours", "2026-11-24 13:00"),
        ("20 min", "2026-11-24 11:20"),
        ("in a week", "2026-12-01 11:00"),
        ("3d", "2026-11-27 11:00"),
        ("tomorrow", "2026-11-25 08:00"),
        ("Tomorrow 9", "2026-11-25 09:00"),
        ("tomorrow at 9:30", "2026-11-25 09:30"),
        ("tomorrow, 2pm", "2026-11-25 14:00"),
        ("today 17:00", "2026-11-24 17:00"),
        ("tonight", "2026-11-24 19:00"),
        ("14:30", "2026-11-24 14:30"),
        ("9:30", "2026-11-25 09:30"),
        ("at 5 pm", "2026-11-24 17:00"),
        ("12am", "2026-11-25 00:00"),
        ("fri 14:30", "2026-11-27 14:30"),
        ("Friday", "2026-11-27 08:00"),
        ("tuesday", "2026-12-01 08:00"),
        ("tue 12:00", "2026-11-24 12:00"),
        ("next week", "2026-11-30 08:00"),
        ("1 dec", "2026-12-01 08:00"),
        ("dec 9", "2026-12-09 08:00"),
        ("9 December 16:00", "2026-12-09 16:00"),
        ("1 nov", "2027-11-01 08:00"),
        ("2.12. 7:15", "2026-12-02 07:15"),
        ("2026-12-24 18:00", "2026-12-24 18:00"),
    ],
)
def test_what_people_write_is_understood(typed: str, local: str) -> None:
    assert moment_of(typed, NOW, BERLIN).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M") == local


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "is no time we know"),
        ("soon", "try “tomorrow 9:00”"),
        ("in 0 hours", "is no time we know"),
        ("25:00", "is no time we know"),
        ("13pm", "is no time we know"),
        ("31 feb", "is no time we know"),
        ("1 xyz", "is no time we know"),
        ("today 8:00", "is past"),
        ("2026-01-01", "is past"),
        ("2031-01-01", "more than a year"),
        ("9999 w", "more than a year"),
    ],
)
def test_what_is_no_moment_ahead_is_said_so(typed: str, sentence: str) -> None:
    with pytest.raises(NotUnderstood, match=sentence):
        moment_of(typed, NOW, BERLIN)


@given(st.text(max_size=40))
def test_nothing_that_is_typed_breaks_it(typed: str) -> None:
    with suppress(NotUnderstood):
        assert moment_of(typed, NOW, BERLIN) > NOW


@pytest.mark.parametrize(
    ("typed", "local"),
    [
        ("in 2 Stunden", "2026-11-24 13:00"),
        ("morgen um 9 Uhr", "2026-11-25 09:00"),
        ("fr 14:30", "2026-11-27 14:30"),
        ("Freitag", "2026-11-27 08:00"),
        ("nächste Woche", "2026-11-30 08:00"),
        ("1. Dezember", "2026-12-01 08:00"),
        ("tomorrow 9", "2026-11-25 09:00"),
    ],
)
def test_germans_write_it_as_they_do(typed: str, local: str) -> None:
    with speaking("de"):
        assert f"{moment_of(typed, NOW, BERLIN).astimezone(BERLIN):%Y-%m-%d %H:%M}" == local
