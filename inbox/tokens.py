"""People → API tokens: made, shown once, revoked."""

from __future__ import annotations

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from config.language import _, words
from hub import apitokens as verbs
from hub.refusals import FieldRefused
from hub.web import hub_here
from inbox.people import VIEW
from inbox.screen import Place, screen
from inbox.session import viewer
from storage.access import known_roles

LASTS = words({"30": "30 days", "90": "90 days", "365": "A year", "": "Until it is revoked"})


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/inbox/people/tokens", "tokens", view_func=listed)
    add("/inbox/people/tokens", "token_make", view_func=make, methods=["POST"])
    add("/inbox/people/tokens/<int:number>/revoke", "token_revoke", view_func=revoke, methods=["POST"])


def listed() -> ResponseReturnValue:
    """Every token, and the form for another."""
    return _page()


def make() -> ResponseReturnValue:
    """A new one, shown with the answer and never again."""
    hub, who = hub_here(), viewer()
    given, days = request.form, request.form.get("days", "")
    try:
        with hub.store.write() as tx:
            made = verbs.make_token(
                tx, who.actor, name=given.get("name", "")[:200], role=given.get("role", "")[:64],
                days=int(days) if days in LASTS and days else None, own=given.get("own") == "on",
            )  # fmt: skip
    except FieldRefused as refused:
        return _page(refused)
    return _page(made=made)


def revoke(number: int) -> ResponseReturnValue:
    """It opens nothing any more."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        verbs.revoke_token(tx, who.actor, number)
    flash(_("The token is revoked: it opens nothing any more."))
    return redirect(url_for("inbox.tokens"), 303)


def _page(refused: FieldRefused | None = None, *, made: str = "") -> ResponseReturnValue:
    hub, who = hub_here(), viewer()
    with hub.store.read() as tx:
        rows = [(token, agent, verbs.counts(token, tx.now)) for token, agent in verbs.tokens(tx, who.actor)]
        parts = screen(hub, tx, who, Place(VIEW))
        roles = known_roles(tx)
    page = render_template(
        "inbox/tokens.html", screen=parts, tokens=rows, roles=roles, lasts=LASTS, made=made,
        given=request.form if refused else {}, errors={refused.field: refused.sentence} if refused else {},
    )  # fmt: skip
    return make_response(page, 422 if refused else 200)
