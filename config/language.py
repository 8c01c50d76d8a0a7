"""The language that people are shown: English as the code says it, or a catalog's, looked up by the English sentence.

A context variable says which: only the doors for people set it, so the API, the log and what is stored stay English.
Catalogs are locale/<language>/messages.po, read the first time somebody wants that language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")

ENGLISH = "en"
LOCALES = Path(__file__).with_name("locale")


@dataclass(frozen=True, slots=True)
class Language:
    """A language as its speakers call it; `rtl` is written from right to left."""

    name: str
    rtl: bool = False


LANGUAGES = {ENGLISH: Language("English"), "de": Language("Deutsch")}
STORED = "stored"  # the context of sentences that `config.retold` knows again
catalogs: dict[str, NullTranslations] = {}

_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)


class Catalog(GNUTranslations):
    """The sentences of a language; those in `stored` are known again where they were stored in English."""

    stored: tuple[str, ...] = ()


def spoken() -> str:
    """The code of the language that is spoken here and now."""
    return _spoken.get()


def speak(code: str) -> None:
    """Say everything in this language from here on."""
    _spoken.set(code)


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Say it in this language for a while."""
    token = _spoken.set(code)
    try:
        yield
    finally:
        _spoken.reset(token)


def carried(unit: Callable[..., T]) -> Callable[..., T]:
    """The same work, in the language of whoever asked for it, whichever thread does it."""
    code = _spoken.get()
    if code == ENGLISH:
        return unit

    def work(*given: object) -> T:
        with speaking(code):
            return unit(*given)

    return work


def _(message: str, /, **values: object) -> str:
    """The sentence in the language that is spoken, with its {places} filled in."""
    code = _spoken.get()
    said = message if code == ENGLISH or not message else catalog(code).gettext(message)
    return said.format(**values) if values else said


def n_(one: str, many: str, count: int, /, **values: object) -> str:
    """The sentence for this count, which fills the place {count}."""
    return chosen(one, many, count).format(**{"count": count, **values})


def chosen(one: str, many: str, count: int) -> str:
    """The form for this count, with its places still open."""
    code = _spoken.get()
    if code == ENGLISH:
        return one if count == 1 else many
    return catalog(code).ngettext(one, many, count)


def p_(context: str, message: str, /, **values: object) -> str:
    """Like `_`, for a word that means several things: the context tells which, to translators alone."""
    code = _spoken.get()
    said = message if code == ENGLISH else catalog(code).pgettext(context, message)
    return said.format(**values) if values else said


def N_(message: str) -> str:
    """A sentence that is kept in English and looked up with `_` when it is shown."""
    return message


class Words(Mapping[K, str]):
    """Words for keys, each looked up when it is asked for."""

    def __init__(self, said: Mapping[K, str]):
        self._said = said

    def __getitem__(self, key: K) -> str:
        return _(self._said[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._said)

    def __len__(self) -> int:
        return len(self._said)


def words(said: Mapping[K, str]) -> Words[K]:
    """A table of words that is said in the language of whoever reads it."""
    return Words(said)


def weekday(day: date, *, short: bool = False) -> str:
    """Monday, or Mon."""
    if _spoken.get() == ENGLISH:
        return day.strftime("%a" if short else "%A")
    return _names(_spoken.get(), "days", short)[day.weekday()].rstrip(".")


def month(day: date, *, short: bool = False) -> str:
    """January, or Jan."""
    if _spoken.get() == ENGLISH:
        return day.strftime("%b" if short else "%B")
    return _names(_spoken.get(), "months", short)[day.month].rstrip(".")


def number(value: float, places: int = 0) -> str:
    """A number with this many decimal places, with the point or comma of the language."""
    said = f"{value:.{places}f}"
    return said if _spoken.get() == ENGLISH else said.replace(".", _point(_spoken.get()))


def catalog(code: str) -> NullTranslations:
    """A language's sentences, read the first time that somebody wants them."""
    found = catalogs.get(code)
    if found is None:
        found = catalogs[code] = read_catalog(code)
    return found


def read_catalog(code: str) -> NullTranslations:
    """A language's catalog, compiled here: a compiled file beside it would be one to forget."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = BytesIO()
    with (LOCALES / code / "messages.po").open(encoding="utf-8") as file:
        written = read_po(file, locale=code)
    write_mo(compiled, written)
    compiled.seek(0)
    read = Catalog(compiled)
    read.stored = tuple(str(each.id) for each in written if each.context == STORED)
    return read


@lru_cache
def _names(code: str, what: str, short: bool) -> Mapping[int, str]:
    from babel import Locale, UnknownLocaleError

    try:
        locale = Locale.parse(code)
    except UnknownLocaleError:
        locale = Locale.parse(ENGLISH)
    found: Mapping[int, str] = getattr(locale, what)["format"]["abbreviated" if short else "wide"]
    return found


@lru_cache
def _point(code: str) -> str:
    from babel import Locale, UnknownLocaleError

    try:
        return str(Locale.parse(code).number_symbols["latn"]["decimal"])
    except UnknownLocaleError:
        return "."
