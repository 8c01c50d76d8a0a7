"""An office with a mail account on a real Dovecot: what the tests of mailboxes start from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from imapclient import IMAPClient
from sqlmodel import select

from hub import Hub
from hub.mailboxes import Mailbox
from storage.desk import ChannelAccount
from tests.clock import Clock
from tests.doors import messages
from tests.support.dovecot import PASSWORD, Dovecot, dovecot

numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    """One for all tests of a file."""
    with dovecot() as running:
        yield running


@pytest.fixture
def user() -> str:
    """Everybody gets an empty mailbox of his own."""
    return f"desk{next(numbers)}"


@pytest.fixture
def clock() -> Clock:
    """The server lives in real time."""
    clock = Clock()
    clock.moment = datetime.now(UTC)
    return clock


class Office:
    """A hub with one account of the server."""

    def __init__(self, hub: Hub):
        self.hub = hub

    def box(self, folder: str = "INBOX", holder: str = "node 1") -> Mailbox:
        mailbox = Mailbox(self.hub, self.hub.channel_named("support-mail"), holder, folder)
        assert mailbox._lead()
        return mailbox

    def subjects(self) -> list[str]:
        return [message.subject for message in messages(self.hub)]

    def rows(self, model: Any) -> list[Any]:
        with self.hub.store.read() as tx:
            return list(tx.exec(select(model)))


def account(server: Dovecot, user: str, **settings: Any) -> ChannelAccount:
    given: dict[str, Any] = {"imap_host": server.host, "imap_port": server.imap_port, "imap_tls": "none"}
    given |= {"username": user, "password": PASSWORD, "smtp_host": server.host, "timeout": 5}
    return ChannelAccount(
        name="support-mail", kind="email", address="support@shop.example", settings={**given, **settings}
    )


def mail(subject: object, text: str = "Where is my lamp?") -> bytes:
    header = f"From: mara.lindqvist@example.com\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x>\r\n"
    return f"{header}\r\n{text}\r\n".encode()


def client(server: Dovecot, user: str, folder: str = "INBOX") -> IMAPClient:
    made = IMAPClient(server.host, server.imap_port, ssl=False, timeout=5)
    made.login(user, PASSWORD)
    if not made.folder_exists(folder):
        made.create_folder(folder)
    made.select_folder(folder)
    return made
