"""One conversation as its page shows it: messages in their own shapes, and what happened between them as thin lines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlmodel import col, select

from channels.base import DeliveryState
from config.language import _, words
from config.retold import retold
from hub import mentions
from hub.copies import ALSO
from hub.later import waiting_of
from hub.noticeanswers import UNSENT
from inbox.events import Event, agent_names, events
from inbox.lists import names_of
from inbox.mailwords import Card, card_of, proof, remarks_on_reading, warnings_of
from inbox.session import Viewer
from inbox.wording import full
from storage import Tx
from storage.batches import placeholders
from storage.conversations import Attachment, Conversation, Message, Reading, attachments_of, messages_of
from storage.later import LaterReply
from storage.people import Contact

PAGE = 60
MOST_CHARS = 20_000  # of one message in the thread, which every live update renders; the frame has all of it
PREVIEWED = {"image/png", "image/jpeg", "image/gif", "image/webp"}
AUTOMATIC = words(
    {
        "acknowledgement": "Acknowledgement that the message has arrived",
        "vacation": "Out-of-office answer",
        "bounce": "Could not be delivered",
        "bulk": "Sent to many",
        "list": "Mailing list",
        "report": "Delivery report",
        "blocked": "They are blocked",
    }
)
FLAGS = words(
    {
        "multi_from": "The sender line names several people.",
        "too_many_parts": "Only the first parts of this mail are shown.",
        "masked_cards": "A card number was masked before this was stored.",
        "new_participant": "This sender has not written in this conversation before.",
        "history": "Brought in afterwards, from before this desk.",
        "spoofed_colleague": "The sender uses one of our own addresses, and nothing proves it: be careful.",
        "by_mail": "Written by mail.",
        "notice_other_sender": "This answers a mail to an agent, but comes from another address: it was not sent to "
        "the customer.",
        "notice_unproved": "This answers a mail to an agent in that agent's name, but its domain says that it is not "
        "from there: it was not sent to the customer.",
        "notice_expired": "An agent wrote this by mail, too late to be sent by it: it was not sent to the customer.",
        "notice_closed": "This answers a mail to an agent who does not answer by mail any more: it was not sent to "
        "the customer.",
        "notice_no_access": "An agent wrote this by mail who does not serve this queue: it was not sent to the "
        "customer.",
        "erased": "What was written here was erased.",
    }
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where an answer is: a word for it, and whether its author has to do something."""

    state: str
    text: str
    why: str = ""
    retry: bool = False
    undo: bool = False
    now: bool = False  # it waits for its moment, and may be sent at once


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as it is shown."""

    key: str
    at: datetime
    message: Message
    author: str
    mine: bool
    body: str
    quoted: str
    files: list[Attachment]
    delivery: Delivery | None = None
    remarks: list[str] = field(default_factory=list)
    address: str = ""
    signature: str = ""
    card: Card | None = None
    named: list[str] = field(default_factory=list)  # colleagues whom a note names
    guest: bool = False  # written by somebody who takes part beside the customer
    cut: bool = False  # only the beginning of its words is here

    @property
    def short(self) -> bool:
        """Shown as a bubble: said, not written."""
        return self.message.channel in ("sms", "whatsapp", "chat", "slack") and self.message.kind != "note"


@dataclass(frozen=True, slots=True)
class Thread:
    """Everything between the header and the composer. `unread_from` is the first message not read before."""

    entries: list[Entry | Event]
    unread_from: int
    earlier: int = 0  # the oldest message shown, when there are older ones
    channels: list[str] = field(default_factory=list)
    first: int = 0  # the message that it began with, if that is shown


def thread(tx: Tx, who: Viewer, conversation: Conversation, *, before: int | None = None) -> Thread:
    """The last messages and what happened around them, oldest first."""
    number = conversation.id or 0
    messages = [m for m in messages_of(tx, number, before=before, limit=PAGE + 1) if m.state != DeliveryState.DRAFT]
    earlier = len(messages) > PAGE
    messages = messages[-PAGE:]
    reading = tx.get(Reading, (who.id, number))
    read = reading.message_id if reading else 0
    since = messages[0].created_at if earlier and messages else None
    until = messages[-1].created_at if before is not None and messages else None
    entries: list[Entry | Event] = [*_entries(tx, who, conversation, messages), *events(tx, who, number, since, until)]
    # What happens in one unit has one moment: the message comes first, then what it caused.
    entries.sort(key=lambda entry: (entry.at, isinstance(entry, Event), int(entry.key[1:])))
    unread = next((m.id or 0 for m in messages if m.kind == "inbound" and (m.id or 0) > read), 0)
    channels = list(dict.fromkeys(m.channel for m in messages if m.channel))
    return Thread(entries, unread if read else 0, messages[0].id or 0 if earlier else 0, channels,
                  0 if earlier or not messages else messages[0].id or 0)  # fmt: skip


def note_reading(tx: Tx, who: Viewer, conversation_id: int, message_id: int) -> None:
    """Remember how far this agent has read; never backwards."""
    tx.sql(
        "INSERT INTO reading(agent_id, conversation_id, message_id, at) VALUES(?, ?, ?, ?) "
        "ON CONFLICT (agent_id, conversation_id) DO UPDATE SET message_id = excluded.message_id, at = excluded.at "
        "WHERE reading.message_id < excluded.message_id",
        who.id, conversation_id, message_id, tx.now,
    )  # fmt: skip
    mentions.seen(tx, who.id, conversation_id, message_id)


def _entries(tx: Tx, who: Viewer, conversation: Conversation, messages: list[Message]) -> list[Entry]:
    files = attachments_of(tx, [m.id or 0 for m in messages])
    later = waiting_of(tx, [m.id or 0 for m in messages if m.state == DeliveryState.QUEUED])
    newest = max((m.id or 0 for m in messages if m.kind == "inbound"), default=0)
    people = names_of(tx, {m.contact_id for m in messages if m.contact_id is not None})
    agents = agent_names(tx, {m.agent_id for m in messages if m.agent_id is not None})
    addresses = _addresses(tx, {m.identity_id for m in messages if m.identity_id is not None})
    guests = _guests(tx, conversation, {m.contact_id for m in messages if m.contact_id is not None})
    entries = [_entry(tx, who, m, files.get(m.id or 0, []), people, agents, addresses) for m in messages]
    entries = [
        replace(entry, delivery=_waiting(entry, later[entry.message.id or 0], newest, who))
        if entry.message.id in later
        else entry
        for entry in entries
    ]
    named = mentions.named(tx, [m.id or 0 for m in messages if m.kind == "note"])
    return [
        replace(entry, guest=entry.message.contact_id in guests, named=named.get(entry.message.id or 0, []))
        for entry in entries
    ]


def _addresses(tx: Tx, identity_ids: set[int]) -> dict[int | None, str]:
    if not identity_ids:
        return {}
    found = f"SELECT id, shown, value FROM identity WHERE id IN ({placeholders(identity_ids)})"
    return {number: shown or value for number, shown, value in tx.sql(found, *identity_ids).fetchall()}


def _guests(tx: Tx, conversation: Conversation, contact_ids: set[int]) -> set[int]:
    """Who of them is not the customer, whatever records the customer has."""
    others = contact_ids - {conversation.contact_id}
    if not others:
        return set()
    query = select(Contact.id, Contact.person_id).where(col(Contact.id).in_({*others, conversation.contact_id}))
    persons = {number or 0: person for number, person in tx.exec(query)}
    return {number for number in others if persons.get(number) != persons.get(conversation.contact_id)}


def _entry(
    tx: Tx, who: Viewer, message: Message, files: list[Attachment], people: dict[int, str], agents: dict[int, str],
    addresses: dict[int | None, str],
) -> Entry:  # fmt: skip
    mine = message.agent_id is not None and message.agent_id == who.id
    if message.kind == "inbound":
        author = people.get(message.contact_id or 0, _("Somebody"))
    else:
        author = _("You") if mine else agents.get(message.agent_id or 0, _("Automatic"))
    remarks = [FLAGS[flag] for flag in message.flags if flag in FLAGS] + remarks_on_reading(message)
    address = addresses.get(message.identity_id, "")
    remarks += proof(message.authenticity) + warnings_of(message, address)
    remarks += [
        _("Also received in {channel}.", channel=flag.removeprefix(ALSO))
        for flag in message.flags
        if flag.startswith(ALSO)
    ]
    if UNSENT in message.flags:
        remarks.append(_("Written by mail, and not sent to the customer: {why}", why=retold(message.state_why)))
    if message.automatic:
        what = AUTOMATIC.get(message.automatic, _("Automatic message"))
        remarks.append(_("{automatic}: it counts for nothing.", automatic=what))
    if message.kind == "inbound" and message.channel == "form":
        remarks.append(_("Typed into a form: nobody has proved that the address is theirs."))
    body = message.visible_text
    quoted = message.text[message.quoted_at :].strip() if message.quoted_at is not None else ""
    # Of a note there is no original to look at.
    most = len(message.text) if message.kind == "note" else MOST_CHARS
    cut = max(len(body), len(quoted)) > most
    if cut and "text_cut" not in message.flags:
        remarks.append(_("This message is very long: here is its beginning, “As it was sent” has all of it."))
    return Entry(
        key=f"m{message.id}",
        at=message.created_at,
        message=message,
        author=author,
        mine=mine,
        body=body[:most],
        quoted=quoted[:most] if body else "",
        signature=message.signature if body else "",
        card=card_of(message),
        files=[file for file in files if not file.inline or file.content_type not in PREVIEWED or not message.html],
        delivery=_delivery(tx, message, mine or who.actor.sees_all) if message.kind == "outbound" else None,
        remarks=remarks,
        address=address,
        cut=cut,
    )


def _waiting(entry: Entry, row: LaterReply, newest: int, who: Viewer) -> Delivery:
    """A reply for later: when it goes, and whether it still will."""
    may = entry.mine or who.actor.sees_all
    if row.unless_they_write and newest > (entry.message.id or 0):
        return Delivery("queued", _("Will not go out by itself: they have written since"), undo=may, now=may)
    when = full(row.at, who.zone)
    if row.unless_they_write:
        return Delivery("queued", _("Goes out {time}, unless they write before", time=when), undo=may, now=may)
    return Delivery("queued", _("Goes out {time}", time=when), undo=may, now=may)


def _delivery(tx: Tx, message: Message, may_act: bool) -> Delivery:
    state, why = message.state, message.state_why
    if state == "queued":
        waiting = message.send_after is not None and message.send_after > tx.now
        return Delivery(
            state, _("Sends in a moment") if waiting else _("Waiting to be sent"), retold(why), undo=waiting and may_act
        )
    if state == "uncertain":
        text = _("Nobody knows yet whether this arrived")
        return Delivery(state, text, retold(why) or _("The line broke while it was being sent."), retry=may_act)
    if state == "failed":
        return Delivery(state, _("Not delivered"), retold(why) or _("The provider refused it."), retry=may_act)
    said = {"sending": _("Sending"), "sent": _("Sent"), "delivered": _("Delivered"), "read": _("Read")}
    return Delivery(state, said.get(state, state), retold(why))
