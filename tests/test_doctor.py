"""The doctor counts what a running hub will need."""

from __future__ import annotations

import pytest

from cli.doctor import findings
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
