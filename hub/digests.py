"""One mail to an agent about several things: what happened while they were away, and what needs no answer by mail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial
from uuid import uuid4

from sqlmodel import col, select

from channels.base import Outbound
from channels.text import shortened
from config.language import _, month, n_, speaking, words
from hub.agentmail import carrier, reads
from hub.concern import (
    ANSWERED,
    ASSIGNED,
    AWAY,
    COLLEAGUE,
    DUE,
    MAIL,
    MENTIONED,
    NONE,
    OFFERED,
    UNSENT,
    WOKEN,
    Concern,
    chosen,
    mails,
)
from hub.delivery import SendResult, deliver
from hub.gate import NOTICE, Leaving, may_leave
from hub.hub import Hub, Opened
from storage import Tx
from storage.access import actor_for
from storage.automatic import Digest, DigestLine
from storage.conversations import Conversation, Message, Reading
from storage.deliveries import Delivery
from storage.failpoints import step
from storage.mentions import Mention
from storage.people import Agent, Contact
from storage.work import rings_at

SOON = timedelta(minutes=1)  # what comes within it makes one mail
KEPT = timedelta(days=7)  # longer than any mail is tried
MOST_CONVERSATIONS, MOST_LINES, MOST_CHARS = 30, 10, 160
HAPPENED = words({
    OFFERED: "It rings at you.", ASSIGNED: "It is yours now.", ANSWERED: "The customer wrote",
    UNSENT: "Your answer did not go out.", MENTIONED: "You were mentioned", DUE: "It is late, or nearly.",
    WOKEN: "It is back from snooze.", COLLEAGUE: "A colleague wrote",
})  # fmt: skip

LOCK = "SELECT id FROM digest WHERE id = ? FOR UPDATE"
GATHERING = "SELECT id FROM digest WHERE agent_id = ? AND away = ? AND taken_at IS NULL ORDER BY id LIMIT 1{lock}"
OWN_ANSWER = (
    "SELECT 1 FROM message WHERE conversation_id = ? AND agent_id = ? AND created_at > ? AND kind = 'outbound' "
    "AND state <> 'draft' LIMIT 1"
)
FORGET = (
    "DELETE FROM digest_line WHERE digest_id IN (SELECT id FROM digest WHERE taken_at < ?)",
    "DELETE FROM digest WHERE taken_at < ?",
)


def gather(hub: Hub, tx: Tx, by: Opened, agent: Agent, found: Concern, conversation_id: int) -> None:
    """Put something on the next mail of its kind to this agent."""
    mail, minutes = mails(tx, agent)
    away = mail == AWAY
    if mail == NONE or (away and agent.status == "available"):
        return
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    row = tx.sql(GATHERING.format(lock=lock), agent.id, away).fetchone()
    gathered = timedelta(minutes=minutes) if away else SOON
    number = row[0] if row else _begun(hub, tx, by, agent, conversation_id, gathered)
    if number:
        line = DigestLine(digest_id=number, conversation_id=conversation_id, kind=found.kind, at=tx.now)
        line.message_id = found.message_id
        tx.add(line)


def send(hub: Hub, delivery: Delivery) -> SendResult:
    """The sender "digest". Raises SendFailed or SendUncertain; when nothing is news any more it is skipped."""
    taken = hub.store.submit(partial(_take, number=delivery.payload["digest"]))
    step("digest.taken")
    if isinstance(taken, str):
        return SendResult(response={"skipped": taken})
    opened, channel = carrier(hub, delivery)
    with speaking(reads(taken.agent)):
        mail = _written(hub, opened, taken)
    return SendResult(channel.send(mail).external_id)


def forget_old_digests(tx: Tx) -> None:
    """What has been told, or never will be."""
    for forget in FORGET:
        tx.sql(forget, tx.now - KEPT)


def _begun(hub: Hub, tx: Tx, by: Opened, agent: Agent, conversation_id: int, gathered: timedelta) -> int:
    """A new mail that gathers; 0 where none may leave."""
    subject = tx.get_one(Conversation, conversation_id).subject
    if not may_leave(tx, hub.settings, Leaving(NOTICE, agent.email, conversation_id, subject)):
        return 0
    digest = Digest(agent_id=agent.id or 0, away=gathered != SOON, uuid=str(uuid4()), created_at=tx.now)
    tx.add(digest)
    tx.flush()
    told = {"digest": digest.id, "to": [agent.email]}
    deliver(tx, "digest", f"channel:{by.id}", f"{digest.id}", told, due_at=tx.now + gathered)
    return digest.id or 0


@dataclass(frozen=True, slots=True)
class Part:
    """A conversation in a digest: whose, about what, and what happened there."""

    conversation_id: int
    person: str
    subject: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """A digest as it leaves."""

    digest: Digest
    agent: Agent
    parts: list[Part]


def _take(tx: Tx, number: int) -> Taken | str:
    """Close the digest, and find what of it is news; or say why there is none."""
    if tx.dialect == "postgresql":
        tx.sql(LOCK, number)
    # Read after the lock was got: what a follower has put on it is committed by then.
    digest = tx.get_one(Digest, number)
    digest.taken_at = digest.taken_at or tx.now
    tx.add(digest)
    tx.flush()
    agent = tx.get_one(Agent, digest.agent_id)
    if not agent.active or (mails(tx, agent)[0] == AWAY) != digest.away or mails(tx, agent)[0] == NONE:
        return "no such mail is wanted any more"
    if digest.away and agent.status == "available":
        return "they are back"
    wanted = {kind for kind, ways in chosen(tx, agent.id or 0).items() if MAIL in ways}
    query = select(DigestLine).where(DigestLine.digest_id == number, col(DigestLine.kind).in_(wanted))
    with speaking(reads(agent)):
        parts = _parts(tx, agent, list(tx.exec(query.order_by(col(DigestLine.id)))))
    return Taken(digest, agent, parts) if parts else "they have seen it all"


def _parts(tx: Tx, agent: Agent, lines: Sequence[DigestLine]) -> list[Part]:
    by_conversation: dict[int, list[DigestLine]] = {}
    for line in lines:
        by_conversation.setdefault(line.conversation_id, []).append(line)
    actor, parts = actor_for(tx, agent), []
    for number, happened in by_conversation.items():
        conversation = tx.get_one(Conversation, number)
        if not actor.sees(conversation.queue_id, conversation.assignee_id):
            continue
        news = [line for line in happened if _is_news(tx, agent.id or 0, conversation, line)]
        if news:
            contact = tx.get_one(Contact, conversation.contact_id)
            person = tx.get(Contact, contact.person_id) or contact
            parts.append(Part(number, person.shown, conversation.subject, _told(tx, news)))
    return parts


def _is_news(tx: Tx, agent_id: int, conversation: Conversation, line: DigestLine) -> bool:
    """Whether it still concerns them, and they have neither read nor answered it."""
    number, message_id = conversation.id or 0, line.message_id or 0
    if line.kind == OFFERED:
        return rings_at(tx, agent_id, number)
    if line.kind == MENTIONED:
        named = select(Mention.id).where(Mention.agent_id == agent_id, Mention.message_id == message_id)
        return tx.exec(named.where(col(Mention.seen_at).is_(None))).first() is not None
    reading = tx.get(Reading, (agent_id, number))
    if reading is not None and reading.at > line.at:
        return False
    if line.kind == UNSENT:  # it was read when it was written
        message = tx.get(Message, message_id)
        return message is not None and message.state in ("failed", "draft")
    if reading is not None and reading.message_id >= message_id > 0:
        return False
    theirs = conversation.assignee_id == agent_id and conversation.state != "resolved"
    return theirs and tx.sql(OWN_ANSWER, number, agent_id, line.at).fetchone() is None


def _told(tx: Tx, news: Sequence[DigestLine]) -> list[str]:
    """A line for each thing; of a note that names somebody only that it does, and each kind without words once."""
    lines: list[str] = []
    named = {line.message_id for line in news if line.kind == MENTIONED}
    for line in news:
        if line.kind == COLLEAGUE and line.message_id in named:
            continue
        message = tx.get(Message, line.message_id) if line.message_id else None
        wrote = " ".join(message.visible_text.split()) if message and line.kind != UNSENT else ""
        what, at = HAPPENED[line.kind], line.at.astimezone(UTC)
        said = _('{what}: "{words}"', what=what, words=shortened(wrote, MOST_CHARS))
        said = said if wrote else f"{what.rstrip('.')}."
        told = _("{day} {month}, {time} UTC. {what}", day=f"{at:%d}", month=month(at), time=f"{at:%H:%M}", what=said)
        if not any(earlier.endswith(said) for earlier in lines if not wrote):
            lines.append(told)
    return lines


def _written(hub: Hub, opened: Opened, taken: Taken) -> Outbound:
    domain = opened.account.address.partition("@")[2] or "switchyard.invalid"
    uuid, count = taken.digest.uuid, len(taken.parts)
    about = n_("{count} conversation", "{count} conversations", count)
    about = f"#{taken.parts[0].conversation_id} {taken.parts[0].subject}" if count == 1 else about
    begins = _("While you were away") if taken.digest.away else _("News for you")
    more = _("And {count} more in the inbox.", count=count - MOST_CONVERSATIONS)
    text = "\n\n".join(
        (
            _("{begins}, this concerned you and you have not seen it yet:", begins=begins),
            *_blocks(hub, taken.parts[:MOST_CONVERSATIONS]),
            *([more] if count > MOST_CONVERSATIONS else []),
            _("What you are told, and how: {url}", url=f"{hub.settings.base_url}/inbox/account/notifications")
            + "\n"
            + _("An answer to this mail reaches nobody's conversation: answer in the inbox."),
        )
    )
    return Outbound(
        id=uuid, to=(taken.agent.email,), subject=f"{begins}: {about}", text=text,
        external_id=f"<digest.{uuid}@{domain}>", automatic="auto-generated", mark=hub.tokens.mark(uuid),
    )  # fmt: skip


def _blocks(hub: Hub, parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        more = ["- " + _("and {count} more", count=rest)] if (rest := len(part.lines) - MOST_LINES) > 0 else []
        lines = [f"- {line}" for line in part.lines[-MOST_LINES:]]
        head = f"{part.person}: {part.subject}" if part.subject else part.person
        yield "\n".join((head, *more, *lines, f"{hub.settings.base_url}/inbox/c/{part.conversation_id}"))
