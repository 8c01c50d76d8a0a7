"""Settings → Saved replies: the list, a form with what it would say, for everybody's by those who may and one's own."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from config.language import _
from hub import savedreplies as verbs
from hub.refusals import FieldRefused
from hub.savedreplies import Wanted
from hub.slots import KNOWN, SAMPLE, fill, gaps, of_agent, values_of
from hub.web import hub_here
from inbox.answers import fragment
from inbox.screen import Place, screen
from inbox.session import Viewer, viewer, wants_fragment
from storage import Tx
from storage.access import Conflict, visible
from storage.conversations import Conversation
from storage.desk import SavedReply

VIEW = "saved"  # as the navigation calls it


@dataclass
class Form:
    """A saved reply as it is being typed; `errors` are by field."""

    number: int | None = None
    shortcut: str = ""
    title: str = ""
    text: str = ""
    own: bool = False
    seen: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, row: SavedReply) -> Form:
        return cls(row.id, row.shortcut, row.title, row.text, row.agent_id is not None, verbs.stamp(row))

    @classmethod
    def sent(cls, who: Viewer, number: int | None) -> Form:
        """As the browser sent it; whoever may not edit everybody's has only own ones."""
        given = request.form.get
        own = given("own") == "1" or not verbs.may_edit_shared(who.actor)
        return cls(number, given("shortcut", ""), given("title", ""), given("text", ""), own, given("seen", ""))

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.shortcut, self.text, self.title, self.own)


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/settings/replies", "saved", view_func=listed)
    add("/inbox/settings/replies/new", "saved_new", view_func=new)
    add("/inbox/settings/replies/new", "saved_create", view_func=save, methods=["POST"], defaults={"number": None})
    add("/inbox/settings/replies/preview", "saved_preview", view_func=preview, methods=["POST"])
    add("/inbox/settings/replies/<int:number>", "saved_one", view_func=one)
    add("/inbox/settings/replies/<int:number>", "saved_change", view_func=save, methods=["POST"])
    add("/inbox/settings/replies/<int:number>/delete", "saved_delete", view_func=confirm)
    add("/inbox/settings/replies/<int:number>/delete", "saved_delete_form", view_func=delete, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Everybody's, and below them one's own."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        rows = verbs.saved_replies(tx, who.actor)
        parts = screen(hub, tx, who, Place(VIEW))
    groups = [
        (_("Everybody's"), [row for row in rows if row.agent_id is None], verbs.may_edit_shared(who.actor)),
        (_("Only mine"), [row for row in rows if row.agent_id is not None], True),
    ]
    return make_response(render_template("inbox/saved.html", screen=parts, groups=groups))


def new() -> ResponseReturnValue:
    """An empty form."""
    return _page(Form(own=not verbs.may_edit_shared(viewer().actor)))


def one(number: int) -> ResponseReturnValue:
    """One in its form."""
    with hub_here().store.read() as tx:
        return _page(Form.of(verbs.saved_reply(tx, viewer().actor, number)))


def save(number: int | None) -> ResponseReturnValue:
    """Keep what was typed; what can't be kept stays in the form with a sentence beside it."""
    hub, who = hub_here(), viewer()
    form = Form.sent(who, number)
    if request.form.get("do") == "preview":
        return _page(form)
    try:
        with hub.store.write() as tx:
            if number is None:
                verbs.create(tx, who.actor, form.wanted)
            else:
                verbs.change(tx, who.actor, number, form.wanted, form.seen)
    except FieldRefused as refused:
        form.errors[refused.field] = refused.sentence
        return _page(form, 422)
    except Conflict as refused:
        form.errors["form"] = str(refused)
        return _page(form, 409)
    flash(_("/{shortcut} is kept.", shortcut=form.shortcut.strip().removeprefix("/")))
    return redirect(url_for("inbox.saved"), 303)


def preview() -> ResponseReturnValue:
    """What it would say, while it is typed."""
    with hub_here().store.read() as tx:
        shown = said(tx, viewer(), request.form.get("text", ""))
    return fragment("inbox/_saved_said.html", said=shown)


def confirm(number: int) -> ResponseReturnValue:
    """Ask first."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        row = verbs.saved_reply(tx, who.actor, number)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/saved_delete.html", screen=parts, reply=row))


def delete(number: int) -> ResponseReturnValue:
    """Take it away."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        row = verbs.delete(tx, who.actor, number)
        shortcut = row.shortcut
    flash(_("/{shortcut} is deleted.", shortcut=shortcut))
    return redirect(url_for("inbox.saved"), 303)


@dataclass(frozen=True, slots=True)
class Said:
    """A text as it would stand in the composer: for whom, with which gaps."""

    text: str
    to: str
    gaps: list[str]


def said(tx: Tx, who: Viewer, text: str) -> Said:
    """For the conversation that moved last; made-up people where there is none."""
    newest = select(Conversation).where(visible(who.actor)).order_by(col(Conversation.last_at).desc()).limit(1)
    conversation = tx.exec(newest).first()
    values = (
        SAMPLE | of_agent(tx, who.actor, who.zone)
        if conversation is None
        else values_of(tx, who.actor, conversation, who.zone)
    )
    filled = fill(text[: verbs.MAX_TEXT], values)
    to = _("a customer") if conversation is None else f"#{conversation.id} {conversation.subject}"
    return Said(filled, to, gaps(filled))


def _page(form: Form, status: int = 200) -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        shown = said(tx, who, form.text)
        parts = screen(hub, tx, who, Place(VIEW))
    shared = verbs.may_edit_shared(who.actor)
    values = {"form": form, "said": shown, "slots": KNOWN, "may_share": shared, "readonly": not (form.own or shared)}
    if wants_fragment():
        return make_response(render_template("inbox/_saved_form.html", **values), status)
    return make_response(render_template("inbox/saved_one.html", screen=parts, **values), status)
