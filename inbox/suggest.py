"""What is offered while one writes: saved replies behind a slash."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from hub import savedreplies
from hub.web import hub_here
from inbox.answers import fragment
from inbox.session import viewer


def register(blueprint: Blueprint) -> None:
    """Add the menu."""
    blueprint.add_url_rule("/inbox/c/<int:number>/suggest", view_func=suggest)


def suggest(number: int) -> ResponseReturnValue:
    """The best fits for the letters behind the slash, as options that carry what they would insert."""
    who, typed = viewer(), request.args.get("q", "")[:40]
    with hub_here().store.read() as tx:
        replies = savedreplies.found(tx, who.actor, number, typed, zone=who.zone)
    return fragment("inbox/_suggest.html", replies=replies, typed=typed)
