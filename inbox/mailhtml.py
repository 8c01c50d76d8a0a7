"""HTML that strangers wrote, made harmless: an allow-list, no scripts, no tracking, no hiding, no network.

What comes out is shown in a sandboxed frame under its own policy; either of the two would do.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import nh3

MAX_CHARS = 2_000_000
MAX_DEPTH = 500  # of open tags: parsers take time by its square
MAX_TAGS = 20_000  # bounds the time even where quotes and comments make the depth look smaller than it is
MAX_ATTRIBUTES = 200  # of one tag
MAX_DATA_URL = 200_000  # characters

_TAG_NAMES = (
    "a abbr address b big blockquote br caption center cite code col colgroup dd del div dl dt em font h1 h2 h3 h4 h5 "
    "h6 hr i img ins kbd li ol p pre q s samp small span strike strong sub sup table tbody td tfoot th thead tr tt u "
    "ul"
)
ATTRIBUTES = {
    "*": {"align", "bgcolor", "dir", "lang", "style", "title", "valign"},
    "a": {"href"},
    "col": {"span", "width"},
    "font": {"color", "face", "size"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start", "type"},
    "table": {"border", "cellpadding", "cellspacing", "width"},
    "td": {"colspan", "height", "nowrap", "rowspan", "width"},
    "th": {"colspan", "height", "nowrap", "rowspan", "width"},
}
_PROPERTY_NAMES = (
    "background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width border-collapse "
    "border-color border-left border-left-color border-left-style border-left-width border-radius border-right "
    "border-right-color border-right-style border-right-width border-spacing border-style border-top border-top-color "
    "border-top-style border-top-width border-width color direction font font-family font-size font-style font-variant "
    "font-weight height letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right "
    "margin-top max-width min-width padding padding-bottom padding-left padding-right padding-top text-align "
    "text-decoration text-indent text-transform vertical-align white-space width word-break word-spacing"
)
TAGS = set(_TAG_NAMES.split())
PROPERTIES = set(_PROPERTY_NAMES.split())
# nh3 checks names of properties, never their values.
_BAD_VALUE = re.compile(
    r"url\s*\(|image\s*\(|image-set|element\s*\(|var\s*\(|expression|@import|behaviou?r|\\|/\*", re.IGNORECASE
)
_HIDING = re.compile(
    r"(font-size|line-height|(max-)?height|(max-)?width)\s*:\s*0*(\.0*)?[01]?\s*(px|pt|em|rem|%|!|$)", re.IGNORECASE
)
_DATA_IMAGE = re.compile(r"data:image/(png|jpe?g|gif|webp|bmp);base64,[a-z0-9+/=\s]*\Z", re.I)
_LINK = re.compile(r"(https?:|mailto:|tel:|#)", re.I)
_DROPPED = {
    "applet", "embed", "frame", "frameset", "iframe", "math", "noembed", "noframes", "noscript", "object", "plaintext",
    "script", "select", "style", "svg", "template", "textarea", "title", "xmp",
}  # fmt: skip
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>?")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}


@dataclass(frozen=True, slots=True)
class Clean:
    """Harmless HTML; `blocked` counts the remote images left out."""

    html: str
    blocked: int = 0


def clean(source: str, *, inline: Mapping[str, str], remote: Callable[[str], str] | None = None) -> Clean | None:
    """Make HTML harmless, or answer None when it is too large or too deep to be read: show the text then.

    `inline` maps the Content-IDs of the message's own pictures to addresses; `remote` gives the address under which
    a picture from elsewhere may be loaded through us, and without it they are left out and counted.
    """
    if len(source) > MAX_CHARS or not _is_shallow(source):
        return None
    blocked = 0

    def attribute(tag: str, name: str, value: str) -> str | None:
        nonlocal blocked
        if name == "style":
            return _style(value)
        if name == "href":
            return value if _LINK.match(value.strip()) else None
        if name == "src":
            address = _picture(value.strip(), inline, remote)
            blocked += 1 if address == "" else 0
            return address or None
        if name in ("bgcolor", "color", "face", "width", "height", "size", "type", "start"):
            return value if re.fullmatch(r"[\w#%., '\"()-]{0,120}", value) else None
        return value

    cleaned = nh3.clean(
        source,
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=attribute,
        clean_content_tags=_DROPPED,
        url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
        filter_style_properties=PROPERTIES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Clean(cleaned, blocked)


def page(cleaned: str, text: str) -> str:
    """A whole document for the frame; `text` is shown where there is no HTML that could be cleaned."""
    body = cleaned or f"<pre>{html.escape(text)}</pre>"
    return (
        '<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>Mail</title><style>:root{color-scheme:light}body{margin:12px 14px;background:#fff;color:#1b1c1f;"
        "font:14px/1.5 ui-sans-serif,system-ui,sans-serif;overflow-wrap:anywhere}img{max-width:100%;height:auto}"
        "pre{white-space:pre-wrap;font:inherit}blockquote{margin:8px 0 8px 2px;padding-left:10px;"
        "border-left:2px solid #ddd;color:#55575e}table{max-width:100%}</style></head><body>" + body + "</body></html>"
    )


def _style(value: str) -> str | None:
    kept = [
        declaration
        for declaration in value.split(";")
        if declaration.strip() and not _BAD_VALUE.search(declaration) and not _HIDING.search(declaration)
    ]
    return ";".join(kept) or None


def _picture(value: str, inline: Mapping[str, str], remote: Callable[[str], str] | None) -> str | None:
    """The address to show a picture from; an empty one means blocked, none means never."""
    lower = value.lower()
    if lower.startswith("cid:"):
        return inline.get(value[4:].strip("<>"))
    if _DATA_IMAGE.match(value):
        return value if len(value) <= MAX_DATA_URL else None
    if lower.startswith(("http://", "https://")):
        return remote(value) if remote else ""
    return None


def _is_shallow(source: str) -> bool:
    """One pass that counts; it need not be right about broken HTML, only quick."""
    depth = opened = 0
    for closing, name, attributes in _TAG.findall(source):
        if len(attributes) > MAX_ATTRIBUTES and len(attributes.split()) > MAX_ATTRIBUTES:
            return False
        if closing:
            depth = max(0, depth - 1)
        elif name.lower() not in _VOID:
            depth += 1
            opened += 1
            if depth > MAX_DEPTH or opened > MAX_TAGS:
                return False
    return True
