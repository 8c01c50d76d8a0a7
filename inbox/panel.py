"""What stands beside a conversation: the person, why it came here, earlier conversations, who else it could be."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlmodel import col, select

from config.language import _, month
from hub.contacts import Differing
from hub.localtime import LocalTime, local_time
from hub.participants import others_in
from hub.suppression import reasons
from inbox.session import Viewer
from routing import work
from storage import Tx
from storage.access import listed, visible
from storage.contactdata import contact_fields
from storage.conversations import Conversation
from storage.desk import Queue
from storage.participants import Participant
from storage.people import Agent, Contact, Identity, Merge, identities_of, persons_called
from storage.tags import all_tags, tags_of
from storage.work import latest_labels, open_assignment

LATER = (  # what is fetched after the page, told by a few numbers
    "WITH mine AS (SELECT id FROM contact WHERE person_id = ?) SELECT "
    "(SELECT count(*) FROM mine), "
    "(SELECT count(*) FROM conversation WHERE contact_id IN (SELECT id FROM mine)), "
    "(SELECT count(*) FROM contact_note WHERE contact_id IN (SELECT id FROM mine)), "
    "(SELECT max(id) FROM contact_note WHERE contact_id IN (SELECT id FROM mine)), "
    "(SELECT count(*) FROM contact_event WHERE contact_id IN (SELECT id FROM mine)), "
    "(SELECT max(updated_at) FROM contact_event WHERE contact_id IN (SELECT id FROM mine)), "
    "(SELECT max(id) FROM consent WHERE contact_id IN (SELECT id FROM mine)), "
    "(SELECT max(at) FROM contact_apart WHERE one_id IN (SELECT id FROM mine) OR other_id IN (SELECT id FROM mine)), "
    "(SELECT count(*) FROM contact_apart WHERE one_id IN (SELECT id FROM mine) OR other_id IN (SELECT id FROM mine))"
)


@dataclass(frozen=True, slots=True)
class Panel:
    """The context beside a thread."""

    person: Contact
    records: list[int]  # the contacts that are this person: more than one after a merge
    name: str
    identities: list[Identity]
    conversation: Conversation
    assignee: Agent | None
    queue: Queue | None
    why: list[str]
    waiting: list[str]
    labels: list[str]
    parked: bool
    version: str  # changes with what is fetched later, so that it is fetched again
    fields: list[tuple[str, str]]  # what the desk's own fields and other attributes say
    local: LocalTime | None
    merges: list[Merge] = field(default_factory=list)
    participants: list[Participant] = field(default_factory=list)  # beside the customer
    closed: dict[int, str] = field(default_factory=dict)  # why nothing may go to some of the identities
    tags: list[str] = field(default_factory=list)
    known_tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody this person might be the same as."""

    person: Contact
    identities: list[Identity]
    conversations: int

    @property
    def name(self) -> str:
        return self.person.name or (
            self.identities[0].shown or self.identities[0].value if self.identities else _("Visitor")
        )


def panel(tx: Tx, who: Viewer, conversation: Conversation, name: str) -> Panel:
    """Everything the panel says; conversations this agent may not see are not even counted."""
    contact = tx.get_one(Contact, conversation.contact_id)
    person = tx.get_one(Contact, contact.person_id or contact.id)
    assigned = conversation.assignee_id is not None
    number = conversation.id or 0
    identities, owned = identities_of(tx, person.id or 0), open_assignment(tx, number)
    closed = reasons(tx, identities)
    merges = select(Merge).where(Merge.survivor_id == person.id, col(Merge.undone_at).is_(None))
    return Panel(
        person=person,
        records=[number or 0 for number in tx.exec(select(Contact.id).where(Contact.person_id == person.id))],
        name=name,
        identities=identities,
        conversation=conversation,
        assignee=tx.get(Agent, conversation.assignee_id) if assigned else None,
        queue=tx.get(Queue, conversation.queue_id) if conversation.queue_id is not None else None,
        why=list(work.why_assigned(tx, number)) if assigned or conversation.state == "resolved" else [],
        waiting=list(work.why_waiting(tx, number)) if not assigned and conversation.state != "resolved" else [],
        labels=latest_labels(tx, number),
        parked=owned is not None and owned.parked_at is not None,
        version=_version(tx, person, closed),
        fields=_fields(tx, person),
        local=local_time(person, identities, tx.now),
        merges=list(tx.exec(merges.order_by(col(Merge.id).desc()).limit(3))),
        participants=others_in(tx, conversation),
        closed=closed,
        tags=tags_of(tx, [number]).get(number, []),
        known_tags=all_tags(tx),
    )


def person_of(tx: Tx, conversation: Conversation) -> int:
    """The record that stands for the person of a conversation."""
    contact = tx.get_one(Contact, conversation.contact_id)
    return contact.person_id or contact.id or 0


def candidates(tx: Tx, who: Viewer, person_id: int, typed: str) -> list[Candidate]:
    """People by a part of their name or address, without this one; only those with a conversation one may see."""
    typed = typed.strip()
    if len(typed) < 2:
        return []
    seen = select(Conversation.contact_id).where(visible(who.actor))
    found = (
        select(Contact.person_id)
        .where(
            col(Contact.id).in_(seen),
            Contact.person_id != person_id,
            col(Contact.person_id).in_(persons_called(tx.dialect, typed)),
        )
        .distinct()
        .limit(8)
    )
    return [candidate(tx, who, number or 0) for number in tx.exec(found)]


def candidate(tx: Tx, who: Viewer, person_id: int) -> Candidate:
    """One person with what a merge would bring along."""
    person = tx.get_one(Contact, person_id)
    return Candidate(person, identities_of(tx, person_id), len(conversations_of(tx, who, person_id, 0)))


def conversations_of(tx: Tx, who: Viewer, person_id: int, without: int) -> list[Conversation]:
    """A person's conversations that this agent may see, newest first, but for one."""
    records = select(Contact.id).where(Contact.person_id == person_id)
    query = (
        select(Conversation)
        .where(listed(who.actor), col(Conversation.contact_id).in_(records), Conversation.id != without)
        .order_by(col(Conversation.last_at).desc())
        .limit(100)
    )
    return list(tx.exec(query))


def _version(tx: Tx, person: Contact, closed: dict[int, str]) -> str:
    known = (*tx.sql(LATER, person.id).fetchone(), *sorted(closed.items()), person.erased_at)
    return f"{zlib.crc32(repr(known).encode()):x}"


def _fields(tx: Tx, person: Contact) -> list[tuple[str, str]]:
    known, rest = contact_fields(tx), dict(person.attributes)
    told = [(each.label, in_words(rest.pop(each.name))) for each in known if each.name in rest]
    told += [
        (name.replace("_", " ").capitalize(), in_words(value))
        for name, value in rest.items()
        if isinstance(value, str | int | float)
    ]
    return [(label, words) for label, words in told if words]


def in_words(value: Any) -> str:
    """An attribute as people read it; empty for what is none of theirs to read."""
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    if isinstance(value, str):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            return value
        return _("{day} {month} {year}", day=day.day, month=month(day, short=True), year=day.year)
    return str(value) if isinstance(value, int | float) else ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A detail that a merge decides, as people read it."""

    key: str
    label: str
    mine: str
    other: str
    asks: bool


def in_words_of(tx: Tx, pairs: list[Differing]) -> list[Pair]:
    """The details of two people side by side, under the names that the desk has for them."""
    labels = {f"attributes.{each.name}": each.label for each in contact_fields(tx)}

    def label(key: str) -> str:
        plain = key.removeprefix("attributes.").replace("_", " ").capitalize()
        return labels.get(key) or {"zone": _("Time zone")}.get(key, plain)

    return [
        Pair(each.key, label(each.key), in_words(each.mine) or "–", in_words(each.other) or "…", each.asks)
        for each in pairs
    ]
