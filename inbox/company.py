"""Who else is here: browsers tell where their agents are, and are told who looks at the open conversation."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from hub import onlookers
from hub.web import hub_here
from inbox.answers import fragment
from inbox.screen import open_company
from inbox.session import viewer
from storage import Tx
from storage.access import conversation_for


def register(blueprint: Blueprint) -> None:
    """Add the two."""
    blueprint.add_url_rule("/inbox/c/<int:number>/here", "here", view_func=here, methods=["POST"])
    blueprint.add_url_rule("/inbox/c/<int:number>/watching", "watching", view_func=watching)


def here(number: int) -> ResponseReturnValue:
    """This agent looks at it, replies in it, or has left; good for a few seconds."""
    who, doing = viewer(), request.form.get("doing", "")

    def unit(tx: Tx) -> None:
        conversation_for(tx, who.actor, number)
        if doing == "gone":
            onlookers.gone(tx, who.id, number)
        else:
            onlookers.here(tx, who.id, number, doing)

    hub_here().store.submit(unit)
    return "", 204


def watching(number: int) -> ResponseReturnValue:
    """Who else is at the conversation."""
    who = viewer()
    with hub_here().store.read() as tx:
        conversation_for(tx, who.actor, number)
        company = open_company(tx, who, number)
    return fragment("inbox/_watching.html", company=company)
