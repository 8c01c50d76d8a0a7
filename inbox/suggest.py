"""What is offered while one writes: saved replies behind a slash, colleagues behind an @."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from sqlmodel import col, select

from hub import savedreplies
from hub.mentions import may_see
from hub.web import hub_here
from inbox.answers import fragment
from inbox.session import viewer
from storage.access import conversation_for
from storage.people import Agent


def register(blueprint: Blueprint) -> None:
    """Add the menu."""
    blueprint.add_url_rule("/inbox/c/<int:number>/suggest", view_func=suggest)


def suggest(number: int) -> ResponseReturnValue:
    """The best fits for the letters behind the slash or @, as options that carry what they would insert."""
    who, typed = viewer(), request.args.get("q", "")[:40]
    if request.args.get("for") == "@":
        return _colleagues(number, typed.lower())
    with hub_here().store.read() as tx:
        replies = savedreplies.found(tx, who.actor, number, typed, zone=who.zone)
    return fragment("inbox/_suggest.html", replies=replies, typed=typed)


def _colleagues(number: int, typed: str) -> ResponseReturnValue:
    """Who may see the conversation and has a name that begins so."""
    who = viewer()
    with hub_here().store.read() as tx:
        conversation = conversation_for(tx, who.actor, number)
        agents = tx.exec(select(Agent).where(col(Agent.active), Agent.id != who.id).order_by(col(Agent.name))).all()
        fits = [each for each in agents if any(word.startswith(typed) for word in each.name.lower().split())]
        told = [each for each in fits if may_see(tx, each, conversation)][:8]
    return fragment("inbox/_suggest_names.html", agents=told)
