"""A desk for stories: the real hub and the real verbs on an empty database, with the people every test knows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlmodel import col, select

from channels.base import Raw
from config import Settings
from hub import Hub
from hub.desk import apply, read
from hub.intake import Taken, take_in
from hub.people import create_agent
from hub.reading import Reading
from routing.router import Router
from storage.access import SYSTEM, Actor, actor_for
from storage.conversations import Conversation, Message
from storage.people import Agent
from tests.clock import Clock

MARA_MAIL = "mara.lindqvist@example.com"
MARA_PHONE = "+46701740605"
OUR_NUMBER = "+46701740620"

DESK = f"""
queues:
  - {{name: Shipping, first_reply: 30m, offer: 30s}}
  - {{name: Billing, first_reply: 4h}}
  - {{name: General, first_reply: 4h, default: true}}
skills: [en, sv, orders, billing]
channels:
  - name: support-mail
    kind: email
    address: support@desk.example
    settings: {{imap_host: 127.0.0.1, smtp_host: 127.0.0.1, username: support, password: "env:MAIL_PASSWORD"}}
  - {{name: support-sms, kind: sms, address: "{OUR_NUMBER}"}}
  - name: shop-chat
    kind: chat
    settings: {{identity_secret: "env:SHOP_SECRET"}}
  - name: contact-form
    kind: form
    settings: {{fields: {{email: email, name: name, text: message, subject: topic}}, honeypot: website}}
rules:
  - name: Order keywords
    when: {{any: [{{field: item.text, op: has_any, value: [order, parcel, lamp]}},
                  {{field: item.subject, op: has_any, value: [order, parcel, lamp]}}]}}
    then: {{queue: Shipping, skills: {{orders: 2}}}}
  - name: Money
    when: {{field: item.text, op: has_any, value: [invoice, refund]}}
    then: {{queue: Billing, skills: {{billing: 1}}}}
"""


@dataclass
class Desk:
    """A hub with Jonas and Amara (shipping, general), Tomás (billing only) and Ines (admin)."""

    hub: Hub
    clock: Clock
    jonas: Actor
    amara: Actor
    tomas: Actor
    ines: Actor
    _count: int = 0

    def mail(self, subject: str, text: str, *, sender: str = f"Mara Lindqvist <{MARA_MAIL}>", answers: str = "",
             message_id: str = "") -> Taken:  # fmt: skip
        """A customer's mail, through the mailbox's own door."""
        self._count += 1
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, "support@desk.example", subject
        message["Message-ID"] = message_id or f"<mail-{self._count}@customer.example>"
        message.set_content(text)
        # Written by hand: the standard library would encode a long message id, which no mail program does.
        threading = f"In-Reply-To: {answers}\r\nReferences: {answers}\r\n" if answers else ""
        return self.raw_mail(threading.encode() + message.as_bytes())

    def raw_mail(self, body: bytes, key: str = "") -> Taken:
        """Bytes as a mailbox hands them over."""
        self._count += 1
        raw = Raw(key or f"mail:{self._count}", body, "message/rfc822")
        return take_in(self.hub, self.hub.channel_named("support-mail"), raw)

    def text(self, body: str, *, sender: str = MARA_PHONE, sid: str = "") -> Taken:
        """A customer's SMS as Twilio posts it; the signature is tested at the door."""
        self._count += 1
        sid = sid or f"SM{self._count:032x}"
        form = {"MessageSid": sid, "From": sender, "To": OUR_NUMBER, "Body": body, "NumMedia": "0"}
        raw = Raw(sid, urlencode(form).encode(), "application/x-www-form-urlencoded")
        return take_in(self.hub, self.hub.channel_named("support-sms"), raw)

    def form(self, **answers: str) -> Taken:
        """A filled-in web form."""
        self._count += 1
        raw = Raw(f"form:{self._count}", json.dumps(answers).encode(), "application/json")
        return take_in(self.hub, self.hub.channel_named("contact-form"), raw)

    def chat(self, text: str, *, visitor: str = "visitor-1", claims: dict[str, str] | None = None) -> Taken:
        """A line in the chat widget, as its door hands it over."""
        self._count += 1
        body = {"id": f"line-{self._count}", "text": text, "visitor": visitor} | ({"claims": claims} if claims else {})
        raw = Raw(f"line-{self._count}", json.dumps(body).encode(), "application/json")
        return take_in(self.hub, self.hub.channel_named("shop-chat"), raw)

    def route(self) -> int:
        """Let the router look once."""
        router = Router(self.hub.store, "test")
        router.expire_once()
        router.breach_once()
        router.wrap_up_once()
        router.park_once()
        return router.run_once()

    def conversations(self) -> list[Conversation]:
        """All of them, oldest first."""
        with self.hub.store.read() as tx:
            return list(tx.exec(select(Conversation).order_by(col(Conversation.id))))

    def only_conversation(self) -> Conversation:
        """The one and only."""
        (conversation,) = self.conversations()
        return conversation

    def messages(self, conversation_id: int) -> list[Message]:
        """Oldest first."""
        with self.hub.store.read() as tx:
            query = select(Message).where(Message.conversation_id == conversation_id).order_by(col(Message.id))
            return list(tx.exec(query))

    def agent(self, actor: Actor) -> Agent:
        """The row behind an actor, as it is now."""
        with self.hub.store.read() as tx:
            return tx.get_one(Agent, actor.agent_id)


_readings: dict[tuple[object, ...], Reading] = {}


def hub_with_readers(settings: Settings, clock: Clock) -> Hub:
    """A hub that shares the readers of mail with those before it: starting them takes longer than most stories."""
    limits = (settings.readers, settings.reading_seconds, settings.reading_memory_mb, settings.languages)
    if limits not in _readings:
        _readings[limits] = Reading(settings)
    return Hub(settings, clock, _readings[limits])


def open_desk(database_url: str, folder: Path, clock: Clock, *, furnished: bool = False, **settings: Any) -> Desk:
    """The desk on an empty, migrated database, or on a copy of one that has it."""
    given: dict[str, Any] = {
        "database_url": "" if database_url.startswith("sqlite") else database_url,
        "data_dir": folder,
    }
    given |= {"secret_key": "test-secret", "public_base_url": "https://desk.example", "undo_seconds": 10}
    given |= {"twilio_account_sid": "AC" + "0" * 32, "twilio_auth_token": "twilio-token"}
    hub = hub_with_readers(Settings(**(given | settings)), clock)
    if not furnished:
        _furnish(hub)
    hub.look_again()
    with hub.store.read() as tx:
        jonas, amara, tomas, ines = (actor_for(tx, agent) for agent in tx.exec(select(Agent).order_by(col(Agent.id))))
    return Desk(hub, clock, jonas, amara, tomas, ines)


def _furnish(hub: Hub) -> None:
    with hub.store.write() as tx:
        apply(tx, SYSTEM, read(DESK))
        shipping = ["Shipping", "General"]
        create_agent(tx, name="Jonas Weber", email="jonas@desk.example", role="agent", password="correct horse",
                     skills={"orders": 4, "en": 5}, queues=shipping)  # fmt: skip
        create_agent(tx, name="Amara Obi", email="amara@desk.example", role="agent", password="correct horse",
                     skills={"orders": 3, "sv": 4}, queues=shipping)  # fmt: skip
        create_agent(tx, name="Tomás Silva", email="tomas@desk.example", role="agent", password="correct horse",
                     skills={"billing": 4}, queues=["Billing"])  # fmt: skip
        create_agent(tx, name="Ines Novak", email="ines@desk.example", role="admin", password="correct horse",
                     queues=["Shipping", "Billing", "General"])  # fmt: skip
