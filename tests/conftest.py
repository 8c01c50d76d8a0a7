"""What every test may ask for: an empty, migrated database of each kind and a clock that obeys."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from config import Settings
from storage import Store
from storage.migrations import upgrade
from tests.browser.room import Browser, application, seat
from tests.clock import Clock
from tests.desk import Desk, open_desk
from tests.routing_watch import watched
from tests.support import postgres
from tests.support.browser import browser
from tests.support.dovecot import NEWER, installed

__all__ = ["browser"]  # one per test process: Playwright can't be started twice in one

os.environ.setdefault("SWITCHYARD_CHEAP_PASSWORDS", "1")  # argon2 at full strength would take half the suite's time


def pytest_collection_finish() -> None:
    """All tests are loaded; what is there by now stays."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def spared() -> Iterator[None]:
    """What a module's tests leave to others (caches, applications) stays as well.

    Otherwise the collector looks through it again and again, for a third of all tests' time.
    """
    yield
    gc.collect()  # not seldomer than usual: what tests leave in circles holds files and connections
    gc.freeze()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "hub.db"
    store = Store(f"sqlite:///{path}")
    upgrade(store)
    _in_one_file(store)
    store.close()
    return path


@pytest.fixture(scope="session")
def sqlite_furnished(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, furnished as every desk is in the beginning."""
    folder = tmp_path_factory.mktemp("furnished")
    path = Path(shutil.copy(sqlite_template, folder / "hub.db"))
    with pytest.MonkeyPatch.context() as environment:
        _set_secrets(environment)
        desk = open_desk(f"sqlite:///{path}", folder, Clock())
    _in_one_file(desk.hub.store)
    desk.hub.stop()
    return path


def _in_one_file(store: Store) -> None:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL for this test process."""
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_copies(postgres_server: str) -> postgres.Copies:
    """Migrated databases, empty for each test that takes one."""
    url = postgres.database(postgres_server)
    store = Store(url)
    upgrade(store)
    store.close()
    return postgres.Copies(postgres_server, url)


@pytest.fixture(scope="session")
def postgres_furnished(postgres_copies: postgres.Copies, tmp_path_factory: pytest.TempPathFactory) -> postgres.Copies:
    """The same, furnished as every desk is in the beginning."""
    url = postgres_copies.take()
    with pytest.MonkeyPatch.context() as environment:
        _set_secrets(environment)
        desk = open_desk(url, tmp_path_factory.mktemp("furnished"), Clock())
    desk.hub.stop()
    return postgres.Copies(postgres_copies.server, url)


@pytest.fixture(scope="session", params=["installed", pytest.param("2.4", marks=pytest.mark.prove)])
def dovecot_root(request: pytest.FixtureRequest) -> Path:
    """Where a Dovecot is: the one that tests use by default, and in the long proofs a 2.4 as well."""
    return NEWER if request.param == "2.4" else installed()


@pytest.fixture
def clock() -> Clock:
    """Tuesday, 24 November 2026, 10:00 UTC, until moved."""
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind in turn: empty, or furnished for a test that asks for the desk."""
    furnished = "furnished" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "hub.db"
        shutil.copy(request.getfixturevalue("sqlite_furnished" if furnished else "sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        copies: postgres.Copies = request.getfixturevalue("postgres_furnished" if furnished else "postgres_copies")
        url = copies.take()
        yield url
        copies.give_back(url)


@pytest.fixture
def store(database_url: str, clock: Clock) -> Iterator[Store]:
    """The unit of work on an empty database, on each kind of database in turn."""
    opened = Store(database_url, clock)
    yield opened
    opened.close()


@pytest.fixture
def nothing_missed_by_the_router(database_url: str) -> Iterator[None]:
    """On SQLite: no unit changes what the router must know without leaving a fact about it."""
    if not database_url.startswith("sqlite"):
        yield
        return
    with watched(database_url.removeprefix("sqlite:///")) as missed:
        yield
    assert missed == []


def _set_secrets(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MAIL_PASSWORD", "secret")
    environment.setenv("SHOP_SECRET", "the shop's secret, at least thirty-two bytes long")


@pytest.fixture
def furnished() -> None:
    """Asked for by the desk below, so that `database_url` knows: desks of a test file's own begin with nothing."""


@pytest.fixture
def desk(
    furnished: None, database_url: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """A furnished desk on each kind of database in turn."""
    _set_secrets(monkeypatch)
    opened = open_desk(database_url, tmp_path, clock, furnished=True)
    yield opened
    opened.hub.stop()


@pytest.fixture(scope="session")
def made() -> dict[Settings, Flask]:
    """The applications that all tests use: making one takes longer than most of them."""
    return {}


@pytest.fixture
def app(made: dict[Settings, Flask], desk: Desk) -> Flask:
    """The web application on the desk; for what is served on a port `application` makes one of its own."""
    alike = replace(desk.hub.settings, database_url="", data_dir=Path())
    if alike not in made:
        made[alike] = application(desk)
    return seat(made[alike], desk)


def _signed_in(app: Flask, address: str) -> Browser:
    browser = Browser(app)
    browser.sign_in(address)
    return browser


@pytest.fixture
def jonas(app: Flask) -> Browser:
    """A browser in which Jonas, an agent, is signed in."""
    return _signed_in(app, "jonas@desk.example")


@pytest.fixture
def ines(app: Flask) -> Browser:
    """A browser in which Ines, the admin, is signed in."""
    return _signed_in(app, "ines@desk.example")
