"""The language of a page: what the agent chose, else what the browser asks for; and what scripts say."""

from __future__ import annotations

from flask import Blueprint, g

from config import language
from config.language import ENGLISH, LANGUAGES, N_, Language, p_
from hub import tongue

SCRIPTS = (
    N_("Draft saved"), N_("Draft not saved"), N_("Draft:"), N_("Attaching…"), N_("Not attached: no connection"),
    N_("1 text, {left} left"), N_("{texts} texts, {left} left"), N_("{left} left"), N_("{count} of more"),
    N_("{name} is replying…"), N_("Macro"), N_("Assign"), N_("Snooze"), N_("Go to"), N_("Search for “{words}”"),
    N_("Copied"), N_("Selected"), N_("Copy"), N_("You were mentioned"), N_("Show"),
    N_("It could not be loaded. Try again in a moment."),
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
    tongue.register(blueprint)
    for each in (languages, spoken_by_scripts):
        blueprint.add_app_template_global(each)


def languages() -> dict[str, Language]:
    """What an agent can choose."""
    return LANGUAGES


def spoken_by_scripts() -> dict[str, str]:
    """What our scripts say, by the English that stands in them; nothing for who reads English."""
    if language.spoken() == ENGLISH:
        return {}
    return {"Move": p_("keys", "Move"), **{each: language._(each) for each in SCRIPTS}}


def _speak() -> None:
    viewer = g.get("viewer")
    chosen = viewer.agent.preferences.get("language", "") if viewer else ""
    language.speak(chosen if chosen in LANGUAGES else tongue.asked_for())
