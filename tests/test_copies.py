"""One mail in several of our mailboxes is one message, also when several nodes read them in the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from channels.base import Raw
from hub import Hub
from hub.intake import Taken, take_in
from storage import Store
from storage.desk import ChannelAccount
from tests.clock import Clock
from tests.doors import messages, opened
from tests.processes import until

# Without a sender: copies of one person's mail wait for one another at that person anyway.
MAIL = (
    b"To: all@shop.example\r\nSubject: A lamp\r\n"
    b"Date: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <lamp@customer.example>\r\n\r\nIt is broken.\r\n"
)
SETTINGS = {"imap_host": "127.0.0.1", "smtp_host": "127.0.0.1", "username": "u", "password": "p"}
NAMES = ("orders", "returns", "support", "warranty")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def nodes(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[tuple[Hub, Hub]]:
    """Two nodes that read four mailboxes, all of which get what goes to everybody; on SQLite there is only one."""
    accounts = [
        ChannelAccount(name=each, kind="email", address=f"{each}@shop.example", settings=SETTINGS) for each in NAMES
    ]
    with opened(database_url, tmp_path, clock, *accounts) as hub:
        if hub.store.embedded:
            yield hub, hub
            return
        with opened(database_url, tmp_path, clock) as other:
            yield hub, other


def comes_in(hub: Hub, name: str) -> Taken:
    """The mail as the server of this mailbox keeps it: with a line of its own, so that its bytes are others."""
    raw = Raw(f"{name}:1", f"Delivered-To: {name}@shop.example\r\n".encode() + MAIL, "message/rfc822")
    return take_in(hub, hub.channel_named(name), raw)


def come_in_at_once(nodes: tuple[Hub, Hub], held: str, *names: str) -> list[Taken]:
    """A copy on each node, both of which come to what is locked before either may go on."""
    store = nodes[0].store
    with ThreadPoolExecutor(2) as threads:
        with store.write() as tx:
            tx.sql(held)
            taken = [threads.submit(comes_in, node, name) for node, name in zip(nodes, names, strict=True)]
            if not store.embedded:
                until(lambda: _waiting(store) == 2, "both nodes to come to the lock")
        return [each.result() for each in taken]


def _waiting(store: Store) -> int:
    with store.read() as tx:
        return int(tx.sql(WAITING).fetchone()[0])


def test_copies_that_are_read_in_the_same_moment_all_stand_on_the_message(nodes: tuple[Hub, Hub]) -> None:
    first = comes_in(nodes[0], "orders")
    both = come_in_at_once(nodes, "UPDATE message SET subject = subject", "returns", "support")
    assert [(each.state, each.message_id) for each in both] == [("duplicate", first.message_id)] * 2
    assert comes_in(nodes[1], "returns").state == comes_in(nodes[1], "warranty").state == "duplicate"
    (message,) = messages(nodes[0])
    assert sorted(message.flags) == ["also:returns", "also:support", "also:warranty", "no_from"]


def test_of_copies_whose_first_message_is_gone_only_one_takes_its_place(nodes: tuple[Hub, Hub]) -> None:
    comes_in(nodes[0], "orders")
    with nodes[0].store.write() as tx:
        tx.sql("DELETE FROM message")
    both = come_in_at_once(nodes, "UPDATE mail_copy SET receipt_id = receipt_id", "returns", "support")
    assert sorted(each.state for each in both) == ["accepted", "duplicate"]
    (message,) = messages(nodes[0])
    assert message.flags == ["no_from", "also:support" if both[1].state == "duplicate" else "also:returns"]
