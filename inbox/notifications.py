"""What one wants to be told, and how: by the desktop, a sound, mail."""

from __future__ import annotations

from collections.abc import Collection

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from config.language import _, words
from hub.concern import (
    ANSWERED,
    ASSIGNED,
    AWAY_MINUTES,
    COLLEAGUE,
    DESKTOP,
    DUE,
    MAIL,
    MENTIONED,
    OFFERED,
    PROPOSED,
    SOUND,
    UNSENT,
    WAYS,
    WOKEN,
    choose,
    chosen,
    mails,
)
from hub.web import hub_here
from inbox.screen import Place, screen
from inbox.session import viewer
from storage.people import Agent

KINDS = words(
    {
        OFFERED: "A conversation rings at me", ASSIGNED: "A conversation becomes mine",
        ANSWERED: "A customer writes", MENTIONED: "Somebody mentions me", UNSENT: "An answer of mine did not go out",
        DUE: "A target is nearly missed, or missed", WOKEN: "A conversation is back from snooze",
        COLLEAGUE: "A colleague answers or writes a note",
    }
)  # fmt: skip
ABOUT = words(
    {
        OFFERED: "It waits for me to take it.", ASSIGNED: "By a colleague, or because it was my turn.",
        ANSWERED: "In a conversation of mine.", MENTIONED: "With @ and my name, in a note.",
        UNSENT: "It failed, or was held because the customer wrote first.", DUE: "Of a conversation of mine.",
        WOKEN: "Its time has come, and it is mine.", COLLEAGUE: "In a conversation of mine.",
    }
)  # fmt: skip
NAMES = words({DESKTOP: "Desktop", SOUND: "Sound", MAIL: "E-mail"})
SPANS = words({15: "15 minutes", 30: "30 minutes", 60: "an hour", 240: "4 hours"})


def register(blueprint: Blueprint) -> None:
    """Add the page."""
    blueprint.add_url_rule("/inbox/account/notifications", "notifications", view_func=page)
    blueprint.add_url_rule("/inbox/account/notifications", "notifications_keep", view_func=keep, methods=["POST"])


def page() -> ResponseReturnValue:
    """The switches, what this browser permits, and trying both."""
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        mail, minutes = mails(tx, who.agent)
        shown = screen(hub, tx, who, Place("account"))
        ways = chosen(tx, who.id)
    return render_template(
        "inbox/notifications.html", screen=shown, chosen=ways, kinds=KINDS, about=ABOUT, names=NAMES, spans=SPANS,
        ways=WAYS if hub.settings.notices_by else (DESKTOP, SOUND), mail=mail, minutes=minutes or AWAY_MINUTES[1],
    )  # fmt: skip


def keep() -> ResponseReturnValue:
    """Keep the switches. Where the desk sends its people no mail, what was chosen about mail stays as it was."""
    hub, who = hub_here(), viewer()
    picked: dict[str, Collection[str]] = {kind: request.form.getlist(kind) for kind in PROPOSED}
    mail, typed = request.form.get("mail", ""), request.form.get("minutes", "")
    minutes = int(typed) if typed.isdecimal() and len(typed) < 5 else 0
    with hub.store.write() as tx:
        agent = tx.get_one(Agent, who.id)
        if not hub.settings.notices_by:
            mail, minutes = mails(tx, agent)
            before = chosen(tx, who.id)
            picked = {kind: ({*ways} - {MAIL}) | ({*before[kind]} & {MAIL}) for kind, ways in picked.items()}
        choose(tx, who.actor, agent, picked, mail, minutes)
    flash(_("Kept: from now on you are told so."))
    return redirect(url_for("inbox.notifications"), 303)
