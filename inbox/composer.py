"""Writing: replies and notes, their drafts and files, taking back and trying again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlmodel import col, select
from werkzeug.datastructures import FileStorage

from channels.mail.filenames import safe_name
from channels.text import storable
from config.language import _
from hub import drafts, later, macros, replies
from hub.slots import must_be_whole
from hub.web import hub_here
from inbox.answers import Toast, changed, fragment, here, next_open
from inbox.composerform import ComposerForm, held_composer, moment_in
from inbox.lists import names_of
from inbox.macros import taken_back_by
from inbox.screen import Place, new_composer, open_conversation, pending_macro, saved_at, screen
from inbox.session import Viewer, viewer, wants_fragment
from inbox.wording import first_name, full
from storage import Tx
from storage.access import Conflict, conversation_for, visible
from storage.conversations import Attachment, Conversation, Message
from storage.people import Agent

ON_THE_WAY = 2  # seconds: a press on Undo, while the countdown still stands, also comes over a slow line in time


def register(blueprint: Blueprint) -> None:
    """Add the composer's actions, all POST."""
    add = blueprint.add_url_rule
    add("/inbox/c/<int:number>/send", view_func=send, methods=["POST"])
    add("/inbox/c/<int:number>/draft", view_func=draft, methods=["POST"])
    add("/inbox/c/<int:number>/draft", view_func=draft_elsewhere)
    add("/inbox/c/<int:number>/attach", view_func=attach, methods=["POST"])
    add("/inbox/m/<int:number>/undo", view_func=undo, methods=["POST"])
    add("/inbox/m/<int:number>/now", view_func=now, methods=["POST"])
    add("/inbox/m/<int:number>/retry", view_func=try_again, methods=["POST"])


def send(number: int) -> ResponseReturnValue:
    """Send a reply or keep a note. What is refused stays in the composer, with the sentence why."""
    hub, who, form = hub_here(), viewer(), ComposerForm()
    attached = form.attachment_ids
    back: macros.Back | None = None
    with hub.store.read() as tx:
        person = first_name(_person(tx, conversation_for(tx, who.actor, number)))
    try:
        if form.choice and form.channel_id is None:
            raise Conflict(_("Nobody can tell which channel that was to go by; choose one, then send again."))
        must_be_whole(form.note if form.kind == drafts.NOTE else form.reply)
        attached = [*form.attachment_ids, *_store_files(who, form.files)]
        with hub.store.write() as tx:
            if form.kind == drafts.NOTE:
                message: Message | None = replies.note(tx, who.actor, number, form.note)
            elif form.macro:
                row = macros.macro(tx, form.macro)
                back, message = macros.run(tx, who.actor, number, row, lambda: _write(tx, who, number, form, attached))
            else:
                message = _write(tx, who, number, form, attached)
    except Conflict as refused:
        form.attachment_ids = attached
        hub.store.submit(lambda tx: _keep(tx, who, number, form))
        return _held(number, who, form, str(refused))
    if form.kind == drafts.NOTE:
        with hub.store.read() as tx:
            composer = new_composer(hub, tx, who, conversation_for(tx, who.actor, number))
        return changed(number, Toast(_("Note kept."), seconds=4), composer=replace(composer, kind="note"))
    return _sent(number, who, person, form, message, back)


def _write(tx: Tx, who: Viewer, number: int, form: ComposerForm, attached: Sequence[int]) -> Message:
    hub = hub_here()
    html = form.html if form.by_mail else ""
    seconds = hub.settings.undo_seconds
    return replies.reply(
        tx, who.actor, number, text="" if html else form.reply, html=html, tokens=hub.tokens,
        channel_id=form.channel_id, identity_id=form.identity_id, seen_message_id=form.seen,
        attachment_ids=attached, then=form.then, once=form.once, cc=form.cc, bcc=form.bcc, minds_colleagues=True,
        undo_seconds=seconds and seconds + ON_THE_WAY, send_at=moment_in(form, tx.now, who),
        unless_they_write=form.unless,
    )  # fmt: skip


def draft(number: int) -> ResponseReturnValue:
    """Keep what is typed so far; an empty text forgets it."""
    who, form = viewer(), ComposerForm()

    saved = hub_here().store.submit(lambda tx: _keep(tx, who, number, form))
    return "", 204, {"X-Saved": saved}


def draft_elsewhere(number: int) -> ResponseReturnValue:
    """The composer anew when something was typed on another device since `saved`; nothing when not."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        conversation = conversation_for(tx, who.actor, number)
        if saved_at(drafts.drafts_of(tx, who.id, number).values()) == request.args.get("saved", ""):
            return "", 204
        opened = open_conversation(hub, tx, who, conversation)
        now = tx.now
    return fragment("inbox/_composer.html", open=opened, composer=opened.composer, who=who, now=now)


def _keep(tx: Tx, who: Viewer, number: int, form: ComposerForm) -> str:
    conversation_for(tx, who.actor, number)
    drafts.keep(tx, who.id, number, drafts.REPLY, form.typed)
    drafts.keep(tx, who.id, number, drafts.NOTE, drafts.Typed(form.note))
    return saved_at(drafts.drafts_of(tx, who.id, number).values())


def attach(number: int) -> ResponseReturnValue:
    """Take files for the reply that is being written; answers their chips."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        conversation_for(tx, who.actor, number)
    ids = _store_files(who, request.files.getlist("file"))
    with hub.store.read() as tx:
        files = list(tx.exec(select(Attachment).where(col(Attachment.id).in_(ids)).order_by(col(Attachment.id))))
    return fragment("inbox/_attached.html", files=files)


def undo(number: int) -> ResponseReturnValue:
    """Take a reply back; its text is in the composer again."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        message = replies.undo(tx, who.actor, number)
        conversation_id = message.conversation_id
    with hub.store.read() as tx:
        composer = new_composer(hub, tx, who, conversation_for(tx, who.actor, conversation_id))
    moved = here().open_id != conversation_id
    return changed(conversation_id, Toast(_("Taken back; it is in your draft.")), moved=moved, composer=composer)


def now(number: int) -> ResponseReturnValue:
    """What was meant for later leaves at once."""
    with hub_here().store.write() as tx:
        conversation_id = later.send_now(tx, viewer().actor, number).conversation_id
    return changed(conversation_id, Toast(_("It is on its way.")))


def try_again(number: int) -> ResponseReturnValue:
    """Send a failed or uncertain message again."""
    with hub_here().store.write() as tx:
        conversation_id = replies.retry(tx, viewer().actor, number).conversation_id
    return changed(conversation_id, Toast(_("It is being sent again.")))


def _store_files(who: Viewer, files: Sequence[FileStorage]) -> list[int]:
    """Make uploads durable, then remember them for their author. Raises Conflict for an empty file."""
    hub = hub_here()
    stored = []
    for file in files:
        data = file.stream.read()
        if not data:
            raise Conflict(_("{filename} is empty.", filename=safe_name(file.filename or "")))
        name = safe_name(storable(file.filename or ""))
        stored.append((name, file.mimetype or "application/octet-stream", len(data), hub.blobs.put(data)))
    if not stored:
        return []
    with hub.store.write() as tx:
        return [replies.attach(tx, who.actor, *one).id or 0 for one in stored]


def _sent(
    number: int, who: Viewer, person: str, form: ComposerForm, message: Message | None, back: macros.Back | None
) -> ResponseReturnValue:
    hub = hub_here()
    seconds = hub.settings.undo_seconds
    toast = Toast(_("Reply to {person} is on its way.", person=person), seconds=4)
    undo_at = f"/inbox/m/{message.id}/undo" if message is not None else ""
    if form.later and message is not None and message.send_after is not None:
        toast = Toast(
            _("Reply to {person} goes out {time}.", person=person, time=full(message.send_after, who.zone)),
            undo=undo_at,
            seconds=8,
        )
    elif seconds and message is not None:
        toast = Toast(_("Reply to {person} sends in", person=person), undo=undo_at, seconds=seconds, countdown=True)
    if back is not None:
        toast = taken_back_by(toast, back)
    if not form.later and form.then != who.agent.preferences.get("then", ""):
        with hub.store.write() as tx:
            agent = tx.get_one(Agent, who.id)
            agent.preferences = {**agent.preferences, "then": form.then}
            tx.add(agent)
        who.agent.preferences = {**who.agent.preferences, "then": form.then}
    with hub.store.read() as tx:
        now = tx.exec(select(Conversation).where(Conversation.id == number, visible(who.actor))).first()
        composer = new_composer(hub, tx, who, now) if now is not None else None
    if now is None or form.then or (back is not None and now.state != "open"):
        return changed(next_open(), toast, moved=True)
    return changed(number, toast, composer=composer)


def _held(number: int, who: Viewer, form: ComposerForm, problem: str) -> ResponseReturnValue:
    """The composer as it was, with the reason; a newer message of the customer is shown above it."""
    hub = hub_here()
    with hub.store.read() as tx:
        conversation = conversation_for(tx, who.actor, number)
        fresh = new_composer(hub, tx, who, conversation)
        macro = pending_macro(tx, form.macro)
        newer = replies.newer_than(tx, who.actor, number, form.seen) if form.kind == drafts.REPLY else None
    held = replace(held_composer(fresh, form), problem=problem, newer=newer.id or 0 if newer else 0, macro=macro)
    if wants_fragment():
        return changed(number, composer=held, status=409)
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, Place("all", number), composer=held)
    return render_template("inbox/inbox.html", screen=parts), 409


def _person(tx: Tx, conversation: Conversation) -> str:
    return names_of(tx, {conversation.contact_id})[conversation.contact_id]
