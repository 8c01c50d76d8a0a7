"""Answers: written in one unit, taken back within the undo window, tried again when they failed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import and_, col, or_, select

from channels import limits_of
from channels.base import DeliveryState
from channels.mail.richtext import harmless, text_in
from channels.text import storable
from config.language import _
from hub import drafts
from hub.delivery import deliver
from hub.later import stop_waiting, wait_for
from hub.lifecycle import reopen, resolve, snooze
from hub.mentions import mention
from hub.recipients import MAIL_KINDS, checked, reply_all
from hub.suppression import refusal
from hub.tokens import Tokens
from routing.locks import held, held_unmerged
from routing.parking import follow_parking
from routing.work import answered, claim, unanswered
from storage import Tx
from storage.access import ANSWER, SUPERVISE, Actor, Conflict, Forbidden, NotFound
from storage.columns import moment
from storage.conversations import Attachment, Conversation, Message
from storage.desk import ChannelAccount, active_channels
from storage.facts import DeliveryChanged, NoteAdded, ReplyQueued, ReplyUndone
from storage.participants import note_copied
from storage.people import Agent, Contact, Identity, identities_of
from storage.work import open_assignment

# Which identity kinds a kind of channel can reach.
REACHES = {"sms": ("phone",), "whatsapp": ("whatsapp",), "chat": ("chat",), "slack": ("slack",)}
REACHES |= dict.fromkeys(MAIL_KINDS, ("email",))
REFERENCES_KEPT = 20


@dataclass(frozen=True, slots=True)
class ReplyChoice:
    """One way to answer: an account, the identity it reaches, and why it is closed if it is."""

    channel_id: int
    kind: str
    name: str
    address: str
    identity_id: int
    value: str
    shown: str
    verified: bool
    blocked: str = ""


def reply_choices(tx: Tx, conversation_id: int) -> list[ReplyChoice]:
    """Every way to answer, the one the customer used last first."""
    conversation = tx.get_one(Conversation, conversation_id)
    contact = tx.get_one(Contact, conversation.contact_id)
    last = _last_inbound(tx, conversation_id)
    choices, identities = [], identities_of(tx, contact.person_id or 0)
    for account in active_channels(tx):
        for identity in identities:
            if identity.kind in REACHES.get(account.kind, ()) and not _only_receives(account):
                choices.append(_choice(tx, account, identity))

    def closeness(choice: ReplyChoice) -> tuple[bool, ...]:
        same_channel = last is not None and choice.channel_id == last.channel_id
        same_identity = last is not None and choice.identity_id == last.identity_id
        return (not (same_channel and same_identity), bool(choice.blocked), not same_identity, not choice.verified)

    return sorted(choices, key=closeness)


def reply(
    tx: Tx, actor: Actor, conversation_id: int, *, text: str, tokens: Tokens, channel_id: int | None = None,
    identity_id: int | None = None, html: str = "", cc: Sequence[str] | None = None, bcc: Sequence[str] = (),
    seen_message_id: int | None = None, attachment_ids: Sequence[int] = (), then: str = "",
    undo_seconds: int = 10, once: str = "", keep_draft: bool = False, minds_colleagues: bool = False,
    send_at: datetime | None = None, unless_they_write: bool = False,
) -> Message:  # fmt: skip
    """Answer the customer on a channel; leaves after the undo window, or at `send_at`, which `unless_they_write`
    holds back when the customer has written by then. `then="resolve"` closes the matter too, `"snooze"` lets it sleep
    until they reply.

    `once` is a UUID of the form that was sent: a double click gives the same message again and sends nothing twice.
    `html` is made harmless; without `text` its own words are the text. Without `cc` everybody whom the answered mail
    names gets a copy. `keep_draft` leaves what its author has begun in the inbox. Raises Conflict when the customer
    wrote something newer than `seen_message_id` (or a colleague answered, where `minds_colleagues`), when the channel
    is closed to this person or carries no files, when an address in copy can't be written to, or when the text is
    empty or too long.
    """
    actor.must(ANSWER)
    conversation = held_unmerged(tx, actor, conversation_id)
    html = _harmless(html)
    text = storable(text.strip()) or text_in(html)
    sent = tx.exec(select(Message).where(Message.uuid == once)).first() if once else None
    if sent is not None and sent.text == text and sent.state != DeliveryState.DRAFT:
        return sent
    if seen_message_id is not None:
        _must_be_newest(tx, actor, conversation, seen_message_id, minds_colleagues)
    if not text.strip() and not attachment_ids:
        raise Conflict(_("The reply is empty."))
    choice = _chosen(reply_choices(tx, conversation_id), channel_id, identity_id)
    longest = limits_of(choice.kind).max_chars
    if longest is not None and len(text) > longest:
        raise Conflict(
            _(
                "This channel takes at most {longest} characters; the reply has {text}.",
                longest=f"{longest:,}",
                text=f"{len(text):,}",
            )
        )
    if attachment_ids and not limits_of(choice.kind).files:
        raise Conflict(_("This channel carries no files: choose e-mail, or send a link."))
    to, copies, blind = _recipients(tx, conversation_id, choice, cc, bcc)
    _claim_if_possible(tx, actor, conversation_id)
    own = once if once and sent is None else str(uuid.uuid4())
    message = _compose(tx, actor, conversation, choice, text, html, tokens, own)
    message.cc, message.bcc = copies, blind
    for each in copies:
        note_copied(tx, conversation_id, each)
    message.to_address = to or message.to_address
    if send_at is None:
        message.send_after = tx.now + timedelta(seconds=undo_seconds)
    tx.add(message)
    tx.flush()
    _take_attachments(tx, actor, message, attachment_ids)
    if not keep_draft and actor.agent_id is not None:
        drafts.used(tx, actor.agent_id, conversation_id, drafts.REPLY)
    if send_at is not None:
        wait_for(tx, actor, conversation, message, send_at, unless_they_write)
    else:
        _note_on_conversation(tx, conversation, message, answered_it=True)
        deliver(
            tx, "channel", f"channel:{choice.channel_id}", message.uuid or "", {"message_id": message.id},
            due_at=message.send_after, message_id=message.id,
        )  # fmt: skip
        tx.emit(ReplyQueued(conversation_id, message.id or 0, choice.kind, by=actor.by))
        answered(tx, conversation_id, actor.agent_id)
    if then == "resolve":
        resolve(tx, actor, conversation_id)
    elif then == "snooze":
        snooze(tx, actor, conversation_id, None)
    return message


def newer_than(tx: Tx, actor: Actor, conversation_id: int, seen: int, *, colleagues: bool = True) -> Message | None:
    """The last message that came behind `seen`: the customer's, or another agent's answer."""
    theirs = col(Message.kind) == "inbound"
    if colleagues:
        others = and_(
            col(Message.kind) == "outbound", col(Message.agent_id) != actor.agent_id, col(Message.automatic) == "",
            col(Message.state) != DeliveryState.DRAFT,
        )  # fmt: skip
        theirs = or_(theirs, others)
    query = select(Message).where(Message.conversation_id == conversation_id, col(Message.id) > seen, theirs)
    return tx.exec(query.order_by(col(Message.id).desc()).limit(1)).first()


def _must_be_newest(tx: Tx, actor: Actor, conversation: Conversation, seen: int, colleagues: bool) -> None:
    if conversation.last_inbound_id > seen:
        raise Conflict(_("The customer wrote again meanwhile. Read it, then send."))
    newer = newer_than(tx, actor, conversation.id or 0, seen) if colleagues else None
    if newer is not None:
        name = tx.get_one(Agent, newer.agent_id).name if newer.agent_id else "Somebody"
        raise Conflict(_("{name} answered meanwhile. Read it, then send.", name=name))


def note(tx: Tx, actor: Actor, conversation_id: int, text: str, *, keep_draft: bool = False) -> Message:
    """A remark that only the team sees. Raises Conflict when it is empty."""
    actor.must(ANSWER)
    conversation = held_unmerged(tx, actor, conversation_id)
    text = storable(text.strip())
    if not text:
        raise Conflict(_("The note is empty."))
    message = Message(
        conversation_id=conversation_id, kind="note", agent_id=actor.agent_id, text=text, created_at=tx.now
    )
    tx.add(message)
    tx.flush()
    if not keep_draft and actor.agent_id is not None:
        drafts.used(tx, actor.agent_id, conversation_id, drafts.NOTE)
    _note_on_conversation(tx, conversation, message, answered_it=False)
    tx.emit(NoteAdded(conversation_id, message.id or 0, by=actor.by))
    mention(tx, actor, conversation, message)
    return message


def undo(tx: Tx, actor: Actor, message_id: int) -> Message:
    """Take a reply back into its author's draft. Raises Conflict when it has left already."""
    actor.must(ANSWER)
    message = _own_outbound(tx, actor, message_id)
    waited = stop_waiting(tx, message_id)
    taken_back = waited or tx.sql(
        "UPDATE delivery SET state = 'cancelled', ended_at = ? "
        "WHERE message_id = ? AND state = 'queued' AND claims = 0",
        tx.now, message_id,
    ).rowcount  # fmt: skip
    if not taken_back:
        raise Conflict(_("Too late: this reply has left already."))
    message.state, message.state_at = DeliveryState.DRAFT.value, tx.now
    tx.add(message)
    if message.agent_id is not None:
        drafts.take_back(tx, message.agent_id, message)
    conversation = tx.get_one(Conversation, message.conversation_id)
    if not waited:  # what waited has answered nothing yet
        unanswered(tx, message.conversation_id, message.created_at)
    if conversation.state == "resolved":  # by "send and resolve": without the answer the matter is not done
        reopen(tx, actor, message.conversation_id)
        _claim_if_possible(tx, actor, message.conversation_id)
    if conversation.waiting_since is None and not waited:
        conversation.waiting_since = waited_since(tx, conversation.id or 0, message_id)
        tx.add(conversation)
        tx.flush()
    follow_parking(tx, message.conversation_id)
    tx.emit(ReplyUndone(message.conversation_id, message_id, by=actor.by))
    return message


def retry(tx: Tx, actor: Actor, message_id: int) -> Message:
    """Send a failed or uncertain message again, because a person says so. Raises Conflict otherwise."""
    actor.must(ANSWER)
    message = _own_outbound(tx, actor, message_id)
    if "erased" in message.flags:
        raise Conflict(_("This message was erased: there is nothing left to send."))
    if message.state not in (DeliveryState.FAILED, DeliveryState.UNCERTAIN):
        raise Conflict(
            _("This message is {state}; only failed or uncertain ones can be sent again.", state=message.state)
        )
    again = tx.sql(
        "UPDATE delivery SET state = 'queued', due_at = ?, attempts = 0, error = '', ended_at = NULL "
        "WHERE message_id = ? AND state IN ('failed','uncertain','sent')",
        tx.now, message_id,
    )  # fmt: skip
    if again.rowcount == 0:
        raise Conflict(_("This message is being sent already."))
    message.state, message.state_why, message.state_at = DeliveryState.QUEUED.value, "", tx.now
    tx.add(message)
    tx.emit(DeliveryChanged(message.conversation_id, message_id, "queued", by=actor.by))
    return message


def attach(tx: Tx, actor: Actor, name: str, content_type: str, size: int, sha256: str) -> Attachment:
    """Remember an uploaded file until its author sends it with a reply."""
    actor.must(ANSWER)
    file = Attachment(
        name=name[:200] or "file", content_type=content_type[:200], size=size, sha256=sha256,
        uploaded_by=actor.agent_id, created_at=tx.now,
    )  # fmt: skip
    tx.add(file)
    tx.flush()
    return file


def _claim_if_possible(tx: Tx, actor: Actor, conversation_id: int) -> None:
    """Who answers owns what nobody has; an agent without room may answer all the same and leaves it in its queue."""
    if actor.agent_id is not None and open_assignment(tx, conversation_id) is None:
        with suppress(Conflict):
            claim(tx, actor, conversation_id)


def _chosen(choices: list[ReplyChoice], channel_id: int | None, identity_id: int | None) -> ReplyChoice:
    fitting = [
        choice
        for choice in choices
        if channel_id in (None, choice.channel_id) and identity_id in (None, choice.identity_id)
    ]
    if not fitting:
        raise Conflict(_("There is no way to reach this person on that channel."))
    if fitting[0].blocked and channel_id is None:
        fitting = [choice for choice in fitting if not choice.blocked] or fitting
    if fitting[0].blocked:
        raise Conflict(fitting[0].blocked)
    return fitting[0]


def _only_receives(account: ChannelAccount) -> bool:
    """Mail that a provider posts to us needs an SMTP server of its own for the way out."""
    return account.kind == "mailhook" and not account.settings.get("smtp_host")


def _choice(tx: Tx, account: ChannelAccount, identity: Identity) -> ReplyChoice:
    return ReplyChoice(
        account.id or 0, account.kind, account.name, account.address, identity.id or 0, identity.value,
        identity.shown or identity.value, identity.verified, refusal(tx, identity.kind, identity.value),
    )  # fmt: skip


def _harmless(html: str) -> str:
    try:
        return harmless(storable(html)) if html.strip() else ""
    except ValueError as error:
        raise Conflict(str(error)) from None


def _recipients(
    tx: Tx, conversation_id: int, choice: ReplyChoice, cc: Sequence[str] | None, bcc: Sequence[str]
) -> tuple[str, list[str], list[str]]:
    """To, Cc and Bcc; "" and nobody where it is no mail."""
    if choice.kind not in MAIL_KINDS:
        if cc or bcc:
            raise Conflict(_("Copies can only be sent by e-mail. Remove them or choose e-mail."))
        return "", [], []
    everybody = reply_all(tx, conversation_id, tx.get_one(Identity, choice.identity_id))
    copies = list(everybody.cc) if cc is None else checked(tx, everybody.to, cc)
    return everybody.to, copies, checked(tx, everybody.to, bcc, copies)


def _compose(
    tx: Tx, actor: Actor, conversation: Conversation, choice: ReplyChoice, text: str, html: str,
    tokens: Tokens, own: str,
) -> Message:  # fmt: skip
    last = _last_inbound(tx, conversation.id or 0, choice.channel_id)
    subject, external_id, refs = "", "", []
    if choice.kind in MAIL_KINDS:
        wanted = (last.subject if last else "") or conversation.subject
        subject = wanted if wanted.lower().startswith("re:") else f"Re: {wanted}"
        external_id = tokens.message_id(own, conversation.id or 0, choice.address.partition("@")[2])
        refs = _references(last)
    return Message(
        conversation_id=conversation.id or 0, kind="outbound", channel_id=choice.channel_id, channel=choice.kind,
        agent_id=actor.agent_id, identity_id=choice.identity_id, to_address=_address(choice, last),
        subject=subject, text=text, html=html, external_id=external_id, refs=refs, uuid=own,
        state=DeliveryState.QUEUED.value, state_at=tx.now, created_at=tx.now,
    )  # fmt: skip


def _address(choice: ReplyChoice, last: Message | None) -> str:
    """Where it goes. Slack answers go into the thread that was written in, not to the person."""
    if choice.kind == "slack" and last is not None:
        return str(last.fields.get("thread", choice.value))
    return choice.value


def _references(last: Message | None) -> list[str]:
    """RFC 5322 3.6.4: the parent's references, oldest first, then the parent."""
    if last is None or not last.external_id:
        return []
    older = [ref for ref in reversed(last.refs) if ref != last.external_id]
    return [*older[-REFERENCES_KEPT:], last.external_id]


def _last_inbound(tx: Tx, conversation_id: int, channel_id: int | None = None) -> Message | None:
    query = select(Message).where(Message.conversation_id == conversation_id, Message.kind == "inbound")
    if channel_id is not None:
        query = query.where(Message.channel_id == channel_id)
    return tx.exec(query.order_by(col(Message.id).desc()).limit(1)).first()


def _note_on_conversation(tx: Tx, conversation: Conversation, message: Message, *, answered_it: bool) -> None:
    conversation.last_message_id = message.id or 0
    conversation.message_count += 1
    conversation.last_at = tx.now
    if answered_it:
        conversation.waiting_since = None
        conversation.preview = " ".join(message.text.split())[:140]
    tx.add(conversation)
    tx.flush()


def _take_attachments(tx: Tx, actor: Actor, message: Message, ids: Sequence[int]) -> None:
    for number in ids:
        file = tx.get(Attachment, number)
        if file is None or file.message_id is not None or file.uploaded_by != actor.agent_id:
            raise NotFound(_("An attached file is not there any more; attach it again."))
        file.message_id = message.id
        tx.add(file)


def _own_outbound(tx: Tx, actor: Actor, message_id: int) -> Message:
    message = tx.get(Message, message_id)
    if message is None or message.kind != "outbound":
        raise NotFound(_("There is no reply {message_id}.", message_id=message_id))
    held(tx, actor, message.conversation_id)
    tx.refresh(message)
    if message.agent_id not in (None, actor.agent_id) and not actor.may(SUPERVISE):
        raise Forbidden(_("Only its author or a supervisor can do this."))
    return message


def waited_since(tx: Tx, conversation_id: int, taken_back: int = 0) -> datetime | None:
    """When the oldest customer message came that no reply has answered; one may be left out as `taken_back`."""
    row = tx.sql(
        "SELECT min(created_at) FROM message WHERE conversation_id = ? AND kind = 'inbound' AND automatic = '' "
        "AND id > COALESCE((SELECT max(id) FROM message WHERE conversation_id = ? AND kind = 'outbound' "
        "AND automatic = '' AND state <> 'draft' AND id <> ?), 0)",
        conversation_id, conversation_id, taken_back,
    ).fetchone()  # fmt: skip
    return moment(row[0]) if row else None
