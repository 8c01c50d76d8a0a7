"""The language of a page: what the agent chose, else what the browser asks for; and the words for templates."""

from __future__ import annotations

from flask import Blueprint, g, request
from jinja2 import pass_eval_context
from markupsafe import Markup

from config import language
from config.language import ENGLISH, LANGUAGES, N_, Language, p_

SCRIPTS = (
    N_("Draft saved"), N_("Draft not saved"), N_("Draft:"), N_("Attaching…"), N_("Not attached: no connection"),
    N_("1 text, {left} left"), N_("{texts} texts, {left} left"), N_("{left} left"), N_("{count} of more"),
    N_("{name} is replying…"), N_("Macro"), N_("Assign"), N_("Snooze"), N_("Go to"), N_("Search for “{words}”"),
    N_("Copied"), N_("Selected"), N_("Copy"), N_("You were mentioned"), N_("Show"),
    N_("No connection: nothing was sent. Try again in a moment."), N_("Mark"), N_("Act"), N_("Write"),
    N_("Next conversation"), N_("Previous conversation"), N_("Search"), N_("Mark it"), N_("And the next"),
    N_("And the previous"), N_("All of this view"), N_("Reply"), N_("Note"), N_("Resolve or reopen"),
    N_("Snooze or wake"), N_("Assign or move"), N_("Take it"), N_("Macros"), N_("Tag"), N_("Unread again"),
    N_("Take the next"), N_("Undo"), N_("Send"), N_("Send and resolve"), N_("Saved reply"),
    N_("Tell a colleague, in a note"), N_("Next gap of a saved reply"), N_("Leave the field"), N_("All commands"),
    N_("This help"), N_("Ctrl"),
)  # fmt: skip


def register(blueprint: Blueprint) -> None:
    """Set the language before anything of a page is said; follows what knows the viewer."""
    blueprint.before_request(_speak)
    blueprint.teardown_request(lambda _: language.speak(ENGLISH))
    for name, word in (("_", said), ("n_", counted), ("p_", meant)):
        blueprint.add_app_template_global(word, name)
    blueprint.add_app_template_global(language.spoken, "tongue")
    for each in (rtl, languages, spoken_by_scripts):
        blueprint.add_app_template_global(each)
    for filter_ in (within, midway, decimal):
        blueprint.add_app_template_filter(filter_)


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


def languages() -> dict[str, Language]:
    """What an agent can choose."""
    return LANGUAGES


def spoken_by_scripts() -> dict[str, str]:
    """What our scripts say, by the English that stands in them; nothing for who reads English."""
    if language.spoken() == ENGLISH:
        return {}
    return {"Move": p_("keys", "Move"), **{each: language._(each) for each in SCRIPTS}}


def rtl() -> bool:
    """Whether this page is written from right to left."""
    return LANGUAGES[language.spoken()].rtl


def _filled(message: str, values: dict[str, object]) -> Markup:
    plain = message.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return Markup(plain).format(**values) if values else Markup(plain)


def _speak() -> None:
    viewer = g.get("viewer")
    chosen = viewer.agent.preferences.get("language", "") if viewer else ""
    language.speak(chosen if chosen in LANGUAGES else asked_for())


def asked_for() -> str:
    """The first of ours that the browser asks for; whoever asks for de-AT is content with de."""
    asked = (wanted.partition("-")[0].lower() for wanted in request.accept_languages.values())
    return next((code for code in asked if code in LANGUAGES), ENGLISH)
