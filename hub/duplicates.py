"""Who a person might be the same as, and why we think so; to say that they are takes a person."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlmodel import col, select

from config.language import _
from storage import Tx
from storage.access import CONTACTS, Actor, Conflict, person_for, visible
from storage.contactdata import apart_from
from storage.contactfacts import ContactsParted
from storage.conversations import Conversation
from storage.people import Contact, Identity, identities_of

MOST = 4
ALIKE = 20  # people that are looked at for one reason, beside those who are known to be others
SHORTEST = 5  # letters before the @ that are hardly two people's by chance
# Many companies have these, and nobody is called so.
ROLES = frozenset(
    ("admin", "billing", "contact", "customer", "enquiries", "finance", "hello", "help", "helpdesk", "info", "invoice",
     "invoices", "kontakt", "mailbox", "marketing", "noreply", "no-reply", "office", "orders", "postmaster",
     "purchasing", "reception", "sales", "service", "shipping", "support", "webmaster")
)  # fmt: skip
_MAILBOX = {
    "postgresql": "split_part(split_part(value, '@', 1), '+', 1)",
    "sqlite": "substr(value, 1, instr(replace(value, '+', '@'), '@') - 1)",
}
TELL = (
    "INSERT INTO contact_apart(one_id, other_id, by, at) VALUES(?, ?, ?, ?) ON CONFLICT (one_id, other_id) DO NOTHING"
)
_OF = "IN (SELECT id FROM contact WHERE person_id = ?)"
FORGET = f"DELETE FROM contact_apart WHERE (one_id {_OF} AND other_id {_OF}) OR (one_id {_OF} AND other_id {_OF})"


@dataclass
class Suggestion:
    """Somebody, and the reasons, the best first."""

    person_id: int
    reasons: list[str] = field(default_factory=list)


def suggestions(tx: Tx, actor: Actor, person: Contact) -> list[Suggestion]:
    """The likeliest few whose conversations this actor may see, those with the best reasons first."""
    if person.erased_at is not None:
        return []
    found: dict[int, Suggestion] = {}
    apart = apart_from(tx, person.id or 0)
    most = ALIKE + len(apart)
    for record, reason in [*_by_number(tx, person), *_by_name(tx, person, most), *_by_mailbox(tx, person, most)]:
        standing = tx.get_one(Contact, record).person_id or record
        if standing != person.id and standing not in apart:
            told = found.setdefault(standing, Suggestion(standing))
            told.reasons += [reason] if reason not in told.reasons else []
    seen = _seen(tx, actor, found)
    return sorted((one for number, one in found.items() if number in seen), key=lambda one: -len(one.reasons))[:MOST]


def tell_apart(tx: Tx, actor: Actor, contact_id: int, other_id: int, on: bool = True) -> bool:
    """Say that two people are not the same: nobody is suggested it any more; or take that back. Whether that is new.

    Whatever record somebody looks at, it counts for the whole person, and is parted with a merge that is taken back.
    Raises NotFound, and Conflict where they are one person already or one of them was erased.
    """
    actor.must(CONTACTS)
    person, other = person_for(tx, actor, contact_id), person_for(tx, actor, other_id)
    if person.id == other.id:
        raise Conflict(_("These two are one person already."))
    if on and (person.erased_at is not None or other.erased_at is not None):
        raise Conflict(_("Somebody who was erased is like nobody: nothing is known of them."))
    one, two = sorted((person.id or 0, other.id or 0))
    statement, values = (TELL, (one, two, actor.by, tx.now)) if on else (FORGET, (one, two, two, one))
    changed = tx.sql(statement, *values).rowcount > 0
    if changed:
        tx.emit(ContactsParted(person.id or 0, other.id or 0, on, by=actor.by))
    return changed


def told_apart(tx: Tx, actor: Actor, contact_id: int) -> list[int]:
    """Who is said not to be the same as a person, of those whom this actor sees. Raises NotFound."""
    return sorted(_seen(tx, actor, apart_from(tx, person_for(tx, actor, contact_id).id or 0)))


def _by_number(tx: Tx, person: Contact) -> list[tuple[int, str]]:
    numbers = [one.value for one in identities_of(tx, person.id or 0) if one.kind in ("phone", "whatsapp")]
    query = select(Identity.contact_id).where(
        col(Identity.kind).in_(("phone", "whatsapp")), col(Identity.value).in_(numbers)
    )
    return [(number, "the same telephone number") for number in tx.exec(query)] if numbers else []


def _by_name(tx: Tx, person: Contact, most: int) -> list[tuple[int, str]]:
    """A single word is no name of one person; two words with the same company are."""
    if len(person.name.split()) < 2:
        return []
    query = select(Contact.id, Contact.company).where(
        Contact.name == person.name, Contact.id != person.id, col(Contact.erased_at).is_(None)
    )
    return [
        (number or 0, "the same name and company" if company and company == person.company else "the same name")
        for number, company in tx.exec(query.limit(most))
    ]


def _by_mailbox(tx: Tx, person: Contact, most: int) -> list[tuple[int, str]]:
    """mara.lindqvist at another domain, or with a +tag."""
    mailboxes = set()
    for one in identities_of(tx, person.id or 0):
        name = one.value.partition("@")[0].partition("+")[0] if one.kind == "email" else ""
        if len(name) >= SHORTEST and name not in ROLES:
            mailboxes.add(name)
    same = f"SELECT contact_id, value FROM identity WHERE kind = 'email' AND {_MAILBOX[tx.dialect]} = ? LIMIT ?"
    return [
        (row[0], "a similar mail address") for name in sorted(mailboxes) for row in tx.sql(same, name, most).fetchall()
    ]


def _seen(tx: Tx, actor: Actor, found: Collection[int]) -> set[int]:
    query = (
        select(Contact.person_id)
        .join(Conversation, col(Conversation.contact_id) == col(Contact.id))
        .where(col(Contact.person_id).in_(found), visible(actor))
    )
    return {number or 0 for number in tx.exec(query)}
