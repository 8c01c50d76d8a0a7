"""The list of conversations: views, their order by what is due, pages, and the counts beside their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_
from sqlmodel import col, select

from hub import views as saved
from hub.drafts import first_words
from hub.onlookers import REPLYING, others_at
from hub.viewfields import states_of
from inbox.excerpts import Part
from inbox.session import Viewer
from inbox.wording import SOON, address, kind
from storage import Tx
from storage.access import NotFound, listed, visible, visible_receipt
from storage.conversations import Conversation, Message, Reading
from storage.desk import ChannelAccount, Queue
from storage.mentions import Mention
from storage.people import Agent, Contact, Identity
from storage.receipts import Receipt, is_unseen

PAGE = 40
MOST = 400  # rows that one page may ask for again after loading more
NAMED = {
    "mine": "Assigned to me",
    "unassigned": "Unassigned",
    "all": "Everything",
    "snoozed": "Snoozed",
    "resolved": "Resolved",
    "mentions": "Mentions",
    "escalated": "Escalated",
}
_VIEW = re.compile(r"(?:channel-([a-z]{2,16})|queue-(\d{1,9})|view-(\d{1,9}))", re.ASCII)


@dataclass(frozen=True, slots=True)
class View:
    """One list: its name in the address, its title and what belongs to it."""

    name: str
    title: str
    condition: Callable[[Viewer], ColumnElement[bool]]
    states: tuple[str, ...] = ()  # of a saved view, which says for itself what it has


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation in the list."""

    conversation: Conversation
    person: str
    unread: bool  # the customer waits with something this agent has not seen
    draft: str
    by: str  # who wrote the last words: "You", a colleague's name, or nobody of ours
    replying: str = ""  # the first name of a colleague who is writing an answer now
    found: tuple[Part, ...] = ()  # where a search found it: the words around, and those that were looked for


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under one heading; no heading where a view has only one kind."""

    title: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a view; `more` continues it."""

    view: str
    title: str
    groups: list[Group]
    more: str = ""
    query: str = ""
    hint: str = ""

    @property
    def count(self) -> int:
        return sum(len(group.rows) for group in self.groups)


@dataclass(frozen=True, slots=True)
class SavedCount:
    """A saved view in the navigation: `whose` is "mine", "team" or "all"."""

    id: int
    name: str
    whose: str
    count: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many are in each view, and how many of my own I have not read."""

    views: dict[str, int] = field(default_factory=dict)
    channels: list[tuple[str, int]] = field(default_factory=list)
    queues: list[tuple[int, str, int]] = field(default_factory=list)
    unread: int = 0
    saved: list[SavedCount] = field(default_factory=list)


def view_named(tx: Tx, who: Viewer, name: str) -> View | None:
    """A view by its name in the address, or None."""
    if name in NAMED:
        return View(name, NAMED[name], _conditions[name])
    found = _VIEW.fullmatch(name)
    if found is None:
        return None
    if found.group(1):
        channel = found.group(1)
        return View(name, kind(channel).label, lambda _: and_(_open(), col(Conversation.channel) == channel))
    if found.group(3):
        return _saved(tx, who, int(found.group(3)))
    queue = tx.get(Queue, int(found.group(2)))
    if queue is None:
        return None
    return View(name, queue.name, lambda _: and_(_open(), col(Conversation.queue_id) == queue.id))


def _saved(tx: Tx, who: Viewer, number: int) -> View | None:
    try:
        row = saved.view(tx, who.actor, number)
    except NotFound:
        return None
    wanted = saved.has(tx, row.condition, who.id)
    return View(f"view-{number}", row.name, lambda _: wanted, states_of(row.condition))


def listing(tx: Tx, who: Viewer, view: View, *, after: str = "", limit: int = PAGE) -> Listing:
    """A page of a view in the order agents work: due, open, waiting for the customer."""
    sections = _sections(tx, view)
    start, cursor = _read_cursor(after)
    groups: list[Group] = []
    left = min(limit, MOST)
    for number, (title, condition, key, ascending) in enumerate(sections):
        if number < start:
            continue
        query = select(Conversation).where(_shown(who, view), condition)
        if cursor is not None and number == start:
            query = query.where(_beyond(key, cursor, ascending))
        found = list(tx.exec(query.order_by(*_order(key, ascending)).limit(left + 1)))
        rows, rest = found[:left], found[left:]
        if rows:
            groups.append(Group(title, rows_of(tx, who, rows)))
        left -= len(rows)
        if rest:
            return Listing(view.name, view.title, groups, _cursor(number, rows[-1], _moment(view, title, rows[-1])))
        if left == 0 and number + 1 < len(sections):
            return Listing(view.name, view.title, groups, str(number + 1))
    return Listing(view.name, view.title, groups)


def numbers_in(tx: Tx, who: Viewer, view: View, limit: int) -> list[int]:
    """Which conversations a view has, in its order."""
    numbers: list[int] = []
    for _, condition, key, ascending in _sections(tx, view):
        query = select(Conversation.id).where(_shown(who, view), condition)
        query = query.order_by(*_order(key, ascending)).limit(limit - len(numbers))
        numbers += [number for number in tx.exec(query) if number is not None]
    return numbers


def rows_of(tx: Tx, who: Viewer, conversations: list[Conversation]) -> list[Row]:
    """What the list says about each conversation; a handful of queries for all of them."""
    ids = [number for row in conversations if (number := row.id) is not None]
    people = names_of(tx, {row.contact_id for row in conversations})
    read = dict(
        tx.exec(
            select(Reading.conversation_id, Reading.message_id).where(
                Reading.agent_id == who.id, col(Reading.conversation_id).in_(ids)
            )
        ).all()
    )
    drafts = first_words(tx, who.id, ids)
    authors = {
        message_id: (agent_id, name)
        for message_id, agent_id, name in tx.exec(
            select(Message.id, Message.agent_id, Agent.name)
            .join(Agent, col(Agent.id) == col(Message.agent_id))
            .where(col(Message.id).in_([row.last_message_id for row in conversations]), Message.kind == "outbound")
        )
    }

    company = others_at(tx, who.id, ids)

    def row(conversation: Conversation) -> Row:
        number = conversation.id or 0
        agent_id, name = authors.get(conversation.last_message_id, (None, ""))
        by = "You" if agent_id == who.id else name.split()[0] if name else ""
        unread = conversation.waiting_since is not None and conversation.last_inbound_id > read.get(number, 0)
        person = people.get(conversation.contact_id, "Somebody")
        writing = next((one.name.split()[0] for one in company.get(number, []) if one.doing == REPLYING), "")
        return Row(conversation, person, unread, drafts.get(number, ""), by, writing)

    return [row(conversation) for conversation in conversations]


def names_of(tx: Tx, contact_ids: set[int]) -> dict[int, str]:
    """What to call the person behind each contact record: a name, else the best-proved address."""
    found = tx.exec(select(Contact.id, Contact.person_id).where(col(Contact.id).in_(contact_ids))).all()
    person_ids = {person_id for _, person_id in found}
    names = dict(tx.exec(select(Contact.id, Contact.name).where(col(Contact.id).in_(person_ids))).all())
    nameless = [number for number, name in names.items() if not name]
    if nameless:
        reached = (
            select(Contact.person_id, Identity.kind, Identity.value)
            .join(Identity, col(Identity.contact_id) == col(Contact.id))
            .where(col(Contact.person_id).in_(nameless))
            .order_by(col(Identity.strength))
        )
        for person_id, kind_name, value in tx.exec(reached):
            names[person_id] = "Visitor" if kind_name == "chat" else address(value)
    return {number or 0: names.get(person_id) or f"Contact {person_id}" for number, person_id in found}


def counts(tx: Tx, who: Viewer) -> Counts:
    """One pass over what is open or snoozed and visible."""
    whose = case(
        (col(Conversation.assignee_id).is_(None), "none"),
        (col(Conversation.assignee_id) == who.id, "me"),
        else_="other",
    )
    tally: Counter[str] = Counter()
    channels: Counter[str] = Counter()
    queues: Counter[int] = Counter()
    grouped = (
        select(Conversation.state, Conversation.channel, Conversation.queue_id, whose, func.count())  # type: ignore[call-overload]
        .where(visible(who.actor), col(Conversation.state).in_(("open", "snoozed")))
        .group_by(Conversation.state, Conversation.channel, Conversation.queue_id, whose)
    )
    for state, channel, queue_id, owner, number in tx.exec(grouped):
        if state == "snoozed":
            tally["snoozed"] += number
            continue
        tally["all"] += number
        tally["mine"] += number if owner == "me" else 0
        tally["unassigned"] += number if owner == "none" else 0
        channels[channel] += number
        queues[queue_id or 0] += number
    spoiled = (is_unseen(), visible_receipt(who.actor))
    tally["unreadable"] = tx.exec(select(func.count()).select_from(Receipt).where(*spoiled)).one()
    tally["mentions"] = tx.exec(select(func.count()).select_from(Mention).where(*_unseen(who))).one()
    if who.actor.sees_all:
        late = and_(_open(), col(Conversation.escalated_at).is_not(None))
        tally["escalated"] = tx.exec(select(func.count()).select_from(Conversation).where(late)).one()
    unread = _unread(tx, who) + tally["mentions"]
    return Counts(dict(tally), _channels(tx, channels), _queues(tx, who, queues), unread, saved_counts(tx, who))


def saved_counts(tx: Tx, who: Viewer, *, fresh: bool = False) -> list[SavedCount]:
    """The saved views as they were counted last, or `fresh`: that takes its time, and nothing else waits for it."""
    tallies = saved.tallies(tx)
    found = []
    for row in saved.views(tx, who.actor):
        tally = tallies.fresh(tx, who.actor, row) if fresh else tallies.last(who.actor, row)
        whose = "mine" if row.agent_id else "team" if row.queue_id else "all"
        found.append(SavedCount(row.id or 0, row.name, whose, str(tally or "")))
    return found


def _channels(tx: Tx, channels: Counter[str]) -> list[tuple[str, int]]:
    kinds = tx.exec(select(ChannelAccount.kind).where(col(ChannelAccount.active)).order_by(col(ChannelAccount.id)))
    return [
        (kind_name, channels[kind_name]) for kind_name in dict.fromkeys([*kinds, *sorted(k for k in channels if k)])
    ]


def _queues(tx: Tx, who: Viewer, queues: Counter[int]) -> list[tuple[int, str, int]]:
    served = select(Queue).where(col(Queue.active)).order_by(col(Queue.id))
    if not who.actor.sees_all:
        served = served.where(col(Queue.id).in_(who.actor.queue_ids))
    return [(queue.id or 0, queue.name, queues[queue.id or 0]) for queue in tx.exec(served)]


def _unread(tx: Tx, who: Viewer) -> int:
    query = (
        select(func.count())
        .select_from(Conversation)
        .join(
            Reading,
            and_(Reading.conversation_id == Conversation.id, Reading.agent_id == who.id),  # type: ignore[arg-type]
            isouter=True,
        )
        .where(
            Conversation.assignee_id == who.id,
            Conversation.state == "open",
            col(Conversation.waiting_since).is_not(None),
            col(Conversation.last_inbound_id) > func.coalesce(Reading.message_id, 0),
        )
    )
    return tx.exec(query).one()


def _unseen(who: Viewer) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return col(Mention.agent_id) == who.id, col(Mention.seen_at).is_(None)


def _named(who: Viewer) -> ColumnElement[bool]:
    """Conversations in which this agent was named."""
    return col(Conversation.id).in_(select(Mention.conversation_id).where(Mention.agent_id == who.id))


def _shown(who: Viewer, view: View) -> ColumnElement[bool]:
    return and_(listed(who.actor), view.condition(who))


def _open() -> ColumnElement[bool]:
    return col(Conversation.state) == "open"


_conditions: dict[str, Callable[[Viewer], ColumnElement[bool]]] = {
    "mine": lambda who: and_(_open(), col(Conversation.assignee_id) == who.id),
    "unassigned": lambda _: and_(_open(), col(Conversation.assignee_id).is_(None)),
    "all": lambda _: _open(),
    "snoozed": lambda _: col(Conversation.state) == "snoozed",
    "resolved": lambda _: col(Conversation.state) == "resolved",
    "mentions": _named,
    "escalated": lambda _: and_(_open(), col(Conversation.escalated_at).is_not(None)),
}

Section = tuple[str, ColumnElement[bool], Any, bool]


def _sections(tx: Tx, view: View) -> list[Section]:
    due, waiting, last = col(Conversation.due_at), col(Conversation.waiting_since), col(Conversation.last_at)
    if view.name in ("resolved", "mentions"):
        return [("", last.is_not(None), last, False)]
    if view.name == "snoozed":
        return [("", col(Conversation.state) == "snoozed", _until(), True)]
    soon = tx.now + SOON
    by_need: list[Section] = [
        ("Due now", due <= soon, due, True),
        (
            "Open",
            or_(due > soon, and_(due.is_(None), waiting.is_not(None))),
            func.coalesce(due, waiting),
            True,
        ),
        ("Waiting for the customer", and_(due.is_(None), waiting.is_(None)), last, False),
    ]
    if not view.states:
        return by_need
    asleep, done = col(Conversation.state) == "snoozed", col(Conversation.state) == "resolved"
    by_state: dict[str, list[Section]] = {
        "open": [(title, and_(_open(), condition), key, ascending) for title, condition, key, ascending in by_need],
        "snoozed": [("Snoozed", asleep, _until(), True)],
        "resolved": [("Resolved", done, last, False)],
    }
    return [section for state in view.states for section in by_state[state]]


def _order(key: Any, ascending: bool) -> tuple[Any, Any]:
    number = col(Conversation.id)
    return (key.asc(), number.asc()) if ascending else (key.desc(), number.desc())


FAR = datetime(9999, 1, 1, tzinfo=UTC)  # "until the customer writes" sorts behind every date


def _until() -> Any:
    return func.coalesce(col(Conversation.snoozed_until), FAR)


def _moment(view: View, title: str, row: Conversation) -> datetime:
    if title == "Due now":
        return row.due_at or row.last_at
    if title == "Open":
        return row.due_at or row.waiting_since or row.last_at
    if view.name == "snoozed" or title == "Snoozed":
        return row.snoozed_until or FAR
    return row.last_at


def _cursor(section: int, row: Conversation, moment: datetime) -> str:
    return f"{section}.{moment:%Y%m%dT%H%M%S%f}.{row.id}"


def _read_cursor(text: str) -> tuple[int, tuple[datetime, int] | None]:
    """Section and position of the page before; a cursor that makes no sense begins at the top."""
    section, _, rest = text.partition(".")
    if not section.isdecimal() or len(section) > 1:
        return 0, None
    stamp, _, number = rest.partition(".")
    try:
        moment = datetime.strptime(stamp, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
        return int(section), (moment, int(number[:18]))
    except ValueError:
        return int(section), None


def _beyond(key: Any, cursor: tuple[datetime, int], ascending: bool) -> ColumnElement[bool]:
    moment, number = cursor
    same = and_(key == moment, col(Conversation.id) > number if ascending else col(Conversation.id) < number)
    return or_(key > moment if ascending else key < moment, same)
