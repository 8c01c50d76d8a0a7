"""What templates need to speak the reader's language, and which language a browser asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

from flask import Blueprint, request
from jinja2 import pass_eval_context
from markupsafe import Markup

from config import language
from config.language import ENGLISH, LANGUAGES, speaking

P = ParamSpec("P")
R = TypeVar("R")


def register(blueprint: Blueprint) -> None:
    """Make the words known to every template."""
    for name, word in (("_", said), ("n_", counted), ("p_", meant)):
        blueprint.add_app_template_global(word, name)
    blueprint.add_app_template_global(language.spoken, "tongue")
    blueprint.add_app_template_global(rtl)
    for filter_ in (within, midway, decimal):
        blueprint.add_app_template_filter(filter_)


def as_asked(view: Callable[P, R]) -> Callable[P, R]:
    """A page for somebody whom we know by their browser alone, in the language that it asks for."""

    @wraps(view)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        with speaking(asked_for()):
            return view(*args, **kwargs)

    return shown


def said(message: str, /, **values: object) -> Markup:
    """A sentence for a template: the message is ours and plain, and every value is escaped unless it is HTML."""
    return _filled(language._(message), values)


def counted(one: str, many: str, count: int, /, **values: object) -> Markup:
    """A sentence for a template, for this count."""
    return _filled(language.chosen(one, many, count), {"count": count, **values})


def meant(context: str, message: str, /, **values: object) -> Markup:
    """A word for a template whose meaning the context tells."""
    return _filled(language.p_(context, message), values)


def within(text: object, tag: str, **attributes: object) -> Markup:
    """Words inside an element, for a place of a sentence: `"J"|within("kbd")`."""
    given = Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(tag, given, text)


@pass_eval_context
def midway(_: object, words: str) -> str:
    """Words that begin with a capital as they stand in the middle of a sentence; German nouns keep theirs."""
    return words.lower() if language.spoken() == ENGLISH else words


@pass_eval_context
def decimal(_: object, value: float, places: int, plus: bool = False) -> str:
    """A number with its decimal places; with `plus` it always has a sign."""
    return ("+" if plus and value >= 0 else "") + language.number(value, places)


def rtl() -> bool:
    """Whether this page is written from right to left."""
    return LANGUAGES[language.spoken()].rtl


def asked_for() -> str:
    """The first of ours that the browser asks for; whoever asks for de-AT is content with de."""
    asked = (wanted.partition("-")[0].lower() for wanted in request.accept_languages.values())
    return next((code for code in asked if code in LANGUAGES), ENGLISH)


def _filled(message: str, values: dict[str, object]) -> Markup:
    return _plain(message).format(**values) if values else _plain(message)


@lru_cache(4096)
def _plain(message: str) -> Markup:
    return Markup(message.translate({38: "&amp;", 60: "&lt;", 62: "&gt;", 34: "&quot;"}))
