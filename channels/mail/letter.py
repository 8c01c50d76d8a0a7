"""The words of a mail: what was written, the account's signature, the quoted original; as text and as HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from html import escape

from channels.base import Outbound, Quoted
from channels.mail.headers import line
from channels.mail.richtext import html_of

SIGNATURE_MARK = "-- "  # with its blank: by it mail programs know a signature (RFC 3676 4.3)
MAX_QUOTED = 20_000  # characters of the original that are quoted
VARIABLE = re.compile(r"\{(\w*)\}")
VARIABLES = ("agent", "first_name", "signature", "name", "address")


@dataclass(frozen=True, slots=True)
class Style:
    """How an account's mails look. A signature may name {agent}, {first_name}, the agent's own {signature}, the
    account's {name} and {address}; what no person wrote to a customer has none."""

    signature: str = ""
    signature_html: str = ""
    html: bool = True
    quote_original: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """One content in two forms; `html` is empty where the account sends text alone."""

    text: str
    html: str


def unknown_variables(signature: str) -> list[str]:
    """Names in braces that nobody fills in."""
    return [name for name in VARIABLE.findall(signature) if name not in VARIABLES]


def signature_of(style: Style, agent: str, own: str, from_name: str, address: str) -> str:
    """What stands under a mail of this agent, as text."""
    names = _names(Outbound(id="", to=(), text="", sender_name=agent, sender_signature=own), from_name, address)
    return _filled(style.signature, names).strip() if style.signature else ""


def letter(message: Outbound, style: Style, from_name: str, address: str) -> Letter:
    """The whole content. A mail that was written as HTML keeps it even where the account prefers text."""
    names = _names(message, from_name, address)
    quoted = message.quoted if style.quote_original else None
    text, html = message.text.rstrip(), ""
    if message.html or style.html:
        html = message.html or html_of(text)
    if style.signature and message.automatic != "auto-generated":
        signature = _filled(style.signature, names)
        text += f"\n\n{SIGNATURE_MARK}\n{signature.strip()}"
        if html:
            html += f'<div class="signature">{SIGNATURE_MARK}<br>{_signature_html(style, names, signature)}</div>'
    if quoted:
        text += f"\n\n{_attribution(quoted)}\n{_marked(quoted.text)}"
        if html:
            words = html_of(quoted.text[:MAX_QUOTED])
            html += f'<p>{escape(_attribution(quoted))}</p><blockquote type="cite">{words}</blockquote>'
    return Letter(text, f"<!doctype html><html><body>{html}</body></html>" if html else "")


def _names(message: Outbound, from_name: str, address: str) -> dict[str, str]:
    agent = line(message.sender_name or from_name)
    first = agent.split()[0] if message.sender_name.split() else agent
    own = message.sender_signature.strip()
    return {"agent": agent, "first_name": first, "signature": own, "name": line(from_name), "address": address}


def _filled(signature: str, names: dict[str, str]) -> str:
    return VARIABLE.sub(lambda found: names.get(found.group(1), found.group(0)), signature)


def _signature_html(style: Style, names: dict[str, str], signature: str) -> str:
    if style.signature_html:
        return _filled(
            style.signature_html, {name: escape(value).replace("\n", "<br>") for name, value in names.items()}
        )
    return html_of(signature)


def _attribution(quoted: Quoted) -> str:
    at = quoted.at.astimezone(UTC)
    return f"On {at.day} {at:%B %Y} at {at:%H:%M} UTC, {line(quoted.author)} wrote:"


def _marked(text: str) -> str:
    return "\n".join(f"> {each}".rstrip() for each in text[:MAX_QUOTED].strip("\n").split("\n"))
