"""Many conversations at once: the bar under the list acts on those that are marked, and one Undo takes all back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, make_response, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlmodel import col, select

from config.language import N_, _, n_
from hub import bulk, lifecycle
from hub.bulk import MOST, Outcome, Verb
from hub.macros import Back
from hub.tags import read_tags, tag, untag
from hub.web import hub_here
from inbox.actions import snooze_moment
from inbox.answers import Toast, changed, fragment, here
from inbox.composerform import number_in
from inbox.screen import numbers_of, snoozes
from inbox.session import viewer
from inbox.wording import first_name, full
from routing import work
from routing.commands import prioritise
from storage import Tx
from storage.access import ANSWER, SUPERVISE, Conflict, NotFound
from storage.desk import Queue
from storage.people import Agent
from storage.tags import all_tags

UNDO_SECONDS = 600
TOLD = 3  # different refusals in one line; of each so many numbers
NAMED = 5


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be done to each, how it is told ("{} resolved"), and to whom it gives them."""

    verb: Verb
    told: str
    given_to: int | None = None


def register(blueprint: Blueprint) -> None:
    """Add the action, its menus and its undo."""
    add = blueprint.add_url_rule
    add("/inbox/bulk", "bulk", view_func=act, methods=["POST"])
    add("/inbox/bulk/undo", "bulk_undo", view_func=undo, methods=["POST"])
    add("/inbox/bulk/all", "bulk_all", view_func=everything)
    add("/inbox/bulk/menu", "bulk_menu", view_func=menu)
    add("/inbox/bulk/tags", "bulk_tags", view_func=known_tags)
    blueprint.add_app_template_global(snoozes)


def act() -> ResponseReturnValue:
    """Do to every marked conversation what the button says; those that refuse stay marked."""
    hub, who = hub_here(), viewer()
    who.actor.must(ANSWER, SUPERVISE)
    numbers = [number_in(text) for text in (*request.form.getlist("id"), *request.form.get("rest", "").split())]
    if not numbers:
        raise Conflict(_("Nothing is marked: press X, or the picture beside a conversation."))
    what, __, value = request.form.get("do", "").partition(":")
    make = _DEEDS.get(what)
    if make is None:
        raise NotFound(_("There is no action {what}.", what=repr(what)))
    with hub.store.read() as tx:
        deed = make(tx, value)
    outcome = bulk.act(hub.store, who.actor, numbers, deed.verb, deed.given_to)
    return _answer(outcome, _toast(outcome, deed))


def undo() -> ResponseReturnValue:
    """Make all of them as they were."""
    hub, who = hub_here(), viewer()
    try:
        given = _signer().loads(request.form.get("back", ""), max_age=UNDO_SECONDS)
    except BadSignature:
        raise Conflict(_("It is too late to take this back.")) from None
    if given["by"] != who.id:
        raise Conflict(_("Only who did it can take it back."))
    backs = [Back(**back) for back in given["backs"]]
    outcome = bulk.undo(hub.store, who.actor, backs, given["to"])
    text = _("{done} as before.", done=_count(len(outcome.done))) if outcome.done else ""
    return _answer(outcome, Toast(f"{text} {_refusals(outcome)}".strip(), seconds=8, alarm=bool(outcome.refused)))


def everything() -> ResponseReturnValue:
    """All of the view, as it is now: what comes later is not in it."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        found = numbers_of(tx, who, here(), MOST + 1)
    return fragment("inbox/_bulk_rest.html", numbers=found[:MOST], more=len(found) > MOST)


def menu() -> ResponseReturnValue:
    """To whom and where they may be given."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        queues = tx.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id))).all()
        agents = tx.exec(select(Agent).where(col(Agent.active)).order_by(col(Agent.name))).all()
        return fragment("inbox/_bulk_menu.html", agents=agents, queues=queues, who=who)


def known_tags() -> ResponseReturnValue:
    """The tags in use."""
    with hub_here().store.read() as tx:
        return fragment("inbox/_bulk_tags.html", tags=all_tags(tx))


def _agent(tx: Tx, value: str) -> Deed:
    number = number_in(value)
    agent = tx.get(Agent, number)
    if agent is None:
        raise NotFound(_("This agent is gone."))
    to = _("you") if number == viewer().id else first_name(agent.name)
    return Deed(lambda unit, actor, each: work.assign(unit, actor, each, number), _("given to {to}", to=to), number)


def _queue(tx: Tx, value: str) -> Deed:
    number = number_in(value)
    queue = tx.get(Queue, number)
    if queue is None:
        raise NotFound(_("This queue is gone."))

    def move(unit: Tx, actor: Any, each: int) -> None:
        """What is in the queue already stays with whoever has it."""
        if unit.sql("SELECT queue_id FROM conversation WHERE id = ?", each).fetchone()[0] != number:
            work.transfer(unit, actor, each, number)

    return Deed(move, _("moved to {queue}", queue=queue.name))


def _snooze(tx: Tx, preset: str) -> Deed:
    who = viewer()
    until = snooze_moment(preset, tx.now, who)
    told = _("until {time}", time=full(until, who.zone)) if until else _("until they reply")
    return Deed(lambda unit, actor, each: lifecycle.snooze(unit, actor, each, until), _("snoozed {told}", told=told))


def _tags(on: bool) -> Callable[[Tx, str], Deed]:
    def deed(tx: Tx, __: str) -> Deed:
        names = read_tags(request.form.get("tags", "")[:2000])
        if not names:
            raise Conflict(_("Write the tag first, or several with commas."))
        shown = ", ".join(names)
        if on:
            return Deed(lambda unit, actor, each: tag(unit, actor, each, names), _("tagged {tags}", tags=shown))
        told = _("no longer tagged {tags}", tags=shown)
        return Deed(lambda unit, actor, each: untag(unit, actor, each, names), told)

    return deed


def _priority(tx: Tx, __: str) -> Deed:
    try:
        priority = int(request.form.get("priority", "").strip()[:9])
    except ValueError:
        raise Conflict(_("A priority is a number, such as 30 for half an hour of waiting.")) from None
    told = _("given priority {priority}", priority=priority)
    return Deed(lambda unit, actor, each: prioritise(unit, actor, each, priority), told)


_DEEDS: dict[str, Callable[[Tx, str], Deed]] = {
    "agent": _agent,
    "queue": _queue,
    "release": lambda tx, __: Deed(work.release, N_("given back")),
    "snooze": _snooze,
    "wake": lambda tx, __: Deed(lifecycle.wake, N_("awake again")),
    "resolve": lambda tx, __: Deed(lifecycle.resolve, N_("resolved")),
    "reopen": lambda tx, __: Deed(lifecycle.reopen, N_("open again")),
    "tag": _tags(on=True),
    "untag": _tags(on=False),
    "priority": _priority,
}


def _toast(outcome: Outcome, deed: Deed) -> Toast:
    done, already = len(outcome.done), len(outcome.already)
    parts = []
    if done or not outcome.refused:
        parts = [_("{conversations} {done}.", conversations=_count(done), done=_(deed.told))]
    if already and (done or outcome.refused):
        parts.append(n_("{count} was so already.", "{count} were so already.", already))
    text = " ".join([*parts, _refusals(outcome)]).strip()
    if not done:
        nothing = _("Nothing to change: they are so already.") if not outcome.refused else text
        return Toast(nothing, seconds=12 if outcome.refused else 6, alarm=bool(outcome.refused))
    given = {"by": viewer().id, "to": deed.given_to, "backs": [back.as_dict() for back in outcome.done]}
    back = {"back": str(_signer().dumps(given))}
    return Toast(text, undo="/inbox/bulk/undo", seconds=15, values=back, alarm=bool(outcome.refused))


def _refusals(outcome: Outcome) -> str:
    """Why some stayed as they were, with their numbers."""
    if not outcome.refused:
        return ""
    told = [f"{sentence.rstrip('.')} ({_numbers(found)})." for sentence, found in outcome.sentences.items()]
    rest = len(told) - TOLD
    told[TOLD:] = [_("And {rest} other reasons.", rest=rest)] if rest > 0 else []
    count = len(outcome.refused)
    return n_(
        "{count} stayed as it was: {reasons}", "{count} stayed as they were: {reasons}", count, reasons=" ".join(told)
    )


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(f"#{number}" for number in numbers[:NAMED])
    return (
        shown if len(numbers) <= NAMED else _("{shown} and {numbers} more", shown=shown, numbers=len(numbers) - NAMED)
    )


def _count(number: int) -> str:
    return n_("{count} conversation", "{count} conversations", number)


def _answer(outcome: Outcome, toast: Toast) -> ResponseReturnValue:
    response = make_response(changed(here().open_id, toast))
    response.headers["HX-Trigger"] = json.dumps({"bulk-done": {"left": [str(number) for number in outcome.refused]}})
    return response


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(hub_here().settings.secret_key, salt="several to be taken back")
