"""Writing: replies and notes, their drafts and files, taking back and trying again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlmodel import col, select
from werkzeug.datastructures import FileStorage

from channels.mail.filenames import safe_name
from channels.text import storable
from hub import drafts, replies
from hub.slots import must_be_whole
from hub.web import hub_here
from inbox.answers import Toast, changed, fragment, here, next_open
from inbox.lists import names_of
from inbox.screen import Composer, Place, new_composer, open_conversation, saved_at, screen
from inbox.session import Viewer, viewer, wants_fragment
from inbox.wording import first_name
from storage import Tx
from storage.access import Conflict, conversation_for
from storage.conversations import Attachment, Conversation, Message

MAX_TEXT = 200_000  # characters
KINDS = (drafts.REPLY, drafts.NOTE)
MAX_ASIDE = 20  # channels


def register(blueprint: Blueprint) -> None:
    """Add the composer's actions, all POST."""
    add = blueprint.add_url_rule
    add("/inbox/c/<int:number>/send", view_func=send, methods=["POST"])
    add("/inbox/c/<int:number>/draft", view_func=draft, methods=["POST"])
    add("/inbox/c/<int:number>/draft", view_func=draft_elsewhere)
    add("/inbox/c/<int:number>/attach", view_func=attach, methods=["POST"])
    add("/inbox/m/<int:number>/undo", view_func=undo, methods=["POST"])
    add("/inbox/m/<int:number>/retry", view_func=try_again, methods=["POST"])


def send(number: int) -> ResponseReturnValue:
    """Send a reply or keep a note. What is refused stays in the composer, with the sentence why."""
    hub, who, form = hub_here(), viewer(), _Form()
    attached = form.attachment_ids
    try:
        if form.choice and form.channel_id is None:
            raise Conflict("Nobody can tell which channel that was to go by; choose one, then send again.")
        must_be_whole(form.note if form.kind == drafts.NOTE else form.reply)
        attached = [*form.attachment_ids, *_store_files(who, form.files)]
        with hub.store.write() as tx:
            if form.kind == "note":
                message = replies.note(tx, who.actor, number, form.note)
            else:
                message = replies.reply(
                    tx, who.actor, number, text=form.reply, tokens=hub.tokens, channel_id=form.channel_id,
                    identity_id=form.identity_id, seen_message_id=form.seen, attachment_ids=attached, then=form.then,
                    once=form.once, cc=form.cc, bcc=form.bcc,
                    undo_seconds=hub.settings.undo_seconds,
                )  # fmt: skip
    except Conflict as refused:
        form.attachment_ids = attached
        hub.store.submit(lambda tx: _keep(tx, who, number, form))
        return _held(number, who, form, str(refused))
    if form.kind == "note":
        with hub.store.read() as tx:
            composer = new_composer(hub, tx, who, conversation_for(tx, who.actor, number))
        return changed(number, Toast("Note kept.", seconds=4), composer=replace(composer, kind="note"))
    return _sent(number, who, message, form.then)


def draft(number: int) -> ResponseReturnValue:
    """Keep what is typed so far; an empty text forgets it."""
    who, form = viewer(), _Form()

    saved = hub_here().store.submit(lambda tx: _keep(tx, who, number, form))
    return "", 204, {"X-Saved": saved}


def draft_elsewhere(number: int) -> ResponseReturnValue:
    """The composer anew when something was typed on another device since `saved`; nothing when not."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        opened = open_conversation(hub, tx, who, number)
        now = tx.now
    if opened.composer.saved == request.args.get("saved", ""):
        return "", 204
    return fragment("inbox/_composer.html", open=opened, composer=opened.composer, who=who, now=now)


def _keep(tx: Tx, who: Viewer, number: int, form: _Form) -> str:
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
    return changed(conversation_id, Toast("Taken back; it is in your draft."), moved=moved, composer=composer)


def try_again(number: int) -> ResponseReturnValue:
    """Send a failed or uncertain message again."""
    with hub_here().store.write() as tx:
        conversation_id = replies.retry(tx, viewer().actor, number).conversation_id
    return changed(conversation_id, Toast("It is being sent again."))


class _Form:
    """The composer as it was sent."""

    def __init__(self) -> None:
        form = request.form
        kind = form.get("kind", "reply")
        self.kind = kind if kind in KINDS else "reply"
        self.reply = _typed(form.get("reply", ""))
        self.note = _typed(form.get("note", ""))
        self.choice = form.get("choice", "")
        channel, _, identity = self.choice.partition(":")
        self.channel_id = int(channel) if channel.isdecimal() and len(channel) < 19 else None
        self.identity_id = int(identity) if identity.isdecimal() and len(identity) < 19 else None
        by_mail = form.get("by_mail", "").split()
        self.typed_cc, self.typed_bcc = form.get("cc"), form.get("bcc", "")
        mail = self.choice in by_mail
        self.cc = _addresses(self.typed_cc) if mail and self.typed_cc is not None else None
        self.bcc = _addresses(self.typed_bcc) if mail else []
        self.once = _uuid(form.get("once", ""))
        seen = form.get("anyway", "") or form.get("seen", "")
        self.seen = int(seen) if seen.isdecimal() and len(seen) < 19 else 0
        self.then = "resolve" if form.get("then") == "resolve" else ""
        self.aside = _aside(form.get("aside", ""))
        self.attachment_ids = [int(one) for one in form.getlist("attachment") if one.isdecimal() and len(one) < 19]
        self.files = [file for file in request.files.getlist("file") if file.filename]

    @property
    def typed(self) -> drafts.Typed:
        """What is to be kept of it while it is not sent."""
        copies = {} if self.typed_cc is None else {"cc": _typed(self.typed_cc), "bcc": _typed(self.typed_bcc)}
        return drafts.Typed(self.reply, self.channel_id, copies, self.attachment_ids, self.aside)


def _aside(written: str) -> dict[str, str]:
    """Texts by the number of their channel, as the page's script sends them; nothing for what makes no sense."""
    try:
        given = json.loads(written) if written else {}
    except ValueError:
        given = {}
    pairs = list(given.items())[:MAX_ASIDE] if isinstance(given, dict) else []
    return {number: _typed(text) for number, text in pairs if number.isdecimal() and isinstance(text, str) and text}


def _addresses(written: str) -> list[str]:
    return [each for each in re.split(r"[,;\s]+", storable(written)[:10_000]) if each]


def _typed(text: str) -> str:
    """Browsers send CRLF; both databases refuse some characters."""
    return storable(text.replace("\r\n", "\n"))[:MAX_TEXT]


def _store_files(who: Viewer, files: Sequence[FileStorage]) -> list[int]:
    """Make uploads durable, then remember them for their author. Raises Conflict for an empty file."""
    hub = hub_here()
    stored = []
    for file in files:
        data = file.stream.read()
        if not data:
            raise Conflict(f"{safe_name(file.filename or '')} is empty.")
        name = safe_name(storable(file.filename or ""))
        stored.append((name, file.mimetype or "application/octet-stream", len(data), hub.blobs.put(data)))
    if not stored:
        return []
    with hub.store.write() as tx:
        return [replies.attach(tx, who.actor, *one).id or 0 for one in stored]


def _sent(number: int, who: Viewer, message: Message, then: str) -> ResponseReturnValue:
    hub = hub_here()
    seconds = hub.settings.undo_seconds
    with hub.store.read() as tx:
        conversation = conversation_for(tx, who.actor, number)
        composer = new_composer(hub, tx, who, conversation)
        person = first_name(_person(tx, conversation))
    undo_at = f"/inbox/m/{message.id}/undo" if seconds else ""
    toast = Toast(f"Reply to {person} sends in", undo=undo_at, seconds=seconds or 4, countdown=bool(seconds))
    if not seconds:
        toast = Toast(f"Reply to {person} is on its way.", seconds=4)
    if then == "resolve":
        return changed(next_open(), toast, moved=True)
    return changed(number, toast, composer=composer)


def _held(number: int, who: Viewer, form: _Form, problem: str) -> ResponseReturnValue:
    """The composer as it was, with the reason; a newer message of the customer is shown above it."""
    hub = hub_here()
    with hub.store.read() as tx:
        conversation = conversation_for(tx, who.actor, number)
        fresh = new_composer(hub, tx, who, conversation)
    newer = conversation.last_inbound_id if conversation.last_inbound_id > form.seen and form.kind == "reply" else 0
    known = {choice.key for choice in fresh.choices}
    held = Composer(
        choices=fresh.choices,
        chosen=form.choice if form.choice in known else fresh.chosen,
        kind=form.kind,
        reply=form.reply,
        note=form.note,
        seen=form.seen,
        files=fresh.files,
        aside=fresh.aside,
        saved=fresh.saved,
        problem=problem,
        newer=newer,
        cc=fresh.cc if form.typed_cc is None else form.typed_cc,
        offered=[each for each in fresh.offered if each.address not in (form.typed_cc or "")],
        bcc=form.typed_bcc,
    )
    if wants_fragment():
        return changed(number, composer=held, status=409)
    with hub.store.read() as tx:
        parts = screen(hub, tx, who, Place("all", number), composer=held)
    return render_template("inbox/inbox.html", screen=parts), 409


def _person(tx: Tx, conversation: Conversation) -> str:
    return names_of(tx, {conversation.contact_id})[conversation.contact_id]


def _uuid(text: str) -> str:
    """The form's own id, by which a double click is one reply; empty when somebody made something up."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""
