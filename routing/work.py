"""What happens to work: put into a queue, offered, owned, handed on, answered and closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import select

from config.language import _
from routing.agents import agent_names, load_drift, take_load
from routing.ladder import Climb
from routing.limits import is_full
from routing.locks import hold, hold_agents, unmerged
from routing.lookups import looked_up
from routing.moves import cool_down, disown, end_offers, own, refresh, requeue, ring_on, ringing_at
from routing.onward import full_now, may_go_on, pass_on, way_in
from routing.parking import follow_parking
from routing.presence import acting_agent, set_status
from routing.pull import choices, hindrance, why_chosen, why_next
from routing.reasons import Explanation, why_assigned, why_waiting
from routing.returning import kept_for
from routing.rules import Placement, RuleBook, rule_book
from routing.shares import Share
from routing.sla import end_episode, first_due, record_answer, start_episode, take_answer_back
from routing.steps import first_step_at
from routing.wrapups import cut_short, wrap_up_of
from storage.access import ANSWER, SUPERVISE, Actor, Conflict, Forbidden, NotFound, conversation_for
from storage.conversations import Conversation
from storage.facts import ConversationQueued
from storage.people import Agent
from storage.store import Tx
from storage.work import RINGS, Assignment, Offer, WorkItem, live_item, open_assignment, wrap_ups

__all__ = [
    "Arrival",
    "Explanation",
    "accept",
    "answered",
    "assign",
    "claim",
    "close",
    "decline",
    "enqueue",
    "held_item",
    "load_drift",
    "release",
    "set_status",
    "take_next",
    "transfer",
    "unanswered",
    "why_assigned",
    "why_waiting",
]

NEXT_TRIES = 5  # pieces of work that may be gone meanwhile before an agent is told that nothing waits

_INSERT_ITEM = (
    "INSERT INTO work_item(conversation_id, queue_id, channel, weight, skills, labels, priority, state, enqueued_at, "
    "order_time, due_at, trace, ladder_rule_id, ladder_since, step_at, prefer_id, prefer_until, version) "
    "VALUES(?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) "
    "ON CONFLICT (conversation_id) WHERE state IN ('queued','offered','assigned') DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Work that came in, as rules see it. `attributes` are the contact's, its language under "language".

    `more` holds further values by the names of `routing.fields`.
    """

    conversation_id: int
    contact_id: int
    channel: str
    channel_name: str
    subject: str
    text: str
    attributes: Mapping[str, Any]
    language: str = ""  # of what was written; the contact's where nobody can tell
    more: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """What rules may ask without looking anything up."""
        values: dict[str, Any] = {f"contact.{name}": value for name, value in self.attributes.items()}
        values["item.channel"] = self.channel
        values["item.channel_name"] = self.channel_name
        values["item.subject"] = self.subject
        values["item.text"] = self.text
        values["item.language"] = self.language
        values.update(self.more)
        return values


def enqueue(tx: Tx, arrival: Arrival) -> int:
    """Begin a routing episode: rules decide queue, skills and priority; its clocks start.

    Answers the work item's id: the one under way if there is one already, which then stays as it is. Raises
    Conflict when the desk has no queue. The hot path of everything that arrives: driver statements only.
    """
    book = rule_book(tx)
    values = arrival.values()
    if book.lookups:
        found = looked_up(tx, book.lookups, arrival.contact_id, arrival.conversation_id, book.queues_by_name)
        values.update(found)
    place = _with_room(tx, book, book.served_place(book.open_place(book.place(values), tx.now)))
    due_at = first_due(place.queue, arrival.channel, tx.now)
    reopened = bool(arrival.more.get("item.reopened"))
    kept = kept_for(tx, place.queue, arrival.conversation_id, arrival.contact_id, place.skills, reopened)
    if reopened:
        cut_short(tx, arrival.conversation_id)
    row = tx.insert(
        _INSERT_ITEM,
        arrival.conversation_id, place.queue.id, arrival.channel, book.weight(arrival.channel), place.skills,
        place.labels, place.priority, tx.now, tx.now, due_at, place.trace,
        place.rule_id, tx.now, first_step_at(book, place.queue.id, place.rule_id, tx.now), *kept,
    ).fetchone()  # fmt: skip
    if row is None:
        live = "SELECT id FROM work_item WHERE conversation_id = ? AND state IN ('queued','offered','assigned')"
        return int(tx.sql(live, arrival.conversation_id).fetchone()[0])
    tx.sql(
        "UPDATE conversation SET queue_id = ?, priority = ?, due_at = ?, assignee_id = NULL WHERE id = ?",
        place.queue.id, place.priority, due_at, arrival.conversation_id,
    )  # fmt: skip
    start_episode(tx, book, place.queue, int(row[0]), arrival.conversation_id, arrival.channel)
    tx.emit(ConversationQueued(arrival.conversation_id, int(row[0]), place.queue.id, place.why))
    return int(row[0])


def accept(tx: Tx, actor: Actor, offer_id: int) -> Assignment:
    """Take what rings; at others it stops ringing. Accepting again what one has accepted changes nothing.

    Raises Conflict when it has run out or gone elsewhere, NotFound when it never rang at this agent.
    """
    actor.must(ANSWER)
    offer = _own_offer(tx, actor, offer_id)
    if offer.state == "accepted":
        current = open_assignment(tx, offer.conversation_id)
        if current is not None and current.agent_id == offer.agent_id:
            return current
    if offer.state != "offered" or offer.expires_at <= tx.now:
        raise Conflict(_what_became_of(tx, offer))
    hold_agents(tx, ringing_at(tx, {offer.conversation_id}))
    end_offers(tx, offer.work_item_id, "accepted", actor.by, offer.agent_id)
    end_offers(tx, offer.work_item_id, "rescinded", actor.by)
    tx.sql("UPDATE agent SET missed_offers = 0 WHERE id = ?", offer.agent_id)
    item = tx.get_one(WorkItem, offer.work_item_id)
    return _owned(tx, item, offer.agent_id, "offer", actor.by, offer.explanation)


def decline(tx: Tx, actor: Actor, offer_id: int) -> None:
    """Let somebody else take what rings; the conversation keeps its age. Declining twice changes nothing.

    Raises Conflict when it was accepted or went elsewhere, NotFound when it never rang at this agent.
    """
    actor.must(ANSWER)
    offer = _own_offer(tx, actor, offer_id)
    if offer.state in ("declined", "expired"):
        return
    if offer.state != "offered":
        raise Conflict(_what_became_of(tx, offer))
    end_offers(tx, offer.work_item_id, "declined", actor.by, offer.agent_id)
    cool_down(tx, offer.work_item_id, offer.agent_id)
    ring_on(tx, offer.work_item_id, offer.conversation_id)
    _reread(tx, offer.conversation_id, offer.agent_id)


def claim(tx: Tx, actor: Actor, conversation_id: int) -> Assignment:
    """Take a conversation that nobody has, also while it rings at somebody else. Claiming one's own changes nothing.

    Raises Conflict when somebody has it, when it is resolved or when the agent has no room, not the skills or a
    profile that forbids it (which does not bind supervisors); Forbidden without an agent; NotFound when the agent may
    not see it.
    """
    actor.must(ANSWER)
    agent = acting_agent(tx, actor)
    if agent.drained_at is not None:
        raise Conflict(_("You finish what you have and get nothing new: a supervisor can change that."))
    agent_id = int(agent.id or 0)
    item, owned = _held(tx, actor, conversation_id)
    if owned is not None:
        if owned.agent_id == agent_id:
            return owned
        raise Conflict(_("{name} has it already.", name=_name(tx, owned.agent_id)))
    offer = _live_offer(tx, item, agent_id)
    if offer is not None and offer.expires_at > tx.now:
        return accept(tx, actor, int(offer.id or 0))
    if not actor.may(SUPERVISE) and (why_not := hindrance(tx, item, agent_id)):
        raise Conflict(why_not)
    why = why_chosen(tx, item, agent_id)
    if not _make_room(tx, item, agent_id, actor):
        raise Conflict(_no_room(tx, agent_id, item.weight))
    return _owned(tx, item, agent_id, "claim", actor.by, why)


def take_next(tx: Tx, actor: Actor) -> Assignment:
    """Take what the engine would give this agent first of all that waits; what is gone meanwhile is passed over.

    It asks for the first of each kind of work that the agent has the skills and the room for, in any status. Raises
    Conflict when there is none or nothing new is to come, Forbidden without an agent.
    """
    actor.must(ANSWER)
    agent = acting_agent(tx, actor)
    if agent.drained_at is not None:
        raise Conflict(_("You finish what you have and get nothing new: a supervisor can change that."))
    agent_id, ranked = int(agent.id or 0), choices(tx, int(agent.id or 0))
    hold(tx, [one.conversation_id for one in ranked[:NEXT_TRIES]])
    hold_agents(tx, [agent_id])
    for place, one in enumerate(ranked[:NEXT_TRIES], 1):
        item = live_item(tx, one.conversation_id)
        if item is None:
            continue
        tx.refresh(item)
        asleep = tx.get_one(Conversation, one.conversation_id, populate_existing=True).state != "open"
        if asleep or item.state != "queued" or item.version != one.version or hindrance(tx, item, agent_id):
            continue
        if _make_room(tx, item, agent_id, actor):
            why = why_next(one, place, ranked, tx.now.timestamp())
            return _owned(tx, item, agent_id, "next", actor.by, why)
    raise Conflict(_("Nothing waits that you can take now."))


def assign(tx: Tx, actor: Actor, conversation_id: int, agent_id: int, reason: str = "") -> Assignment:
    """Give a conversation to an agent. Assigning it to its owner changes nothing.

    Supervisors and admins may exceed the agent's capacity, which is recorded. An agent may hand over conversations
    that are unassigned or own, to a colleague who is signed in and has room. Raises Conflict, Forbidden, NotFound.
    """
    actor.must(ANSWER, SUPERVISE)
    may_exceed = actor.may(SUPERVISE)
    if not may_exceed and actor.agent_id == agent_id:
        return claim(tx, actor, conversation_id)
    item, owned = _held(tx, actor, conversation_id)
    if owned is not None and owned.agent_id == agent_id:
        return owned
    _may_hand_over(tx, actor, owned)
    target = tx.get(Agent, agent_id)
    if target is None or not target.active:
        raise NotFound(_("There is no agent {agent_id}.", agent_id=agent_id))
    if not may_exceed and target.status == "offline":
        raise Conflict(_("{target} is offline: choose somebody else or transfer it to a queue.", target=target.name))
    if not may_exceed and target.drained_at is not None:
        raise Conflict(_("{target} finishes work and gets nothing new: choose somebody else.", target=target.name))
    if not _make_room(tx, item, agent_id, actor, may_exceed=may_exceed):
        raise Conflict(_no_room(tx, agent_id, item.weight, target.name))
    disown(tx, conversation_id, "transfer", actor.by, _handed_on(tx, actor, item, owned))
    load, capacity = tx.sql("SELECT load, capacity FROM agent WHERE id = ?", agent_id).fetchone()
    via = "assign" if owned is None else "take_over" if actor.agent_id == agent_id else "transfer"
    why = {"reason": reason} if reason else {}
    return _owned(tx, item, agent_id, via, actor.by, why, max(0, load - capacity), reason)


def transfer(tx: Tx, actor: Actor, conversation_id: int, queue_id: int, reason: str = "") -> bool:
    """Put a conversation into another queue, with its age; what the new queue promises is due sooner by that.

    Skills that nobody in the new queue has are no longer required. Transferring into its own queue releases it.
    Raises NotFound for an unknown queue, Forbidden and Conflict like `assign`. What the system itself would move in a
    circle stays where it is and comes to the supervisors: then it answers False.
    """
    actor.must(ANSWER, SUPERVISE)
    queues = rule_book(tx).queues
    queue = queues.get(queue_id)
    if queue is None:
        raise NotFound(_("There is no active queue {queue_id}.", queue_id=queue_id))
    item, owned = _held(tx, actor, conversation_id)
    if item.queue_id == queue_id:
        release(tx, actor, conversation_id, reason)
        return True
    _may_hand_over(tx, actor, owned)
    if not may_go_on(tx, actor, item, queue):
        return False
    _set_free(tx, actor, item, "transfer", _handed_on(tx, actor, item, owned))
    pass_on(tx, item, queue, "transfer", actor.by, Climb(0, tx.now, 0), reason=reason)
    _reread(tx, conversation_id, item.agent_id)
    return True


def release(tx: Tx, actor: Actor, conversation_id: int, reason: str = "") -> None:
    """Give a conversation back to its queue; its owner is not asked again for a while. Raises like `assign`.

    Releasing what nobody has changes nothing.
    """
    actor.must(ANSWER, SUPERVISE)
    item, owned = _held(tx, actor, conversation_id)
    if owned is None:
        return
    _may_hand_over(tx, actor, owned)
    _set_free(tx, actor, item, "unassign")
    tx.emit(ConversationQueued(conversation_id, int(item.id or 0), item.queue_id, "unassign", actor.by, reason))
    _reread(tx, conversation_id, owned.agent_id)


def close(tx: Tx, by: str, conversation_id: int, why: str) -> None:
    """End the episode under way: what rings is cancelled, the owner's room is free, at once or after wrapping up.
    Closing twice changes nothing.

    The conversation keeps its last owner, so that resolved ones are found under the agent who resolved them.
    """
    hold(tx, [conversation_id])
    item = live_item(tx, conversation_id)
    if item is None:
        return
    tx.refresh(item)
    end_offers(tx, int(item.id or 0), "cancelled", by)
    mine = by == f"agent:{item.agent_id}" or by.startswith("token:")  # what somebody else ends, the owner has not done
    owner = disown(tx, conversation_id, why, by, wrap_up_of(tx, item) if mine else None)
    tx.sql(
        "UPDATE work_item SET state = ?, closed_at = ?, step_at = NULL, version = version + 1 WHERE id = ?",
        "cancelled" if owner is None else "closed", tx.now, item.id,
    )  # fmt: skip
    end_episode(tx, conversation_id)
    tx.refresh(item)
    _reread(tx, conversation_id, owner)


def answered(tx: Tx, conversation_id: int, agent_id: int | None) -> None:
    """The customer got an answer: reply clocks end, that of the resolution rests. None when a program answered."""
    record_answer(tx, conversation_id, agent_id)
    follow_parking(tx, conversation_id)
    refresh(tx, Conversation, conversation_id)


def unanswered(tx: Tx, conversation_id: int, answered_at: datetime) -> None:
    """The answer of that moment was taken back: the clocks that it stopped run on."""
    take_answer_back(tx, conversation_id, answered_at)
    refresh(tx, Conversation, conversation_id)


def _with_room(tx: Tx, book: RuleBook, place: Placement) -> Placement:
    """Where work goes that comes now: a queue that is full may have named another one."""
    if not place.queue.limits.exist or not is_full(tx, place.queue):
        return place
    queue = way_in(book, place.queue, full_now(tx))
    return place if queue is place.queue else book.past_full(place, queue)


def held_item(tx: Tx, actor: Actor, conversation_id: int) -> WorkItem:
    """The live item of a conversation this actor may see, locked and as it is now. Raises NotFound and Conflict."""
    hold(tx, [conversation_id])
    unmerged(tx, actor, conversation_for(tx, actor, conversation_id))
    item = live_item(tx, conversation_id)
    if item is None:
        raise Conflict(_("This conversation is resolved: reopen it first."))
    tx.refresh(item)
    return item


def _held(tx: Tx, actor: Actor, conversation_id: int) -> tuple[WorkItem, Assignment | None]:
    """With its open assignment."""
    item = held_item(tx, actor, conversation_id)
    owned = open_assignment(tx, conversation_id)
    if owned is not None:
        tx.refresh(owned)
    return item, owned


def _own_offer(tx: Tx, actor: Actor, offer_id: int) -> Offer:
    """An offer that rings or rang at the actor, locked and as it is now."""
    offer = tx.get(Offer, offer_id)
    if offer is None or actor.agent_id is None or offer.agent_id != actor.agent_id:
        raise NotFound(_("This offer does not ring at you."))
    hold(tx, [offer.conversation_id])
    tx.refresh(offer)
    return offer


def _live_offer(tx: Tx, item: WorkItem, agent_id: int) -> Offer | None:
    """What rings at one agent."""
    mine = select(Offer).where(Offer.work_item_id == item.id, Offer.agent_id == agent_id)
    offer = tx.exec(mine.where(RINGS)).first()
    if offer is not None:
        tx.refresh(offer)
    return offer


def _owned(
    tx: Tx, item: WorkItem, agent_id: int, via: str, by: str, why: dict[str, Any], over: int = 0, reason: str = ""
) -> Assignment:
    assignment_id = own(tx, int(item.id or 0), item.conversation_id, agent_id, item.weight, via, by, why, over, reason)
    tx.refresh(item)
    _reread(tx, item.conversation_id, agent_id)
    return tx.get_one(Assignment, assignment_id)


def _handed_on(tx: Tx, actor: Actor, item: WorkItem, owned: Assignment | None) -> Share | None:
    """What an agent may keep for wrapping up who hands on what is his."""
    return wrap_up_of(tx, item, handed_on=True) if owned and owned.agent_id == actor.agent_id else None


def _set_free(tx: Tx, actor: Actor, item: WorkItem, why: str, wrap_up: Share | None = None) -> None:
    """Back to queued, without owner or ring."""
    end_offers(tx, int(item.id or 0), "rescinded", actor.by)
    owner = disown(tx, item.conversation_id, why, actor.by, wrap_up)
    if owner is not None:
        cool_down(tx, int(item.id or 0), owner)
    requeue(tx, int(item.id or 0), item.conversation_id)


def _make_room(tx: Tx, item: WorkItem, agent_id: int, actor: Actor, *, may_exceed: bool = False) -> bool:
    """Count the weight at the new owner, then stop what rings. A refusal leaves everything as it was."""
    hold_agents(tx, [agent_id, item.agent_id or agent_id, *ringing_at(tx, {item.conversation_id})])
    counted = _live_offer(tx, item, agent_id) is not None
    if not counted and not take_load(tx, agent_id, item.weight, may_exceed=may_exceed):
        return False
    end_offers(tx, int(item.id or 0), "rescinded", actor.by)
    return not counted or take_load(tx, agent_id, item.weight, may_exceed=True)


def _may_hand_over(tx: Tx, actor: Actor, owned: Assignment | None) -> None:
    if owned is not None and owned.agent_id != actor.agent_id and not actor.may(SUPERVISE):
        raise Forbidden(_("{name} has it: ask {name} or a supervisor.", name=_name(tx, owned.agent_id)))


def _what_became_of(tx: Tx, offer: Offer) -> str:
    owned = open_assignment(tx, offer.conversation_id)
    if owned is not None:
        if owned.agent_id == offer.agent_id:
            return _("You have it already.")
        return _("{name} has it already.", name=_name(tx, owned.agent_id))
    if live_item(tx, offer.conversation_id) is None:
        return _("This conversation was resolved meanwhile.")
    return _("It rang too long and went back to the queue: claim it if it still waits there.")


def _no_room(tx: Tx, agent_id: int, weight: int, name: str = "") -> str:
    load, capacity = tx.sql("SELECT load, capacity FROM agent WHERE id = ?", agent_id).fetchone()
    wrapping = sum(one.weight for one in wrap_ups(tx, agent_id))
    numbers = {"load": load, "capacity": capacity, "weight": weight}
    if name:
        told = _("{agent} has no room: {load} of {capacity} in use, and this takes {weight}.", agent=name, **numbers)
    else:
        told = _("You have no room: {load} of {capacity} in use, and this takes {weight}.", **numbers)
    if not wrapping:
        return told
    ends = _("Of that {load} is wrap-up, which ends by itself or when it is said to be done.", load=wrapping)
    return f"{told} {ends}"


def _name(tx: Tx, agent_id: int) -> str:
    return agent_names(tx, [agent_id])[agent_id]


def _reread(tx: Tx, conversation_id: int, agent_id: int | None) -> None:
    """Callers may hold rows that were changed past the ORM."""
    refresh(tx, Conversation, conversation_id)
    if agent_id is not None:
        refresh(tx, Agent, agent_id)
