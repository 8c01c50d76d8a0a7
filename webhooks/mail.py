"""Mail that a provider received for us: SendGrid, Mailgun, Postmark, Amazon SES and others post it here."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from hub.intake import hear
from hub.web import hub_here, signed_request
from storage.access import NotFound


def add_routes(doors: Blueprint) -> None:
    doors.add_url_rule("/webhooks/mail/<key>", "mail", post, methods=["POST"])
    doors.add_url_rule("/webhooks/mail/<key>/<secret>", "mail_by_secret", post, methods=["POST"])


def post(key: str, secret: str = "") -> Response:
    """Whatever the request carries is kept before it is answered; `secret` is judged by the channel, with the rest."""
    hub = hub_here()
    opened = hub.channel_named(key)
    if opened.account.kind != "mailhook":
        raise NotFound(f"There is no channel of kind mailhook called {key!r}.")
    return jsonify(states=[taken.state for taken in hear(hub, opened, signed_request())])
