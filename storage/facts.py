"""What happened: one frozen value per event, one row each. The audit trail, the live feed and the API's event list.

Facts are named in the past tense and carry ids and small values only, never what a customer wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage import accountfacts as accountfacts
from storage import contactfacts as contactfacts
from storage.capacityfacts import ConversationLabelled as ConversationLabelled
from storage.capacityfacts import ConversationParked as ConversationParked
from storage.capacityfacts import ConversationUnparked as ConversationUnparked
from storage.capacityfacts import WrapUpEnded as WrapUpEnded
from storage.capacityfacts import WrapUpStarted as WrapUpStarted
from storage.factrows import Fact as Fact
from storage.factrows import FactRow as FactRow
from storage.teamfacts import AgentMentioned as AgentMentioned
from storage.teamfacts import ConversationTagged as ConversationTagged
from storage.teamfacts import ConversationUntagged as ConversationUntagged
from storage.teamfacts import MacroRun as MacroRun


@dataclass(frozen=True, slots=True)
class ContactCreated(Fact):
    """A person was seen for the first time."""

    contact_id: int
    by: str = "customer"


@dataclass(frozen=True, slots=True)
class ContactChanged(Fact):
    """Name, identities or other details of a person changed."""

    contact_id: int
    what: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class AddressAllowed(Fact):
    """Somebody allowed an address again that nothing was sent to; `reason` is what had closed it."""

    contact_id: int
    identity_id: int
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class ContactsMerged(Fact):
    """Two records turned out to be one person; `merge_id` undoes it."""

    contact_id: int
    other_id: int
    merge_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ContactsUnmerged(Fact):
    """A merge was taken back."""

    contact_id: int
    other_id: int
    merge_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ConversationOpened(Fact):
    """A conversation began; its state is open."""

    conversation_id: int
    contact_id: int
    channel: str
    by: str = "customer"


@dataclass(frozen=True, slots=True)
class MessageReceived(Fact):
    """A customer's message was attached. `why` is the threading reason; `automatic` ones count for nothing."""

    conversation_id: int
    contact_id: int
    message_id: int
    channel: str
    why: str
    automatic: str = ""
    by: str = "customer"


@dataclass(frozen=True, slots=True)
class ParticipantJoined(Fact):
    """Somebody who was not in the conversation answered in it by mail; its customer stays who they were."""

    conversation_id: int
    contact_id: int
    by: str = "customer"


@dataclass(frozen=True, slots=True)
class ReplyQueued(Fact):
    """An answer was written and waits for its undo window to end."""

    conversation_id: int
    message_id: int
    channel: str
    by: str


@dataclass(frozen=True, slots=True)
class ReplyUndone(Fact):
    """An answer was taken back before it left."""

    conversation_id: int
    message_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ReplyScheduled(Fact):
    """An answer was written for later; it is told as queued once it leaves."""

    conversation_id: int
    message_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ReplyHeld(Fact):
    """An answer for later did not leave, because the customer wrote before; it is in its author's draft."""

    conversation_id: int
    message_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class NoteAdded(Fact):
    """A remark that only the team sees."""

    conversation_id: int
    message_id: int
    by: str


@dataclass(frozen=True, slots=True)
class DeliveryChanged(Fact):
    """An outgoing message reached a new state: sending, sent, uncertain, failed, delivered or read."""

    conversation_id: int
    message_id: int
    state: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class AutomationHeld(Fact):
    """An automatic message (`kind` is acknowledgement or notice) was not sent; told once a day for each address."""

    conversation_id: int
    kind: str
    why: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ConversationQueued(Fact):
    """Work was put into a queue, to be matched with an agent. `reason` is what a person said about it."""

    conversation_id: int
    work_item_id: int
    queue_id: int
    why: str
    by: str = "system"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TransferQuestioned(Fact):
    """It goes on by itself, or to and fro: supervisors should look. When `stopped` it stays where it is."""

    conversation_id: int
    work_item_id: int
    queue_id: int
    stopped: bool
    why: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ConversationPrioritised(Fact):
    """A supervisor gave it another priority."""

    conversation_id: int
    work_item_id: int
    priority: int
    before: int
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConversationPinned(Fact):
    """A supervisor put it before everything else; up to `until` (ISO 8601) for one agent alone, if there is one."""

    conversation_id: int
    work_item_id: int
    agent_id: int | None
    until: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConversationUnpinned(Fact):
    """It waits in its turn again."""

    conversation_id: int
    work_item_id: int
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OfferMade(Fact):
    """A conversation rings at an agent."""

    conversation_id: int
    work_item_id: int
    offer_id: int
    agent_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class OfferEnded(Fact):
    """An offer was accepted, declined, expired, rescinded or cancelled."""

    conversation_id: int
    work_item_id: int
    offer_id: int
    agent_id: int
    state: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ConversationAssigned(Fact):
    """An agent owns the conversation from now on.

    `via` is offer, auto, claim, next, assign, transfer or take_over; `reason` is what a person said about it.
    """

    conversation_id: int
    work_item_id: int
    agent_id: int
    via: str
    over_capacity_by: int = 0
    by: str = "system"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ConversationReleased(Fact):
    """The owner gave the conversation up or was taken off it. `why` is transfer, sign_out, unassign, resolve or
    disconnect.
    """

    conversation_id: int
    agent_id: int
    why: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ConversationSnoozed(Fact):
    """Out of sight until `until` (ISO 8601) or until the customer writes."""

    conversation_id: int
    until: str
    by: str


@dataclass(frozen=True, slots=True)
class ConversationWoken(Fact):
    """A snoozed conversation is open again: its time came or the customer wrote."""

    conversation_id: int
    why: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ConversationResolved(Fact):
    """Done. A new message of the customer opens it again."""

    conversation_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ConversationReopened(Fact):
    """A resolved conversation is open again."""

    conversation_id: int
    why: str
    by: str = "customer"


@dataclass(frozen=True, slots=True)
class FirstReplySent(Fact):
    """The first answer of this episode; `seconds` since it was queued."""

    conversation_id: int
    work_item_id: int
    agent_id: int
    seconds: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class FirstReplyWarned(Fact):
    """Most of the first-reply target has passed without an answer."""

    conversation_id: int
    work_item_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class FirstReplyBreached(Fact):
    """The first-reply target passed without an answer."""

    conversation_id: int
    work_item_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class NextReplyWarned(Fact):
    """The customer wrote again, and most of the target for an answer has passed."""

    conversation_id: int
    work_item_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class NextReplyBreached(Fact):
    """The customer wrote again, and the target for an answer passed without one."""

    conversation_id: int
    work_item_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ResolutionWarned(Fact):
    """Most of the time for settling the matter is used up."""

    conversation_id: int
    work_item_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ResolutionBreached(Fact):
    """The time for settling the matter is used up."""

    conversation_id: int
    work_item_id: int
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ConversationEscalated(Fact):
    """A target was nearly missed, or was (`breached`), and its queue wants something done about it.

    `target` is first_reply, next_reply or resolution; `actions` are priority, queue, slack and supervisors.
    """

    conversation_id: int
    work_item_id: int
    target: str
    breached: bool
    actions: tuple[str, ...]
    by: str = "system"


@dataclass(frozen=True, slots=True)
class LadderStepTaken(Fact):
    """Work has waited for `after` seconds, and what its ladder says for then was done.

    `actions` are relaxed, joined, priority, age, queue, slack and supervisors.
    """

    conversation_id: int
    work_item_id: int
    after: int
    actions: tuple[str, ...]
    by: str = "system"


@dataclass(frozen=True, slots=True)
class AgentStatusChanged(Fact):
    """An agent became available, away or offline."""

    agent_id: int
    status: str
    why: str = ""
    by: str = "system"


@dataclass(frozen=True, slots=True)
class AgentDrained(Fact):
    """A supervisor lets an agent finish what he has: nothing new comes."""

    agent_id: int
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AgentUndrained(Fact):
    """Work comes to the agent again."""

    agent_id: int
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QueuePaused(Fact):
    """Nothing is handed out from a queue until it goes on."""

    queue_id: int
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QueueResumed(Fact):
    """A queue that was paused goes on."""

    queue_id: int
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OptOutChanged(Fact):
    """A person stopped or allowed messages to one address."""

    contact_id: int
    channel: str
    stopped: bool
    by: str = "customer"


@dataclass(frozen=True, slots=True)
class ReceiptQuarantined(Fact):
    """Something arrived that could not be read; the raw bytes are kept and can be tried again."""

    receipt_id: int
    channel: str
    by: str = "system"


@dataclass(frozen=True, slots=True)
class ReceiptLeft(Fact):
    """Somebody looked at what can't be read and left it as it is."""

    receipt_id: int
    by: str


@dataclass(frozen=True, slots=True)
class ReceiptsReplayed(Fact):
    """Somebody had receipts read again that had become no message."""

    number: int
    by: str


@dataclass(frozen=True, slots=True)
class DeskChanged(Fact):
    """Channels, queues, skills, rules or people were changed by hand or by `app.py apply`."""

    what: str
    by: str
