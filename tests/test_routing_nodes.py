"""Short forms of what tests/prove does at length: routers that die or wake late, and wake-ups that may get lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import Store
from tests.prove.routers import crew, drained_in_order, machine, raced
from tests.routing_desk import Desk


def test_routers_killed_and_frozen_on_a_random_floor(database_url: str, tmp_path: Path) -> None:
    with crew(database_url, tmp_path, 2) as routers:
        machine(routers, examples=3, steps=20, thorough=False)


def test_mails_are_given_out_in_order_while_leaders_die(database_url: str, tmp_path: Path) -> None:
    with crew(database_url, tmp_path, 2) as routers:
        drained_in_order(routers, mails=200)


def test_a_commit_between_looking_and_waiting_is_not_missed(
    database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.router.SWEEP_SECONDS", 3600.0)
    theirs = store if store.embedded else Store(database_url, store.clock)
    assert raced(Desk(store), theirs, 20) == 0
