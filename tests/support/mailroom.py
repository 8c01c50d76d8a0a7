"""A desk whose mail really leaves, by SMTP to a server of ours, and machines that answer what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hub.delivery import Courier
from hub.outbound import reconcile_message, send_message
from hub.replies import reply
from storage.access import Actor
from storage.conversations import Message
from storage.desk import touch_desk
from tests.desk import Desk
from tests.support.smtp import Sink, Taken, smtp_sink


@dataclass
class Mailroom:
    """What the desk sends arrives in `sink`."""

    desk: Desk
    sink: Sink

    def answer(self, actor: Actor, conversation_id: int, text: str = "It leaves today.", **more: Any) -> Message:
        """An agent's reply, sent; the row as it is then."""
        with self.desk.hub.store.write() as tx:
            message = reply(
                tx, actor, conversation_id, text=text, tokens=self.desk.hub.tokens, undo_seconds=0, **more
            )  # fmt: skip
        self.send()
        return self.message(message.id)

    def send(self) -> None:
        """Let everything that is due leave."""
        Courier(self.desk.hub, {"channel": send_message}, reconcile_message, threads=2).run_once()

    def message(self, number: int | None) -> Message:
        with self.desk.hub.store.read() as tx:
            return tx.get_one(Message, number)


@contextmanager
def mailroom(desk: Desk, **settings: Any) -> Iterator[Mailroom]:
    """The desk's support-mail sends to a sink on a free port; `settings` are the channel's further ones."""
    with smtp_sink() as sink:
        sink.passwords["support"] = "secret"
        given = {"smtp_host": sink.host, "smtp_port": sink.port, "smtp_tls": "none", **settings}
        configure(desk, "support-mail", **given)
        yield Mailroom(desk, sink)


def configure(desk: Desk, channel: str, **settings: Any) -> None:
    """Change some settings of a channel, as its page in the desk would."""
    opened = desk.hub.channel_named(channel)
    with desk.hub.store.write() as tx:
        changed = {**opened.account.settings, **settings}
        tx.sql("UPDATE channel SET settings = ? WHERE name = ?", changed, channel)
        touch_desk(tx)
    desk.hub.look_again()


def returned(sent: Taken, status: str, said: str, *, action: str = "failed", to: str = "support@desk.example",
             recipient: str = "", original: bytes | None = None) -> bytes:  # fmt: skip
    """The delivery report (RFC 3464) of a mail server that could not deliver what was sent."""
    head = (
        f"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.com\r\nTo: {to}\r\nSubject: Undelivered Mail\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="r"\r\n\r\n--r\r\n\r\nSorry.\r\n--r\r\n'
        "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient or sent.recipients[0]}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {said}\r\n--r\r\nContent-Type: message/rfc822\r\n\r\n"
    )
    return head.encode() + (sent.data if original is None else original) + b"\r\n--r--\r\n"
