"""The pages of links by mail: asking for one, and choosing a password with it."""

from __future__ import annotations

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from config.language import _
from hub.accesslinks import agent_of, ask_reset, choose_password
from hub.agentmail import mail_account
from hub.throttle import SignInRefused
from hub.web import client_ip, hub_here
from storage.access import NotFound


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/sign-in/forgot", view_func=forgot_page)
    add("/sign-in/forgot", view_func=forgot_form, methods=["POST"])
    add("/sign-in/choose/<token>", view_func=choose_page)
    add("/sign-in/choose/<token>", view_func=choose_form, methods=["POST"])


def forgot_page() -> ResponseReturnValue:
    """The form for the address."""
    return _forgot()


def forgot_form() -> ResponseReturnValue:
    """Send the link, or seem to."""
    email = request.form.get("email", "")[:320]
    try:
        ask_reset(hub_here(), email, ip=client_ip())
    except SignInRefused as refused:
        return _forgot(email=email, problem=str(refused), status=429)
    return _forgot(email=email, sent=True)


def choose_page(token: str) -> ResponseReturnValue:
    """The form for the new password."""
    return _choose(token, {})


def choose_form(token: str) -> ResponseReturnValue:
    """Keep the password; signing in, with its second step, comes after."""
    try:
        agent = choose_password(hub_here(), token, request.form.get("new", ""))
    except NotFound as ended:
        return _ended(str(ended))
    except ValueError as error:
        return _choose(token, {"new": f"{str(error)[0].upper()}{str(error)[1:]}."}, 422)
    flash(_("Your password is kept. Sign in with it."))
    return redirect(url_for("inbox.sign_in_page", email=agent.email), 303)


def _choose(token: str, errors: dict[str, str], status: int = 200) -> ResponseReturnValue:
    hub = hub_here()
    try:
        with hub.store.read() as tx:
            agent, link = agent_of(hub, tx, token)
    except NotFound as ended:
        return _ended(str(ended))
    response = make_response(render_template("inbox/choose.html", agent=agent, kind=link.kind, errors=errors), status)
    response.headers["Referrer-Policy"] = "no-referrer"  # the address of this page is a secret
    return response


def _ended(sentence: str) -> ResponseReturnValue:
    return render_template("inbox/link_ended.html", sentence=sentence), 404


def _forgot(*, email: str = "", sent: bool = False, problem: str = "", status: int = 200) -> ResponseReturnValue:
    offered = mail_account(hub_here()) is not None
    page = render_template("inbox/forgot.html", email=email, sent=sent, problem=problem, offered=offered)
    return page, status
