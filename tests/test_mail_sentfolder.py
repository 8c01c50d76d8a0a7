"""Copies of what was sent: filed once in a real Dovecot, tried again alone, and never a reason to send again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from imapclient import IMAPClient
from sqlmodel import select

from channels.base import SendFailed
from storage.deliveries import Delivery
from tests.desk import Desk
from tests.support.dovecot import PASSWORD, SENT_FOLDER, Dovecot, dovecot
from tests.support.smtp import smtp_sink
from tests.test_mail_compose import NOW, reply
from tests.test_mail_mailbox import account
from tests.test_sending import answer, connect, courier, now

numbers = count()


@pytest.fixture(scope="module")
def server(dovecot_root: Path) -> Iterator[Dovecot]:
    with dovecot(SENT_FOLDER, root=dovecot_root) as running:
        yield running


@pytest.fixture
def user() -> str:
    return f"sender{next(numbers)}"


def filed(server: Dovecot, user: str, folder: str = "Gesendet") -> list[tuple[bytes, tuple[bytes, ...]]]:
    with IMAPClient(server.host, server.imap_port, ssl=False, timeout=5) as client:
        client.login(user, PASSWORD)
        client.select_folder(folder)
        answers = client.fetch(client.search(), ["BODY.PEEK[]", "FLAGS"]) if client.search() else {}
        return [(each[b"BODY[]"], each[b"FLAGS"]) for each in answers.values()]


def test_a_copy_lands_read_in_the_folder_that_the_server_calls_sent_and_only_once(server: Dovecot, user: str) -> None:
    channel, message = account(server, user), reply(bcc=("audit@shop.example",))
    assert channel.files_copies
    for _ in range(2):
        assert channel.file_copy(message, NOW) == "Gesendet"
    [(mail, flags)] = filed(server, user)
    assert b"Message-ID: <reply-1@shop.example>" in mail
    assert b"Bcc: audit@shop.example" in mail, "our own copy tells who got a blind one"
    assert b"\\Seen" in flags


def test_a_folder_that_is_missing_is_named(server: Dovecot, user: str) -> None:
    with pytest.raises(SendFailed, match="no folder 'Nowhere'") as failed:
        account(server, user, sent_folder="Nowhere").file_copy(reply(), NOW)
    assert failed.value.permanent


def test_a_mailbox_that_is_away_is_tried_again_without_sending_again(server: Dovecot, user: str, desk: Desk) -> None:
    imap = {"imap_host": server.host, "imap_port": server.imap_port, "imap_tls": "none", "username": user}
    with smtp_sink() as sink:
        connect(desk, sink, **{**imap, "imap_port": 1}, password=PASSWORD, sent_folder="auto")
        sent, carrier = answer(desk), courier(desk)
        carrier.run_once()
        carrier.run_once()
        assert now(desk, sent).state == "sent", "the customer has it, whatever becomes of the copy"
        with desk.hub.store.read() as tx:
            copy = tx.exec(select(Delivery).where(Delivery.sender == "copy")).one()
        assert (copy.state, copy.attempts, copy.message_id) == ("queued", 1, None)
        connect(desk, sink, **imap, password=PASSWORD, sent_folder="auto")
        desk.clock.forward(minutes=5)
        carrier.run_once()
        assert len(sink.taken) == 1
    [(mail, _)] = filed(server, user)
    assert now(desk, sent).external_id.encode() in mail
    assert now(desk, sent).state == "sent"
    with desk.hub.store.read() as tx:
        assert tx.exec(select(Delivery).where(Delivery.sender == "copy")).one().response == {"folder": "Gesendet"}
