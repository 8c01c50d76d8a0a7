"""Who is at the browser, forms that only our own pages can send, and the headers of every page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, g, redirect, request, url_for
from flask.sansio.app import App
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response as BaseResponse

from config.settings import Settings
from hub.signin import keep_session, session_agent
from hub.web import hub_here
from inbox import tongue
from storage.access import Actor, actor_for
from storage.people import Agent

csrf = CSRFProtect()
FORM = "form_"  # the cookie that is signed, for forms and half a sign-in
HOST = "__Host-"  # RFC 6265bis 4.1.3.2: no site beside or above ours can have set it
OPEN_TO_ALL = frozenset(
    f"inbox.{name}"
    for name in (
        "sign_in_page", "sign_in_form", "second_step_page", "second_step_form", "forgot_page", "forgot_form",
        "choose_page", "choose_form", "oidc_begin", "oidc_back", "home", "picture", "first_account",
        "first_account_form",
    )
)  # fmt: skip
# What is left to somebody of whom the desk asks a second step, until it is set up.
WITHOUT_STEP = frozenset(
    f"inbox.{name}" for name in ("own_step", "own_step_begin", "own_step_confirm", "sign_out_form")
)
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
    sign_in_id: int = 0

    @property
    def id(self) -> int:
        return self.agent.id or 0


def viewer() -> Viewer:
    """Who sent this request; every page but the sign-in has one."""
    found: Viewer = g.viewer
    return found


def register(blueprint: Blueprint) -> None:
    """Guard every view of the blueprint."""
    blueprint.record_once(lambda state: _configure(state.app))
    blueprint.before_request(_know_viewer)
    tongue.register(blueprint)
    blueprint.before_request(_protect_forms)
    blueprint.after_request(_harden)


def wants_fragment() -> bool:
    """Whether htmx asks for a part of the page; going back in history takes the whole."""
    return request.headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in request.headers


def _configure(app: App) -> None:
    hub = app.extensions["hub"]
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # doors for machines are signed or carry a bearer token
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # a page may stay open all day; the token ends with the browser
    app.config["WTF_CSRF_SSL_STRICT"] = False  # behind a proxy our host name is not the browser's
    app.config["SESSION_COOKIE_NAME"] = _cookie_name(hub.settings, FORM)
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.config["SESSION_COOKIE_SECURE"] = hub.settings.base_url.startswith("https:")
    app.secret_key = app.secret_key or hub.settings.secret_key
    csrf.init_app(app)


def cookie_secret() -> str:
    """What the browser's sign-in cookie holds; empty without one."""
    return request.cookies.get(_cookie_name(hub_here().settings), "")


def keep_cookie(response: BaseResponse, secret: str) -> None:
    """Let the browser hold what `let_in` gave; nothing signs it out."""
    settings = hub_here().settings
    name, secure = _cookie_name(settings), settings.base_url.startswith("https:")
    if not secret:
        response.delete_cookie(name, secure=secure, httponly=True, samesite="Lax")
        return
    response.set_cookie(
        name, secret, max_age=settings.session_hours * 3600, httponly=True, samesite="Lax", secure=secure
    )


def _cookie_name(settings: Settings, what: str = "") -> str:
    """What a cookie of ours is called.

    Cookies don't know ports, so hubs side by side say them; all processes behind one address are one hub.
    """
    address = urlsplit(settings.base_url)
    secure = address.scheme == "https"
    return f"{HOST if secure else ''}switchyard_{what}{address.port or (443 if secure else 80)}"


def _know_viewer() -> ResponseReturnValue | None:
    g.viewer = None
    hub = hub_here()
    secret = cookie_secret()
    with hub.store.read() as tx:
        session = session_agent(tx, secret)
        if session is not None:
            g.viewer = Viewer(session.agent, actor_for(tx, session.agent), _zone(), session.sign_in_id)
    if session is not None and session.stale:
        number = session.sign_in_id
        hub.store.submit(lambda tx: keep_session(tx, number, hub.settings.session_hours))
    if session is None and request.endpoint not in OPEN_TO_ALL:
        return _send_to("inbox.sign_in_page")
    if session is not None and session.step_missing and request.endpoint not in OPEN_TO_ALL | WITHOUT_STEP:
        return _send_to("inbox.own_step")
    return None


def _send_to(endpoint: str) -> ResponseReturnValue:
    if request.method != "GET" or wants_fragment():
        target = url_for(endpoint)
        if request.headers.get("HX-Request"):
            return Response("", 401, {"HX-Redirect": target})
        return redirect(target, 303)
    if request.path.endswith("/stream"):
        return Response("sign in first\n", 401)
    return redirect(url_for(endpoint, next=request.full_path.rstrip("?")))


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
