"""Who is at the browser: signing in and out, forms that only our own pages can send, and the headers of every page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from flask.sansio.app import App
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect

from hub.people import SignInRefused, keep_session, session_agent, sign_in, sign_out
from hub.web import hub_here
from routing import work
from storage.access import Actor, actor_for
from storage.people import Agent

csrf = CSRFProtect()
OPEN_TO_ALL = ("inbox.sign_in_page", "inbox.sign_in_form", "inbox.home", "inbox.picture")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Viewer:
    """The agent at the browser: `actor` is what verbs take, `zone` is where the browser says it is."""

    agent: Agent
    actor: Actor
    zone: tzinfo

    @property
    def id(self) -> int:
        return self.agent.id or 0


def viewer() -> Viewer:
    """Who sent this request; every page but the sign-in has one."""
    found: Viewer = g.viewer
    return found


def register(blueprint: Blueprint) -> None:
    """Guard every view of the blueprint and add the sign-in."""
    blueprint.record_once(lambda state: _configure(state.app))
    blueprint.before_request(_know_viewer)
    blueprint.before_request(_protect_forms)
    blueprint.after_request(_harden)
    blueprint.add_url_rule("/sign-in", view_func=sign_in_page)
    blueprint.add_url_rule("/sign-in", view_func=sign_in_form, methods=["POST"])
    blueprint.add_url_rule("/sign-out", view_func=sign_out_form, methods=["POST"])


def wants_fragment() -> bool:
    """Whether htmx asks for a part of the page; going back in history takes the whole."""
    return request.headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in request.headers


def sign_in_page() -> ResponseReturnValue:
    """The form; somebody who is signed in already goes on."""
    if g.viewer is not None:
        return redirect(_next())
    return render_template("inbox/sign_in.html", email="", problem="", next=_next())


def sign_in_form() -> ResponseReturnValue:
    """Check the password and set the cookie; a wrong one keeps the address that was typed."""
    hub = hub_here()
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        agent, secret = sign_in(
            hub.store, email, password,
            ip=request.remote_addr or "", user_agent=request.user_agent.string, hours=hub.settings.session_hours,
        )  # fmt: skip
    except SignInRefused as refused:
        page = render_template("inbox/sign_in.html", email=email, problem=str(refused), next=_next())
        return page, 429 if "Too many" in str(refused) else 403
    if agent.status == "offline" and agent.id is not None:
        number = agent.id
        with hub.store.write() as tx:
            work.set_status(tx, actor_for(tx, agent), number, "available", "signed in")
    response = redirect(_next(), 303)
    response.set_cookie(
        _cookie_name(), secret, max_age=hub.settings.session_hours * 3600, httponly=True, samesite="Lax",
        secure=hub.settings.base_url.startswith("https:"),
    )  # fmt: skip
    return response


def sign_out_form() -> ResponseReturnValue:
    """End this browser's sign-in and take no more work."""
    hub, who = hub_here(), viewer()
    with hub.store.write() as tx:
        sign_out(tx, cookie_secret())
        work.set_status(tx, who.actor, who.id, "offline", "signed out")
    response = redirect(url_for("inbox.sign_in_page"), 303)
    response.delete_cookie(_cookie_name())
    return response


def _configure(app: App) -> None:
    hub = app.extensions["hub"]
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # doors for machines are signed or carry a bearer token
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # a page may stay open all day; the token ends with the browser
    app.config["WTF_CSRF_SSL_STRICT"] = False  # behind a proxy our host name is not the browser's
    app.config["SESSION_COOKIE_NAME"] = f"switchyard_form_{hub.settings.port}"  # cookies don't know ports
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SESSION_COOKIE_SECURE"] = hub.settings.base_url.startswith("https:")
    app.secret_key = app.secret_key or hub.settings.secret_key
    csrf.init_app(app)


def cookie_secret() -> str:
    """What the browser's sign-in cookie holds; empty without one."""
    return request.cookies.get(_cookie_name(), "")


def _cookie_name() -> str:
    return f"switchyard_{hub_here().settings.port}"


def _know_viewer() -> ResponseReturnValue | None:
    g.viewer = None
    hub = hub_here()
    secret = cookie_secret()
    with hub.store.read() as tx:
        session = session_agent(tx, secret)
        if session is not None:
            g.viewer = Viewer(session.agent, actor_for(tx, session.agent), _zone())
    if session is not None and session.stale:
        number = session.sign_in_id
        hub.store.submit(lambda tx: keep_session(tx, number, hub.settings.session_hours))
    if session is None and request.endpoint not in OPEN_TO_ALL:
        return _send_to_sign_in()
    return None


def _send_to_sign_in() -> ResponseReturnValue:
    if request.method != "GET" or wants_fragment():
        target = url_for("inbox.sign_in_page")
        if request.headers.get("HX-Request"):
            return Response("", 401, {"HX-Redirect": target})
        return redirect(target, 303)
    if request.path.endswith("/stream"):
        return Response("sign in first\n", 401)
    return redirect(url_for("inbox.sign_in_page", next=request.full_path.rstrip("?")))


def _protect_forms() -> None:
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        csrf.protect()


def _harden(response: Response) -> Response:
    headers: dict[str, Any] = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    }
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.add("Vary", "HX-Request")
    return response


def _zone() -> tzinfo:
    """The browser's own time zone, as its script told us; UTC until then."""
    name = request.cookies.get("zone", "")
    try:
        return ZoneInfo(name) if name and len(name) < 64 else ZoneInfo("UTC")
    except (ValueError, KeyError, OSError):
        return ZoneInfo("UTC")


def _next() -> str:
    """Where to go after the sign-in: a path of ours, never another site's."""
    wanted = request.values.get("next", "")
    parts = urlsplit(wanted)
    if wanted.startswith("/inbox") and not parts.netloc and not parts.scheme and "\\" not in wanted:
        return wanted
    return url_for("inbox.mine")
