"""Whom something concerns, and how they want to be told: by the desktop, a sound, mail, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from config.language import _
from hub.lifecycle import TIME_CAME
from hub.people import set_mail_notices
from hub.pump import Happened
from storage import Tx
from storage.access import Actor, Conflict
from storage.automatic import NoticeChoices
from storage.conversations import Conversation, Message
from storage.people import Agent

DESKTOP, SOUND, MAIL = WAYS = ("desktop", "sound", "mail")
OFFERED, ASSIGNED, ANSWERED = "offered", "assigned", "answered"
MENTIONED, UNSENT, DUE, WOKEN, COLLEAGUE = "mentioned", "unsent", "due", "woken", "colleague"
PROPOSED: Mapping[str, frozenset[str]] = {  # in the order in which they are shown
    OFFERED: frozenset(WAYS), ASSIGNED: frozenset(WAYS), ANSWERED: frozenset(WAYS), MENTIONED: frozenset(WAYS),
    UNSENT: frozenset(WAYS), DUE: frozenset(WAYS), WOKEN: frozenset((DESKTOP,)), COLLEAGUE: frozenset((DESKTOP,)),
}  # fmt: skip
FACTS = {
    "OfferMade": OFFERED, "ConversationAssigned": ASSIGNED, "MessageReceived": ANSWERED, "AgentMentioned": MENTIONED,
    "ReplyHeld": UNSENT, "DeliveryChanged": UNSENT, "ConversationWoken": WOKEN, "ReplyQueued": COLLEAGUE,
    "NoteAdded": COLLEAGUE,
    **{f"{target}{how}": DUE for target in ("FirstReply", "NextReply", "Resolution") for how in ("Warned", "Breached")},
}  # fmt: skip
NONE, ONCE, AWAY = MAILS = ("none", "once", "away")
AWAY_MINUTES = (15, 30, 60, 240)


@dataclass(frozen=True, slots=True)
class Concern:
    """Something concerns an agent; `message_id` is what was written, where something was."""

    agent_id: int
    kind: str
    message_id: int | None = None


def concern(tx: Tx, fact: Happened) -> Concern | None:
    """The agent whom a fact concerns, and how; nobody is told what they did themselves."""
    kind, data = FACTS.get(fact.name, ""), fact.data
    if kind == "" or (fact.name == "DeliveryChanged" and data["state"] != "failed"):
        return None
    if kind in (OFFERED, ASSIGNED, MENTIONED):
        agent_id = data["agent_id"]
    elif kind == UNSENT:
        message = tx.get(Message, data["message_id"])
        agent_id = message.agent_id if message else None
    elif data.get("automatic") or (kind == WOKEN and data["why"] != TIME_CAME):
        return None
    else:
        conversation = tx.get(Conversation, fact.conversation_id)
        agent_id = conversation.assignee_id if conversation else None
    if not agent_id or (kind != UNSENT and data["by"] == f"agent:{agent_id}"):
        return None
    return Concern(agent_id, kind, data.get("message_id"))


def chosen(tx: Tx, agent_id: int) -> Mapping[str, Collection[str]]:
    """The ways in which an agent is told, for each kind."""
    row = tx.get(NoticeChoices, agent_id)
    return PROPOSED if row is None else {kind: row.choices.get(kind, ways) for kind, ways in PROPOSED.items()}


def mails(tx: Tx, agent: Agent) -> tuple[str, int]:
    """Whether an agent gets no mail, each at once or one while away; and how many minutes that one gathers."""
    row = tx.get(NoticeChoices, agent.id)
    minutes = row.away_minutes if row else 0
    return ONCE if agent.mail_notices else AWAY if minutes else NONE, minutes


def choose(tx: Tx, actor: Actor, agent: Agent, choices: Mapping[str, Collection[str]], mail: str, minutes: int) -> None:
    """Keep what an agent has chosen for themselves. Raises Conflict for what is not offered."""
    if mail not in MAILS or (mail == AWAY and minutes not in AWAY_MINUTES):
        raise Conflict(_("Choose how you are told by mail."))
    row = tx.get(NoticeChoices, agent.id) or NoticeChoices(agent_id=agent.id or 0)
    row.choices = {kind: [way for way in WAYS if way in choices.get(kind, ())] for kind in PROPOSED}
    row.away_minutes = minutes if mail == AWAY else 0
    tx.add(row)
    set_mail_notices(tx, agent, mail == ONCE, actor.by)
