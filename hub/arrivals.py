"""What rules see of something that came in: at the door, and again later from what was stored."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import col, func, select

from channels.base import Inbound, Strength
from hub.hub import Opened
from hub.identity import Known
from hub.ours import POSES
from hub.recipients import MAIL_KINDS
from routing.work import Arrival
from storage import Tx
from storage.conversations import Attachment, Conversation, Message
from storage.desk import ChannelAccount
from storage.people import Contact, Identity
from storage.work import WorkItem


def arrival_of(
    opened: Opened, sender: Known, inbound: Inbound, conversation_id: int, flags: Collection[str], *, reopens: bool
) -> Arrival:
    """A message on its way in. `reopens` says that its conversation was resolved."""
    point, kind = inbound.sender.points[0], opened.account.kind
    more = _more(
        kind, point.kind, point.value, point.strength >= Strength.MAIL_PROVED, inbound.authenticity.verdict,
        flags, sum(not file.inline for file in inbound.files), inbound.fields, inbound.to,
    )  # fmt: skip
    more |= {"item.reopened": reopens, "contact.new": sender.new, "contact.company": sender.company}
    return Arrival(
        conversation_id=conversation_id,
        contact_id=sender.contact_id,
        channel=kind,
        channel_name=opened.account.name,
        subject=inbound.subject,
        text=inbound.text,
        language=inbound.language or sender.language,
        attributes={**sender.attributes, "language": sender.language or inbound.language, "name": sender.name},
        more=more,
    )


@dataclass(frozen=True, slots=True)
class Past:
    """A piece of work that was routed once, as rules would see it now."""

    item: WorkItem
    arrival: Arrival


def arrival_again(tx: Tx, conversation: Conversation) -> Arrival:
    """A conversation that is opened again by hand: what the customer wrote last."""
    query = select(Message).where(Message.conversation_id == conversation.id, Message.kind == "inbound")
    message = tx.exec(query.order_by(col(Message.id).desc())).first()
    return _stored(tx, [(conversation, message)], reopens=True)[0]


def past_arrivals(tx: Tx, limit: int) -> list[Past]:
    """The newest pieces of work with what made each, newest first. People are seen as they are known today."""
    items = list(tx.exec(select(WorkItem).order_by(col(WorkItem.id).desc()).limit(limit)))
    numbers = {item.conversation_id for item in items}
    conversations = {row.id: row for row in tx.exec(select(Conversation).where(col(Conversation.id).in_(numbers)))}
    made = {
        (message.conversation_id, message.created_at): message
        for message in tx.exec(
            select(Message)
            .join(WorkItem, col(WorkItem.conversation_id) == col(Message.conversation_id))
            .where(
                col(WorkItem.id).in_([item.id for item in items]),
                Message.kind == "inbound",
                Message.created_at == WorkItem.enqueued_at,
            )
        )
    }
    told = [(conversations[item.conversation_id], made.get((item.conversation_id, item.enqueued_at))) for item in items]
    oldest = (
        select(WorkItem.conversation_id, func.min(WorkItem.id))
        .where(col(WorkItem.conversation_id).in_(numbers))
        .group_by(col(WorkItem.conversation_id))
    )
    first = {number: lowest for number, lowest in tx.exec(oldest)}
    arrivals = _stored(tx, told, reopens=False)
    return [
        Past(item, replace(arrival, more={**arrival.more, "item.reopened": first[item.conversation_id] != item.id}))
        for item, arrival in zip(items, arrivals, strict=True)
    ]


def _stored(tx: Tx, told: Sequence[tuple[Conversation, Message | None]], *, reopens: bool) -> list[Arrival]:
    """From rows: the contact as it is known now, the message as it came."""
    messages = [message for _, message in told if message is not None]
    contacts = _rows(tx, Contact, {conversation.contact_id for conversation, _ in told})
    contacts |= _rows(tx, Contact, {row.person_id or 0 for row in contacts.values()})
    identities = _rows(tx, Identity, {message.identity_id or 0 for message in messages})
    accounts = _rows(tx, ChannelAccount, {message.channel_id or 0 for message in messages})
    files = dict(
        tx.exec(
            select(Attachment.message_id, func.count())
            .where(col(Attachment.message_id).in_([message.id for message in messages]), ~col(Attachment.inline))
            .group_by(col(Attachment.message_id))
        ).all()
    )
    arrivals = []
    for conversation, message in told:
        contact = contacts[conversation.contact_id]
        person = contacts.get(contact.person_id or 0, contact)
        more: dict[str, Any] = {"item.reopened": reopens, "contact.company": person.company}
        if message is not None:
            identity = identities.get(message.identity_id or 0)
            verdict = message.authenticity.get("verdict", "none")
            proved = verdict == "pass" if message.channel in MAIL_KINDS else identity is not None and identity.proved
            more |= {"contact.new": identity is not None and identity.created_at == message.created_at}
            more |= _more(
                message.channel, identity.kind if identity else "", identity.value if identity else "", proved, verdict,
                message.flags, files.get(message.id, 0), message.fields, message.to_address,
            )  # fmt: skip
        account = accounts.get(message.channel_id or 0) if message is not None else None
        arrivals.append(
            Arrival(
                conversation_id=conversation.id or 0,
                contact_id=conversation.contact_id,
                channel=message.channel if message is not None else conversation.channel,
                channel_name=account.name if account is not None else "",
                subject=message.subject if message is not None else conversation.subject,
                text=message.text if message is not None else conversation.preview,
                language=(message.language if message is not None else "") or person.language,
                attributes={**person.attributes, "language": person.language, "name": person.name},
                more=more,
            )
        )
    return arrivals


def _more(
    kind: str, point: str, address: str, proved: bool, verdict: str, flags: Collection[str], files: int,
    answers: Mapping[str, str], to: str,
) -> dict[str, Any]:  # fmt: skip
    more: dict[str, Any] = {f"form.{name}": value for name, value in answers.items()}
    more["item.to"] = to
    more["item.sender"] = address
    more["item.sender_domain"] = address.rpartition("@")[2] if point == "email" else ""
    more["item.sender_proved"] = proved
    if kind in MAIL_KINDS:
        more["item.authenticity"] = verdict
    more["item.suspicious"] = verdict == "fail" or any(flag.startswith(POSES) for flag in flags)
    more["item.flags"] = list(flags)
    more["item.attachments"] = files
    more["item.has_attachments"] = files > 0
    return more


def _rows(tx: Tx, model: Any, numbers: Collection[int]) -> dict[int, Any]:
    return {row.id: row for row in tx.exec(select(model).where(model.id.in_(numbers)))}
