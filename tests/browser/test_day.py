"""The story of tests/browser/day.py: on SQLite with every change, on PostgreSQL with two of each process at length."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.day import PATIENT, SETTINGS, play
from tests.story import Timeline, stage
from tests.support import postgres


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.prove)])
def test_a_customers_day_in_the_browser(
    database: str, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    expect.set_options(timeout=PATIENT)
    url = f"sqlite:///{tmp_path}/hub.db"
    if database == "postgresql":
        url = postgres.database(request.getfixturevalue("postgres_server"))
    with stage(url, tmp_path, Timeline(lambda _: None), web=2, workers=2, more=SETTINGS) as at:
        play(at, browser, tmp_path)
    assert len(list(tmp_path.glob("day-*.png"))) == 5
