"""Slots in texts that are used again and again: `{{contact.first_name}}` is filled in, what nobody knows is a gap.

`{{contact.first_name|there}}` says what stands there when it is not known. A gap, `⟦arrival date⟧`, is for a person
to fill; nothing is sent with one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo

from sqlmodel import select

from config.language import _, words
from routing.fields import nearest
from storage import Tx
from storage.access import Actor, Conflict
from storage.conversations import Conversation
from storage.desk import Queue
from storage.people import Agent, Contact, identities_of

KNOWN = words(
    {
        "contact.name": "The customer's name",
        "contact.first_name": "Its first word",
        "contact.email": "Their e-mail address",
        "contact.phone": "Their telephone number",
        "contact.company": "Their company",
        "contact.language": "Their language",
        "conversation.number": "The number of the conversation",
        "conversation.subject": "Its subject",
        "conversation.queue": "The queue it is in",
        "agent.name": "The name of who sends it",
        "agent.first_name": "Its first word",
        "agent.email": "Their e-mail address",
        "today": "Today's date",
    }
)
FREE = "contact."  # behind it may stand anything that is known about a person
SAMPLE = {
    "contact.name": "Mara Lindqvist", "contact.first_name": "Mara", "contact.email": "mara@example.com",
    "contact.phone": "+46 70 174 06 05", "contact.company": "Northlight", "contact.language": "sv",
    "conversation.number": "2914", "conversation.subject": "Order 48213", "conversation.queue": "Shipping",
}  # fmt: skip
_SLOT = re.compile(r"\{\{\s*([^{}|\s][^{}|\n]{0,79}?)\s*(?:\|\s*([^{}\n]{0,200}?)\s*)?\}\}|\{(name)\}")
_GAP = re.compile("⟦([^⟦⟧\n]{1,80})⟧")
_ROOTS = ("contact.", "conversation.", "agent.")


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with what is known; what is not, and has no word of its own for that, is a gap."""

    def said(found: re.Match[str]) -> str:
        name = "contact.first_name" if found[3] else found[1]
        value = values.get(name) or found[2]
        return value if value is not None else f"⟦{name.removeprefix(FREE).replace('_', ' ')}⟧"

    return _SLOT.sub(said, text)


def gaps(text: str) -> list[str]:
    """What a person still has to fill in."""
    return _GAP.findall(text)


def must_be_whole(text: str) -> None:
    """Raises Conflict when there is a gap."""
    if found := gaps(text):
        raise Conflict(_("There is a gap to fill in: ⟦{found}⟧.", found=found[0]))


def must_be_known(text: str) -> str:
    """Raises ValueError for a slot that looks like one of ours and is none; other names are gaps for agents."""
    for found in _SLOT.finditer(text):
        name = found[1] or ""
        if name.startswith(_ROOTS) and not name.startswith(FREE) and name not in KNOWN:
            raise ValueError(f"{{{{{name}}}}} is nothing we know; {nearest(name, KNOWN)}")
    return text


def values_of(tx: Tx, actor: Actor, conversation: Conversation, zone: tzinfo = UTC) -> dict[str, str]:
    """What is known for a conversation, by the names of slots; what is empty is left out."""
    contact = tx.get_one(Contact, conversation.contact_id)
    person = tx.get_one(Contact, contact.person_id or contact.id)
    queue = tx.get(Queue, conversation.queue_id) if conversation.queue_id else None
    identities = identities_of(tx, person.id or 0)
    reached = {one.kind: one.shown or one.value for one in reversed(identities)}
    found = {f"{FREE}{name}": str(value) for name, value in person.attributes.items() if isinstance(value, str | int)}
    found |= {
        "contact.name": person.name,
        "contact.first_name": _first(person.name),
        "contact.email": reached.get("email", ""),
        "contact.phone": reached.get("phone", ""),
        "contact.company": person.company,
        "contact.language": person.language,
        "conversation.number": str(conversation.id),
        "conversation.subject": conversation.subject,
        "conversation.queue": queue.name if queue else "",
    }
    return {name: value for name, value in (found | of_agent(tx, actor, zone)).items() if value}


def of_agent(tx: Tx, actor: Actor, zone: tzinfo = UTC) -> dict[str, str]:
    """What is known of who writes, and the day where they are."""
    agent = tx.exec(select(Agent).where(Agent.id == actor.agent_id)).first() if actor.agent_id else None
    name, email = (agent.name, agent.email) if agent else ("", "")
    today = f"{tx.now.astimezone(zone):%d %B %Y}".lstrip("0")
    return {"agent.name": name, "agent.first_name": _first(name), "agent.email": email, "today": today}


def _first(name: str) -> str:
    word = name.split()[0] if name.split() else ""
    return word if word[:1].isalpha() else ""
