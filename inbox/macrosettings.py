"""Settings → Macros: the list in words, and a form with what one would do, edited by supervisors and admins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError
from sqlmodel import col, select

from config.language import _, words
from hub import macros as verbs
from hub.macros import Does, Wanted
from hub.refusals import FieldRefused
from hub.slots import KNOWN
from hub.tags import read_tags
from hub.web import hub_here
from inbox.answers import fragment
from inbox.savedreplies import said
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer
from storage import Tx
from storage.access import REPLIES, Conflict
from storage.desk import Queue
from storage.macros import Macro
from storage.people import Agent
from storage.tags import all_tags

VIEW = "macros"  # as the navigation calls it
NAMES = ("reply", "note", "tags", "untag", "assign", "queue", "priority", "then", "snooze")  # fields of the form
HOUR, DAY = 3600, 86400
SPANS = words({
    0: "until they reply", HOUR: "for an hour", 4 * HOUR: "for 4 hours", DAY: "for a day", 2 * DAY: "for 2 days",
    7 * DAY: "for a week",
})  # fmt: skip


@dataclass
class Form:
    """A macro as it is being typed, field by field as the browser sends them; `errors` are by field."""

    number: int | None = None
    name: str = ""
    typed: dict[str, str] = field(default_factory=lambda: dict.fromkeys(NAMES, ""))
    seen: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Macro) -> Form:
        does = Does.model_validate(row.does)
        typed = {
            "reply": does.reply, "note": does.note, "tags": ", ".join(does.tags), "untag": ", ".join(does.untag),
            "assign": "" if does.assign is None else str(does.assign),
            "queue": "" if does.queue_id is None else str(does.queue_id),
            "priority": "" if does.priority is None else str(does.priority),
            "then": does.then, "snooze": str(does.snooze),
        }  # fmt: skip
        return cls(row.id, row.name, typed, verbs.stamp(row))

    @classmethod
    def sent(cls, number: int | None) -> Form:
        typed = {name: request.form.get(name, "").replace("\r\n", "\n") for name in NAMES}
        return cls(number, request.form.get("name", ""), typed, request.form.get("seen", ""))

    def does(self) -> Does:
        """Raises FieldRefused with the field that makes no sense."""
        typed = self.typed
        values: dict[str, Any] = {"reply": typed["reply"].strip(), "note": typed["note"].strip(), "then": typed["then"]}
        for name in ("tags", "untag"):
            try:
                values[name] = read_tags(typed[name])
            except Conflict as refused:
                raise FieldRefused(name, str(refused)) from None
        for name, place in (
            ("assign", "assign"),
            ("queue_id", "queue"),
            ("priority", "priority"),
            ("snooze", "snooze"),
        ):
            if typed[place].strip():
                values[name] = typed[place].strip()
        try:
            return Does.model_validate(values)
        except ValidationError as error:
            place = str(error.errors()[0]["loc"][0]).removesuffix("_id")
            told = {"priority": _("A priority is a whole number from -1000 to 1000.")}
            raise FieldRefused(place, told.get(place, _("This can't be kept as it is."))) from None


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/settings/macros", "macros", view_func=listed)
    add("/inbox/settings/macros/new", "macro_new", view_func=new)
    add("/inbox/settings/macros/new", "macro_create", view_func=save, methods=["POST"], defaults={"number": None})
    add("/inbox/settings/macros/preview", "macro_preview", view_func=preview, methods=["POST"])
    add("/inbox/settings/macros/<int:number>", "macro", view_func=one)
    add("/inbox/settings/macros/<int:number>", "macro_change", view_func=save, methods=["POST"])
    add("/inbox/settings/macros/<int:number>/delete", "macro_delete", view_func=confirm)
    add("/inbox/settings/macros/<int:number>/delete", "macro_delete_form", view_func=delete, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Every macro, and what it does."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        agents, queues = _agents(tx), _queues(tx)
        rows = [(row, verbs.in_words(Does.model_validate(row.does), agents, queues)) for row in verbs.macros(tx)]
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/macros.html", screen=parts, rows=rows, may=_may(who)))


def new() -> ResponseReturnValue:
    """An empty form."""
    viewer().actor.must(REPLIES)
    return _page(Form())


def one(number: int) -> ResponseReturnValue:
    """One in its form."""
    with hub_here().store.read() as tx:
        form = Form.of(verbs.macro(tx, number))
    return _page(form)


def save(number: int | None) -> ResponseReturnValue:
    """Keep what was typed; what can't be kept stays in the form with a sentence beside it."""
    hub, who = hub_here(), viewer()
    form = Form.sent(number)
    if request.form.get("do") == "preview":
        return _page(form)
    try:
        wanted = Wanted(form.name, form.does())
        with hub.store.write() as tx:
            if number is None:
                verbs.create(tx, who.actor, wanted)
            else:
                verbs.change(tx, who.actor, number, wanted, form.seen)
    except FieldRefused as refused:
        form.errors[refused.field] = refused.sentence
        return _page(form, 422)
    except Conflict as refused:
        form.errors["form"] = str(refused)
        return _page(form, 409)
    flash(_("“{name}” is kept.", name=" ".join(form.name.split())))
    return redirect(url_for("inbox.macros"), 303)


def preview() -> ResponseReturnValue:
    """What it would do, while it is typed."""
    with hub_here().store.read() as tx:
        return fragment("inbox/_macro_told.html", **_told(tx, viewer(), Form.sent(None)))


def confirm(number: int) -> ResponseReturnValue:
    """Ask first."""
    hub, who = hub_here(), viewer()
    who.actor.must(REPLIES)
    with hub.store.read() as tx:
        row = verbs.macro(tx, number)
        told = verbs.in_words(Does.model_validate(row.does), _agents(tx), _queues(tx))
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/macro_delete.html", screen=parts, macro=row, told=told))


def delete(number: int) -> ResponseReturnValue:
    """Take it away."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        name = verbs.delete(tx, who.actor, number).name
    flash(_("“{name}” is deleted.", name=name))
    return redirect(url_for("inbox.macros"), 303)


def _may(who: Viewer) -> bool:
    return who.actor.may(REPLIES)


def _told(tx: Tx, who: Viewer, form: Form) -> dict[str, Any]:
    """Its parts in words and its reply as it would stand there; nothing where the form makes no sense yet."""
    try:
        does = form.does()
    except FieldRefused:
        return {"told": [], "said": None}
    told = verbs.in_words(does, _agents(tx), _queues(tx), reply=False)
    return {"told": told, "said": said(tx, who, does.reply) if does.reply else None}


def _agents(tx: Tx) -> dict[int, str]:
    rows = tx.exec(select(Agent.id, Agent.name).where(col(Agent.active)).order_by(col(Agent.name)))
    return {number or 0: name for number, name in rows}


def _queues(tx: Tx) -> dict[int, str]:
    rows = tx.exec(select(Queue.id, Queue.name).where(col(Queue.active)).order_by(col(Queue.name)))
    return {number or 0: name for number, name in rows}


def _page(form: Form, status: int = 200) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        values = _told(tx, who, form) | {
            "form": form, "slots": KNOWN, "spans": SPANS, "tags": all_tags(tx), "agents": _agents(tx),
            "queues": _queues(tx), "readonly": not _may(who), "screen": screen(hub, tx, who, Place(VIEW)),
        }  # fmt: skip
    return make_response(render_template("inbox/macro_one.html", **values), status)
