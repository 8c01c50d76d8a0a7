"""Mail to agents who want it: what is theirs now, and what their customers write. One mail for all of a minute.

A notice carries a signed address for answers (`hub.noticeanswers`) and, for programs that drop it, the same in its
Message-ID. What needs no answer by mail, and all of it for agents who want mail only while they are away, is gathered
by `hub.digests`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial
from uuid import uuid4

from sqlmodel import col, select

from channels.base import Outbound
from config.language import N_, _, month, speaking, words
from config.retold import retold
from hub import digests
from hub.agentmail import carrier, mail_account, reads
from hub.concern import ANSWERED, ASSIGNED, FACTS, MAIL, OFFERED, chosen, concern
from hub.delivery import SendResult, deliver
from hub.followers import Follower
from hub.gate import NOTICE, Leaving, may_leave
from hub.hub import Hub, Opened
from hub.pump import Happened
from storage import Tx
from storage.access import actor_for
from storage.automatic import MailNotice
from storage.conversations import Conversation, Message, Reading, attachments_of
from storage.deliveries import Delivery
from storage.failpoints import step
from storage.people import Agent, Contact
from storage.work import rings_at

REFUSED = "refused"
ANSWERABLE = (ASSIGNED, OFFERED, ANSWERED)
GATHERED = timedelta(minutes=1)  # what a customer writes within it makes one mail
MARK = N_("Answer above this line")
MOST_MESSAGES, MOST_CHARS = 20, 8_000
BEGINS = words({
    ASSIGNED: "This conversation is yours now.",
    OFFERED: "This conversation rings at you: take it in the inbox. An answer by mail takes it as well.",
    ANSWERED: "The customer of a conversation of yours has written.",
    REFUSED: "Your answer by mail was not sent to the customer.",
})  # fmt: skip
KINDS = words({
    "email": "e-mail", "mailhook": "e-mail", "sms": "text message", "chat": "chat", "form": "form", "slack": "Slack",
    "whatsapp": "WhatsApp",
})  # fmt: skip

LOCK = "SELECT id FROM mail_notice WHERE id = ? AND shown_to IS NULL"
PENDING = (
    "SELECT id, reason FROM mail_notice WHERE agent_id = ? AND conversation_id = ? AND shown_to IS NULL "
    "AND reason <> 'refused'"
)
EARLIER = (
    "SELECT COALESCE(max(shown_to), 0) FROM mail_notice WHERE agent_id = ? AND conversation_id = ? AND id < ? "
    "AND reason <> 'refused'"
)
OWN_ANSWER = (
    "SELECT 1 FROM message WHERE conversation_id = ? AND agent_id = ? AND id > ? AND kind = 'outbound' "
    "AND state <> 'draft' LIMIT 1"
)


def wanted(hub: Hub, tx: Tx) -> Collection[str]:
    """What may concern an agent, where notices are sent."""
    return FACTS if hub.settings.notices_by else ()


def follow(hub: Hub, tx: Tx, facts: Sequence[Happened]) -> None:
    """Intend a mail for every agent whom something of this concerns."""
    concerned: dict[tuple[int, int, bool], str] = {}
    for fact in facts:
        found = concern(tx, fact)
        agent = tx.get(Agent, found.agent_id) if found else None
        if found is None or agent is None or not (agent.active and MAIL in chosen(tx, found.agent_id)[found.kind]):
            continue
        place = found.agent_id, fact.conversation_id or 0, found.kind == OFFERED
        if not (agent.mail_notices and found.kind in ANSWERABLE):
            if (by := mail_account(hub)) is not None:
                digests.gather(hub, tx, by, agent, found, place[1])
        elif concerned.get(place) != ASSIGNED:
            concerned[place] = found.kind
    for (agent_id, conversation_id, __), reason in concerned.items():
        _intend(hub, tx, tx.get_one(Agent, agent_id), conversation_id, reason)


FOLLOWER = Follower(wanted, follow)


def tell_refusal(hub: Hub, tx: Tx, agent: Agent, conversation_id: int, why: str) -> None:
    """Tell an agent that what was answered by mail did not go out, and why."""
    _intend(hub, tx, agent, conversation_id, REFUSED, why)


def send(hub: Hub, delivery: Delivery) -> SendResult:
    """The sender "notice". Raises SendFailed or SendUncertain; what is no news any more is skipped."""
    taken = hub.store.submit(partial(_take, number=delivery.payload["notice"]))
    step("mail_notice.taken")
    if isinstance(taken, str):
        return SendResult(response={"skipped": taken})
    opened, channel = carrier(hub, delivery)
    with speaking(reads(taken.agent)):
        mail = _written(hub, opened, taken)
    accepted = channel.send(mail)
    step("mail_notice.sent")
    return SendResult(accepted.external_id)


def _intend(hub: Hub, tx: Tx, agent: Agent, conversation_id: int, reason: str, why: str = "") -> None:
    if not (agent.active and agent.mail_notices) or (by := mail_account(hub)) is None:
        return
    if reason != REFUSED and _joined(tx, agent.id or 0, conversation_id, reason):
        return
    conversation = tx.get_one(Conversation, conversation_id)
    if not may_leave(tx, hub.settings, Leaving(NOTICE, agent.email, conversation_id, conversation.subject)):
        return
    notice = MailNotice(
        agent_id=agent.id or 0, conversation_id=conversation_id, reason=reason, why=why[:500], uuid=str(uuid4()),
        created_at=tx.now,
    )  # fmt: skip
    tx.add(notice)
    tx.flush()
    due_at = tx.now if reason in (OFFERED, REFUSED) else tx.now + GATHERED
    told = {"notice": notice.id, "to": [agent.email]}
    deliver(tx, "notice", f"channel:{by.id}", f"{notice.id}", told, due_at=due_at)


def _joined(tx: Tx, agent_id: int, conversation_id: int, reason: str) -> bool:
    """Whether a notice that has not left yet will show this as well.

    It is locked on PostgreSQL: who waits for one that is leaving finds that it has left, and makes another.
    """
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    row = tx.sql(PENDING + lock, agent_id, conversation_id).fetchone()
    if row is None or (reason == OFFERED and row[1] != OFFERED):
        return False
    if reason == ASSIGNED:
        tx.sql("UPDATE mail_notice SET reason = ? WHERE id = ?", reason, row[0])
    return True


@dataclass(frozen=True, slots=True)
class Taken:
    """A notice as it leaves: the same at every try."""

    notice: MailNotice
    agent: Agent
    conversation: Conversation
    customer: str
    words: str


def _take(tx: Tx, number: int) -> Taken | str:
    """Decide once which messages a notice shows, or say why it shows nothing."""
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    fresh = tx.sql(LOCK + lock, number).fetchone() is not None
    # Read after the lock was got: what a follower has left to this notice is committed by then.
    notice = tx.get_one(MailNotice, number)
    conversation = tx.get_one(Conversation, notice.conversation_id)
    agent = tx.get_one(Agent, notice.agent_id)
    if fresh:
        notice.shown_to = conversation.last_inbound_id
        tx.add(notice)
        tx.flush()
    if skipped := _no_news(tx, notice, agent, conversation):
        return skipped
    contact = tx.get_one(Contact, conversation.contact_id)
    person = tx.get(Contact, contact.person_id) or contact
    with speaking(reads(agent)):
        said = retold(notice.why) if notice.reason == REFUSED else _words(tx, notice, person.shown)
    return Taken(notice, agent, conversation, person.shown, said)


def _no_news(tx: Tx, notice: MailNotice, agent: Agent, conversation: Conversation) -> str:
    if not (agent.active and agent.mail_notices):
        return "no mail is wanted any more"
    if notice.reason != REFUSED and MAIL not in chosen(tx, notice.agent_id)[notice.reason]:
        return "no mail of this kind is wanted any more"
    if not actor_for(tx, agent).sees(conversation.queue_id, conversation.assignee_id):
        return "it is not theirs to see any more"
    if notice.reason == REFUSED:
        return ""
    if notice.reason == OFFERED:
        return "" if rings_at(tx, notice.agent_id, notice.conversation_id) else "it does not ring any more"
    if conversation.assignee_id != agent.id:
        return "it is somebody else's"
    if conversation.state == "resolved":
        return "it is resolved"
    if tx.sql(OWN_ANSWER, conversation.id, agent.id, notice.shown_to).fetchone():
        return "they have answered it"
    reading = tx.get(Reading, (agent.id, conversation.id))
    return "it was read in the inbox" if reading and reading.message_id >= (notice.shown_to or 0) > 0 else ""


def _words(tx: Tx, notice: MailNotice, customer: str) -> str:
    """What was written since the notice before this one; at least the last message."""
    shown_to = notice.shown_to or 0
    (since,) = tx.sql(EARLIER, notice.agent_id, notice.conversation_id, notice.id).fetchone()
    query = select(Message).where(
        Message.conversation_id == notice.conversation_id, Message.kind == "inbound", Message.automatic == ""
    )
    query = query.where(col(Message.id) > min(since, shown_to - 1), col(Message.id) <= shown_to)
    messages = list(tx.exec(query.order_by(col(Message.id).desc()).limit(MOST_MESSAGES + 1)))[::-1]
    parts = [_("(There is more before this in the inbox.)")] if len(messages) > MOST_MESSAGES else []
    files = attachments_of(tx, [each.id or 0 for each in messages])
    for each in messages[-MOST_MESSAGES:]:
        parts.append(_shown(tx, each, customer, [file.name for file in files.get(each.id or 0, [])]))
    return "\n\n".join(parts)


def _shown(tx: Tx, message: Message, customer: str, files: Sequence[str]) -> str:
    writer = tx.get(Contact, message.contact_id) if message.contact_id else None
    name = writer.name if writer and writer.name else customer
    at = message.created_at.astimezone(UTC)
    text = message.visible_text.strip()[:MOST_CHARS] or _("(no text)")
    attached = "\n" + _("[Files: {files}]", files=", ".join(files[:10])) if files else ""
    head = _(
        "{name}, {day} {month} {year} at {time} UTC, by {channel}:",
        name=name, day=at.day, month=month(at), year=at.year, time=f"{at:%H:%M}",
        channel=KINDS.get(message.channel, message.channel),
    )  # fmt: skip
    return f"{head}\n{text}{attached}"


def _written(hub: Hub, opened: Opened, taken: Taken) -> Outbound:
    notice, conversation = taken.notice, taken.conversation
    domain = opened.account.address.partition("@")[2]
    link = f"{hub.settings.base_url}/inbox/c/{conversation.id}"
    way = KINDS.get(conversation.channel, conversation.channel)
    parts = (
        _("-- {mark}: it goes to {customer} ({channel}). --", mark=_(MARK), customer=taken.customer, channel=way),
        BEGINS[notice.reason],
        taken.words,
        _("In the inbox: {link}", link=link)
        + "\n"
        + _("Begin with @note for a note to your team instead, or with @close to resolve it with your answer."),
    )
    return Outbound(
        id=notice.uuid, to=(taken.agent.email,), subject=f"[#{conversation.id}] {conversation.subject}",
        text="\n\n".join(parts), external_id=hub.tokens.notice_message_id(notice.uuid, notice.id or 0, domain),
        references=_thread(hub, taken, domain), automatic="auto-generated", mark=hub.tokens.mark(notice.uuid),
        reply_token=hub.tokens.issue_notice(notice.id or 0),
    )  # fmt: skip


def _thread(hub: Hub, taken: Taken, domain: str) -> tuple[str, ...]:
    """Mail programs show the notices of one conversation together; an id of no mail holds them, as RT's do."""
    return (f"<conversation.{taken.conversation.id}.{taken.agent.id}@{domain or 'switchyard.invalid'}>",)
