"""What a channel is: values that come in, values that go out, and the few verbs between them and the network.

A channel knows one provider's protocol and nothing of the database. Behaviour is declared by having the method
(`isinstance(channel, Polls)`), numbers by `limits`. See DECISIONS.md 4.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, BinaryIO, ClassVar, Protocol, runtime_checkable

from channels.reports import Report
from channels.seals import Authenticity, Seals, Verify


class Strength(IntEnum):
    """How well a contact point is proved to belong to the person who uses it (0 to 100, higher is better)."""

    COOKIE = 20
    CLAIMED = 30  # typed into a form or a pre-chat question
    CALLER_ID = 40
    DOUBTED = 25  # a mail whose sender's domain says that it is not from there
    MAIL = 60  # an inbound mail that nothing speaks for or against
    MAIL_PROVED = 75  # one whose sender's domain vouches for it (DMARC or an aligned signature)
    PHONE = 80  # an inbound text: the network vouches for the number
    SLACK = 80
    WHATSAPP = 85
    SIGNED = 95  # a token signed by the customer's own site
    MANUAL = 100


@dataclass(frozen=True, slots=True)
class ContactPoint:
    """One way to reach or recognise a person: `kind` is email, phone, whatsapp, slack, chat or external.

    `value` is normalised by the channel (e-mail lower-cased with an IDNA domain, phone in E.164); `shown` is what
    the person or provider wrote.
    """

    kind: str
    value: str
    strength: Strength
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who wrote. `points` come strongest first; the first one identifies the contact, the others are added to it."""

    points: tuple[ContactPoint, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class File:
    """An attachment. `name` is safe to show and to save under; `cid` is the Content-ID of an inline part."""

    name: str
    content_type: str
    data: bytes = field(repr=False)
    cid: str = ""
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """One thing exactly as it arrived, with the key under which the provider would send it again.

    What is too large for memory comes as an open `file` of `file_size` bytes; then `body` is empty. Where something
    was masked in `body`, `original` is what came; it is never stored.
    """

    dedupe_key: str
    body: bytes = field(repr=False)
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    file: BinaryIO | None = field(default=None, repr=False, compare=False)
    file_size: int = 0
    original: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message as a channel understood it.

    `external_id` is the provider's id or the Message-ID (a hint, never an identity). `references` are ids the
    message says it answers, the most specific first. `tokens` are reply tokens found in recipient addresses.
    `quoted_at` is the offset in `text` where quoted history begins (len(text) when there is none), `signature_at`
    where the signature before it does. `safe_html` is `html` made harmless by version `safe_version` of the rules.
    `language` is a guess (ISO 639-1), empty where it would be a bad one. `fields` are a form's answers, or what else
    a kind knows by dotted names (`calendar.when`, `forwarded.address`, `date`).
    `automatic` says why this is not a human's message ("vacation", "bounce", "bulk", ...); such a message is
    attached but neither reopens a conversation nor counts. `command` is "stop" or "start" for opt-out words.
    """

    sender: Sender
    text: str
    to: str = ""  # our own address that was written to
    subject: str = ""
    html: str = ""
    sent_at: datetime | None = None
    external_id: str = ""
    references: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # other recipients: To and Cc without our own address
    files: tuple[File, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    quoted_at: int | None = None
    signature_at: int | None = None
    safe_html: str = ""
    safe_version: int = 0
    language: str = ""
    automatic: str = ""
    command: str = ""
    flags: tuple[str, ...] = ()  # what a reader should know: "multi_from", "too_many_parts", ...
    marks: tuple[str, ...] = ()  # what claims to be our own mark on it; the hub verifies it
    results: tuple[
        str, ...
    ] = ()  # what mail servers on the way, or anybody, wrote about its authenticity, newest first
    authenticity: Authenticity = field(default_factory=Authenticity)
    report: Report | None = None  # what it reports about an earlier message of ours


@dataclass(frozen=True, slots=True)
class Quoted:
    """The message that an answer answers, for channels that may quote it."""

    author: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Outbound:
    """A message on its way out. `id` is our own uuid, known to the provider where it offers a place for it.

    `to` begins with the customer. `only` names the recipients that are still to be reached where an earlier try
    reached the others; empty means all. `bulk` is one of many and carries `unsubscribe_url`; an answer never is.
    """

    id: str
    to: tuple[str, ...]
    text: str
    cc: tuple[str, ...] = ()
    subject: str = ""
    html: str = ""
    sender_name: str = ""
    sender_signature: str = ""
    external_id: str = ""  # the Message-ID chosen before the first try
    references: tuple[str, ...] = ()  # oldest first, the last is what this answers
    files: tuple[File, ...] = ()
    automatic: str = ""  # "auto-replied" or "auto-generated" where no person wrote it (RFC 3834 5)
    bcc: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    quoted: Quoted | None = None
    bulk: bool = False
    unsubscribe_url: str = ""
    mark: str = ""  # signed, by which we know our own message again
    reply_token: str = ""  # for a channel whose replies can be addressed by a token
    bounce_token: str = ""  # for a channel whose bounces can be


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took responsibility. `state` is "sent", or "delivered" where there is nothing further to hear.

    Of several recipients some may be `refused` for good, or `waiting` because they are refused for now: address and
    sentence. The others have got it.
    """

    external_id: str
    state: str = "sent"
    refused: Mapping[str, str] = field(default_factory=dict)
    waiting: Mapping[str, str] = field(default_factory=dict)


class DeliveryState(StrEnum):
    """States of an outbound message; they only move forward by `rank`."""

    DRAFT = "draft"
    QUEUED = "queued"
    SENDING = "sending"
    UNCERTAIN = "uncertain"
    SENT = "sent"
    FAILED = "failed"
    DELIVERED = "delivered"
    READ = "read"

    @property
    def rank(self) -> int:
        """A late `delivered` overrides `failed`; nothing overrides `read`."""
        return {
            "draft": 0,
            "queued": 1,
            "sending": 2,
            "uncertain": 3,
            "sent": 4,
            "failed": 5,
            "delivered": 6,
            "read": 7,
        }[self]


@dataclass(frozen=True, slots=True)
class DeliveryUpdate:
    """What a provider says later about a message we sent. `id` is our uuid if it came back, else `external_id`."""

    raw: Raw
    state: DeliveryState
    id: str = ""
    external_id: str = ""
    why: str = ""  # a sentence for the agent when it failed
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Ignored:
    """An authentic call that is no message for us and never will be: the receipt says why.

    `private` means words between others that a provider tells us of: that it came is kept, the bytes are not.
    """

    raw: Raw
    why: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the composer and the queue may rely on."""

    max_chars: int | None = None
    html: bool = False
    subject: bool = False
    files: bool = False
    max_file_bytes: int = 0
    segments: bool = False  # count SMS segments in the composer
    reply_within: timedelta | None = None
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """An HTTP request as a channel may judge it: `url` is PUBLIC_BASE_URL plus the raw request URI, never rebuilt."""

    method: str
    url: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes = field(repr=False)
    now: datetime = field(kw_only=True)


class SendFailed(Exception):
    """The message was certainly not handed over. The sentence is shown to the agent, `response` goes to the log."""

    def __init__(
        self, why: str, *, permanent: bool = False, retry_after: timedelta | None = None, opted_out: bool = False,
        response: Mapping[str, Any] | None = None, away: bool = False,
    ):  # fmt: skip
        super().__init__(why)
        self.why, self.permanent, self.retry_after, self.opted_out = why, permanent, retry_after, opted_out
        self.away = away  # it would have failed with anything else for this target as well
        self.response = dict(response or {})


class SendUncertain(Exception):
    """The line broke after the message may have been taken: nobody knows yet, so it is never resent blindly."""

    def __init__(self, why: str):
        super().__init__(why)
        self.why = why


class NotAuthentic(Exception):
    """The signature is wrong, missing or too old: answer 403 and keep nothing."""


class Unreadable(Exception):
    """The bytes are authentic but make no message: the receipt is quarantined with this sentence."""


class NotConfigured(Exception):
    """A channel's settings can't work. The sentence says which key and what to put there."""


class CheckFailed(Exception):
    """ "Test this channel" did not pass. The sentence says what to mend."""


@runtime_checkable
class Channel(Protocol):
    """One configured account of a kind."""

    kind: ClassVar[str]
    limits: ClassVar[Limits]
    name: str  # the row's key: "support-mail"
    address: str  # what the world writes to: "support@example.com", "+46700000000"

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        """Read the bytes. Pure; raises Unreadable."""
        ...

    def send(self, message: Outbound) -> Accepted:
        """Hand it over, once. Raises SendFailed or SendUncertain."""
        ...


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a folder has been read."""

    folder: str
    uidvalidity: int = 0
    uid: int = 0


class Folder(Protocol):
    """One folder of an account over a connection of its own, used by one thread at a time."""

    name: str
    behind: int  # how many mails the last poll has still to hand over
    settles: bool  # whether `settle` has anything to do
    since: date | None  # the day on which mail began to be new; what came before is nobody's work

    def poll(self, cursor: Cursor) -> Iterator[tuple[Raw | None, Cursor]]:
        """Everything after `cursor`, oldest first, each with the cursor to store in the same unit.

        `None` moves the cursor past something that can't be fetched now.
        """
        ...

    def listing(self, since: date) -> tuple[int, list[int]]:
        """UIDVALIDITY, and the UIDs of what arrived on that day or later."""
        ...

    def present(self, uids: Sequence[int]) -> set[int]:
        """Those that are still there."""
        ...

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Bytes of each, as far as the server can tell."""
        ...

    def fetch(
        self, uidvalidity: int, uids: Sequence[int], *, substitutes: bool = False
    ) -> Iterator[tuple[Raw | None, Cursor]]:
        """These mails again. `substitutes` takes what the server gives in place of a mail that it can't read."""
        ...

    def settle(self, uidvalidity: int, uids: Sequence[int]) -> None:
        """What the settings ask for once a mail is durable: flags, labels, moves."""
        ...

    def wait(self, seconds: float) -> bool:
        """Block until the provider says that something is new (IDLE), at most `seconds`; True when it did."""
        ...

    def close(self) -> None:
        """Drop the connection, from any thread. Never raises."""
        ...


@runtime_checkable
class Polls(Protocol):
    """A channel that has to be asked, folder by folder."""

    def folders(self) -> tuple[str, ...]:
        """The folders to follow."""
        ...

    def follow(self, folder: str) -> Folder:
        """One of them; nothing is connected yet."""
        ...


@runtime_checkable
class ReadsApart(Protocol):
    """A channel whose `parse` is heavy or dangerous enough for a process of its own (`channels.apart`)."""

    @staticmethod
    def rehearse() -> None:
        """Load everything that `parse` needs, once, before readers are forked."""
        ...


@runtime_checkable
class LogsInWithTokens(Protocol):
    """A channel whose account logs in with access tokens that somebody has to keep fresh."""

    @property
    def oauth(self) -> Any:
        """What its settings say about the provider; None where it has a password."""
        ...

    def use_tokens(self, fetch: Callable[[], str]) -> None:
        """Ask `fetch` for the token at every login."""
        ...


@runtime_checkable
class Authenticates(Protocol):
    """A channel whose messages can be checked for where they really come from; with a static method `verify`."""

    def keys(self, raw: Raw) -> Mapping[str, str | None]:
        """By which its signatures are judged while it is read; none where nobody asks. May ask the network."""
        ...

    def authenticate(self, raw: Raw, inbound: Inbound, verify: Verify, judged: Seals | None = None) -> Inbound:
        """The message with its authenticity, and the strength that follows. May ask the network; never raises."""
        ...


@runtime_checkable
class Hears(Protocol):
    """A channel whose provider calls us."""

    def hear(self, request: SignedRequest) -> Sequence[Raw | DeliveryUpdate | Ignored]:
        """Verify, then take apart. Raises NotAuthentic."""
        ...


@runtime_checkable
class Signs(Protocol):
    """A channel that puts a signature under what it sends."""

    def signature(self, agent: str, own: str) -> str:
        """As text, for an agent with this signature of their own; empty where there is none."""
        ...


@runtime_checkable
class Reconciles(Protocol):
    """A channel whose provider can be asked what we missed."""

    def missing(self, since: datetime) -> Iterator[Raw]: ...

    def outcome(self, message: Outbound, since: datetime, known: Container[str] = ()) -> Accepted | None:
        """Did the provider take this message after all? None when it certainly did not.

        `known` are the provider's ids of our other messages, where equal words could be taken for this one's. Raises
        SendUncertain when the provider can't be asked now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How many messages a minute an account may send: in all, and to one recipient domain. None is without limit."""

    per_minute: float | None = None
    per_domain: float | None = None


@runtime_checkable
class Paces(Protocol):
    """A channel that asks for a pace."""

    pace: Pace


@runtime_checkable
class FilesCopies(Protocol):
    """A channel that keeps what it sent in a folder of the account."""

    files_copies: bool

    def file_copy(self, message: Outbound, at: datetime) -> str:
        """Put a copy of what was sent at that moment there, unless it is there. The folder; raises SendFailed."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A channel that can prove its settings by using them."""

    def check(self) -> None:
        """Log in for real. Raises CheckFailed."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to try about an account. `run` says what it found; it raises CheckFailed."""

    name: str
    run: Callable[[], str]


@runtime_checkable
class ChecksInSteps(Protocol):
    """A channel that tells which part of its settings works: what can be tried, first what the rest needs."""

    def checks(self) -> Sequence[Check]: ...


Settings = Mapping[str, Any]
