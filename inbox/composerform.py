"""The composer as a browser sent it, and as it comes back when something is to be looked at again."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from flask import request

from channels.mail.richtext import harmless
from channels.text import storable
from hub import drafts
from inbox.screen import Composer, snooze_until
from inbox.session import Viewer
from inbox.when import NotUnderstood, moment_of
from storage.access import Conflict

MAX_TEXT = 200_000  # characters
KINDS = (drafts.REPLY, drafts.NOTE)
MAX_ASIDE = 20  # channels
THENS = ("", "resolve", "snooze")  # what a press of Send does to the conversation


class ComposerForm:
    """The composer as it was sent."""

    def __init__(self) -> None:
        form = request.form
        kind = form.get("kind", "reply")
        self.kind = kind if kind in KINDS else "reply"
        self.reply = _typed(form.get("reply", ""))
        self.html = _formatted(form.get("html", "")) if form.get("formatted") == "1" else ""
        self.note = _typed(form.get("note", ""))
        self.choice = form.get("choice", "")
        channel, _, identity = self.choice.partition(":")
        self.channel_id = int(channel) if channel.isdecimal() and len(channel) < 19 else None
        self.identity_id = int(identity) if identity.isdecimal() and len(identity) < 19 else None
        by_mail = form.get("by_mail", "").split()
        self.typed_cc, self.typed_bcc = form.get("cc"), form.get("bcc", "")
        mail = self.by_mail = self.choice in by_mail
        self.cc = _addresses(self.typed_cc) if mail and self.typed_cc is not None else None
        self.bcc = _addresses(self.typed_bcc) if mail else []
        self.once = _uuid(form.get("once", ""))
        seen = form.get("anyway", "") or form.get("seen", "")
        self.seen = int(seen) if seen.isdecimal() and len(seen) < 19 else 0
        self.then = form.get("then", "") if form.get("then") in THENS else ""
        self.later = form.get("later", "")
        self.when = form.get("when", "")[:100]
        self.unless = form.get("unless") == "1"
        self.aside = _aside(form.get("aside", ""))
        self.attachment_ids = [int(one) for one in form.getlist("attachment") if one.isdecimal() and len(one) < 19]
        self.macro = number_in(form.get("macro", ""))
        self.files = [file for file in request.files.getlist("file") if file.filename]

    @property
    def typed(self) -> drafts.Typed:
        """What is to be kept of it while it is not sent."""
        copies = {} if self.typed_cc is None else {"cc": _typed(self.typed_cc), "bcc": _typed(self.typed_bcc)}
        return drafts.Typed(self.reply, self.channel_id, copies, self.attachment_ids, self.aside, self.html)


def _formatted(html: str) -> str:
    """What may leave of it; nothing where it is no formatting that could be read."""
    try:
        return harmless(storable(html)) if html.strip() else ""
    except ValueError:
        return ""


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


def held_composer(fresh: Composer, form: ComposerForm) -> Composer:
    """What was typed, over what the composer would show by itself."""
    known = {choice.key for choice in fresh.choices}
    return replace(
        fresh,
        chosen=form.choice if form.choice in known else fresh.chosen,
        kind=form.kind,
        reply=form.reply,
        html=form.html,
        note=form.note,
        seen=form.seen or fresh.seen,
        cc=fresh.cc if form.typed_cc is None else form.typed_cc,
        offered=[each for each in fresh.offered if each.address not in (form.typed_cc or "")],
        bcc=form.typed_bcc,
    )


def moment_in(form: ComposerForm, now: datetime, who: Viewer) -> datetime | None:
    """When it is to leave: a preset of the snooze menu or what was written; None for at once. Raises Conflict."""
    if not form.later:
        return None
    if form.later != "when":
        return snooze_until(form.later, now, who)
    try:
        return moment_of(form.when, now, who.zone)
    except NotUnderstood as error:
        raise Conflict(str(error)) from None


def number_in(text: str) -> int:
    """An id that a form carries; 0 for anything else."""
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _uuid(text: str) -> str:
    """The form's own id, by which a double click is one reply; empty when somebody made something up."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""
