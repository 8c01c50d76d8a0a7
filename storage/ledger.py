"""The questions that people and programs ask of the receipts: which, how many, from whom, what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from storage.access import Actor, NotFound, visible_receipt
from storage.conversations import Message
from storage.desk import ChannelAccount
from storage.people import Contact, Identity
from storage.receipts import Receipt, is_kept, still_open
from storage.store import Tx

STATES = ("received", "accepted", "duplicate", "ignored", "quarantined")
OPEN_STATES = ("received", "quarantined")
SORTS = ("message", "callback")
SPAN = 50_000  # receipts that one page looks through: a rare word must not read the whole ledger in one request
MAX_WORDS = 8
SLACK = timedelta(minutes=10)  # ids follow the moments of their receipts only nearly
NEIGHBOURS = 500  # receipts that may have come in one moment, or whose nodes' clocks differ


@dataclass(frozen=True, slots=True)
class Filter:
    """Which receipts. `channel` is an account's name, `sort` message or callback; every word must be found."""

    channel: str = ""
    state: str = ""
    sort: str = ""
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        return self == Filter()


@dataclass(frozen=True, slots=True)
class Entry:
    """One receipt as lists show it: without its bytes, with whom it is from and what it became."""

    id: int
    channel_id: int | None
    channel: str
    kind: str
    address: str
    origin: str
    key: str
    state: str
    why: str
    attempts: int
    content_type: str
    size: int
    received_at: datetime
    seen: int
    seen_at: datetime | None
    looked_at: datetime | None
    headers: dict[str, str]
    kept: bool  # whether the bytes are still here
    external_id: str  # of the message: the provider's id or the Message-ID
    sender: str  # the address it came from, as far as a message could be made
    person: str
    message_id: int | None
    conversation_id: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """`following` goes into `before` for older ones; None at the end. A page may be short and still have more."""

    entries: list[Entry]
    following: int | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many receipts a filter finds, and of those how many reading again would concern."""

    matched: int = 0
    unread: int = 0  # quarantined or still to be read
    messages: int = 0  # are a message or a copy of one already


_made, _about = aliased(Message), aliased(Message)


def words_of(typed: str) -> tuple[str, ...]:
    """What somebody typed into the search box; words beyond the eighth are dropped."""
    return tuple(typed.replace("\x00", "").split()[:MAX_WORDS])


def entries(tx: Tx, actor: Actor, wanted: Filter, *, before: int | None = None, limit: int = 50) -> Page:
    """A page of what this actor may see, newest first. It looks through a bounded part of the ledger."""
    start = _start(tx, wanted, before)
    floor = 0 if wanted.state in OPEN_STATES else max(0, start - SPAN)  # open ones are few and have an index
    query = _rows().where(visible_receipt(actor), *conditions(wanted), col(Receipt.id) < start)
    if floor:
        query = query.where(col(Receipt.id) >= floor)
    rows = tx.execute(query.order_by(col(Receipt.id).desc()).limit(limit + 1)).all()
    found = [Entry(*row) for row in rows[:limit]]
    if len(rows) > limit:
        return Page(found, found[-1].id)
    return Page(found, floor if floor and _goes_on(tx, wanted, floor) else None)


def entry(tx: Tx, actor: Actor, receipt_id: int) -> Entry:
    """One receipt. Raises NotFound when it does not exist or this actor may not see it."""
    row = tx.execute(_rows().where(col(Receipt.id) == receipt_id, visible_receipt(actor))).first()
    if row is None:
        raise NotFound(f"There is no receipt {receipt_id}.")
    return Entry(*row)


def tally(tx: Tx, actor: Actor, wanted: Filter, again: ColumnElement[bool]) -> Tally:
    """Count what a filter finds; `again` is the condition on those that can be read again."""
    kind = case((again, "unread"), (_is_message(), "message"), else_="other")
    counted = (
        select(kind, func.count())
        .select_from(Receipt)
        .where(visible_receipt(actor), *conditions(wanted))
        .group_by(kind)
    )
    found = {name: number for name, number in tx.execute(counted)}
    return Tally(sum(found.values()), found.get("unread", 0), found.get("message", 0))


def ids_after(
    tx: Tx, actor: Actor, wanted: Filter, again: ColumnElement[bool], after: int, limit: int
) -> Sequence[int]:
    """The next receipts, oldest first, that can be read again."""
    query = select(col(Receipt.id)).where(visible_receipt(actor), *conditions(wanted), again, col(Receipt.id) > after)
    return [number or 0 for number in tx.execute(query.order_by(col(Receipt.id)).limit(limit)).scalars()]


def conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    """The filter as conditions on `Receipt`."""
    found: list[ColumnElement[bool]] = []
    if wanted.channel:
        named = select(col(ChannelAccount.id)).where(col(ChannelAccount.name) == wanted.channel)
        found.append(col(Receipt.channel_id).in_(named))
    if wanted.state:
        found.append(col(Receipt.state) == wanted.state)
        if wanted.state in OPEN_STATES:
            found.append(still_open())
    if wanted.sort:
        message = col(Receipt.origin) == "message"
        found.append(message if wanted.sort == "message" else ~message)
    if wanted.since is not None:
        found.append(col(Receipt.received_at) >= wanted.since)
    if wanted.until is not None:
        found.append(col(Receipt.received_at) < wanted.until)
    return found + [_says(word) for word in wanted.words]


def _says(word: str) -> ColumnElement[bool]:
    own = (col(Receipt.why), col(Receipt.dedupe_key))
    made = (col(Message.external_id), col(Identity.value), col(Contact.name))
    from_somebody = (
        select(col(Message.id))
        .outerjoin(Identity, col(Identity.id) == col(Message.identity_id))
        .outerjoin(Contact, col(Contact.id) == col(Message.contact_id))
        .where(
            col(Message.receipt_id) == col(Receipt.id), or_(*(text.icontains(word, autoescape=True) for text in made))
        )
        .correlate(Receipt)
    )
    return or_(*(text.icontains(word, autoescape=True) for text in own), exists(from_somebody))


def _is_message() -> ColumnElement[bool]:
    return and_(col(Receipt.origin) == "message", col(Receipt.state).in_(("accepted", "duplicate")))


def _rows() -> Any:
    """What an `Entry` is made of, in its order."""
    return (
        select(
            col(Receipt.id), col(Receipt.channel_id), _or_empty(ChannelAccount.name), _or_empty(ChannelAccount.kind),
            _or_empty(ChannelAccount.address), col(Receipt.origin), col(Receipt.dedupe_key), col(Receipt.state),
            col(Receipt.why), col(Receipt.attempts), col(Receipt.content_type), col(Receipt.size),
            col(Receipt.received_at), col(Receipt.seen), col(Receipt.seen_at), col(Receipt.looked_at),
            col(Receipt.headers), is_kept(), _or_empty(_made.external_id), _or_empty(Identity.value),
            _or_empty(Contact.name), func.coalesce(_made.id, Receipt.message_id),
            func.coalesce(_made.conversation_id, _about.conversation_id),
        )
        .outerjoin_from(Receipt, ChannelAccount, col(ChannelAccount.id) == col(Receipt.channel_id))
        .outerjoin(_made, col(_made.receipt_id) == col(Receipt.id))
        .outerjoin(_about, col(_about.id) == col(Receipt.message_id))
        .outerjoin(Identity, col(Identity.id) == col(_made.identity_id))
        .outerjoin(Contact, col(Contact.id) == col(_made.contact_id))
    )  # fmt: skip


def _or_empty(column: Any) -> ColumnElement[str]:
    return func.coalesce(column, "")


def _start(tx: Tx, wanted: Filter, before: int | None) -> int:
    """The id below which the page begins."""
    if before is not None:
        return before
    query = select(func.max(col(Receipt.id)))
    if wanted.until is not None:
        newest = select(col(Receipt.id)).where(col(Receipt.received_at) < wanted.until + SLACK)
        near = newest.order_by(col(Receipt.received_at).desc()).limit(NEIGHBOURS).subquery()
        query = select(func.max(near.c.id))
    return (tx.execute(query).scalar() or 0) + 1


def _goes_on(tx: Tx, wanted: Filter, floor: int) -> bool:
    """Whether anything older can belong to the filter."""
    query = select(col(Receipt.received_at)).where(col(Receipt.id) < floor).order_by(col(Receipt.id).desc()).limit(1)
    newest = tx.execute(query).scalar()
    return newest is not None and (wanted.since is None or newest >= wanted.since - SLACK)
