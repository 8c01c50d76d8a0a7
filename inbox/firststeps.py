"""The first account of an empty hub, and the first steps from there to the first message answered."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from config.language import _
from hub import firstrun
from hub.hub import Hub
from hub.refusals import FieldRefused
from hub.signin import BY_PASSWORD
from hub.web import hub_here
from inbox.answers import fragment
from inbox.channelforms import given_for
from inbox.desksheet import VIEW, admin, to
from inbox.door import come_in
from inbox.screen import Place, screen
from inbox.session import Viewer, wants_fragment
from storage import Tx


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/sign-in/first/<token>", "first_account", view_func=account)
    add("/sign-in/first/<token>", "first_account_form", view_func=make_account, methods=["POST"])
    add("/inbox/settings/start", "first_steps", view_func=start)
    add("/inbox/settings/start/serve", "first_steps_serve", view_func=serve, methods=["POST"])


def account(token: str) -> ResponseReturnValue:
    """The form for the first account; its address is told where the program was started."""
    hub = hub_here()
    with hub.store.read() as tx:
        firstrun.must_be_first(hub, tx, token)
    return _account_page(token, {})


def make_account(token: str) -> ResponseReturnValue:
    """Make it, sign its owner in, and show what comes next."""
    hub, given = hub_here(), request.form
    try:
        agent = firstrun.make_first_admin(
            hub, token, name=given.get("name", "")[:400], email=given.get("email", "")[:400],
            password=given.get("password", "")[:1000],
        )  # fmt: skip
    except FieldRefused as refused:
        return _account_page(token, {refused.field: refused.sentence})
    return come_in(agent, BY_PASSWORD, url_for("inbox.first_steps"))


def start() -> ResponseReturnValue:
    """What is done, what comes next. It follows what happens by itself."""
    hub, who = admin()
    with hub.store.read() as tx:
        shown = _shown(hub, tx, who)
        if wants_fragment():
            return fragment("inbox/_first_steps.html", **shown)
        parts = screen(hub, tx, who, Place(VIEW))
    return make_response(render_template("inbox/first_steps.html", screen=parts, **shown))


def serve() -> ResponseReturnValue:
    """Whoever asks answers what comes."""
    hub, who = admin()
    with hub.store.write() as tx:
        firstrun.serve_all(tx, who.actor)
    return to("first_steps", _("What comes in comes to you."))


def _shown(hub: Hub, tx: Tx, who: Viewer) -> dict[str, Any]:
    steps = firstrun.steps(hub, tx, who.actor)
    page = (
        next((each for each in given_for(hub.settings, steps.channel) if each.opens), None) if steps.channel else None
    )
    return {"steps": steps, "page": page}


def _account_page(token: str, errors: dict[str, str]) -> ResponseReturnValue:
    page = render_template("inbox/first_account.html", token_of=token, typed=request.form, errors=errors)
    return make_response(page, 422 if errors else 200)
