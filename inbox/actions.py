"""What an agent does to conversations and people: each view is one verb, answered by what it changed on the page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from config.language import _
from hub import lifecycle, moves, tags
from hub.contacts import merge as merge_people
from hub.contacts import unmerge as unmerge_people
from hub.macros import Back
from hub.participants import add_participant, remove_participant
from hub.suppression import allow_again
from hub.web import hub_here
from inbox.answers import Toast, changed, here, next_open
from inbox.lists import names_of
from inbox.macros import taken_back_by
from inbox.panel import person_of
from inbox.screen import snooze_until
from inbox.session import Viewer, viewer, wants_fragment
from inbox.thread import note_reading
from inbox.when import NotUnderstood, moment_of
from inbox.wording import first_name, full
from routing import work
from routing.disconnect import note_seen
from routing.wrapups import end_wrap_up
from storage import Tx
from storage.access import Conflict, NotFound, conversation_for
from storage.conversations import Conversation
from storage.desk import Queue
from storage.people import Agent, Merge
from storage.work import Offer

VERBS: dict[str, Callable[[int], ResponseReturnValue]] = {}


def register(blueprint: Blueprint) -> None:
    """Add the actions, all POST."""
    for name, view in VERBS.items():
        blueprint.add_url_rule(f"/inbox/c/<int:number>/{name}", f"{name}_form", view, methods=["POST"])
    blueprint.add_url_rule("/inbox/offers/<int:number>/accept", view_func=accept, methods=["POST"])
    blueprint.add_url_rule("/inbox/offers/<int:number>/decline", view_func=decline, methods=["POST"])
    blueprint.add_url_rule("/inbox/moves/<int:number>/undo", view_func=undo_move, methods=["POST"])
    blueprint.add_url_rule("/inbox/next", view_func=take_next, methods=["POST"])
    blueprint.add_url_rule("/inbox/status", view_func=status, methods=["POST"])
    blueprint.add_url_rule("/inbox/wrap-up/end", view_func=wrapped_up, methods=["POST"])
    blueprint.add_url_rule("/inbox/preferences", view_func=preferences, methods=["POST"])


def verb(view: Callable[[int], ResponseReturnValue]) -> Callable[[int], ResponseReturnValue]:
    """Reachable as POST /inbox/c/<id>/<name of the function>."""
    VERBS[view.__name__] = view
    return view


@verb
def claim(number: int) -> ResponseReturnValue:
    """Take what nobody has."""
    who = viewer()
    with hub_here().store.write() as tx:
        work.claim(tx, who.actor, number)
    return changed(number, Toast(_("It is yours."), undo=f"/inbox/c/{number}/release"))


def take_next() -> ResponseReturnValue:
    """Take the most urgent that waits for somebody like this agent, and open it."""
    who = viewer()
    with hub_here().store.write() as tx:
        taken = work.take_next(tx, who.actor).conversation_id
    return changed(taken, Toast(_("It is yours."), undo=f"/inbox/c/{taken}/release"), moved=True)


@verb
def release(number: int) -> ResponseReturnValue:
    """Give it back to its queue."""
    who = viewer()
    with hub_here().store.write() as tx:
        work.release(tx, who.actor, number)
    return changed(number, Toast(_("Back in its queue.")))


@verb
def assign(number: int) -> ResponseReturnValue:
    """Give it to a colleague, or take it oneself."""
    who, agent_id = viewer(), _number("agent")
    with hub_here().store.write() as tx:
        back = Back.of(conversation_for(tx, who.actor, number))
        work.assign(tx, who.actor, number, agent_id)
        name = tx.get_one(Agent, agent_id).name
    text = _("It is yours.") if agent_id == who.id else _("{name} has it now.", name=first_name(name))
    return changed(number, taken_back_by(Toast(text), back))


@verb
def transfer(number: int) -> ResponseReturnValue:
    """Move it to another queue."""
    who, queue_id = viewer(), _number("queue")
    with hub_here().store.write() as tx:
        back = Back.of(conversation_for(tx, who.actor, number))
        work.transfer(tx, who.actor, number, queue_id)
        queue = tx.get_one(Queue, queue_id).name
    return changed(number, taken_back_by(Toast(_("Moved to {queue}.", queue=queue)), back))


@verb
def snooze(number: int) -> ResponseReturnValue:
    """Out of sight until a preset moment, or one that was written; the next conversation opens."""
    who = viewer()
    with hub_here().store.write() as tx:
        until = snooze_moment(request.form.get("until", ""), tx.now, who)
        lifecycle.snooze(tx, who.actor, number, until)
    told = _("Snoozed until {time}.", time=full(until, who.zone)) if until else _("Snoozed until they reply.")
    return changed(next_open(), Toast(told, undo=f"/inbox/c/{number}/wake"), moved=True)


@verb
def wake(number: int) -> ResponseReturnValue:
    """Back into the list."""
    who = viewer()
    with hub_here().store.write() as tx:
        lifecycle.wake(tx, who.actor, number)
    return changed(number, Toast(_("Awake again.")), moved=here().open_id != number)


@verb
def resolve(number: int) -> ResponseReturnValue:
    """Done; the next conversation opens."""
    who = viewer()
    with hub_here().store.write() as tx:
        owner = conversation_for(tx, who.actor, number).assignee_id
        lifecycle.resolve(tx, who.actor, number)
    mine = {"mine": "1"} if owner == who.id else {}
    return changed(next_open(), Toast(_("Resolved."), undo=f"/inbox/c/{number}/reopen", values=mine), moved=True)


@verb
def reopen(number: int) -> ResponseReturnValue:
    """Open again; taking back one's own "resolved" gives it back to its owner as well."""
    who = viewer()
    with hub_here().store.write() as tx:
        lifecycle.reopen(tx, who.actor, number)
        if request.form.get("mine"):
            with suppress(Conflict):  # no room any more: it waits in its queue like anything else
                work.claim(tx, who.actor, number)
    return changed(number, Toast(_("Open again.")), moved=here().open_id != number)


@verb
def read(number: int) -> ResponseReturnValue:
    """Remember how far this agent has read; sent once a conversation has been looked at."""
    who, message_id = viewer(), _number("message")

    def unit(tx: Tx) -> None:
        conversation = conversation_for(tx, who.actor, number)
        note_reading(tx, who, number, min(message_id, conversation.last_message_id))

    hub_here().store.submit(unit)
    return "", 204


@verb
def unread(number: int) -> ResponseReturnValue:
    """What the customer wrote last is new again for this agent; it closes, or it would be read at once."""
    who = viewer()
    with hub_here().store.write() as tx:
        conversation = conversation_for(tx, who.actor, number)
        before = conversation.last_inbound_id - 1
        tx.sql("UPDATE reading SET message_id = ? WHERE agent_id = ? AND conversation_id = ?", before, who.id, number)
    return changed(None, Toast(_("Unread again.")), moved=True)


@verb
def merge(number: int) -> ResponseReturnValue:
    """Say that another record is the same person."""
    who, other = viewer(), _number("person")
    with hub_here().store.write() as tx:
        survivor = person_of(tx, conversation_for(tx, who.actor, number))
        done = merge_people(tx, who.actor, survivor, other, _picked())
    values = {"merge": str(done.id)}
    undo = Toast(_("One person now."), undo=f"/inbox/c/{number}/unmerge", seconds=10, values=values)
    return changed(number, undo, shuts=True)


@verb
def unmerge(number: int) -> ResponseReturnValue:
    """Take a merge back."""
    who, merge_id = viewer(), _number("merge")
    with hub_here().store.write() as tx:
        person = person_of(tx, conversation_for(tx, who.actor, number))
        row = tx.get(Merge, merge_id)
        if row is None or person not in (row.survivor_id, row.other_id):
            raise NotFound(_("There is no merge {merge_id}.", merge_id=merge_id))
        unmerge_people(tx, who.actor, merge_id)
    return changed(number, Toast(_("Two persons again.")))


@verb
def split(number: int) -> ResponseReturnValue:
    """A message and all after it become a conversation of their own, which opens."""
    who, message = viewer(), _number("message")
    with hub_here().store.write() as tx:
        move = moves.split(tx, who.actor, number, message)
        tx.flush()
        fresh = tx.get_one(Conversation, move.to_id, populate_existing=True)
        theirs = not who.actor.sees(fresh.queue_id, fresh.assignee_id)
        queue = tx.get_one(Queue, fresh.queue_id).name if theirs else ""
    told = (
        _("A conversation of its own now, in {queue}.", queue=queue) if theirs else _("A conversation of its own now.")
    )
    undo = Toast(told, undo=f"/inbox/moves/{move.id}/undo", seconds=10)
    return changed(number if theirs else move.to_id, undo, moved=not theirs)


@verb
def join(number: int) -> ResponseReturnValue:
    """Bring everything of another conversation of the same person into this one."""
    who, other = viewer(), _number("other")
    with hub_here().store.write() as tx:
        move = moves.merge(tx, who.actor, number, other)
    undo = Toast(_("One conversation now."), undo=f"/inbox/moves/{move.id}/undo", seconds=10)
    return changed(number, undo, moved=True)


def undo_move(number: int) -> ResponseReturnValue:
    """Take a division or merge back."""
    who = viewer()
    with hub_here().store.write() as tx:
        move = moves.undo(tx, who.actor, number)
        kept = move.from_id if move.kind == "split" else move.to_id
    return changed(kept, Toast(_("As it was before.")), moved=True)


@verb
def also(number: int) -> ResponseReturnValue:
    """Somebody takes part by mail from now on."""
    who = viewer()
    with hub_here().store.write() as tx:
        address = add_participant(tx, who.actor, number, request.form.get("address", "")[:320])
    undo = Toast(_("{address} gets a copy of answers by mail.", address=address), undo=f"/inbox/c/{number}/also_drop",
                 values={"address": address})  # fmt: skip
    return changed(number, undo)


@verb
def also_drop(number: int) -> ResponseReturnValue:
    """Somebody takes part no more."""
    who, address = viewer(), request.form.get("address", "")[:320]
    with hub_here().store.write() as tx:
        remove_participant(tx, who.actor, number, address)
    undo = Toast(
        _("{address} gets no more copies.", address=address),
        undo=f"/inbox/c/{number}/also",
        values={"address": address},
    )
    return changed(number, undo)


@verb
def allow(number: int) -> ResponseReturnValue:
    """Write to an address again that had been closed."""
    who, identity_id = viewer(), _number("identity")
    with hub_here().store.write() as tx:
        person = person_of(tx, conversation_for(tx, who.actor, number))
        identity = allow_again(tx, who.actor, person, identity_id)
        shown = identity.shown or identity.value
    return changed(number, Toast(_("{address} may be written to again.", address=shown)))


@verb
def tag(number: int) -> ResponseReturnValue:
    """Put tags on it."""
    who = viewer()
    with hub_here().store.write() as tx:
        fresh = ", ".join(tags.tag(tx, who.actor, number, request.form.get("tags", "")[:2000]))
    undo = Toast(_("Tagged {tags}.", tags=fresh), undo=f"/inbox/c/{number}/untag", values={"tags": fresh})
    return changed(number, *([undo] if fresh else []))


@verb
def untag(number: int) -> ResponseReturnValue:
    """Take tags off it."""
    who = viewer()
    with hub_here().store.write() as tx:
        gone = ", ".join(tags.untag(tx, who.actor, number, request.form.get("tags", "")[:2000]))
    undo = Toast(_("Took off {tags}.", tags=gone), undo=f"/inbox/c/{number}/tag", values={"tags": gone})
    return changed(number, *([undo] if gone else []))


def accept(number: int) -> ResponseReturnValue:
    """Take what rings, and open it."""
    who = viewer()
    with hub_here().store.write() as tx:
        taken = work.accept(tx, who.actor, number).conversation_id
    return changed(taken, Toast(_("It is yours.")), moved=True)


def decline(number: int) -> ResponseReturnValue:
    """Let somebody else take what rings."""
    who = viewer()
    with hub_here().store.write() as tx:
        work.decline(tx, who.actor, number)
        offer = tx.get_one(Offer, number)
        person = _person(tx, offer.conversation_id)
    return changed(here().open_id, Toast(_("{person} goes to somebody else.", person=person)))


def status() -> ResponseReturnValue:
    """Available, away or offline."""
    who, wanted = viewer(), request.form.get("status", "")
    with hub_here().store.write() as tx:
        work.set_status(tx, who.actor, who.id, wanted, "switched by hand")
        if wants_fragment():  # a page with scripts, which stays connected
            note_seen(tx, [who.id])
    said = {
        "available": _("You are available: new work may come."),
        "away": _("You are away: no new work comes, yours stays."),
        "offline": _("You are offline: customers who wait go to somebody else."),
    }
    _renew(who)
    return changed(here().open_id, Toast(said.get(wanted, wanted)))


def wrapped_up() -> ResponseReturnValue:
    """Done with everything that was still to be written down."""
    who = viewer()
    with hub_here().store.write() as tx:
        end_wrap_up(tx, who.actor, who.id)
    _renew(who)
    return changed(here().open_id, Toast(_("Wrapped up: your room is free again.")))


def preferences() -> ResponseReturnValue:
    """Single-key shortcuts on or off (WCAG 2.1.4)."""
    who, keys = viewer(), request.form.get("keys") == "on"
    with hub_here().store.write() as tx:
        agent = tx.get_one(Agent, who.id)
        agent.preferences = {**agent.preferences, "keys": keys}
        tx.add(agent)
    if wants_fragment():
        return "", 204
    return redirect(url_for("inbox.mine"), 303)


def _renew(who: Viewer) -> None:
    """The viewer's row was changed past the one that was read when the request began."""
    with hub_here().store.read() as tx:
        fresh = tx.get_one(Agent, who.id)
        who.agent.status, who.agent.load, who.agent.status_why = fresh.status, fresh.load, fresh.status_why


def snooze_moment(preset: str, now: datetime, who: Viewer) -> datetime | None:
    """What a preset means, or what was written beside it. Raises Conflict for no moment ahead, and NotFound."""
    if preset != "when":
        return snooze_until(preset, now, who)
    try:
        return moment_of(request.form.get("when", "")[:100], now, who.zone)
    except NotUnderstood as error:
        raise Conflict(str(error)) from None


def _picked() -> list[str]:
    """The details that come from the other of two people, of those that had to be chosen."""
    return [value for name, value in request.form.items() if name.startswith("pick-") and value]


def _number(name: str) -> int:
    value = request.form.get(name, "")
    if not value.isdecimal() or len(value) > 18:
        raise NotFound(_("Choose one: {name} is missing.", name=name))
    return int(value)


def _person(tx: Tx, conversation_id: int) -> str:
    conversation = tx.get_one(Conversation, conversation_id)
    return names_of(tx, {conversation.contact_id})[conversation.contact_id]
