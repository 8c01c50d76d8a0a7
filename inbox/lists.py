"""The list of conversations: views, their order by what is due, pages, and the counts beside their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_
from sqlmodel import col, select

from config.language import N_, _, p_, words
from hub import views as saved
from hub.drafts import first_words
from hub.onlookers import REPLYING, others_at
from hub.viewfields import states_of
from inbox.excerpts import Part
from inbox.session import Viewer
from inbox.wording import SOON, address, kind
from storage import Tx
from storage.access import NotFound, listed
from storage.batches import placeholders
from storage.conversations import Conversation
from storage.desk import Queue
from storage.mentions import Mention

PAGE = 40
MOST = 400  # rows that one page may ask for again after loading more
NAMED = words(
    {
        "mine": "Assigned to me",
        "unassigned": "Unassigned",
        "all": "Everything",
        "snoozed": "Snoozed",
        "resolved": "Resolved",
        "mentions": "Mentions",
        "escalated": "Escalated",
    }
)
READ = "SELECT conversation_id, message_id FROM reading WHERE agent_id = ? AND conversation_id IN ({})"
AUTHORS = (
    "SELECT m.id, m.agent_id, a.name FROM message m JOIN agent a ON a.id = m.agent_id "
    "WHERE m.id IN ({}) AND m.kind = 'outbound'"
)
NAMES = "SELECT c.id, p.id, p.name FROM contact c JOIN contact p ON p.id = c.person_id WHERE c.id IN ({})"
REACHED = (
    "SELECT c.person_id, i.kind, i.value FROM contact c JOIN identity i ON i.contact_id = c.id "
    "WHERE c.person_id IN ({}) ORDER BY i.strength"
)
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


def view_named(tx: Tx, who: Viewer, name: str) -> View | None:
    """A view by its name in the address, or None."""
    if name in NAMED:
        return View(name, NAMED[name], _conditions[name])
    found = _VIEW.fullmatch(name)
    if found is None:
        return None
    if found.group(1):
        channel = found.group(1)
        return View(name, kind(channel).label, lambda __: and_(_open(), col(Conversation.channel) == channel))
    if found.group(3):
        return _saved(tx, who, int(found.group(3)))
    queue = tx.get(Queue, int(found.group(2)))
    if queue is None:
        return None
    return View(name, queue.name, lambda __: and_(_open(), col(Conversation.queue_id) == queue.id))


def _saved(tx: Tx, who: Viewer, number: int) -> View | None:
    try:
        row = saved.view(tx, who.actor, number)
    except NotFound:
        return None
    wanted = saved.has(tx, row.condition, who.id)
    return View(f"view-{number}", row.name, lambda __: wanted, states_of(row.condition))


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
            groups.append(Group(_heading(title), rows_of(tx, who, rows)))
        left -= len(rows)
        if rest:
            return Listing(view.name, view.title, groups, _cursor(number, rows[-1], _moment(view, title, rows[-1])))
        if left == 0 and number + 1 < len(sections):
            return Listing(view.name, view.title, groups, str(number + 1))
    return Listing(view.name, view.title, groups)


def numbers_in(tx: Tx, who: Viewer, view: View, limit: int) -> list[int]:
    """Which conversations a view has, in its order."""
    numbers: list[int] = []
    for __, condition, key, ascending in _sections(tx, view):
        query = select(Conversation.id).where(_shown(who, view), condition)
        query = query.order_by(*_order(key, ascending)).limit(limit - len(numbers))
        numbers += [number for number in tx.exec(query) if number is not None]
    return numbers


def rows_of(tx: Tx, who: Viewer, conversations: list[Conversation]) -> list[Row]:
    """What the list says about each conversation; a handful of queries for all of them, and none for none."""
    if not conversations:
        return []
    ids = [number for row in conversations if (number := row.id) is not None]
    people = names_of(tx, {row.contact_id for row in conversations})
    read = dict(tx.sql(READ.format(placeholders(ids)), who.id, *ids).fetchall())
    drafts = first_words(tx, who.id, ids)
    newest = [row.last_message_id for row in conversations]
    authors = {row[0]: (row[1], row[2]) for row in tx.sql(AUTHORS.format(placeholders(newest)), *newest).fetchall()}
    company = others_at(tx, who.id, ids)

    def row(conversation: Conversation) -> Row:
        number = conversation.id or 0
        agent_id, name = authors.get(conversation.last_message_id, (None, ""))
        by = _("You") if agent_id == who.id else name.split()[0] if name else ""
        unread = conversation.waiting_since is not None and conversation.last_inbound_id > read.get(number, 0)
        person = people.get(conversation.contact_id, _("Somebody"))
        writing = next((one.name.split()[0] for one in company.get(number, []) if one.doing == REPLYING), "")
        return Row(conversation, person, unread, drafts.get(number, ""), by, writing)

    return [row(conversation) for conversation in conversations]


def names_of(tx: Tx, contact_ids: set[int]) -> dict[int, str]:
    """What to call the person behind each contact record: a name, else the best-proved address."""
    found = tx.sql(NAMES.format(placeholders(contact_ids)), *contact_ids).fetchall()
    names = {person_id: name for __, person_id, name in found}
    nameless = [number for number, name in names.items() if not name]
    for person_id, kind_name, value in (
        tx.sql(REACHED.format(placeholders(nameless)), *nameless).fetchall() if nameless else ()
    ):
        names[person_id] = _("Visitor") if kind_name == "chat" else address(value)
    return {
        number: names[person_id] or _("Contact {person_id}", person_id=person_id) for number, person_id, __ in found
    }


def _named(who: Viewer) -> ColumnElement[bool]:
    """Conversations in which this agent was named."""
    return col(Conversation.id).in_(select(Mention.conversation_id).where(Mention.agent_id == who.id))


def _shown(who: Viewer, view: View) -> ColumnElement[bool]:
    return and_(listed(who.actor), view.condition(who))


def _open() -> ColumnElement[bool]:
    return col(Conversation.state) == "open"


_conditions: dict[str, Callable[[Viewer], ColumnElement[bool]]] = {
    "mine": lambda who: and_(_open(), col(Conversation.assignee_id) == who.id),
    "unassigned": lambda __: and_(_open(), col(Conversation.assignee_id).is_(None)),
    "all": lambda __: _open(),
    "snoozed": lambda __: col(Conversation.state) == "snoozed",
    "resolved": lambda __: col(Conversation.state) == "resolved",
    "mentions": _named,
    "escalated": lambda __: and_(_open(), col(Conversation.escalated_at).is_not(None)),
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
        (N_("Due now"), due <= soon, due, True),
        (
            N_("Open"),
            or_(due > soon, and_(due.is_(None), waiting.is_not(None))),
            func.coalesce(due, waiting),
            True,
        ),
        (N_("Waiting for the customer"), and_(due.is_(None), waiting.is_(None)), last, False),
    ]
    if not view.states:
        return by_need
    asleep, done = col(Conversation.state) == "snoozed", col(Conversation.state) == "resolved"
    by_state: dict[str, list[Section]] = {
        "open": [(title, and_(_open(), condition), key, ascending) for title, condition, key, ascending in by_need],
        "snoozed": [(N_("Snoozed"), asleep, _until(), True)],
        "resolved": [(N_("Resolved"), done, last, False)],
    }
    return [section for state in view.states for section in by_state[state]]


def _heading(title: str) -> str:
    return p_("heading", "Open") if title == "Open" else _(title)


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
    section, __, rest = text.partition(".")
    if not section.isdecimal() or len(section) > 1:
        return 0, None
    stamp, __, number = rest.partition(".")
    try:
        moment = datetime.strptime(stamp, "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
        return int(section), (moment, int(number[:18]))
    except ValueError:
        return int(section), None


def _beyond(key: Any, cursor: tuple[datetime, int], ascending: bool) -> ColumnElement[bool]:
    moment, number = cursor
    same = and_(key == moment, col(Conversation.id) > number if ascending else col(Conversation.id) < number)
    return or_(key > moment if ascending else key < moment, same)
