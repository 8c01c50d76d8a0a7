"""HTML that strangers wrote, made harmless: an allow-list, no scripts, no tracking, no hiding, no network.

What comes out is stored beside the original, under the version of these rules. It is shown in a sandboxed frame
under its own policy; either of the two would do. Its pictures lead nowhere: `cid:…` names a file of the mail, and
`remote:…` one that lies elsewhere and is only fetched, through us, when somebody asks.
"""

from __future__ import annotations

import re
from functools import lru_cache

import nh3

from channels.mail.htmltext import FLAT, MAX_CHARS

VERSION = 1  # of what comes out: raise it with every change of the rules, and stored mail is cleaned anew when shown
REMOTE = "remote:"
MAX_DEPTH = 500  # of open tags: parsers take time by its square
MAX_TAGS = 20_000  # bounds the time even where quotes and comments make the depth look smaller than it is
MAX_ATTRIBUTES = 200  # of one tag
MAX_DATA_URL = 200_000  # characters
MAX_KEPT = 500  # characters of a style that is remembered

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


def clean(source: str) -> str | None:
    """Make HTML harmless, or answer None when it is too large or too deep to be read: show the text then."""
    if len(source) > MAX_CHARS or not _is_shallow(source):
        return None
    return _CLEANER.clean(source)


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "style":
        return _style(value) if len(value) <= MAX_KEPT else _style.__wrapped__(value)
    if name == "href":
        return value if _LINK.match(value.strip()) else None
    if name == "src":
        return _picture(value.strip())
    if name in ("bgcolor", "color", "face", "width", "height", "size", "type", "start"):
        return value if re.fullmatch(r"[\w#%., '\"()-]{0,120}", value) else None
    return value


@lru_cache(maxsize=1024)  # mailers give every line the same one
def _style(value: str) -> str | None:
    kept = [
        declaration
        for declaration in value.split(";")
        if declaration.strip() and not _BAD_VALUE.search(declaration) and not _HIDING.search(declaration)
    ]
    return ";".join(kept) or None


def _picture(value: str) -> str | None:
    lower = value.lower()
    if lower.startswith("cid:"):
        return "cid:" + value[4:].strip("<>")
    if _DATA_IMAGE.match(value):
        return value if len(value) <= MAX_DATA_URL else None
    return REMOTE + value if lower.startswith(("http://", "https://")) else None


_CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    attribute_filter=_attribute,
    clean_content_tags=_DROPPED,
    url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
    filter_style_properties=PROPERTIES,
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


def _is_shallow(source: str) -> bool:
    """One pass that counts; it need not be right about broken HTML, only quick."""
    depth = opened = 0
    for closing, name, attributes in _TAG.findall(source):
        if len(attributes) > MAX_ATTRIBUTES and len(attributes.split()) > MAX_ATTRIBUTES:
            return False
        if closing:
            depth = max(0, depth - 1)
        elif name.lower() not in FLAT:
            depth += 1
            opened += 1
            if depth > MAX_DEPTH or opened > MAX_TAGS:
                return False
    return True
