"""Slack as a door: notices go out; presses and customers' messages come in, verified before anything is read."""

from __future__ import annotations

import json
import logging
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from channels.base import NotAuthentic, NotConfigured, SignedRequest
from channels.slack import verify
from chatops.actions import Malformed, carry_out, note_other, read_press
from hub import Hub
from hub.intake import OUTAGES, hear
from hub.web import hub_here, signed_request
from storage.outages import is_outage

logger = logging.getLogger(__name__)

BODY_BYTES = 1024 * 1024  # Slack's own payloads stay far below

Answer = Response | tuple[Response, int] | tuple[Response, int, dict[str, str]]


def create_blueprint() -> Blueprint:
    """The routes under /webhooks/slack. Slack's signature stands in for sign-in and CSRF token."""
    door = Blueprint("chatops", __name__, url_prefix="/webhooks/slack")
    door.before_request(_limit_body)
    door.post("/events")(receive_event)
    door.post("/actions")(receive_action)
    door.register_error_handler(NotAuthentic, _refuse_forgery)
    door.register_error_handler(Malformed, _refuse_malformed)
    door.register_error_handler(RequestEntityTooLarge, _refuse_large)
    for outage in OUTAGES:
        door.register_error_handler(outage, _put_off)
    return door


def receive_event() -> Answer:
    """The Events API: the handshake, and messages in customers' channels. Stored before Slack is told yes.

    Every workspace has a secret of its own, so that each account judges for itself.
    Source: docs.slack.dev/apis/events-api
    """
    hub, signed = hub_here(), signed_request()
    authentic = _is_from_our_workspace(hub, signed)
    for opened in hub.channels_of_kind("slack"):
        try:
            hear(hub, opened, signed)
            authentic = True
        except NotAuthentic:
            continue
        except NotConfigured as problem:
            logger.warning("channel %s takes no events: %s", opened.account.name, problem)
    if not authentic:
        raise NotAuthentic("This is not signed with a Slack secret that we know; check SLACK_SIGNING_SECRET.")
    event = _object(signed.body)
    if event.get("type") == "url_verification":
        return jsonify(challenge=event.get("challenge"))
    return jsonify(ok=True)


def receive_action() -> Answer:
    """Buttons. What comes of a press is seen in the notice, or whispered to whoever pressed."""
    hub, signed = hub_here(), signed_request()
    verify(signed, hub.settings.slack_signing_secret)
    try:
        press = read_press(signed)
    except Malformed as error:
        note_other(hub, signed, str(error))
        raise
    if press is None:
        note_other(hub, signed, "It is no press of a button that we act on.")
    else:
        carry_out(hub, press)
    return jsonify(ok=True)


def _is_from_our_workspace(hub: Hub, signed: SignedRequest) -> bool:
    try:
        verify(signed, hub.settings.slack_signing_secret)
    except NotAuthentic:
        return False
    return True


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed("The event is not JSON.") from None
    if not isinstance(content, dict):
        raise Malformed("The event is JSON, but no object.")
    return content


def _limit_body() -> None:
    request.max_content_length = BODY_BYTES


def _refuse_forgery(error: NotAuthentic) -> Answer:
    logger.warning("refused a call to %s: %s", request.path, error)
    return jsonify(error=str(error)), 403


def _refuse_malformed(error: Malformed) -> Answer:
    return jsonify(error=str(error)), 400


def _refuse_large(_error: RequestEntityTooLarge) -> Answer:
    return jsonify(error=f"A call from Slack has at most {BODY_BYTES // 1024} KB."), 413


def _put_off(error: Exception) -> Answer:
    """Slack tries again at once, after a minute and after five."""
    if not is_outage(error):
        raise error
    logger.debug("a call from Slack could not be stored: %s", type(error).__name__)
    return jsonify(error="The hub can't store anything right now; try again soon."), 503, {"Retry-After": "5"}
