"""A make-believe shop that embeds the chat as a real one would; only on a demo desk."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Response, render_template, request

from hub.hub import Opened
from hub.web import hub_here
from storage.access import NotFound
from webhooks.embed import setting

CUSTOMER = {"sub": "customer-1041", "name": "Mara Lindqvist", "email": "mara.lindqvist@example.com"}
SIGNED_FOR = timedelta(hours=1)


def add_routes(doors: Blueprint) -> None:
    doors.add_url_rule("/chat/demo-shop", "demo_shop", page, methods=["GET"])


def page() -> Response:
    """The shop's front page; with `?signed-in=1` the shop vouches for its customer."""
    hub = hub_here()
    chats = hub.channels_of_kind("chat")
    if not hub.settings.demo or not chats:
        raise NotFound("The demo shop is open on a demo desk only.")
    signed_in = request.args.get("signed-in") == "1"
    identity = _identity(chats[0]) if signed_in else ""
    text = render_template(
        "webhooks/demo_shop.html",
        channel=chats[0].account.name,
        colour=setting(chats[0], "colour"),
        identity=identity,
        can_sign_in=bool(setting(chats[0], "identity_secret")),
        customer=CUSTOMER["name"] if identity else "",
    )
    response = Response(text, mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; frame-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _identity(chat: Opened) -> str:
    """What the shop's server would sign for its signed-in customer."""
    secret = setting(chat, "identity_secret")
    if not secret:
        return ""
    claims = {**CUSTOMER, "exp": hub_here().store.clock() + SIGNED_FOR}
    if audience := setting(chat, "audience"):
        claims["aud"] = audience
    import jwt  # here, because the shop's page is seldom opened

    return jwt.encode(claims, secret, algorithm="HS256")
