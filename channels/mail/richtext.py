"""HTML of our own mails: made of plain text, or an author's made harmless before it leaves in our name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import groupby

import nh3

from channels.mail.htmltext import measure, text_of
from channels.mail.sanitise import MAX_DEPTH
from config.language import N_

MAX_CHARS = 500_000
MAX_URL = 2000  # characters of a word that is made a link
PUNCTUATION = "<>()[]{}\"'.,;:!?…"
ADDRESS = re.compile(r"[\w.+\-]{1,64}@[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8}")

TAGS = {
    *("a", "b", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "hr", "i", "img", "li", "ol", "p"),
    *("pre", "s", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul"),
}
ATTRIBUTES = {
    "*": {"dir", "lang", "style"},
    "a": {"href", "title"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start", "type"},
    "table": {"border", "cellpadding", "cellspacing"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
PROPERTIES = {
    *("background-color", "color", "font-size", "font-style", "font-weight", "margin", "margin-left", "padding"),
    *("text-align", "text-decoration", "white-space"),
}
_CALLS = re.compile(r"\(|\\|/\*|@|expression", re.I)  # nh3 checks names of properties, never their values
_LINK = re.compile(r"(https?|mailto|tel):", re.I)
_PICTURE = re.compile(r"cid:|https://", re.I)


def harmless(html: str) -> str:
    """What may leave of HTML that an agent or a program wrote: formatting, links, own and https pictures.

    Raises ValueError with a sentence where it is too large or too deep to be read.
    """
    depth, _ = measure(html[:MAX_CHARS])
    if len(html) > MAX_CHARS or depth > MAX_DEPTH:
        raise ValueError(N_("The formatted text is too long or too deeply nested; shorten it or send it as a file."))

    def attribute(tag: str, name: str, value: str) -> str | None:
        if name == "style":
            return ";".join(each for each in value.split(";") if each.strip() and not _CALLS.search(each)) or None
        if name == "href":
            return value if _LINK.match(value.strip()) else None
        if name == "src":
            return value if _PICTURE.match(value.strip()) else None
        return value

    return nh3.clean(
        html, tags=TAGS, attributes=ATTRIBUTES, attribute_filter=attribute, filter_style_properties=PROPERTIES,
        clean_content_tags={"script", "style", "title", "template", "svg", "math"},
        url_schemes={"http", "https", "mailto", "tel", "cid"}, link_rel=None,
    )  # fmt: skip


def text_in(html: str) -> str:
    """The same words for mail programs without HTML."""
    return text_of(html)


def html_of(text: str) -> str:
    """Plain text as HTML: paragraphs, line breaks, quotations by ">", and links."""
    return "".join(_blocks(text.replace("\r\n", "\n").strip("\n").split("\n")))


def _blocks(lines: list[str]) -> Iterator[str]:
    for quoted, group in groupby(lines, key=lambda each: each.startswith(">")):
        some = list(group)
        if quoted:
            yield f"<blockquote>{''.join(_paragraphs([each[1:].removeprefix(' ') for each in some]))}</blockquote>"
        else:
            yield from _paragraphs(some)


def _paragraphs(lines: list[str]) -> Iterator[str]:
    for empty, group in groupby(lines, key=lambda each: not each.strip()):
        if not empty:
            yield f"<p>{'<br>'.join(_line(each) for each in group)}</p>"


def _line(written: str) -> str:
    words = written.lstrip(" \t")
    indent = "&nbsp;" * min(40, len(written.expandtabs(4)) - len(words.expandtabs(4)))
    return indent + "".join(_word(each) for each in re.split(r"(\s+)", words))


def _word(written: str) -> str:
    core = written.strip(PUNCTUATION)
    target = _target(core)
    if not target:
        return escape(written)
    before, _, after = written.partition(core)
    return f'{escape(before)}<a href="{escape(target)}">{escape(core)}</a>{escape(after)}'


def _target(core: str) -> str:
    if len(core) > MAX_URL:
        return ""
    if re.match(r"https?://[^/]", core, re.I):
        return core
    if core.lower().startswith("www.") and "." in core[4:]:
        return f"https://{core}"
    return f"mailto:{core}" if ADDRESS.fullmatch(core) else ""
