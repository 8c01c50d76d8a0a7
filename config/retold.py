"""Sentences that are stored: written in English before anybody reads them, said in the language of each who does.

A row keeps the English sentence, as the API and the log have it. For a page it is taken apart by the templates that it
may have been made of, and put together again from their translations; what no template knows stays as it is, such as
the words of a provider. Rows of earlier versions are told in the same way, as long as the template is still in use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from config.language import ENGLISH, STORED, catalog, p_, speaking, spoken

MOST_CHARS = 600  # columns have 500
# Strangers have a say in what is stored (what a server answers, what a form calls itself): one of their texts may cost
# milliseconds, whatever is in it.
MOST_ENDS = 8  # of sentences; a text with more is taken as one
MOST_TRIES = 120
MOST_DEPTH = 6
NOUN = "noun"  # a place of this name has a word of ours in it, such as "queue"
_PLACE = re.compile(r"{(\w+)}")
_SENTENCE_ENDS = re.compile(r"[.?!)] (?=\S)")


def stored(message: str, /, **values: object) -> str:
    """The English sentence with its places filled in, whatever language is spoken: `retold` knows it again.

    A sentence without places needs no more than `N_`.
    """
    return message.format(**values)


def S_(message: str) -> str:
    """A sentence with places that `stored` fills later."""
    return message


def retold(text: str) -> str:
    """What was stored in English (one sentence or several, with others in their places), in the language spoken."""
    code = spoken()
    if code == ENGLISH or not text or len(text) > MOST_CHARS:
        return text
    return _said(code, text)


class _Told(NamedTuple):
    known: int  # how many characters of it templates account for
    text: str


class _Template(NamedTuple):
    message: str
    parts: tuple[str, ...]  # what stands between its places
    patterns: tuple[re.Pattern[str], ...]  # its places taken as short, and as long, as can be


class _TooHard(Exception):
    """It would take too long to find out."""


@lru_cache(4096)
def _said(code: str, text: str) -> str:
    try:
        return _Reading(code).told(text).text
    except _TooHard:
        return text


class _Reading:
    """One text as it is taken apart."""

    def __init__(self, code: str):
        self.code = code
        self.left = MOST_TRIES
        self.kept: dict[str, _Told] = {}

    def told(self, text: str, depth: int = 0) -> _Told:
        """The reading that accounts for most of it."""
        if text not in self.kept:
            found = self._readings(text, depth) if depth <= MOST_DEPTH else iter((_Told(0, text),))
            self.kept[text] = max(found, key=lambda told: told.known)
        return self.kept[text]

    def _readings(self, text: str, depth: int) -> Iterator[_Told]:
        yield _Told(0, text)
        if (said := self._whole(text, depth)) is not None:
            yield said
        ends = list(_SENTENCE_ENDS.finditer(text))
        for end in ends if len(ends) <= MOST_ENDS else ():
            begins, rest = text[: end.start() + 1], self.told(text[end.end() :], depth + 1)
            first = self._whole(begins, depth) or _Told(0, begins)
            yield _Told(first.known + rest.known, f"{first.text} {rest.text}")

    def _whole(self, text: str, depth: int) -> _Told | None:
        """The text as one sentence that is known."""
        self.left -= 1
        if self.left < 0:
            raise _TooHard
        if " " in text and (said := catalog(self.code).gettext(text)) != text:
            return _Told(len(text), said)
        found = [
            self._filled(each, match.groupdict(), depth)
            for each in _templates(self.code)
            if all(part in text for part in each.parts)  # far faster than most patterns
            for pattern in each.patterns
            if (match := pattern.fullmatch(text))
        ]
        return max(found, key=lambda told: told.known, default=None)

    def _filled(self, template: _Template, values: dict[str, str], depth: int) -> _Told:
        told = {
            name: _word(self.code, value) if name == NOUN else self.told(value, depth + 1)
            for name, value in values.items()
        }
        with speaking(self.code):
            said = p_(STORED, template.message, **{name: each.text for name, each in told.items()})
        known = sum(map(len, template.parts))
        return _Told(known + sum(each.known for each in told.values()), said)


def _word(code: str, noun: str) -> _Told:
    said = catalog(code).gettext(noun)
    return _Told(len(noun) if said != noun else 0, said)


@lru_cache
def _templates(code: str) -> tuple[_Template, ...]:
    return tuple(_template(message) for message in getattr(catalog(code), "stored", ()))


def _template(message: str) -> _Template:
    parts = _PLACE.split(message)
    patterns = []
    for more in ("*?", "*"):
        names: set[str] = set()
        pattern = ""
        for number, part in enumerate(parts):
            if number % 2 == 0:
                pattern += re.escape(part)
            else:
                pattern += f"(?P={part})" if part in names else f"(?P<{part}>.{more})"
                names.add(part)
        patterns.append(re.compile(pattern, re.DOTALL))
    return _Template(message, tuple(parts[::2]), tuple(patterns) if len(parts) > 3 else tuple(patterns[:1]))
