"""The link in mail to many: a page with one button for people, one POST for mail programs (RFC 8058)."""

from __future__ import annotations

from flask import Blueprint, Response, render_template

from hub.tongue import as_asked
from hub.unsubscribe import Subscriber, subscriber, unsubscribe
from hub.web import hub_here
from storage import Tx

PATH = "/webhooks/unsubscribe/<token>"


def add_routes(doors: Blueprint) -> None:
    doors.add_url_rule(PATH, "unsubscribe_page", page, methods=["GET"])
    doors.add_url_rule(PATH, "unsubscribe", post, methods=["POST"])


@as_asked
def page(token: str) -> Response:
    """Asks, and changes nothing: scanners of mail follow every link."""
    hub = hub_here()
    with hub.store.read() as tx:
        return _shown(subscriber(tx, hub.tokens, token), done=False)


@as_asked
def post(token: str) -> Response:
    """The click, whoever made it; the token says who it is."""
    hub = hub_here()

    def unit(tx: Tx) -> Subscriber:
        return unsubscribe(tx, hub.tokens, token)

    return _shown(hub.store.submit(unit), done=True)


def _shown(found: Subscriber, *, done: bool) -> Response:
    sender = found.channel.address or found.channel.name
    text = render_template("webhooks/unsubscribe.html", address=found.identity.value, sender=sender, done=done)
    response = Response(text, mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response
