"""Readable text of an HTML mail."""

from __future__ import annotations

import html as entities
import re

from lxml.etree import LxmlError

MAX_CHARS = 2_000_000
MAX_LAYOUT_CHARS = 500_000  # inscriptis needs about 1.5 s per MB
MAX_LAYOUT_DEPTH = 250  # libxml2 drops what is nested deeper than 256
MAX_ATTRIBUTES = 200  # of one tag: parsers take quadratic time over them

# Elements that never nest in themselves: without an end tag, or with one that may be left out.
VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
OPTIONAL_END = frozenset(
    ("p", "li", "td", "tr", "th", "dt", "dd", "option", "thead", "tbody", "tfoot", "colgroup", "html", "head", "body")
)
FLAT = VOID | OPTIONAL_END | {"!doctype", "!--", "?xml", "o:p"}
UNSHOWN = re.compile(r"<(style|script|head|title)\b.*?</\1\s*>", re.I | re.S)
BREAKS = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?h[1-6]|/?table|/?blockquote)\b[^<>]*>", re.I)
TAG = re.compile(r"<[^<>]*>")
NAME = re.compile(r"/?([!?a-zA-Z][^\s/>]*)")
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


def measure(html: str) -> tuple[int, int]:
    """(deepest nesting, most attributes of one tag), counted in one pass without building a tree."""
    level = deepest = most = 0
    start = html.find("<")
    while start != -1:
        end = html.find(">", start)
        tag = html[start + 1 : end if end != -1 else len(html)]
        name = NAME.match(tag)
        if name and name.group(1).lower() not in FLAT:
            level += -1 if tag.startswith("/") else 0 if tag.endswith("/") else 1
            level = max(level, 0)
            deepest = max(deepest, level)
        if len(tag) > MAX_ATTRIBUTES and not tag.startswith("!--"):
            most = max(most, len(QUOTED.sub('""', tag).split()))
        start = html.find("<", end) if end != -1 else -1
    return deepest, most


def text_of(html: str) -> str:
    """The text of an HTML mail in its layout; by a plain stripping of tags where the layout would cost too much."""
    depth, attributes = measure(html[:MAX_LAYOUT_CHARS])
    if len(html) > MAX_LAYOUT_CHARS or depth > MAX_LAYOUT_DEPTH or attributes > MAX_ATTRIBUTES:
        return _stripped(html)
    # Here, because readers have processes of their own: the hub itself starts without them.
    from inscriptis import get_text
    from inscriptis.model.config import ParserConfig

    try:
        return _tidy(get_text(html, ParserConfig()))
    except (LxmlError, ValueError, RecursionError, AttributeError, TypeError, IndexError):
        return _stripped(html)  # inscriptis has no common base class for what broken markup makes it raise


def _stripped(html: str) -> str:
    html = html[:MAX_CHARS]
    shown = _without_unshown(html)
    return _tidy(entities.unescape(TAG.sub(" ", BREAKS.sub("\n", shown))))


def _without_unshown(html: str) -> str:
    if html.lower().count("<style") + html.lower().count("<script") > 100:
        return html  # the search for each end tag would be quadratic where none comes
    return UNSHOWN.sub(" ", html)


def _tidy(content: str) -> str:
    lines = [each.rstrip() for each in content.replace("\xa0", " ").replace("\x00", "").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
