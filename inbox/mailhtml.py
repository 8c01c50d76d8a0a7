"""A cleaned mail as a page of its own, with pictures that lead where the viewer may look."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping

from channels.mail.sanitise import REMOTE, VERSION, clean
from storage.conversations import Message

# As the sanitiser writes it: in text "<" never stands bare, so this finds tags only.
_IMAGE = re.compile(r'<img((?: [a-z-]+="[^"]*")*)>')
_SOURCE = re.compile(r' src="([^"]*)"')


def cleaned_html(message: Message) -> str:
    """The harmless form of a mail: as it was stored, or made now where it is missing or of older rules."""
    if message.safe_version == VERSION:
        return message.safe_html
    return clean(message.html) or ""


def pictured(cleaned: str, inline: Mapping[str, str], remote: Callable[[str], str] | None = None) -> str:
    """Give pictures addresses: `inline` by Content-ID, `remote` for those elsewhere; the others stay empty."""

    def address(source: str) -> str | None:
        if source.startswith("cid:"):
            return inline.get(source.removeprefix("cid:"))
        if source.startswith(REMOTE):
            return remote(source.removeprefix(REMOTE)) if remote else None
        return source if source.startswith("data:image/") else None

    def image(tag: re.Match[str]) -> str:
        attributes, written = tag.group(1), _SOURCE.search(tag.group(1))
        if written is None:
            return tag.group(0)
        shown = address(html.unescape(written.group(1)))
        kept = attributes.replace(written.group(0), f' src="{html.escape(shown)}"' if shown else "", 1)
        return f"<img{kept}>"

    return _IMAGE.sub(image, cleaned)


def page(cleaned: str, text: str) -> str:
    """A whole document for the frame; `text` is shown where there is no HTML that could be cleaned."""
    body = cleaned or f"<pre>{html.escape(text)}</pre>"
    return (
        '<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>Mail</title><style>:root{color-scheme:light}body{margin:12px 14px;background:#fff;color:#1b1c1f;"
        "font:14px/1.5 ui-sans-serif,system-ui,sans-serif;overflow-wrap:anywhere}img{max-width:100%;height:auto}"
        "pre{white-space:pre-wrap;font:inherit}blockquote{margin:8px 0 8px 2px;padding-left:10px;"
        "border-left:2px solid #ddd;color:#55575e}table{max-width:100%}td,th{overflow-wrap:break-word}"
        "</style></head><body>" + body + "</body></html>"
    )
