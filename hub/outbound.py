"""The sender "channel": an outbound message handed to the channel it was written for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sqlmodel import col, select

from channels.base import (
    Accepted,
    File,
    FilesCopies,
    NotConfigured,
    Outbound,
    Quoted,
    Reconciles,
    SendFailed,
    SendUncertain,
)
from config.language import N_
from config.retold import stored
from hub.delivery import SendOpen, SendResult
from hub.hub import Hub, Opened
from hub.recipients import MAIL_KINDS
from hub.suppression import refusal
from hub.unsubscribe import has_left, unsubscribe_url
from storage import Tx
from storage.access import NotFound
from storage.conversations import Attachment, Message
from storage.deliveries import Delivery
from storage.failpoints import step
from storage.people import Agent, Contact, Identity

BULK = "bulk"  # Message.automatic of mail to many
CLOCKS_APART = timedelta(minutes=1)  # how far ours may be ahead of the provider's


def send_message(hub: Hub, delivery: Delivery) -> SendResult:
    """Hand a reply to its channel; runs in no transaction.

    Raises SendFailed, SendUncertain, or SendOpen where the provider can be asked in a while.
    """
    opened, outbound = _prepared(hub, delivery, delivery.message_id)
    channel = opened.must()
    outbound, closed = _without_closed(hub, outbound) if opened.account.kind in MAIL_KINDS else (outbound, {})
    step("message.prepared")
    try:
        accepted = channel.send(outbound)
    except SendUncertain as lost:
        if isinstance(channel, Reconciles):
            raise SendOpen(lost.why) from lost
        raise
    step("message.taken")
    return SendResult(
        accepted.external_id, accepted.state, refused={**closed, **accepted.refused}, waiting=accepted.waiting,
        copy=isinstance(channel, FilesCopies) and channel.files_copies,
    )  # fmt: skip


def file_copy(hub: Hub, delivery: Delivery) -> SendResult:
    """The sender "copy": a mail that was sent, into the account's own folder; nothing of it is ever sent again.

    Raises SendFailed.
    """
    opened, outbound = _prepared(hub, delivery, delivery.payload["message_id"], leaving=False)
    channel = opened.must()
    if not isinstance(channel, FilesCopies) or not channel.files_copies:
        return SendResult(response={"folder": ""})  # switched off meanwhile
    folder = channel.file_copy(outbound, delivery.created_at)
    step("copy.filed")
    return SendResult(response={"folder": folder})


def reconcile_message(hub: Hub, delivery: Delivery) -> SendResult | None:
    """Ask the provider whether a hand-over that a crash left open took place. None means: certainly not.

    Raises SendUncertain when the provider can't be asked now, anything else when nobody can ever tell.
    """
    if delivery.message_id is None:
        raise LookupError(N_("it is no message of a conversation"))
    opened, outbound = _prepared(hub, delivery, delivery.message_id)
    step("message.asked")
    channel = opened.must()
    if opened.account.kind == "chat":
        return None  # nothing leaves the house: sending again shows nothing twice
    if not isinstance(channel, Reconciles):
        raise LookupError(N_("the mail server can't be asked"))
    since = (delivery.begun_at or delivery.created_at) - CLOCKS_APART
    accepted: Accepted | None = channel.outcome(outbound, since, OtherMessages(hub, delivery))
    return None if accepted is None else SendResult(accepted.external_id, accepted.state)


@dataclass(frozen=True, slots=True)
class OtherMessages:
    """The provider's ids that belong to other messages than this one, or to an earlier try of it."""

    hub: Hub
    delivery: Delivery

    def __contains__(self, external_id: object) -> bool:
        if external_id == self.delivery.external_id:
            return True
        with self.hub.store.read() as tx:
            own = self.delivery.message_id
            row = tx.sql("SELECT 1 FROM message WHERE external_id = ? AND id <> ?", external_id, own).fetchone()
            return row is not None


def _prepared(hub: Hub, delivery: Delivery, message_id: int | None, *, leaving: bool = True) -> tuple[Opened, Outbound]:
    with hub.store.read() as tx:
        message = tx.get_one(Message, message_id)
        identity = tx.get(Identity, message.identity_id) if message.identity_id else None
        if leaving and identity is not None and (why := refusal(tx, identity.kind, identity.value)):
            raise SendFailed(why, permanent=True)
        bulk = message.automatic == BULK
        if bulk and leaving and has_left(tx, message.identity_id or 0, message.channel_id or 0):
            raise SendFailed(N_("This person has unsubscribed from mail to many on this channel."), permanent=True)
        author = tx.get(Agent, message.agent_id) if message.agent_id else None
        quoted = _quoted(tx, message)
        files = list(
            tx.exec(select(Attachment).where(Attachment.message_id == message.id).order_by(col(Attachment.id)))
        )
    try:
        opened = hub.channel(message.channel_id or 0)
        opened.must()
    except (NotFound, NotConfigured) as error:
        raise SendFailed(stored("The channel can't send: {error}", error=error)) from None
    way_out = unsubscribe_url(hub, message.identity_id or 0, message.channel_id or 0) if bulk else ""
    outbound = Outbound(
        id=message.uuid or "", to=(message.to_address,), cc=tuple(message.cc), text=message.text, html=message.html,
        subject=message.subject, sender_name=author.name if author else "",
        sender_signature=author.signature if author else "", external_id=message.external_id,
        references=tuple(message.refs), files=tuple(_file(hub, file) for file in files),
        automatic="auto-replied" if message.automatic and not bulk else "", bcc=tuple(message.bcc),
        only=tuple(delivery.payload.get("only") or delivery.payload.get("returned", ())),
        quoted=quoted, bulk=bulk, unsubscribe_url=way_out, mark=hub.tokens.mark(message.uuid or ""),
        reply_token=hub.tokens.issue(message.conversation_id, message.id),
        bounce_token=hub.tokens.issue_bounce(message.id or 0),
    )  # fmt: skip
    return opened, outbound


def _without_closed(hub: Hub, outbound: Outbound) -> tuple[Outbound, dict[str, str]]:
    """The mail without those who may not be written to since it was, and what is told of them. Raises SendFailed."""
    everybody = list(dict.fromkeys((*outbound.to, *outbound.cc, *outbound.bcc)))
    with hub.store.read() as tx:
        refused = {address: why for address in everybody if (why := refusal(tx, "email", address))}
    wanted = outbound.only or everybody
    if outbound.to[0] in wanted and outbound.to[0] in refused:
        raise SendFailed(refused[outbound.to[0]], permanent=True)
    closed = {
        address: stored("{address} was left out. {why}", address=address, why=refused[address])
        for address in wanted
        if address in refused
    }
    left = tuple(address for address in wanted if address not in closed)
    if not left:
        raise SendFailed(" ".join(closed.values()), permanent=True)
    return (replace(outbound, only=left), closed) if closed else (outbound, closed)


def _quoted(tx: Tx, message: Message) -> Quoted | None:
    """What a mail answers: the message whose id it names last."""
    if not message.refs:
        return None
    answered = select(Message).where(Message.external_id == message.refs[-1], Message.kind == "inbound")
    found = tx.exec(answered.where(Message.conversation_id == message.conversation_id)).first()
    if found is None:
        return None
    contact = tx.get(Contact, found.contact_id) if found.contact_id else None
    return Quoted(contact.shown if contact else "somebody", found.visible_text, found.sent_at or found.created_at)


def _file(hub: Hub, file: Attachment) -> File:
    try:
        return File(file.name, file.content_type, hub.blobs.get(file.sha256), cid=file.cid, inline=file.inline)
    except FileNotFoundError:
        gone = stored("The attachment {name} is missing from the store.", name=repr(file.name))
        raise SendFailed(gone, permanent=True) from None
