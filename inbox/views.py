"""Saved views: the list of them, and the form that puts one together and says what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from channels import KINDS
from config.language import _
from hub import views as verbs
from hub.refusals import FieldRefused
from hub.viewfields import FIELDS, ME, NOBODY, read, states_of
from hub.views import Tally, Wanted
from hub.web import hub_here
from inbox import ruleform
from inbox.answers import fragment
from inbox.composerform import number_in
from inbox.counts import saved_counts
from inbox.lists import View, names_of, numbers_in
from inbox.ruleform import Box
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer, wants_fragment
from inbox.viewform import DUES, STATES, ViewRow, box_of, place_of
from inbox.wording import kind
from routing.conditions import ConditionError
from storage import Tx
from storage.access import REPLIES, Conflict
from storage.conversations import Conversation
from storage.desk import Queue
from storage.people import Agent
from storage.tags import all_tags
from storage.views import SavedView

VIEW = "views"
EXAMPLES = 3


@dataclass
class Draft:
    """A view as it is being put together; `errors` are by form field. `scope` is me, all or a queue's number."""

    number: int | None = None
    name: str = ""
    scope: str = "me"
    box: Box = field(default_factory=lambda: Box(ruleform.ROOT, "all", [ViewRow(f"{ruleform.ROOT}.1")]))
    seen: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Wanted:
        queue_id = number_in(self.scope) or None
        return Wanted(self.name, self.box.tree(), self.scope == "me", queue_id)

    def refuse(self, refused: FieldRefused) -> None:
        """Put the sentence beside the field that it is about."""
        place, __, path = refused.field.partition(".")
        at, told = place_of(self.box, path) if place == "condition" else (place, "")
        told = told or refused.sentence
        self.errors[at] = told[0].upper() + told[1:]


@dataclass(frozen=True, slots=True)
class Found:
    """What a view has now: how many, and who the first of them are."""

    tally: Tally
    examples: list[tuple[int, str, str]]


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/views", "views", view_func=listed)
    add("/inbox/views/counts", "view_counts", view_func=counts)
    add("/inbox/views/new", "view_new", view_func=new)
    add("/inbox/views/form", "view_form", view_func=form, methods=["POST"])
    add("/inbox/views/<int:number>", "view_one", view_func=one)
    add("/inbox/views/<int:number>/delete", "view_delete", view_func=confirm)
    add("/inbox/views/<int:number>/delete", "view_delete_form", view_func=delete, methods=["POST"])


def listed() -> ResponseReturnValue:
    """One's own, the teams' and everybody's."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        rows = verbs.views(tx, who.actor)
        teams = dict(tx.exec(select(Queue.id, Queue.name)).all())
        parts = screen(hub, tx, who, Place(VIEW))
    groups = [
        (_("Mine"), [row for row in rows if row.agent_id is not None]),
        (_("Of a team"), [row for row in rows if row.queue_id is not None]),
        ("Everybody's", [row for row in rows if row.agent_id is None and row.queue_id is None]),
    ]
    return make_response(
        render_template("inbox/views.html", screen=parts, groups=groups, teams=teams, may_edit=verbs.may_edit)
    )


def counts() -> ResponseReturnValue:
    """The numbers beside the views, counted now; asked for apart, so that no list waits for them."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        found = saved_counts(tx, who, fresh=True)
    return fragment("inbox/_view_counts.html", saved=found)


def new() -> ResponseReturnValue:
    """An empty form, for what is open."""
    draft = Draft()
    draft.box.parts[:] = [ViewRow("n.1", "state", "eq", "open"), ViewRow("n.2", "queue", "eq", "")]
    with hub_here().store.read() as tx:
        return _page(tx, draft)


def one(number: int) -> ResponseReturnValue:
    """A view in its form."""
    who = viewer()
    with hub_here().store.read() as tx:
        row = verbs.view(tx, who.actor, number)
        box = box_of(row.condition)
        if box is None:
            raise Conflict(_("This view was made by a program and asks more than the form can show."))
        draft = Draft(number, row.name, _scope(row), box, verbs.stamp(row))
        return _page(tx, draft, readonly=not verbs.may_edit(who.actor, row))


def form() -> ResponseReturnValue:
    """Whatever is done in the form: a row more or less, or keep it."""
    hub, who, draft = hub_here(), viewer(), _sent()
    what, __, path = request.form.get("do", "redraw").partition(":")
    if what == "save":
        try:
            with hub.store.write() as tx:
                if draft.number is None:
                    row = verbs.create(tx, who.actor, draft.wanted)
                else:
                    row = verbs.change(tx, who.actor, draft.number, draft.wanted, draft.seen)
                number = row.id
        except FieldRefused as refused:
            draft.refuse(refused)
        except Conflict as refused:
            draft.errors["form"] = str(refused)
        else:
            return _go(url_for("inbox.view_page", view=f"view-{number}"))
    else:
        _edit(draft, what, path)
    with hub.store.read() as tx:
        return _page(tx, draft)


def confirm(number: int) -> ResponseReturnValue:
    """Ask first."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        row = verbs.view(tx, who.actor, number)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/view_delete.html", screen=parts, row=row))


def delete(number: int) -> ResponseReturnValue:
    """Take it away."""
    with hub_here().store.write() as tx:
        name = verbs.delete(tx, viewer().actor, number).name
    flash(_("“{name}” is deleted. Its conversations are where they were.", name=name))
    return redirect(url_for("inbox.views"), 303)


def _sent() -> Draft:
    """The form as it was sent."""
    given = request.form
    box = ruleform.read_box(given, row=ViewRow)
    draft = Draft(
        number_in(given.get("number", "")) or None, given.get("name", "")[:200], given.get("scope", "me"), box,
        given.get("seen", ""),
    )  # fmt: skip
    ruleform.settle(draft.box)
    return draft


def _edit(draft: Draft, what: str, path: str) -> None:
    target = ruleform.at(draft.box, path) if path else None
    if what in ("row", "box") and isinstance(target, Box) and len(target.parts) < ruleform.MOST_PARTS:
        target.parts.append(ViewRow("") if what == "row" else Box("", "any", [ViewRow("")]))
    elif what == "drop" and path != ruleform.ROOT:
        ruleform.drop(draft.box, path)
    ruleform.settle(draft.box)


def _scope(row: SavedView) -> str:
    return "me" if row.agent_id else str(row.queue_id or "all")


def _page(tx: Tx, draft: Draft, readonly: bool = False) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    queues = tx.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id))).all()
    shown: dict[str, Any] = {
        "draft": draft, "readonly": readonly, "fields": FIELDS, "options": _options(tx, list(queues)),
        "tags": all_tags(tx), "teams": [queue for queue in queues if who.actor.sees(queue.id, None)],
        "may_share": who.actor.may(REPLIES), "found": None if draft.errors else _found(tx, who, draft),
    }  # fmt: skip
    if wants_fragment():
        return fragment("inbox/_view_form.html", **shown)
    page = render_template("inbox/view_one.html", screen=screen(hub, tx, who, Place(VIEW)), **shown)
    return make_response(page, 422 if draft.errors else 200)


def _options(tx: Tx, queues: list[Queue]) -> dict[str, Mapping[str, str]]:
    """What is chosen from, by field."""
    agents = tx.exec(select(Agent).where(col(Agent.active)).order_by(col(Agent.name))).all()
    return {
        "state": STATES,
        "due": DUES,
        "queue": {str(queue.id): queue.name for queue in queues},
        "agent": {ME: _("me"), NOBODY: _("nobody"), **{str(agent.id): agent.name for agent in agents}},
        "channel": {name: kind(name).label for name in KINDS},
        **{name: {"yes": _("yes"), "no": _("no")} for name in ("escalated", "unread", "mentioned", "files")},
    }


def _found(tx: Tx, who: Viewer, draft: Draft) -> Found | None:
    """What it has now; None while it is not whole."""
    condition = draft.box.tree()
    try:
        read(condition)
    except ConditionError:
        return None
    tally = verbs.counted(tx, who.actor, condition)
    wanted = verbs.has(tx, condition, who.id)
    view = View(VIEW, "", lambda __: wanted, states_of(condition))
    first = numbers_in(tx, who, view, EXAMPLES) if tally.number else []
    rows = [tx.get_one(Conversation, number) for number in first]
    names = names_of(tx, {row.contact_id for row in rows})
    return Found(tally, [(row.id or 0, names[row.contact_id], row.subject or row.preview) for row in rows])


def _go(target: str) -> ResponseReturnValue:
    if wants_fragment():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = target
        return response
    return redirect(target, 303)
