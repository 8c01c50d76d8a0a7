"""What the API takes and gives, as pydantic models: the description in openapi.json is made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_TEXT = 100_000


class Out(BaseModel):
    """What is given. Built when it is first needed: all of them take as long as a whole library to load."""

    model_config = ConfigDict(defer_build=True)


class In(BaseModel):
    """A body or query; a key that nobody knows is an error, not a silent wish."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, defer_build=True)


class Named(Out):
    """A reference with what people call it."""

    id: int
    name: str


class ConversationsQuery(In):
    """Which conversations, newest activity first."""

    state: Literal["open", "snoozed", "resolved"] | None = None
    assignee: str | None = Field(None, pattern=r"^(\d{1,18}|none|me)$", description='An agent\'s id, "none" or "me".')
    queue: str | None = Field(None, max_length=64, description="A queue's id or name.")
    channel: str | None = Field(None, max_length=16, description="Kind of the last customer message.")
    contact: int | None = Field(None, ge=1, le=2**53, description="A contact's id; merged records count.")
    updated_after: datetime | None = Field(None, description="RFC 3339 with a time zone.")
    view: int | None = Field(None, ge=1, le=2**53, description="A saved view's id; what it asks is asked as well.")
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=200)


class PageQuery(In):
    """A page of a list that is ordered by id."""

    limit: int = Field(50, ge=1, le=200)
    before: int | None = Field(None, ge=1, le=2**53, description="`next` of the page before.")


class Conversation(Out):
    """One matter with one person over any number of channels."""

    id: int
    state: str
    subject: str
    preview: str
    channel: str
    priority: int
    contact: Named
    queue: Named | None
    assignee: Named | None
    waiting_since: datetime | None
    due_at: datetime | None
    snoozed_until: datetime | None
    last_at: datetime
    created_at: datetime
    message_count: int
    last_message_id: int
    last_inbound_id: int = Field(description="Send it back as `seen_message_id` with a reply.")


class ConversationPage(Out):
    """`next` is the cursor of the next page; null at the end."""

    conversations: list[Conversation]
    next: str | None


class ConversationList(Out):
    """All there are."""

    conversations: list[Conversation]


class Participant(Out):
    """Somebody beside the customer: `copied` by the customer or an agent, or `joined` by answering a mail."""

    address: str
    name: str
    how: Literal["copied", "joined"]
    contact_id: int | None = Field(description="Who that is, once they wrote.")
    created_at: datetime


class Target(Out):
    """A promise under way. Without `due_at` it rests, or its queue promises nothing of the kind."""

    kind: Literal["first_reply", "next_reply", "resolution"]
    target_seconds: int | None = Field(description="Of open time.")
    started_at: datetime
    due_at: datetime | None
    warned_at: datetime | None
    breached_at: datetime | None


class ConversationDetail(Conversation):
    """With the reasons in plain sentences, who takes part by mail beside the customer, and what was promised."""

    why_assigned: list[str]
    why_waiting: list[str]
    participants: list[Participant]
    targets: list[Target]
    labels: list[str] = Field(description="Kinds of work of which an agent's profile may allow only so many at once.")


class File(Out):
    """An attachment."""

    id: int
    name: str
    content_type: str
    size: int


class Message(Out):
    """One message. `state` is how far an outbound one got; `quoted_at` is where quoted history begins in `text`,
    `signature_at` where the signature before it does; `language` is a guess."""

    id: int
    conversation_id: int
    kind: Literal["inbound", "outbound", "note"]
    channel: str
    agent: Named | None
    to: str
    cc: list[str]
    bcc: list[str]
    subject: str
    text: str
    quoted_at: int | None
    signature_at: int | None
    language: str
    fields: dict[str, str]
    automatic: str
    flags: list[str] = Field(
        description="What a reader should know. A sender who could be taken for somebody else: `spoofed_colleague`, "
        "`named_colleague:` and whose name it is, `named_address:` and which address of ours is shown as the name, "
        "`looks_like_us:`, `looks_like_customer:` or `looks_like_contact:` and the domain that the sender's resembles."
    )
    authenticity: dict[str, str] = Field(
        description="Inbound mail: verdict, spf, dkim, dmarc, arc (pass, fail, none, temperror, permerror), whose word "
        "that is (source), the domain that vouches for it, and the trusted forwarder that says so (sealer)."
    )
    state: str
    state_why: str
    sent_at: datetime | None
    created_at: datetime
    attachments: list[File]


class MessagePage(Out):
    """`next` goes into `before` for older ones; null when there are none."""

    messages: list[Message]
    next: int | None


class ReplyIn(In):
    """An answer to the customer. `channel` is a channel's name; without it the one the customer used last is taken."""

    text: str = Field("", max_length=MAX_TEXT, description="Needed unless there is `html`.")
    html: str = Field("", max_length=MAX_TEXT, description="The same formatted, for mail; it is made harmless.")
    cc: list[str] | None = Field(
        None, max_length=50, description="Mail only. Left out, everybody whom the answered mail names gets a copy."
    )
    bcc: list[str] = Field(default_factory=list, max_length=50, description="Mail only.")
    channel: str | None = Field(None, max_length=64)
    seen_message_id: int | None = Field(
        None, ge=0, le=2**53, description="Refuse when the customer wrote something newer than this."
    )
    then: Literal["", "resolve", "snooze"] = ""
    send_at: datetime | None = Field(None, description="Leaves then instead of at once.")
    unless_they_write: bool = Field(False, description="With `send_at`: held when the customer has written by then.")
    undo_seconds: int = Field(0, ge=0, le=600, description="How long it can be taken back before it leaves.")

    @model_validator(mode="after")
    def _says_something(self) -> ReplyIn:
        if not (self.text or self.html):
            raise ValueError("text or html has to say something")
        return self


class NoteIn(In):
    """A remark that only the team sees."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)


class AssignIn(In):
    """Give it to an agent."""

    agent_id: int = Field(ge=1, le=2**53)
    reason: str = Field("", max_length=200)


class TransferIn(In):
    """Put it into another queue."""

    queue_id: int = Field(ge=1, le=2**53)
    reason: str = Field("", max_length=200)


class SnoozeIn(In):
    """Out of sight until a moment, or with null until the customer writes."""

    until: datetime | None = None


class ContactsQuery(In):
    """Whose name or address contains `query`."""

    query: str = Field("", max_length=200)
    limit: int = Field(50, ge=1, le=100)
    before: int | None = Field(None, ge=1, le=2**53, description="`next` of the page before.")


class Identity(Out):
    """One way to reach or recognise a person. Unverified ones are claims: they prove nothing."""

    id: int
    kind: str
    value: str
    shown: str
    verified: bool
    opted_out: bool
    suppressed: str = Field(description="Why nothing may be sent there: stop, bounce, complaint, manual, or empty.")


class Contact(Out):
    """A person over all merged records; `id` is the record that stands for them, `records` are all of them."""

    id: int
    name: str
    language: str
    company: str
    zone: str
    attributes: dict[str, Any]
    identities: list[Identity]
    records: list[int]
    created_at: datetime


class ContactIn(In):
    """What is to be said of a person; what is left out stays as it is, an attribute that is null goes."""

    name: str | None = Field(None, max_length=200)
    company: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=20)
    zone: str | None = Field(None, max_length=60)
    attributes: dict[str, Any] = Field({}, max_length=100)


class ContactPage(Out):
    """`next` goes into `before`; null at the end."""

    contacts: list[Contact]
    next: int | None


class IdentityIn(In):
    """A further way to reach a contact: `kind` is email or phone, a phone number is written with its country."""

    kind: Literal["email", "phone"]
    value: str = Field(min_length=3, max_length=320)


class MergeIn(In):
    """The other record of the same person."""

    other_id: int = Field(ge=1, le=2**53)


class Merge(Out):
    """A merge; `POST /merges/{id}/undo` takes it back."""

    id: int
    survivor_id: int
    other_id: int
    undone: bool


class EventsQuery(In):
    """Everything after a cursor in its one order, without gaps."""

    after: int = Field(0, ge=0, le=2**53, description="`next` of the answer before; 0 begins at the beginning.")
    limit: int = Field(100, ge=1, le=500)
    wait: float = Field(0, ge=0, le=25, description="Seconds to wait for something new when there is nothing.")


class Event(Out):
    """Something that happened; ids and small values only."""

    id: int
    type: str
    timestamp: datetime
    data: dict[str, Any]


class EventPage(Out):
    """`next` is the cursor to go on from, also when the list is empty."""

    events: list[Event]
    next: int


class EventTypes(Out):
    """Every type that can happen."""

    types: list[str]


class EndpointIn(In):
    """Where events go. No `events` means all of them."""

    name: str = Field(min_length=1, max_length=64)
    url: str = Field(min_length=1, max_length=2000)
    events: list[str] = Field(default_factory=list, max_length=100)


class Endpoint(Out):
    """A subscriber of events."""

    id: int
    name: str
    url: str
    events: list[str]
    active: bool
    failing_since: datetime | None
    problem: str
    created_at: datetime


class NewEndpoint(Endpoint):
    """`secret` verifies our signatures (Standard Webhooks); it is shown this once."""

    secret: str


class EndpointList(Out):
    """All of them."""

    endpoints: list[Endpoint]


class WebhookDelivery(Out):
    """One event on its way to a subscriber; `response` is what it said last."""

    id: int
    type: str
    state: str
    attempts: int
    error: str
    response: dict[str, Any]
    due_at: datetime
    created_at: datetime
    ended_at: datetime | None


class DeliveryPage(Out):
    """`next` goes into `before`; null at the end."""

    deliveries: list[WebhookDelivery]
    next: int | None


class ReceiptFilter(In):
    """Which receipts; what is left out does not narrow."""

    channel: str | None = Field(None, max_length=64, description="A channel's name.")
    state: Literal["received", "accepted", "duplicate", "ignored", "quarantined"] | None = None
    sort: Literal["message", "callback"] | None = Field(None, description="A callback is a delivery status or a press.")
    since: datetime | None = Field(None, description="Received then or later; RFC 3339 with a time zone.")
    until: datetime | None = Field(None, description="Received before that; RFC 3339 with a time zone.")
    query: str | None = Field(None, max_length=200, description="Words in the reason, the ids, the sender.")


class ReceiptsQuery(ReceiptFilter):
    """A page of the ledger, newest first."""

    limit: int = Field(50, ge=1, le=200)
    before: int | None = Field(None, ge=1, le=2**53, description="`next` of the page before.")


class ReplayIn(ReceiptFilter):
    """Which receipts to read again."""

    dry_run: bool = Field(True, description="Only count; send false to do it.")


class Replayed(Out):
    """`to_read` are read (again), `messages` are in the history already and stay as they are, `left` make none:
    callbacks, what was ignored for a reason, what lost its bytes or has no active channel."""

    dry_run: bool
    matched: int
    to_read: int
    messages: int
    left: int


class Receipt(Out):
    """One raw thing that arrived. `state` is received (still to be read), accepted, duplicate, ignored or quarantined;
    `seen` is how often it was delivered; `key` is what made it one thing; `raw` says whether its bytes are kept;
    at `looked_at` a person left it in quarantine."""

    id: int
    channel: Named | None
    origin: Literal["message", "status", "press"]
    state: str
    why: str
    attempts: int
    seen: int
    seen_at: datetime | None
    received_at: datetime
    content_type: str
    size: int
    key: str
    external_id: str
    sender: str
    message_id: int | None
    conversation_id: int | None
    looked_at: datetime | None
    masked_cards: int = Field(description="Card numbers that were masked in its bytes before they were stored.")
    raw: bool


class ReceiptPage(Out):
    """`next` goes into `before`. Each page looks through a part: also an empty one may have a `next`."""

    receipts: list[Receipt]
    next: int | None


class Problem(Out):
    """What every refusal has under `error`: `code` for programs, `message` for people, `fields` that did not fit."""

    code: str
    message: str
    fields: dict[str, list[str]] | None = None


class Error(Out):
    """The answer of every refusal."""

    error: Problem


class Opening(Out):
    """A time in which it is open without a break."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    since: datetime = Field(alias="from")
    until: datetime


class Calendar(Out):
    """When somebody is there for the queues that keep to it."""

    id: int
    name: str
    time_zone: str
    queues: list[Named]
    open: bool
    opens_at: datetime | None = Field(description="Now if it is open; null if it never opens again.")
    openings: list[Opening] = Field(description="Of the coming two weeks.")


class Calendars(Out):
    """Every calendar in use."""

    calendars: list[Calendar]
