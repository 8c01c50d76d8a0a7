"""Who a person might be the same as, and why we think so; to say that they are takes a person."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlmodel import col, select

from storage import Tx
from storage.access import Actor, visible
from storage.conversations import Conversation
from storage.people import Contact, Identity, identities_of

MOST = 4
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
    for record, reason in [*_by_number(tx, person), *_by_name(tx, person), *_by_mailbox(tx, person)]:
        standing = tx.get_one(Contact, record).person_id or record
        if standing != person.id:
            told = found.setdefault(standing, Suggestion(standing))
            told.reasons += [reason] if reason not in told.reasons else []
    seen = _seen(tx, actor, found)
    return sorted((one for number, one in found.items() if number in seen), key=lambda one: -len(one.reasons))[:MOST]


def _by_number(tx: Tx, person: Contact) -> list[tuple[int, str]]:
    numbers = [one.value for one in identities_of(tx, person.id or 0) if one.kind in ("phone", "whatsapp")]
    query = select(Identity.contact_id).where(
        col(Identity.kind).in_(("phone", "whatsapp")), col(Identity.value).in_(numbers)
    )
    return [(number, "the same telephone number") for number in tx.exec(query)] if numbers else []


def _by_name(tx: Tx, person: Contact) -> list[tuple[int, str]]:
    """A single word is no name of one person; two words with the same company are."""
    if len(person.name.split()) < 2:
        return []
    query = select(Contact.id, Contact.company).where(
        Contact.name == person.name, Contact.id != person.id, col(Contact.erased_at).is_(None)
    )
    return [
        (number or 0, "the same name and company" if company and company == person.company else "the same name")
        for number, company in tx.exec(query.limit(20))
    ]


def _by_mailbox(tx: Tx, person: Contact) -> list[tuple[int, str]]:
    """mara.lindqvist at another domain, or with a +tag."""
    mailboxes = set()
    for one in identities_of(tx, person.id or 0):
        name = one.value.partition("@")[0].partition("+")[0] if one.kind == "email" else ""
        if len(name) >= SHORTEST and name not in ROLES:
            mailboxes.add(name)
    same = f"SELECT contact_id, value FROM identity WHERE kind = 'email' AND {_MAILBOX[tx.dialect]} = ? LIMIT 20"
    return [(row[0], "a similar mail address") for name in sorted(mailboxes) for row in tx.sql(same, name).fetchall()]


def _seen(tx: Tx, actor: Actor, found: dict[int, Suggestion]) -> set[int]:
    query = (
        select(Contact.person_id)
        .join(Conversation, col(Conversation.contact_id) == col(Contact.id))
        .where(col(Contact.person_id).in_(found), visible(actor))
    )
    return {number or 0 for number in tx.exec(query)}
