"""The live line: one small event for each fact that this agent may see; the browser fetches what it shows of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from threading import Lock

from flask import Blueprint, current_app, request
from flask.typing import ResponseReturnValue

from config.language import speaking, spoken
from hub import Hub
from hub.concern import FACTS, Concern, concern
from hub.pump import PRESENCE, SKIPPED, Happened, Wants, frame
from hub.signin import session_agent
from hub.web import hub_here
from inbox.session import cookie_secret, viewer
from inbox.tellings import telling
from routing.disconnect import come_back
from storage.access import Actor, actor_for
from storage.store import Store

REMEMBERED = 2000
SENT = ("message_id", "contact_id", "agent_id", "offer_id", "state")
RIGHTS_CHANGE = (
    "DeskChanged", "AgentStatusChanged", "AgentChanged", "AgentSwitched", "RoleChanged", "SignInsEnded", SKIPPED,
)  # fmt: skip

UNSEEN = frozenset(  # of the audit log: nothing on anybody's page changes by them
    ("SignedIn", "SignInsEnded", "SignInStopped", "PasswordChanged", "PasswordResetAsked", "SecondStepChanged",
     "RecoveryCodesMade", "AgentInvited", "TokenCreated", "TokenRevoked")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stood:
    """Queue and owner of a fact's conversation when it was told, and whom the fact concerns."""

    queue_id: int | None
    assignee_id: int | None
    concern: Concern | None


class Sight:
    """Where a conversation stood when a fact was told: read once for all streams."""

    def __init__(self, store: Store):
        self._store = store
        self._known: OrderedDict[int, Stood | None] = OrderedDict()
        self._lock = Lock()

    def of(self, fact: Happened) -> Stood | None:
        """None when there is no such conversation."""
        with self._lock:
            if fact.id and fact.id in self._known:
                return self._known[fact.id]
        with self._store.read() as tx:
            row = tx.sql("SELECT queue_id, assignee_id FROM conversation WHERE id = ?", fact.conversation_id).fetchone()
            found = None if row is None else Stood(row[0], row[1], concern(tx, fact) if fact.name in FACTS else None)
        with self._lock:
            if fact.id:
                self._known[fact.id] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found

    def notice(self, actor: Actor, fact: Happened, stood: Stood) -> bytes:
        """What this agent's browsers tell of it beside what they show, where it concerns the agent."""
        if stood.concern is None or stood.concern.agent_id != actor.agent_id:
            return b""
        with self._store.read() as tx:
            told = telling(tx, fact, stood.concern)
        return b"" if told is None else frame(fact, "notice", asdict(told))


def register(blueprint: Blueprint) -> None:
    """Add the stream."""
    blueprint.record_once(lambda state: state.app.extensions.setdefault("inbox_sight", None))
    blueprint.add_url_rule("/inbox/stream", view_func=stream)


def stream() -> ResponseReturnValue:
    """Server-sent events named `fact`; resumes after Last-Event-ID."""
    hub, who = hub_here(), viewer()
    response = hub.pump.response(request, wants(hub, who.actor, cookie_secret()), agent_id=who.id)
    if response.status_code == 200:
        hub.store.submit(lambda tx: come_back(tx, who.id))
    return response


def wants(hub: Hub, actor: Actor, secret: str) -> Wants:
    """What one browser is told. Rights are read again when they may have changed; an ended sign-in hears no more."""
    sight, language = _sight(hub), spoken()
    listener: list[Actor | None] = [actor]

    def told(fact: Happened) -> bytes | None:
        if fact.name in RIGHTS_CHANGE:
            listener[0] = _actor(hub, secret)
        present = listener[0]
        with speaking(language):
            return None if present is None else _told(present, sight, fact)

    return told


def _told(actor: Actor, sight: Sight, fact: Happened) -> bytes | None:
    anything = frame(fact, "fact", {"fact": "Changed"})
    if fact.name in UNSEEN:
        return None
    if fact.name == "AgentStatusChanged":
        return anything if actor.sees_all or fact.data.get("agent_id") == actor.agent_id else None
    if fact.conversation_id is None:
        # Nothing about a person or a receipt goes out here: only that lists and counts may have changed.
        return anything
    stood = sight.of(fact)
    if stood is None:
        return None
    seen = actor.sees(stood.queue_id, stood.assignee_id)
    if fact.name == PRESENCE:
        mine = fact.data["agent_id"] == actor.agent_id
        there = {"conversation": fact.conversation_id} | fact.data
        return frame(fact, "presence", there) if seen and not mine else None
    offered = fact.name in ("OfferMade", "OfferEnded") and fact.data.get("agent_id") == actor.agent_id
    if offered or seen:
        data = {name: value for name, value in fact.data.items() if name in SENT}
        told = frame(fact, "fact", {"fact": fact.name, "conversation": fact.conversation_id} | data)
        return told + sight.notice(actor, fact, stood)
    # It may just have left this agent's sight: the list has to be read again.
    left = fact.name == "ConversationReleased" or (
        fact.name == "ConversationQueued" and fact.data.get("why") == "transfer"
    )
    return anything if left else None


def _sight(hub: Hub) -> Sight:
    extensions = current_app.extensions
    if extensions.get("inbox_sight") is None:
        extensions["inbox_sight"] = Sight(hub.store)
    found: Sight = extensions["inbox_sight"]
    return found


def _actor(hub: Hub, secret: str) -> Actor | None:
    with hub.store.read() as tx:
        session = session_agent(tx, secret)
        return None if session is None or session.step_missing else actor_for(tx, session.agent)
