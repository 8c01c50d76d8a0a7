"""How things look on the customers' side: Slack's blocks and markup, and mails, as the sandbox page shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from email.utils import parseaddr, parsedate_to_datetime
from html import unescape
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from sandbox.slack import Post

_TOKEN = re.compile(r"<([^<>\n]+)>|(?<!\w)\*(?=\S)([^*\n]+)(?<=\S)\*(?!\w)|:([a-z_]+):")
_EMOJI = {"rotating_light": "🚨"}
_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Button:
    """A button of a Slack message; one with an address is a link."""

    label: str
    action: str
    value: str
    url: str
    primary: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """A Slack message, its blocks made into HTML."""

    channel: str
    ts: str
    at: datetime
    user: str
    header: str
    lines: tuple[Markup, ...]
    context: tuple[Markup, ...]
    buttons: tuple[Button, ...]
    thread: str
    private: bool
    edited: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as its customer sees it. `side` is got or wrote."""

    side: str
    name: str
    address: str
    subject: str
    text: str
    at: datetime
    id: str
    files: tuple[str, ...]


def drawn(post: Post) -> Notice:
    """A message as Slack would draw it."""
    header, lines, context, buttons = "", [], [], []
    for block in post.blocks:
        if block["type"] == "header":
            header = str(block["text"]["text"])
        elif block["type"] == "section":
            lines.append(_text(block["text"]))
        elif block["type"] == "context":
            context += [_text(element) for element in block["elements"]]
        elif block["type"] == "actions":
            buttons += [_button(element) for element in block["elements"]]
    return Notice(
        channel=post.channel,
        ts=post.ts,
        at=datetime.fromtimestamp(float(post.ts), UTC),
        user=post.user,
        header=header,
        lines=tuple(lines) if post.blocks else (marked_up(post.text),),
        context=tuple(context),
        buttons=tuple(buttons),
        thread=post.thread_ts,
        private=bool(post.only_for),
        edited=bool(post.before),
    )


def marked_up(mrkdwn: str) -> Markup:
    """Slack's markup as HTML: links, bold words and moments; anything else is text."""
    parts, end = [], 0
    for found in _TOKEN.finditer(mrkdwn):
        parts += [escape(unescape(mrkdwn[end : found.start()])), _token(found)]
        end = found.end()
    parts.append(escape(unescape(mrkdwn[end:])))
    return Markup("").join(parts)


def letter(mail: bytes, side: str) -> Letter:
    """A mail, read as far as needed to show it."""
    message = message_from_bytes(mail, policy=default)
    name, address = parseaddr(str(message.get("From", "")))
    return Letter(
        side=side,
        name=name or address,
        address=address.lower(),
        subject=str(message.get("Subject", "")),
        text=_body(message),
        at=_date(message),
        id=str(message.get("Message-ID", "")).strip(),
        files=tuple(part.get_filename() or "file" for part in _files(message)),
    )


def _text(element: dict[str, Any]) -> Markup:
    text = str(element["text"])
    return marked_up(text) if element["type"] == "mrkdwn" else escape(text)


def _button(element: dict[str, Any]) -> Button:
    return Button(
        label=str(element["text"]["text"]),
        action=str(element["action_id"]),
        value=str(element.get("value", "")),
        url=str(element.get("url", "")),
        primary=element.get("style") == "primary",
    )


def _token(found: re.Match[str]) -> Markup:
    link, bold, emoji = found.groups()
    if bold is not None:
        return Markup("<b>{}</b>").format(marked_up(bold))
    if emoji is not None:
        return escape(_EMOJI.get(emoji, f":{emoji}:"))
    target, _, label = unescape(link).partition("|")
    if target.startswith("!date^") and (epoch := target.split("^")[1]).isdecimal():
        at = datetime.fromtimestamp(int(epoch), UTC)
        return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), label)
    if target.startswith(("http://", "https://")):
        return Markup('<a href="{}" target="_blank" rel="noopener">{}</a>').format(target, label or target)
    return escape(label or target)


def _body(message: Message) -> str:
    if not isinstance(message, EmailMessage):
        return ""
    part = message.get_body(("plain", "html"))
    try:
        return str(part.get_content()).strip() if part is not None else ""
    except (LookupError, ValueError):
        return "(This mail's text can't be shown here.)"


def _files(message: Message) -> list[Message]:
    if not isinstance(message, EmailMessage) or message.get_content_type() != "multipart/mixed":
        return []
    return list(message.iter_attachments())


def _date(message: Message) -> datetime:
    try:
        at = parsedate_to_datetime(str(message.get("Date", "")))
    except ValueError:
        return _EVER
    return at if at.tzinfo else at.replace(tzinfo=UTC)
