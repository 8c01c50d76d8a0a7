"""A made-up language that says every sentence of the catalog in brackets, and what of a page is outside of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from gettext import NullTranslations

import pytest
from babel.messages.catalog import Message
from selectolax.lexbor import LexborHTMLParser as Page

from config import language
from config.language import STORED, Language
from tests.desk import Desk
from tests.support import catalog

MADE_UP = "xx"
SAID = ("aria-label", "title", "placeholder", "alt")
# Names of things, and what is code in every language; days and months come from Babel, which knows no made-up one.
NAMES = re.compile(
    r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|mon|fri|thu)\b|"
    r"express|Switchyard|Auto: \{subject\}|message \|\| text|\w+-(?:mail|slack|line)\b|\{\w+\}|"
    r"\w+\[\d+\][.\w]*|Slack|SMS|WhatsApp|YAML|desk\.yaml|Ctrl|Esc|API|STOP|Cc|Bcc|OAuth|Webhooks?|Twilio|[A-Z]{2,}\b|"
    r"[\w.+-]+@[\w.-]+|https?://\S+|/\w+|\b\w+[:.=_]\w[\w.:=-]*|\b[a-z]+:"
)
# What is stored in English for readers of every language is no name: a page has to tell it.
TOLD = ("state_why", "error", "problem", "why")


class MadeUp(NullTranslations):
    """Says every message in brackets, and leaves alone what the catalogs don't have."""

    def __init__(self) -> None:
        super().__init__()
        said = _said()
        self._known = {(form, each.context) for each in said for form in catalog.forms(each.id)}
        self.stored = tuple(str(each.id) for each in said if each.context == STORED)

    def gettext(self, message: str) -> str:
        return self._bracketed(message, None)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self._bracketed(msgid1 if n == 1 else msgid2, None)

    def pgettext(self, context: str, message: str) -> str:
        return self._bracketed(message, context)

    def _bracketed(self, message: str, context: str | None) -> str:
        return f"⟦{message}⟧" if (message, context) in self._known else message


@cache
def _said() -> list[Message]:
    return [each for each in catalog.template() if each.id]


def invent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the language one that browsers may ask for."""
    monkeypatch.setitem(language.LANGUAGES, MADE_UP, Language("Made up"))
    monkeypatch.setitem(language.catalogs, MADE_UP, MadeUp())


def bare(page: Page, data: str) -> set[str]:
    """What a page says in no brackets, that is no name and stands in no row."""
    return {part for text in _texts(page) for part in untold(text, data)}


def rows_of(desk: Desk) -> str:
    """Everything in every row, as one text; without sentences, which are not for everybody as they stand there."""
    found = []
    with desk.hub.store.read() as tx:
        tables = [row[0] for row in tx.sql("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
        for name in tables:
            if "search" in name:
                continue
            columns = [row[1] for row in tx.sql(f"PRAGMA table_info({name})").fetchall()]
            wanted = ", ".join(each for each in columns if each not in TOLD) or "1"
            found += [str(tuple(row)) for row in tx.sql(f"SELECT {wanted} FROM {name}").fetchall()]
    return " ".join(re.sub(r'"why": "[^"]*"', "", each) for each in " ".join(found).casefold().split("\n"))


def _texts(page: Page) -> Iterator[str]:
    for node in page.css("*"):
        yield from (node.attributes.get(name) or "" for name in SAID)
    for node in page.css("script, style, svg, code, kbd, pre, textarea, bdi, time, template, .av"):
        node.decompose()
    yield page.body.text(separator="\n") if page.body else ""


def untold(text: str, data: str) -> Iterator[str]:
    """What a text says in no brackets, that is no name and stands in no row."""
    while (told := re.sub(r"⟦[^⟦⟧]*⟧", "\n", text)) != text:
        text = told
    for part in re.split(r"\s+·\s+|, |\n| [≥(] ?", text):
        said = " ".join(part.split()).strip(" ,:;.?()…–+-×≥“”’'0123456789")
        if said and said.casefold() not in data and re.search(r"[^\W\d_]{2,}", NAMES.sub("", said)):
            yield said
