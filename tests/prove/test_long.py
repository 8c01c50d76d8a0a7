"""The proofs at length, on SQLite in one process and on PostgreSQL with two web processes and two workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import Store
from storage.migrations import HEAD, current
from tests.prove import outages
from tests.prove.badlines import over_bad_lines
from tests.prove.books import balanced
from tests.prove.catchup import catch_up
from tests.prove.faulty import Lines
from tests.prove.ground import Ground, Server, ground
from tests.prove.killing import kill_matrix, long_plan
from tests.prove.nodes import replaced_one_by_one, version_before, without_notices
from tests.prove.routers import crew, drained_in_order, machine, raced
from tests.prove.soak import soak
from tests.routing_desk import Desk as RoutingDesk
from tests.support.dovecot import dovecot

pytestmark = pytest.mark.prove

MESSAGES = int(os.environ.get("PROVE_MESSAGES", "10000"))  # over bad lines, on each database
SOAK = float(os.environ.get("PROVE_SOAK", "180"))  # seconds; 3600 for the hour
RATE = float(os.environ.get("PROVE_RATE", "50"))  # messages a second
FLOORS = int(os.environ.get("PROVE_FLOORS", "12"))  # random floors with four routers
RACES = 400
ROUNDS = int(os.environ.get("PROVE_ROUNDS", "150"))  # of the kill matrix, on each database; a thousand take an hour
PARTS = int(os.environ.get("PROVE_PARTS", "1"))  # of the kill matrix, each with ROUNDS of its own, for `pytest -n`


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    with ground(request.param, tmp_path) as running:
        yield running


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Ground]:
    with ground("postgresql", tmp_path) as running:
        yield running


@pytest.fixture
def server(nodes: Ground) -> Server:
    assert nodes.server
    return nodes.server


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_named_step(hub: Ground, part: int) -> None:
    kill_matrix(hub, long_plan(ROUNDS, seed=3 + part), every_step=True)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_line_breaks_at_random(database: str, tmp_path: Path) -> None:
    with Lines().running() as lines, ground(database, tmp_path, lines) as hub:
        over_bad_lines(hub, lines, MESSAGES)


def test_a_mailbox_catches_up_under_fire(database_url: str, tmp_path: Path) -> None:
    with dovecot() as server:
        came = catch_up(server, "catchup", database_url, tmp_path, mails=2000, cut_every=1.0, seed=1)
    print(came)
    assert (came.stored, came.lost, came.doubled) == (came.distinct, 0, 0)


def test_arrivals_while_processes_are_killed(hub: Ground) -> None:
    outages.arrivals_under_fire(hub, texts=400, mails=120, senders=20, every=(0.2, 1.5))


def test_answers_while_senders_are_killed(hub: Ground) -> None:
    outages.replies_under_fire(hub, replies=100, every=(0.1, 1.0))


def test_storms_of_duplicates(hub: Ground) -> None:
    for _ in range(5):
        outages.storms(hub, copies=50, firsts=20)


def test_a_provider_that_is_down(hub: Ground) -> None:
    outages.provider_down(hub, replies=30)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_postgresql_is_restarted_or_crashes_under_load(nodes: Ground, server: Server, how: signal.Signals) -> None:
    for seconds in (1, 5, 60) if how is signal.SIGINT else (1, 5):
        outages.database_gone(nodes, seconds, lambda: server.stop(how), server.start)


def test_nodes_are_restarted_one_by_one(nodes: Ground) -> None:
    replaced_one_by_one(nodes)


def test_nodes_are_upgraded_one_by_one(tmp_path: Path) -> None:
    for each in ("old", "data"):
        (tmp_path / each).mkdir()
    old, revision = version_before(tmp_path / "old")
    with ground("postgresql", tmp_path / "data", root=old) as nodes:
        assert current(nodes.store) == revision
        replaced_one_by_one(nodes)
        assert current(nodes.store) == HEAD


def test_postgresql_tells_nobody_of_its_commits(nodes: Ground) -> None:
    without_notices(nodes)


def test_a_web_process_dies_while_the_database_is_away(nodes: Ground, server: Server) -> None:
    outages.child_replaced_without_a_database(nodes, server.stop, server.start)


def test_what_was_handed_over_is_known_after_an_outage(nodes: Ground, server: Server) -> None:
    outages.answers_over_an_outage(nodes, server.stop, server.start)


def test_a_live_line_misses_nothing_over_an_outage(nodes: Ground, server: Server) -> None:
    outages.live_line_over_an_outage(nodes, server.stop, server.start)


def test_another_program_locks_sqlite(tmp_path: Path) -> None:
    with ground("sqlite", tmp_path) as hub:
        outages.database_locked(hub, tmp_path, 3, refused=False)
        outages.database_locked(hub, tmp_path, 16, refused=True)


def test_the_books_balance_over_restarts(tmp_path: Path) -> None:
    with ground("postgresql", tmp_path, cold=True) as nodes:
        balanced(nodes, SOAK, per_second=RATE)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_three_minutes_of_everything(database: str, tmp_path: Path) -> None:
    with ground(database, tmp_path, cold=True) as hub:
        soak(hub, seconds=180)


def test_routers_killed_and_frozen_on_random_floors(database_url: str, tmp_path: Path) -> None:
    with crew(database_url, tmp_path) as routers:
        machine(routers, examples=FLOORS, steps=50)


def test_work_is_given_out_in_order_while_leaders_die(database_url: str, tmp_path: Path) -> None:
    with crew(database_url, tmp_path) as routers:
        drained_in_order(routers, mails=500)


def test_no_wake_up_is_lost_between_looking_and_waiting(
    database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.router.SWEEP_SECONDS", 3600.0)
    theirs = store if store.embedded else Store(database_url, store.clock)
    lost = raced(RoutingDesk(store), theirs, RACES)
    print(f"\n{RACES} commits between looking and waiting, {store.url.get_backend_name()}: {lost} left unmatched")
    assert lost == 0
