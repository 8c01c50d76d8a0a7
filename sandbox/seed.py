"""Fill an empty desk with sample conversations, through the verbs that real ones take, at moments of the last days."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from sqlmodel import select

from channels.base import Raw, SendFailed
from channels.form import FormChannel
from hub import Hub
from hub.contacts import merge, rename
from hub.delivery import SendResult, settle_failed, settle_sent
from hub.desk import apply
from hub.intake import take_in
from hub.lifecycle import resolve, snooze
from hub.people import set_password
from hub.replies import note, reply
from sandbox.cast import PASSWORD
from sandbox.papers import picture, sheet
from sandbox.stories import INES, MARA, STORIES, UNREADABLE, Person, Step, Story
from storage import Tx
from storage.access import SYSTEM, Actor, actor_for
from storage.conversations import Conversation, Message
from storage.deliveries import Delivery
from storage.people import Agent, Contact, Identity, agent_by_email

BEFORE = timedelta(days=30)  # when the desk was set up
SITE = "https://shop.example.com"


@dataclass
class Stage:
    """The desk while the stories are played on it."""

    hub: Hub
    conversations: dict[int, int] = field(default_factory=dict)  # story → conversation
    contacts: dict[int, Person] = field(default_factory=dict)
    count: int = 0

    def actor(self, tx: Tx, email: str) -> Actor:
        agent = agent_by_email(tx, email)
        assert agent is not None, f"demo.desk.yaml has no agent {email}"
        return actor_for(tx, agent)


def seed(hub: Hub, desk: Mapping[str, Any]) -> None:
    """Set the desk up and play every story in the order in which things happened. Only for an empty database.

    Nothing else may use the store meanwhile: its clock is turned back to the moment of each step.
    """
    store, clock = hub.store, hub.store.clock
    start = clock()
    stage = Stage(hub)
    try:
        store.clock = partial(_standing_still, start - BEFORE)
        with store.write() as tx:
            apply(tx, SYSTEM, desk)
        hub.look_again()
        for ago, _, play in sorted(_happenings(stage), key=lambda each: (-each[0], each[1])):
            at = start - timedelta(minutes=ago)
            store.clock = partial(_standing_still, at)
            play(at)
    finally:
        store.clock = clock
    with store.write() as tx:
        _fill_in(tx, stage.contacts)
        _give_passwords(tx)


def _happenings(stage: Stage) -> Iterator[tuple[float, int, Callable[[datetime], object]]]:
    """Everything with how many minutes ago it was; the number keeps the order of what is equally old."""
    for number, story in enumerate(STORIES):
        for step in story.steps:
            yield step.ago, number, partial(_play, stage, number, story, step)
    for ago, channel, body, content_type in UNREADABLE:
        yield ago, len(STORIES), partial(_arrive, stage, channel, Raw(f"sample:{channel}:{ago}", body, content_type))


def _arrive(stage: Stage, channel: str, raw: Raw, at: datetime) -> None:
    take_in(stage.hub, stage.hub.channel_named(channel), raw)


def _standing_still(at: datetime) -> datetime:
    return at


def _fill_in(tx: Tx, contacts: dict[int, Person]) -> None:
    """What a shop's own records would have told."""
    for contact_id, person in contacts.items():
        contact = tx.get_one(Contact, contact_id)
        contact.language, contact.company, contact.attributes = person.language, person.company, dict(person.facts)
        tx.add(contact)


def _give_passwords(tx: Tx) -> None:
    """One hash for all: each would cost a tenth of a second, and the word is printed anyway."""
    agents = tx.exec(select(Agent)).all()
    set_password(tx, agents[0], PASSWORD)
    for agent in agents[1:]:
        agent.password_hash = agents[0].password_hash
        tx.add(agent)


def _play(stage: Stage, number: int, story: Story, step: Step, at: datetime) -> None:
    stage.count += 1
    if step.what in _LETTERS:
        _write(stage, number, story.person, step, at)
        return
    with stage.hub.store.write() as tx:
        _VERBS[step.what](stage, tx, stage.conversations[number], story.person, step)


def _write(stage: Stage, number: int, person: Person, step: Step, at: datetime) -> None:
    """The customer writes."""
    channel, make = _LETTERS[step.what]
    opened = stage.hub.channel_named(channel)
    taken = take_in(stage.hub, opened, make(stage, number, person, step, at))
    assert taken.conversation_id is not None, f"a sample was {taken.state}: {step.text[:40]!r}"
    stage.conversations.setdefault(number, taken.conversation_id)
    stage.contacts[taken.contact_id or 0] = person


# --- what customers send, in the shape in which providers hand it over -----------------------------------------------


def _mail(stage: Stage, number: int, person: Person, step: Step, at: datetime) -> Raw:
    mail = EmailMessage(policy=SMTP.clone(max_line_length=998))  # the stock policy breaks long ids in References
    mail["From"] = f"{person.name} <{person.email}>"
    mail["To"] = stage.hub.channel_named("support-mail").account.address
    mail["Subject"] = step.subject
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<sample.{stage.count}@{person.email.partition('@')[2]}>"
    if number in stage.conversations and (known := _last_mail(stage, stage.conversations[number])):
        mail["In-Reply-To"] = mail["References"] = known
    mail.set_content(step.text)
    if step.html:
        mail.add_alternative(step.html, subtype="html")
    for name in step.files:
        if name.endswith(".png"):
            mail.add_attachment(picture(), maintype="image", subtype="png", filename=name)
        else:
            mail.add_attachment(sheet(), maintype="application", subtype="pdf", filename=name)
    return Raw(f"sample:{stage.count}", mail.as_bytes(), "message/rfc822")


def _last_mail(stage: Stage, conversation_id: int) -> str:
    with stage.hub.store.read() as tx:
        query = select(Message).where(Message.conversation_id == conversation_id, Message.channel == "email")
        ids = [message.external_id for message in tx.exec(query) if message.external_id]
    return ids[-1] if ids else ""


def _text(stage: Stage, number: int, person: Person, step: Step, at: datetime) -> Raw:
    sid = f"SM{uuid.uuid4().hex}"
    ours = stage.hub.channel_named("text-line").account.address
    form = {"MessageSid": sid, "From": person.phone, "To": ours, "Body": step.text, "NumMedia": "0"}
    return Raw(sid, urlencode(form).encode(), "application/x-www-form-urlencoded")


def _chat(stage: Stage, number: int, person: Person, step: Step, at: datetime) -> Raw:
    visitor = hashlib.sha256(f"sample visitor {person.name}".encode()).hexdigest()
    line = {
        "id": str(uuid.uuid4()),
        "visitor": visitor,
        "name": person.name,
        "text": step.text,
        "page": f"{SITE}/lamps",
    }
    return Raw(line["id"], json.dumps(line).encode(), "application/json")


def _form(stage: Stage, number: int, person: Person, step: Step, at: datetime) -> Raw:
    channel = stage.hub.channel_named("contact").must()
    assert isinstance(channel, FormChannel)
    answers = {"name": person.name, "email": person.email, "subject": step.subject, "message": step.text}
    if person.phone:
        answers["phone"] = person.phone
    return channel.raw(f"sample:{stage.count}", json.dumps(answers).encode(), "application/json")


def _slack(stage: Stage, number: int, person: Person, step: Step, at: datetime) -> Raw:
    ts = f"{at.timestamp():.6f}"
    event = {
        "type": "message",
        "channel": stage.hub.channel_named("partners-slack").account.settings["customer_channels"][0],
        "user": person.slack,
        "text": step.text,
        "ts": ts,
        "user_profile": {"real_name": person.name},
    }
    body = json.dumps({"type": "event_callback", "team_id": "T0HUB", "event": event}).encode()
    return Raw(f"{event['channel']}:{ts}", body, "application/json")


# --- what agents do --------------------------------------------------------------------------------------------------


def _say(stage: Stage, tx: Tx, conversation_id: int, person: Person, step: Step) -> None:
    """Answer, and let the provider have said how it fared."""
    actor = stage.actor(tx, step.by)
    message = reply(tx, actor, conversation_id, text=step.text, tokens=stage.hub.tokens, undo_seconds=0)
    tx.sql("UPDATE delivery SET state = 'sending', attempts = 1 WHERE message_id = ?", message.id)
    delivery = tx.exec(select(Delivery).where(Delivery.message_id == message.id)).one()
    tx.refresh(delivery)
    if step.state == "failed":
        settle_failed(tx, delivery, SendFailed(step.why, permanent=True))
        return
    provider = f"SM{uuid.uuid4().hex}" if message.channel == "sms" else ""
    settle_sent(tx, delivery, SendResult(provider, step.state))


def _note(stage: Stage, tx: Tx, conversation_id: int, person: Person, step: Step) -> None:
    note(tx, stage.actor(tx, step.by), conversation_id, step.text)


def _resolve(stage: Stage, tx: Tx, conversation_id: int, person: Person, step: Step) -> None:
    resolve(tx, stage.actor(tx, step.by), conversation_id)


def _snooze(stage: Stage, tx: Tx, conversation_id: int, person: Person, step: Step) -> None:
    """Until eight in the morning, so many days from then; never in the past."""
    until = (tx.now + timedelta(days=int(step.text) + 1)).replace(hour=8, minute=0, second=0, microsecond=0)
    snooze(tx, stage.actor(tx, step.by), conversation_id, until)


def _merge(stage: Stage, tx: Tx, conversation_id: int, person: Person, step: Step) -> None:
    """Mara's number and Mara's address are one person."""
    by_value = {row.value: row.contact_id for row in tx.exec(select(Identity))}
    merge(tx, stage.actor(tx, INES), by_value[MARA.email], by_value[MARA.phone])


def _name(stage: Stage, tx: Tx, conversation_id: int, person: Person, step: Step) -> None:
    """A number has no name until somebody gives it one."""
    conversation = tx.get_one(Conversation, conversation_id)
    rename(tx, stage.actor(tx, step.by), conversation.contact_id, person.name)


Letter = Callable[[Stage, int, Person, Step, datetime], Raw]
_LETTERS: dict[str, tuple[str, Letter]] = {
    "mail": ("support-mail", _mail),
    "text": ("text-line", _text),
    "chat": ("shop-chat", _chat),
    "form": ("contact", _form),
    "slack": ("partners-slack", _slack),
}
_VERBS: dict[str, Callable[[Stage, Tx, int, Person, Step], None]] = {
    "said": _say,
    "note": _note,
    "resolve": _resolve,
    "snooze": _snooze,
    "merge": _merge,
    "name": _name,
}
