"""The story of tests/story.py, held to its promise: every message in the one history within two seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.story import perform
from tests.support import postgres

PATIENT = 10.0  # seconds a step may take on a busy machine; the figures a person reads come from `make story`


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_whole_loop_on_real_parts(
    database: str, dovecot_root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "sqlite":
        took = perform(f"sqlite:///{tmp_path}/hub.db", tmp_path, lambda line: None, dovecot_root=dovecot_root)
    else:
        url = postgres.database(request.getfixturevalue("postgres_server"))
        took = perform(url, tmp_path, lambda line: None, web=2, workers=2, dovecot_root=dovecot_root)
    assert len(took) > 10
    assert max(took.values()) < PATIENT, took
