"""One conversation as its page shows it: messages in their own shapes, and what happened between them as thin lines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from channels.base import DeliveryState
from hub import mentions
from hub.copies import ALSO
from hub.later import waiting_of
from hub.noticeanswers import UNSENT
from inbox.lists import names_of
from inbox.mailwords import Card, card_of, proof, remarks_on_reading, warnings_of
from inbox.session import Viewer
from inbox.wording import full
from routing.ladder import span
from storage import Tx
from storage.conversations import Attachment, Conversation, Message, Reading, attachments_of, messages_of
from storage.facts import FactRow
from storage.later import LaterReply
from storage.people import Agent, Contact, Identity
from storage.work import WorkItem

PAGE = 60
MISSED = {
    "FirstReplyBreached": "The first reply is late",
    "NextReplyBreached": "The next reply is late",
    "ResolutionBreached": "The time to settle this is used up",
}
ESCALATED = {
    "priority": "it goes before others now",
    "queue": "it was put into another queue",
    "slack": "Slack was told",
    "supervisors": "supervisors were told",
}
WAITED = {
    "relaxed": "less is asked of who takes it",
    "joined": "others may take it as well",
    "priority": ESCALATED["priority"],
    "age": "it counts as older",
    "slack": ESCALATED["slack"],
    "supervisors": ESCALATED["supervisors"],
    "queue": "it goes elsewhere",
}
PREVIEWED = {"image/png", "image/jpeg", "image/gif", "image/webp"}
TOLD = (
    "ConversationQueued",
    "ConversationAssigned",
    "ConversationReleased",
    "OfferEnded",
    "ConversationSnoozed",
    "ConversationWoken",
    "ConversationResolved",
    "ConversationReopened",
    *MISSED,
    "ConversationTagged",
    "ConversationUntagged",
    "ConversationSplit",
    "ConversationsMerged",
    "ConversationsParted",
    "MacroRun",
    "ReplyHeld",
    "AutomationHeld",
    "ConversationEscalated",
    "ConversationPrioritised",
    "ConversationLabelled",
    "ConversationUnparked",
    "ConversationPinned",
    "ConversationUnpinned",
    "TransferQuestioned",
    "LadderStepTaken",
)
MOVED = {
    "ConversationSplit": "made what came after this a conversation of its own:",
    "ConversationsMerged": "merged another conversation into it:",
    "ConversationsParted": "took a merge back and parted it from",
}
VIA = {
    "offer": "accepted the ring",
    "auto": "got it automatically",
    "claim": "claimed it",
    "next": "asked for the next and got it",
}
AUTOMATIC = {
    "acknowledgement": "Acknowledgement that the message has arrived",
    "vacation": "Out-of-office answer",
    "bounce": "Could not be delivered",
    "bulk": "Sent to many",
    "list": "Mailing list",
    "report": "Delivery report",
    "blocked": "They are blocked",
}
HELD = {"acknowledgement": "The acknowledgement", "notice": "A mail notice"}
FLAGS = {
    "multi_from": "The sender line names several people.",
    "too_many_parts": "Only the first parts of this mail are shown.",
    "masked_cards": "A card number was masked before this was stored.",
    "new_participant": "This sender has not written in this conversation before.",
    "history": "Brought in afterwards, from before this desk.",
    "spoofed_colleague": "The sender uses one of our own addresses, and nothing proves it: be careful.",
    "by_mail": "Written by mail.",
    "notice_other_sender": "This answers a mail to an agent, but comes from another address: it was not sent to the "
    "customer.",
    "notice_unproved": "This answers a mail to an agent in that agent's name, but its domain says that it is not from "
    "there: it was not sent to the customer.",
    "notice_expired": "An agent wrote this by mail, too late to be sent by it: it was not sent to the customer.",
    "notice_closed": "This answers a mail to an agent who does not answer by mail any more: it was not sent to the "
    "customer.",
    "notice_no_access": "An agent wrote this by mail who does not serve this queue: it was not sent to the customer.",
    "erased": "What was written here was erased.",
    "truncated": "This message is very long; its raw file has all of it.",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in one line. `icon` names a symbol of the sprite, `alarm` colours it."""

    key: str
    at: datetime
    icon: str
    who: str
    text: str
    alarm: bool = False


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
    entries: list[Entry | Event] = [*_entries(tx, who, conversation, messages), *_events(tx, who, number, since, until)]
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
    agents = _names(tx, Agent, {m.agent_id for m in messages if m.agent_id is not None})
    identity_ids = {m.identity_id for m in messages if m.identity_id is not None}
    addresses = {
        row.id: row.shown or row.value for row in tx.exec(select(Identity).where(col(Identity.id).in_(identity_ids)))
    }
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
        author = people.get(message.contact_id or 0, "Somebody")
    else:
        author = "You" if mine else agents.get(message.agent_id or 0, "Automatic")
    remarks = [FLAGS[flag] for flag in message.flags if flag in FLAGS] + remarks_on_reading(message)
    address = addresses.get(message.identity_id, "")
    remarks += proof(message.authenticity) + warnings_of(message, address)
    remarks += [f"Also received in {flag.removeprefix(ALSO)}." for flag in message.flags if flag.startswith(ALSO)]
    if UNSENT in message.flags:
        remarks.append(f"Written by mail, and not sent to the customer: {message.state_why}")
    if message.automatic:
        remarks.append(f"{AUTOMATIC.get(message.automatic, 'Automatic message')}: it counts for nothing.")
    if message.kind == "inbound" and message.channel == "form":
        remarks.append("Typed into a form: nobody has proved that the address is theirs.")
    body = message.visible_text
    quoted = message.text[message.quoted_at :].strip() if message.quoted_at is not None else ""
    return Entry(
        key=f"m{message.id}",
        at=message.created_at,
        message=message,
        author=author,
        mine=mine,
        body=body,
        quoted=quoted if body else "",
        signature=message.signature if body else "",
        card=card_of(message),
        files=[file for file in files if not file.inline or file.content_type not in PREVIEWED or not message.html],
        delivery=_delivery(tx, message, mine or who.actor.sees_all) if message.kind == "outbound" else None,
        remarks=remarks,
        address=address,
    )


def _waiting(entry: Entry, row: LaterReply, newest: int, who: Viewer) -> Delivery:
    """A reply for later: when it goes, and whether it still will."""
    may = entry.mine or who.actor.sees_all
    when = f"Goes out {full(row.at, who.zone)}"
    if row.unless_they_write and newest > (entry.message.id or 0):
        return Delivery("queued", "Will not go out by itself: they have written since", undo=may, now=may)
    unless = ", unless they write before" if row.unless_they_write else ""
    return Delivery("queued", when + unless, undo=may, now=may)


def _delivery(tx: Tx, message: Message, may_act: bool) -> Delivery:
    state, why = message.state, message.state_why
    if state == "queued":
        waiting = message.send_after is not None and message.send_after > tx.now
        return Delivery(state, "Sends in a moment" if waiting else "Waiting to be sent", why, undo=waiting and may_act)
    if state == "uncertain":
        text = "Nobody knows yet whether this arrived"
        return Delivery(state, text, why or "The line broke while it was being sent.", retry=may_act)
    if state == "failed":
        return Delivery(state, "Not delivered", why or "The provider refused it.", retry=may_act)
    words = {"sending": "Sending", "sent": "Sent", "delivered": "Delivered", "read": "Read"}
    return Delivery(state, words.get(state, state), why)


def _events(tx: Tx, who: Viewer, number: int, since: datetime | None, until: datetime | None) -> list[Event]:
    query = select(FactRow).where(FactRow.conversation_id == number, col(FactRow.name).in_(TOLD))
    if since is not None:
        query = query.where(FactRow.at >= since)
    if until is not None:
        query = query.where(FactRow.at <= until)
    rows = list(tx.exec(query.order_by(col(FactRow.id).desc()).limit(200)))[::-1]
    agents = _names(tx, Agent, {agent_id for row in rows if (agent_id := _actor_id(row)) is not None})
    agents |= _names(tx, Agent, {row.data["agent_id"] for row in rows if row.data.get("agent_id")})
    items = {row.data.get("work_item_id") for row in rows if row.name == "ConversationQueued"}
    traces = {item.id: item.trace for item in tx.exec(select(WorkItem).where(col(WorkItem.id).in_(items)))}
    return [event for row in rows if (event := _event(row, who, agents, traces)) is not None]


def _event(row: FactRow, who: Viewer, agents: dict[int, str], traces: dict[int | None, Any]) -> Event | None:
    data = row.data
    by = _by(row, who, agents)
    agent = "You" if data.get("agent_id") == who.id else agents.get(data.get("agent_id", 0), "Somebody")

    def event(icon: str, subject: str, text: str, alarm: bool = False) -> Event:
        return Event(f"f{row.id}", row.at, icon, subject, text, alarm)

    match row.name:
        case "ConversationQueued" if data["why"] == "disconnect":
            return None
        case "ConversationQueued":
            return event("route", "", _routed(data, traces.get(data.get("work_item_id"), []), by))
        case "ConversationAssigned" if data["via"] in VIA:
            return event("user", agent, VIA[data["via"]])
        case "ConversationAssigned":
            return event("user", by, _given(data, "you" if data["agent_id"] == who.id else agent))
        case "ConversationReleased" if data["why"] in ("resolve", "transfer"):
            return None  # told by what happened beside it
        case "ConversationReleased" if data["why"] == "disconnect":
            return event("user", agent, "lost the connection, and it went back to the queue")
        case "ConversationReleased":
            if data.get("by") != f"agent:{data['agent_id']}":
                return event("user", by, f"took it from {'you' if agent == 'You' else agent} and gave it back")
            words = {"sign_out": "went offline and gave it back"}
            return event("user", agent, words.get(data["why"], "gave it back to the queue"))
        case "OfferEnded" if data["state"] in ("declined", "expired"):
            return event("bell", agent, "declined the ring" if data["state"] == "declined" else "missed the ring")
        case "ConversationSnoozed":
            until = datetime.fromisoformat(data["until"]) if data["until"] else None
            when = full(until, who.zone) if until else "the customer writes"
            return event("moon", by, f"snoozed it until {when}")
        case "ConversationWoken":
            return event("moon", "", f"Awake again: {data['why']}")
        case "ConversationResolved":
            return event("check", by, "resolved it")
        case "ConversationReopened":
            return event("inbox", "", f"Open again: {data['why']}")
        case "ConversationTagged" | "ConversationUntagged":
            verb = "tagged it" if row.name == "ConversationTagged" else "took off"
            return event("tag", by, f"{verb} {', '.join(data['tags'])}")
        case "ConversationSplit" | "ConversationsMerged" | "ConversationsParted":
            return event("merge", by, f"{MOVED[row.name]} #{data['other_id']}")
        case "MacroRun":
            return event("bolt", by, f"ran the macro “{data['macro']}”")
        case "ReplyHeld":
            return event("clock", "", "A reply for later was not sent, because they wrote before; it is a draft again")
        case "AutomationHeld":
            return event("alert", "", f"{HELD.get(data['kind'], 'An automatic message')} was not sent. {data['why']}")
        case "ConversationPrioritised":
            change = f"gave it priority {data['priority']} instead of {data['before']}"
            return event("flag", by, f"{change}{_said(data)}")
        case "ConversationLabelled":
            labels = f"labelled it {', '.join(data['labels'])}" if data["labels"] else "took its labels away"
            return event("tag", by, f"{labels}{_said(data)}")
        case "ConversationUnparked" if data["over_capacity_by"]:
            return event("user", agent, f"took it up again, {data['over_capacity_by']} over capacity")
        case "ConversationPinned" if data["agent_id"]:
            kept = full(datetime.fromisoformat(data["until"]), who.zone)
            return event("pin", by, f"pinned it to {'you' if agent == 'You' else agent} until {kept}{_said(data)}")
        case "ConversationPinned":
            return event("pin", by, f"pinned it: it goes before everything else{_said(data)}")
        case "ConversationUnpinned":
            return event("pin", by, f"took the pin out{_said(data)}")
        case "TransferQuestioned":
            stays = (
                " It stays where it is, and supervisors were told." if data["stopped"] else " Supervisors were told."
            )
            return event("alert", "", f"{data['why']}{stays}", alarm=True)
        case "ConversationEscalated":
            return event("bell", "", f"Escalated: {', '.join(ESCALATED[action] for action in data['actions'])}")
        case "LadderStepTaken" if data["actions"]:
            done = ", ".join(WAITED[action] for action in data["actions"])
            return event("clock", "", f"It has waited for {span(data['after'])}: {done}")
        case name if name in MISSED:
            return event("clock", "", MISSED[name], alarm=True)
    return None


def _given(data: dict[str, Any], agent: str) -> str:
    over = f", {data['over_capacity_by']} over capacity" if data.get("over_capacity_by") else ""
    if data["via"] == "take_over":
        return f"took it over{over}{_said(data)}"
    return f"{'handed' if data['via'] == 'transfer' else 'assigned'} it to {agent}{over}{_said(data)}"


def _said(data: dict[str, Any]) -> str:
    return f": {data['reason']}" if data.get("reason") else ""


def _routed(data: dict[str, Any], trace: list[dict[str, Any]], by: str) -> str:
    steps = {step.get("step"): step for step in trace}
    if data["why"] == "overflow" and "overflow" in steps:
        return f"Put into {steps['overflow'].get('queue', 'another queue')}, because nobody took it in time"
    if data["why"] == "transfer" and "transfer" in steps:
        return f"{by or 'Somebody'} moved it to {steps['transfer'].get('queue', 'another queue')}{_said(data)}"
    if "closed" in steps:
        return f"Routed to {steps['closed'].get('queue', 'a queue')}, because {steps['closed']['closed']} is closed"
    if "unserved" in steps:
        return (
            f"Routed to {steps['unserved'].get('queue', 'a queue')}, because nobody can take it in "
            f"{steps['unserved']['unserved']}"
        )
    if "full" in steps:
        return f"Routed to {steps['full'].get('queue', 'a queue')}, because {steps['full']['full']} is full"
    if "rule" in steps:
        return f"Routed to {steps['rule'].get('queue', 'a queue')} by the rule “{steps['rule'].get('rule', '')}”"
    if "default" in steps:
        return f"Routed to {steps['default'].get('queue', 'the default queue')}, because no rule matched"
    return f"Put into a queue: {data['why']}"


def _actor_id(row: FactRow) -> int | None:
    kind_name, _, number = str(row.data.get("by", "")).partition(":")
    return int(number) if kind_name == "agent" and number.isdecimal() else None


def _by(row: FactRow, who: Viewer, agents: dict[int, str]) -> str:
    number = _actor_id(row)
    if number is None:
        said = str(row.data.get("by", ""))
        return "An API client" if said.startswith("token:") else "Switchyard"
    return "You" if number == who.id else agents.get(number, "Somebody")


def _names(tx: Tx, model: type[Agent], ids: set[int]) -> dict[int, str]:
    return {number or 0: name for number, name in tx.exec(select(model.id, model.name).where(col(model.id).in_(ids)))}
