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

MOST_CHARS = 2000
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
    return _told(code, text).text


class _Told(NamedTuple):
    known: int  # how many characters of it templates account for
    text: str


class _Template(NamedTuple):
    message: str
    parts: tuple[str, ...]  # what stands between its places
    patterns: tuple[re.Pattern[str], ...]  # its places taken as short, and as long, as can be


@lru_cache(2048)
def _told(code: str, text: str) -> _Told:
    """The reading that accounts for most of it."""
    return max(_readings(code, text), key=lambda told: told.known)


def _readings(code: str, text: str) -> Iterator[_Told]:
    yield _Told(0, text)
    if (said := _whole(code, text)) is not None:
        yield said
    for end in _SENTENCE_ENDS.finditer(text):
        begins, rest = text[: end.start() + 1], _told(code, text[end.end() :])
        first = _whole(code, begins) or _Told(0, begins)
        yield _Told(first.known + rest.known, f"{first.text} {rest.text}")


def _whole(code: str, text: str) -> _Told | None:
    """The text as one sentence that is known."""
    if " " in text and (said := catalog(code).gettext(text)) != text:
        return _Told(len(text), said)
    found = [
        _filled(code, each, match.groupdict())
        for each in _templates(code)
        if all(part in text for part in each.parts)  # far faster than most patterns
        for pattern in each.patterns
        if (match := pattern.fullmatch(text))
    ]
    return max(found, key=lambda told: told.known, default=None)


def _filled(code: str, template: _Template, values: dict[str, str]) -> _Told:
    told = {name: _word(code, value) if name == NOUN else _told(code, value) for name, value in values.items()}
    with speaking(code):
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
