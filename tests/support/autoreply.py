"""A desk that acknowledges what arrives, over a mail server of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from sqlmodel import col, select

from hub import acknowledge
from hub.followers import Followers
from storage.automatic import AutomaticSend
from storage.facts import FactRow
from tests.desk import Desk
from tests.support.mailroom import Mailroom, mailroom

WORDS = "Hello {name},\n\nwe have your message. Its number is {ticket}."


@dataclass
class Acknowledging:
    """The desk, its outgoing mail, and the duty that acknowledges."""

    room: Mailroom
    followers: Followers

    @property
    def desk(self) -> Desk:
        return self.room.desk

    def work(self) -> list[EmailMessage]:
        """Let everything happen that is due; the mails that left by it."""
        before = len(self.room.sink.taken)
        self.followers.run_once()
        sent = -1
        while sent != len(self.room.sink.taken):
            sent = len(self.room.sink.taken)
            self.room.send()
        return [read(each.data) for each in self.room.sink.taken[before:]]

    def held(self) -> list[str]:
        """What the conversations say of automatic messages that were not sent, oldest first."""
        with self.desk.hub.store.read() as tx:
            told = select(FactRow).where(FactRow.name == "AutomationHeld").order_by(col(FactRow.id))
            return [row.data["why"] for row in tx.exec(told)]

    def counted(self) -> list[AutomaticSend]:
        with self.desk.hub.store.read() as tx:
            return list(tx.exec(select(AutomaticSend).order_by(col(AutomaticSend.id))))


def read(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=policy.default)


def words(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n").strip()


@contextmanager
def acknowledging(desk: Desk, acknowledge_with: str = WORDS, **settings: Any) -> Iterator[Acknowledging]:
    with mailroom(desk, **({"acknowledge": acknowledge_with} if acknowledge_with else {}), **settings) as room:
        followers = Followers(desk.hub, {"acknowledgements": acknowledge.FOLLOWER}, "test")
        followers.run_once()
        yield Acknowledging(room, followers)
