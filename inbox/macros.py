"""Macros in the inbox: run from the menu or the palette, and taken back from the toast."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer

from channels.mail.richtext import html_of
from config.language import _
from hub import macros as verbs
from hub.macros import Back, Does
from hub.web import hub_here
from inbox.answers import Toast, changed, here, next_open
from inbox.composerform import ComposerForm, held_composer, number_in
from inbox.screen import new_composer, pending_macro
from inbox.session import viewer
from storage.access import Conflict, conversation_for

UNDO_SECONDS = 600  # how long a macro can be taken back; its reply may leave sooner


def register(blueprint: Blueprint) -> None:
    """Add the actions, all POST."""
    blueprint.add_url_rule("/inbox/c/<int:number>/macro", "run_macro", view_func=run, methods=["POST"])
    blueprint.add_url_rule("/inbox/macros/undo", "undo_macro", view_func=undo, methods=["POST"])


def run(number: int) -> ResponseReturnValue:
    """Do it; one that replies comes into the composer first, to be looked at and sent."""
    hub, who, form = hub_here(), viewer(), ComposerForm()
    with hub.store.read() as tx:
        row = verbs.macro(tx, number_in(request.form.get("run", "")))
        does = Does.model_validate(row.does)
        conversation = conversation_for(tx, who.actor, number)
        if does.reply:
            fresh = held_composer(new_composer(hub, tx, who, conversation), form)
            text = verbs.reply_of(tx, who.actor, conversation, row, who.zone)
            typed = form.reply.rstrip()
            html = f"{fresh.html}{html_of(text)}" if fresh.html else ""
            reply = f"{typed}\n\n{text}" if typed else text
            pending = pending_macro(tx, row.id or 0)
            composer = replace(fresh, kind="reply", html=html, reply=reply, macro=pending)
            return changed(number, composer=composer)
    with hub.store.write() as tx:
        back, __ = verbs.run(tx, who.actor, number, row)
    toast = taken_back_by(Toast(_("“{name}” is done.", name=row.name), seconds=10), back)
    return changed(next_open() if does.leaves else number, toast, moved=does.leaves)


def undo() -> ResponseReturnValue:
    """Make everything as it was before the macro."""
    hub, who = hub_here(), viewer()
    try:
        given = _signer().loads(request.form.get("back", ""), max_age=UNDO_SECONDS)
    except BadSignature:
        raise Conflict(_("It is too late to take this back.")) from None
    if given.pop("by") != who.id:
        raise Conflict(_("Only who ran it can take it back."))
    back = Back(**given)
    with hub.store.write() as tx:
        verbs.take_back(tx, who.actor, back)
    with hub.store.read() as tx:
        composer = new_composer(hub, tx, who, conversation_for(tx, who.actor, back.conversation_id))
    moved = here().open_id != back.conversation_id
    done = _("Taken back; your reply is in your draft.") if back.message_id else _("As it was.")
    return changed(back.conversation_id, Toast(done), moved=moved, composer=composer if back.message_id else None)


def taken_back_by(toast: Toast, back: Back) -> Toast:
    """The toast with an Undo that takes all of a macro back: signed, because it may reach what its agent lost."""
    token = _signer().dumps({"by": viewer().id, **back.as_dict()})
    return replace(toast, undo="/inbox/macros/undo", values={"back": token})


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(hub_here().settings.secret_key, salt="macro to be taken back")
