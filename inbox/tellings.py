"""What a browser is to tell its agent of a fact that concerns them: a few words, on the desktop, by a sound or both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from channels.text import shortened
from config.language import _
from hub.concern import (
    ANSWERED,
    ASSIGNED,
    COLLEAGUE,
    DESKTOP,
    DUE,
    MENTIONED,
    OFFERED,
    SOUND,
    UNSENT,
    Concern,
    chosen,
)
from hub.pump import Happened
from storage import Tx
from storage.conversations import Conversation, Message
from storage.people import Agent, Contact

FRESH = timedelta(minutes=2)  # a browser that was away is not told all that it missed
MOST_CHARS = 160


@dataclass(frozen=True, slots=True)
class Telling:
    """What is shown and where it leads; a `sound` is "ring", "word", or empty for none."""

    id: int
    conversation: int
    title: str
    body: str
    url: str
    desktop: bool
    sound: str


def telling(tx: Tx, fact: Happened, found: Concern) -> Telling | None:
    """What the agent is told; None where they have switched it off, are offline, or it is old news.

    Somebody who is away is shown it, but without a sound.
    """
    agent, conversation = tx.get(Agent, found.agent_id), tx.get(Conversation, fact.conversation_id)
    if agent is None or conversation is None or agent.status == "offline" or tx.now - fact.at > FRESH:
        return None
    ways = chosen(tx, found.agent_id)[found.kind]
    sound = ("ring" if found.kind == OFFERED else "word") if SOUND in ways and agent.status == "available" else ""
    if DESKTOP not in ways and not sound:
        return None
    contact = tx.get_one(Contact, conversation.contact_id)
    person = (tx.get(Contact, contact.person_id) or contact).shown
    title, body = _words(tx, fact, found, person, conversation)
    view = {MENTIONED: "mentions", OFFERED: "unassigned"}.get(found.kind, "mine")
    address = f"/inbox/c/{conversation.id}?view={view}"
    return Telling(fact.id, conversation.id or 0, title, body, address, DESKTOP in ways, sound)


def _words(tx: Tx, fact: Happened, found: Concern, person: str, conversation: Conversation) -> tuple[str, str]:
    about = _short(conversation.subject or conversation.preview)
    message = tx.get(Message, found.message_id) if found.message_id else None
    said = _short(message.visible_text) if message else ""
    if found.kind == ANSWERED:
        return person, said or about
    if found.kind == UNSENT:
        return _("Not sent: your answer to {person}", person=person), said
    if found.kind in (MENTIONED, COLLEAGUE):
        author = _name(tx, fact.data["by"])
        if found.kind == MENTIONED:
            return _("{author} mentions you: {person}", author=author, person=person), said
        return _("{author} writes: {person}", author=author, person=person), said
    if found.kind == DUE:
        late = fact.name.endswith("Breached")
        return (_("Late: {person}", person=person) if late else _("Due soon: {person}", person=person)), about
    if found.kind == OFFERED:
        return _("Rings at you: {person}", person=person), about
    if found.kind == ASSIGNED:
        return _("Yours now: {person}", person=person), about
    return _("Back from snooze: {person}", person=person), about


def _short(words: str) -> str:
    return shortened(" ".join(words.split()), MOST_CHARS)


def _name(tx: Tx, by: str) -> str:
    kind, _sep, number = by.partition(":")
    agent = tx.get(Agent, int(number)) if kind == "agent" and number.isdecimal() else None
    return agent.name if agent else _("Somebody")
