"""The demo's own mail server, seen through the e-mail channel: whole circles without a system package."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from channels.base import CheckFailed, Cursor, Outbound
from channels.mail import EmailChannel
from channels.mail.mailbox import ConnectionLost, Mailbox
from sandbox.mailserver import KEPT, MailServer

OURS = "support@shop.example"
MARA = "mara.lindqvist@example.com"
START = Cursor("INBOX")
QUESTION = b"From: Mara <mara.lindqvist@example.com>\r\nTo: support@shop.example\r\n\r\nWo ist es? Gr\xfc\xdfe \x80\r\n"


@pytest.fixture
def server() -> Iterator[MailServer]:
    running = MailServer({OURS: "secret", MARA: "hers"})
    running.start()
    yield running
    running.stop()


def open_channel(server: MailServer, **settings: Any) -> EmailChannel:
    given: dict[str, Any] = {
        "imap_host": server.host,
        "imap_port": server.imap_port,
        "imap_tls": "none",
        "username": OURS,
        "password": "secret",
        "smtp_host": server.host,
        "smtp_port": server.smtp_port,
        "smtp_tls": "none",
        "timeout": 5,
    }
    return EmailChannel(name="support-mail", address=OURS, settings={**given, **settings})


def test_a_question_comes_in_and_the_answer_reaches_the_customer(server: MailServer) -> None:
    channel = open_channel(server)
    with closing(channel.follow("INBOX")) as box:
        channel.check()
        server.deliver(OURS, QUESTION)
        [(raw, cursor)] = box.poll(START)
        assert raw is not None
        assert raw.body == QUESTION
        channel.send(
            Outbound(id="1", to=(MARA,), text="Schon unterwegs.", subject="Re: ?", external_id="<1@shop.example>")
        )
        [answer] = server.inbox_of(MARA)
        assert answer.startswith(b"Return-Path: <support@shop.example>\r\nDelivered-To: mara.lindqvist@example.com\r\n")
        assert b"Schon unterwegs." in answer
        assert list(box.poll(cursor)) == []


def woken(box: Mailbox) -> bool:
    """A line that comes in two pieces ends imapclient's IDLE with an error; the hub then polls as well."""
    try:
        return box.wait(20)
    except ConnectionLost:
        return True


def test_whoever_waits_is_woken_by_delivery_and_by_smtp(server: MailServer) -> None:
    channel = open_channel(server)
    with closing(channel.follow("INBOX")) as box:
        assert list(box.poll(START)) == []
        threading.Timer(0.1, server.deliver, (OURS, QUESTION)).start()
        started = time.monotonic()
        assert woken(box)
        [(_, cursor)] = box.poll(START)
        sent = Outbound(id="2", to=("support+k7f2q9@shop.example",), text="Hej", external_id="<2@example.com>")
        customer = open_channel(server, username=MARA, password="hers")
        threading.Timer(0.1, customer.send, (sent,)).start()
        assert woken(box)
        assert time.monotonic() - started < 10
        [(raw, _)] = box.poll(cursor)
        assert raw is not None
        inbound = EmailChannel.parse(raw)
        assert (inbound.tokens, inbound.to) == (("k7f2q9",), OURS)


def test_a_box_keeps_its_last_500_mails(server: MailServer) -> None:
    for number in range(KEPT + 3):
        server.deliver(OURS, b"From: mara.lindqvist@example.com\r\nSubject: %d\r\n\r\nx" % number)
    channel = open_channel(server)
    with closing(channel.follow("INBOX")) as box:
        found = [EmailChannel.parse(raw).subject for raw, _ in box.poll(START) if raw]
    assert found == [str(number) for number in range(3, KEPT + 3)]
    assert len(server.inbox_of(OURS)) == KEPT


def test_strangers_get_mail_but_cannot_log_in(server: MailServer) -> None:
    channel = open_channel(server)
    with closing(channel.follow("INBOX")):
        channel.send(Outbound(id="3", to=("Tomas@Example.com",), text="x", external_id="<3@shop.example>"))
    assert len(server.inbox_of("tomas@example.com")) == 1
    assert server.addresses == ["tomas@example.com"]
    with pytest.raises(KeyError):
        server.deliver("tomas@example.com", QUESTION)
    with pytest.raises(CheckFailed, match="username and password"):
        open_channel(server, password="wrong").check()


def test_two_servers_never_share_mail_and_a_stopped_one_frees_its_ports(server: MailServer) -> None:
    other = MailServer({OURS: "secret"})
    other.start()
    other.deliver(OURS, QUESTION)
    assert server.inbox_of(OURS) == []
    with pytest.raises(OSError, match="in use"):
        MailServer({}, imap_port=other.imap_port).start()
    other.stop()
    again = MailServer({OURS: "secret"}, imap_port=other.imap_port, smtp_port=other.smtp_port)
    again.start()
    open_channel(again).check()
    again.stop()
    again.stop()
