"""A database of any earlier version becomes today's, with everything that is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from storage import Store
from storage.migrations import HEAD, current, upgrade
from storage.receipts import Receipt
from storage.tables import metadata
from tests.clock import Clock
from tests.support import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """A database that nobody has used yet."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'hub.db'}"
    else:
        url = postgres.database(request.getfixturevalue("postgres_server"))
    store = Store(url, clock)
    yield store
    store.close()
    if request.param == "postgresql":
        postgres.drop(url)


NOT_COMPARED = ("message_search", "ix_message_search", "search", "ix_identity_mailbox")  # written by hand


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_identity_mailbox")
def test_the_tables_are_what_the_code_says_they_are(store: Store) -> None:
    def ours(_object: object, name: str | None, *_: object) -> bool:
        return not (name or "").startswith(NOT_COMPARED)

    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": False})
        assert compare_metadata(context, metadata) == []


def test_rules_that_a_file_left_out_go_and_those_in_use_stay(empty: Store) -> None:
    upgrade(empty, "0014")
    with empty.write() as tx:
        for position, active in enumerate((True, False)):
            tx.sql(
                "INSERT INTO routing_rule(position, name, condition, skills, priority, active) "
                "VALUES(?, 'a rule', '{}', '{}', 0, ?)", position, active,
            )  # fmt: skip
    upgrade(empty, "0015")
    with empty.read() as tx:
        assert [row[0] for row in tx.sql("SELECT position FROM routing_rule").fetchall()] == [0]


def test_an_upgrade_keeps_what_the_first_version_has_stored(empty: Store) -> None:
    upgrade(empty, "0001")
    with empty.write() as tx:
        tx.sql(
            "INSERT INTO channel(name, kind, address, settings, active, problem, created_at) "
            "VALUES('support', 'email', 's@desk.example', '{}', ?, '', ?)", True, tx.now,
        )  # fmt: skip
        tx.sql(
            "INSERT INTO receipt(channel_id, dedupe_key, origin, state, why, attempts, content_type, headers, body, "
            "sha256, size, received_at) VALUES(1, 'a', 'message', 'quarantined', 'odd', 1, 'message/rfc822', "
            "'{\"uid\": \"7\"}', ?, '', 3, ?)", b"raw", tx.now,
        )  # fmt: skip
    upgrade(empty)

    assert current(empty) == HEAD
    with empty.read() as tx:
        receipt = tx.get_one(Receipt, 1)
        assert (receipt.body, receipt.headers, receipt.why) == (b"raw", {"uid": "7"}, "odd")
        assert (receipt.seen, receipt.seen_at, receipt.dropped_at) == (1, None, None)
        assert receipt.received_at == tx.now
