"""A desk that tells Jonas by mail what is his, and the mail program that he answers with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from channels.base import Raw
from hub import digests, notices
from hub.delivery import Courier
from hub.followers import Followers
from hub.intake import Taken, take_in
from hub.outbound import reconcile_message, send_message
from hub.people import set_mail_notices
from routing.work import assign
from storage.access import Actor
from storage.conversations import Message
from storage.people import Agent
from tests.desk import Desk
from tests.support.autoreply import read, words
from tests.support.mailroom import Mailroom, mailroom

JONAS, AMARA, TOMAS = "jonas@desk.example", "amara@desk.example", "tomas@desk.example"


@dataclass
class Noticing:
    """What the desk sends lies in the room's sink; `work` brings everything there that is due."""

    room: Mailroom
    followers: Followers
    courier: Courier
    _count: int = 0
    _seen: int = field(default=0)

    @property
    def desk(self) -> Desk:
        return self.room.desk

    def work(self, **forward: float) -> list[EmailMessage]:
        """The mails that left since the last look."""
        self.followers.run_once()
        self.desk.clock.forward(**(forward or {"seconds": 61}))
        while self.courier.run_once():
            pass
        fresh = self.room.sink.taken[self._seen :]
        self._seen += len(fresh)
        return [read(each.data) for each in fresh]

    def give(self, conversation_id: int, to: Actor) -> None:
        """A supervisor hands it to an agent."""
        with self.desk.hub.store.write() as tx:
            assign(tx, self.desk.ines, conversation_id, to.agent_id or 0)

    def asked(self, text: str = "Has it left?") -> tuple[int, EmailMessage]:
        """A customer's matter that is Jonas's, and the notice that he got of it."""
        number = self.desk.mail("Lamp", text).conversation_id or 0
        self.give(number, self.desk.jonas)
        [notice] = self.work()
        return number, notice

    def change(self, actor: Actor, **values: Any) -> None:
        """An agent's row, as an admin changes it."""
        with self.desk.hub.store.write() as tx:
            agent = tx.get_one(Agent, actor.agent_id)
            for name, value in values.items():
                setattr(agent, name, value)
            tx.add(agent)

    def answer(self, notice: EmailMessage, text: str, *, sender: str = f"Jonas Weber <{JONAS}>", head: str = "",
               to: str = "", answers: str | None = None, body: bytes | None = None,
               channel: str = "support-mail") -> Taken:  # fmt: skip
        """A mail program's answer to a notice: to its Reply-To, with its Message-ID, the notice quoted below."""
        self._count += 1
        said = str(notice["Message-ID"]) if answers is None else answers
        threading = f"In-Reply-To: {said}\r\nReferences: {notice['References']} {said}\r\n" if said else ""
        quoted = "\n".join(f"> {line}" for line in words(notice).split("\n"))
        back = notice["Reply-To"] or "support@desk.example"
        content = f"{text}\n\nOn Tue, 24 Nov 2026 at 10:01, Support <{back}> wrote:\n\n{quoted}\n"
        top = (
            f"From: {sender}\r\nTo: {to or back}\r\n{threading}"
            f"Subject: Re: {notice['Subject']}\r\nMessage-ID: <agent-{self._count}@desk.example>\r\n"
            f"Date: Tue, 24 Nov 2026 10:02:{self._count:02} +0000\r\n{head}"
        )
        data = top.encode() + (body or b"\r\n" + content.replace("\n", "\r\n").encode())
        raw = Raw(f"{channel}:{self._count}", data, "message/rfc822")
        return take_in(self.desk.hub, self.desk.hub.channel_named(channel), raw)

    def last(self, number: int) -> Message:
        return self.desk.messages(number)[-1]


@contextmanager
def noticing(desk: Desk, **settings: Any) -> Iterator[Noticing]:
    with mailroom(desk, **{"plus_addresses": True, **settings}) as room:
        desk.hub.settings = desk.hub.settings.changed(notices_by="support-mail", undo_seconds=0)
        with desk.hub.store.write() as tx:
            set_mail_notices(tx, tx.get_one(Agent, desk.jonas.agent_id), True)
        followers = Followers(desk.hub, {"mail notices": notices.FOLLOWER}, "test")
        followers.run_once()
        senders = {"channel": send_message, "digest": digests.send, "notice": notices.send}
        yield Noticing(room, followers, Courier(desk.hub, senders, reconcile_message, threads=4))
