"""Signing in and out: the password, the second step, and where to go afterwards."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from config.language import _
from hub.firstrun import nobody_yet
from hub.secondstep import prove
from hub.signin import BY_PASSWORD, BY_PROVIDER, let_in, passed, sign_out
from hub.throttle import SignInRefused, must_wait, note_try
from hub.web import client_ip, hub_here
from inbox.session import cookie_secret, keep_cookie, viewer
from routing import work
from storage.access import NotFound, actor_for
from storage.doors import has_second_step
from storage.people import Agent, agent_by_email

HALF = "half"  # in the signed session of the browser: who has typed the right password and owes a code
ATTEMPT = "attempt"  # who is at the identity provider
HALF_SECONDS = 10 * 60


def register(blueprint: Blueprint) -> None:
    """Add the pages."""
    add = blueprint.add_url_rule
    add("/sign-in", view_func=sign_in_page)
    add("/sign-in", view_func=sign_in_form, methods=["POST"])
    add("/sign-in/oidc", view_func=oidc_begin)
    add("/sign-in/oidc/back", view_func=oidc_back)
    add("/sign-in/code", view_func=second_step_page)
    add("/sign-in/code", view_func=second_step_form, methods=["POST"])
    add("/sign-out", view_func=sign_out_form, methods=["POST"])


def sign_in_page() -> ResponseReturnValue:
    """The form; somebody who is signed in already goes on."""
    if g.viewer is not None:
        return redirect(going_to())
    return _sign_in_page(email=request.args.get("email", "")[:320])


def sign_in_form() -> ResponseReturnValue:
    """Check the password and set the cookie, or ask for the second step; a wrong one keeps the address."""
    hub, email = hub_here(), request.form.get("email", "")
    try:
        agent = passed(hub.store, email, request.form.get("password", ""), ip=client_ip())
    except SignInRefused as refused:
        return _sign_in_page(email=email, problem=str(refused), status=429 if refused.wait else 403)
    with hub.store.read() as tx:
        owes = has_second_step(tx, agent.id or 0)
    if not owes:
        return come_in(agent, BY_PASSWORD)
    until = hub.store.clock().timestamp() + HALF_SECONDS
    session[HALF] = [agent.id, _stamp(agent), until]
    return redirect(url_for("inbox.second_step_page", next=going_to()), 303)


def second_step_page() -> ResponseReturnValue:
    """The form for the code."""
    if _half_in() is None:
        return redirect(url_for("inbox.sign_in_page", next=going_to()))
    return render_template("inbox/second_step.html", next=going_to(), problem="")


def second_step_form() -> ResponseReturnValue:
    """Check the code and set the cookie."""
    hub, agent = hub_here(), _half_in()
    if agent is None:
        return _sign_in_page(problem=_("That took too long, or the password was changed. Sign in again."), status=403)
    try:
        how = prove(hub.store, hub.envelope, agent.id or 0, request.form.get("code", "")[:100], ip=client_ip())
    except SignInRefused as refused:
        page = render_template("inbox/second_step.html", next=going_to(), problem=str(refused))
        return page, 429 if refused.wait else 403
    session.pop(HALF, None)
    return come_in(agent, how)


def oidc_begin() -> ResponseReturnValue:
    """To the identity provider; what it must send back is kept in the browser's signed session."""
    provider = hub_here().provider
    if provider is None:
        raise NotFound(_("This desk has no single sign-on."))
    try:
        target, attempt = provider.begin()
    except SignInRefused as refused:
        return _sign_in_page(problem=str(refused), status=503)
    until = hub_here().store.clock().timestamp() + HALF_SECONDS
    session[ATTEMPT] = [attempt.state, attempt.nonce, attempt.verifier, until, going_to()]
    return redirect(target)


def oidc_back() -> ResponseReturnValue:
    """Back from the identity provider: check what it says and let its person in, who is known by their address."""
    hub, kept = hub_here(), session.pop(ATTEMPT, None)
    provider, ip = hub.provider, client_ip()
    if provider is None:
        raise NotFound(_("This desk has no single sign-on."))
    with hub.store.read() as tx:
        if waiting := must_wait(tx, ip=ip):
            return _sign_in_page(problem=waiting, status=429)
    if not isinstance(kept, list) or len(kept) != 5 or kept[3] < hub.store.clock().timestamp():
        # Not counted: any page could send a browser here, and nothing can be guessed.
        return _sign_in_page(problem=_("That took too long, or began in another browser. Begin again."), status=403)
    from hub.oidc import Attempt, ProviderTrouble  # here, because only a desk with a provider has loaded it

    try:
        email = provider.finish(Attempt(*kept[:3]), request.args)
        with hub.store.read() as tx:
            agent = agent_by_email(tx, email)
        if agent is None:
            raise SignInRefused(_("Nobody here has the address {email}. Ask an admin to invite you.", email=email))
    except SignInRefused as refused:
        if not isinstance(refused, ProviderTrouble):
            hub.store.submit(lambda tx: note_try(tx, "sso", None, ip=ip))
        return _sign_in_page(problem=str(refused), status=403)
    return come_in(agent, BY_PROVIDER, kept[4])


def sign_out_form() -> ResponseReturnValue:
    """End this browser's sign-in and take no more work."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        sign_out(tx, cookie_secret())
        work.set_status(tx, who.actor, who.id, "offline", "signed out")
    response = redirect(url_for("inbox.sign_in_page"), 303)
    keep_cookie(response, "")
    return response


def come_in(agent: Agent, how: str, target: str = "") -> ResponseReturnValue:
    """Sign this browser in as an agent who has proved to be one, and go on."""
    hub = hub_here()
    secret = open_sign_in(agent, how)
    if agent.status == "offline" and agent.id is not None:
        number = agent.id
        with hub.store.write() as tx:
            work.set_status(tx, actor_for(tx, agent), number, "available", "signed in")
    response = redirect(target or going_to(), 303)
    keep_cookie(response, secret)
    return response


def open_sign_in(agent: Agent, how: str) -> str:
    """A new sign-in of this browser; the secret for its cookie."""
    hub = hub_here()
    return let_in(
        hub.store, agent, how, ip=client_ip(), user_agent=request.user_agent.string,
        hours=hub.settings.session_hours,
    )  # fmt: skip


def going_to() -> str:
    """Where to go after the sign-in: a path of ours, never another site's."""
    wanted = request.values.get("next", "")
    parts = urlsplit(wanted)
    if wanted.startswith("/inbox") and not parts.netloc and not parts.scheme and "\\" not in wanted:
        return wanted
    return url_for("inbox.mine")


def _sign_in_page(*, email: str = "", problem: str = "", status: int = 200) -> ResponseReturnValue:
    provider = hub_here().provider
    with hub_here().store.read() as tx:
        empty = nobody_yet(tx)
    page = render_template(
        "inbox/sign_in.html", email=email, problem=problem, next=going_to(), empty=empty,
        provider=provider.name if provider else "",
    )  # fmt: skip
    return page, status


def _half_in() -> Agent | None:
    """Who typed the right password in this browser a moment ago; nobody once that was long ago or it was changed."""
    hub, half = hub_here(), session.get(HALF)
    if not isinstance(half, list) or len(half) != 3:
        return None
    number, stamp, until = half
    with hub.store.read() as tx:
        agent: Any = tx.get(Agent, number)
        if agent is None or not agent.active or tx.now.timestamp() > until or _stamp(agent) != stamp:
            return None
        found: Agent = agent
        return found


def _stamp(agent: Agent) -> str:
    """Changes with the password, and tells nothing of it."""
    return hashlib.sha256(f"second step {agent.password_hash}".encode()).hexdigest()[:16]
