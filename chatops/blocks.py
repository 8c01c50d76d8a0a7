"""How a conversation looks in Slack. What the customer wrote is plain text, never markup.

Source for blocks and their limits: docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from channels.slack import escape
from channels.text import shortened

CLAIM = "claim"
RESOLVE = "resolve"
OPEN = "open"

HEADER_CHARS = 150
WORDS_CHARS = 600  # enough to judge by; the rest is a click away
KINDS = {
    "email": "E-mail",
    "mailhook": "E-mail",
    "sms": "SMS",
    "whatsapp": "WhatsApp",
    "chat": "Web chat",
    "form": "Web form",
    "slack": "Slack",
}


@dataclass(frozen=True, slots=True)
class Card:
    """What a notice says about a conversation at one moment."""

    conversation_id: int
    who: str
    subject: str
    words: str  # the customer's last ones
    channel: str
    queue: str
    state: str
    owner: str
    due_at: datetime | None
    breached: bool
    url: str
    target: str = "First reply"  # what is due


def summary(card: Card) -> str:
    """The line that notifications and screen readers get."""
    status = _status(card)
    return escape(shortened(f"{status}: {card.who}, {_kind(card)}, {card.queue or 'no queue'}", HEADER_CHARS))


def drawn(card: Card) -> list[dict[str, Any]]:
    """The card as blocks."""
    blocks: list[dict[str, Any]] = [_header(card)]
    if card.breached and card.state != "resolved":
        blocks.append(_section(f":rotating_light: *{card.target} overdue* since {_moment(card.due_at)}"))
    if card.words:
        words = {"type": "plain_text", "text": shortened(card.words, WORDS_CHARS), "emoji": False}
        blocks.append({"type": "section", "text": words})
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": part} for part in _context(card)]})
    blocks.append({"type": "actions", "elements": _buttons(card)})
    return blocks


def _header(card: Card) -> dict[str, Any]:
    title = card.who if card.subject in ("", card.words) else f"{card.who} · {card.subject}"
    title = " ".join(title.split())
    if card.state == "resolved":
        title = f"Resolved · {title}"
    return {"type": "header", "text": {"type": "plain_text", "text": shortened(title, HEADER_CHARS), "emoji": False}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(card: Card) -> list[str]:
    parts = [f"*{escape(_kind(card))}*", f"Queue *{escape(card.queue or 'none')}*"]
    if card.state == "resolved":
        return [*parts, f"Resolved, was with *{escape(card.owner)}*" if card.owner else "Resolved"]
    if card.state == "snoozed":
        parts.append("Snoozed")
    parts.append(f"With *{escape(card.owner)}*" if card.owner else "*Nobody has it yet*")
    if card.due_at is not None and not card.breached:
        parts.append(f"{card.target} due {_moment(card.due_at)}")
    return parts


def _buttons(card: Card) -> list[dict[str, Any]]:
    value = str(card.conversation_id)
    buttons = []
    if card.state != "resolved":
        if not card.owner:
            buttons.append(_button("Claim", CLAIM, value=value, style="primary"))
        buttons.append(_button("Resolve", RESOLVE, value=value, confirm=_confirmation(card)))
    return [*buttons, _button("Open in hub", OPEN, url=card.url)]


def _button(label: str, action_id: str, **more: Any) -> dict[str, Any]:
    text = {"type": "plain_text", "text": label, "emoji": False}
    return {"type": "button", "text": text, "action_id": action_id, **more}


def _confirmation(card: Card) -> dict[str, Any]:
    """Resolving is one click beside claiming, and an unanswered customer would not be seen again."""

    def plain(text: str) -> dict[str, Any]:
        return {"type": "plain_text", "text": text}

    question = shortened(f"{card.who} gets no answer from this. A new message opens the conversation again.", 300)
    return {
        "title": plain("Resolve this conversation?"),
        "text": plain(question),
        "confirm": plain("Resolve"),
        "deny": plain("Keep it open"),
    }


def _moment(at: datetime | None) -> str:
    """A moment that Slack shows in each reader's own time zone."""
    if at is None:
        return "some time ago"
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def _kind(card: Card) -> str:
    return KINDS.get(card.channel, card.channel.capitalize() or "Message")


def _status(card: Card) -> str:
    if card.state == "resolved":
        return "Resolved"
    if card.breached:
        return f"{card.target} overdue"
    return f"With {card.owner}" if card.owner else "Waiting"
