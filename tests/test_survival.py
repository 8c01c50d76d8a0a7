"""Small samples of the proofs in tests/prove: processes die, providers repeat themselves, the database goes away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.prove import outages
from tests.prove.ground import Ground, ground
from tests.prove.killing import kill_matrix
from tests.prove.nodes import without_notices

# A few of what tests/prove/test_long.py goes through in full; by whether the hub is one process on SQLite.
SAMPLE = {
    True: [[("batch.written", 3), ("mailbox.stored", 1), ("message.taken", 1)]],
    False: [[("intake.filed", 1), ("receipt.filed", 1), ("delivery.claimed", 1), ("copy.filed", 1)]],
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def folder_and_hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Ground]]:
    """One running hub for all samples, on each kind of database in turn."""
    folder = tmp_path_factory.mktemp("survival")
    with ground(request.param, folder) as running:
        running.in_a_hurry = True
        yield folder, running


@pytest.fixture
def hub(folder_and_hub: tuple[Path, Ground]) -> Ground:
    return folder_and_hub[1]


def test_one_text_called_in_fifty_times_is_one_message(hub: Ground) -> None:
    outages.storms(hub, copies=50, firsts=20)


def test_answers_wait_while_the_provider_is_down(hub: Ground) -> None:
    outages.provider_down(hub, replies=3)


def test_the_database_goes_away_and_comes_back(folder_and_hub: tuple[Path, Ground]) -> None:
    folder, hub = folder_and_hub
    if hub.server is None:
        outages.database_locked(hub, folder, 1.5, refused=False)
    else:
        server = hub.server
        outages.database_gone(hub, 1.5, lambda: server.stop(signal.SIGINT), server.start)


@pytest.mark.parametrize("folder_and_hub", ["postgresql"], indirect=True)
def test_postgresql_tells_nobody_of_its_commits(hub: Ground) -> None:
    without_notices(hub)


def test_killed_while_texts_and_mails_arrive(hub: Ground) -> None:
    outages.arrivals_under_fire(hub, texts=16, mails=6, senders=3, every=(0.1, 0.6))


def test_killed_at_named_steps(hub: Ground) -> None:
    kill_matrix(hub, SAMPLE[hub.at.hub.embedded], every_step=False)


def test_killed_while_answers_go_out(hub: Ground) -> None:
    outages.replies_under_fire(hub, replies=8, every=(0.1, 0.4))
