"""The doors that machines and customers' browsers knock on: Twilio, mail, forms, chat, and our own webhooks out."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, jsonify, request
from flask.sansio.app import App
from werkzeug.exceptions import HTTPException

from channels.base import NotAuthentic, NotConfigured, Unreadable
from hub import tongue
from hub.intake import OUTAGES
from hub.web import signed_request
from storage.access import NotFound
from storage.outages import is_outage
from webhooks import chat, demo_shop, form, mail, twilio, unsubscribe

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5
OURS = ("/webhooks/", "/chat/", "/forms/")

SENTENCES = {
    404: "There is nothing at this address.",
    405: "This address does not take {method}.",
    413: "The request is too large.",
    415: "This address does not take that content type.",
}


def create_blueprint() -> Blueprint:
    """Every public door. Nothing here knows a signed-in agent: no cookies, no CSRF."""
    doors = Blueprint(
        "webhooks", __name__, template_folder="templates", static_folder="static", static_url_path="/chat/static"
    )
    tongue.register(doors)
    twilio.add_routes(doors)
    mail.add_routes(doors)
    form.add_routes(doors)
    chat.add_routes(doors)
    demo_shop.add_routes(doors)
    unsubscribe.add_routes(doors)
    doors.register_error_handler(NotAuthentic, _not_authentic)
    doors.register_error_handler(NotFound, _not_found)
    doors.register_error_handler(NotConfigured, _not_configured)
    doors.register_error_handler(Unreadable, _unreadable)
    doors.register_error_handler(HTTPException, _refused)
    doors.app_errorhandler(405)(_wrong_method)
    for outage in OUTAGES:
        doors.register_error_handler(outage, _try_again)
    doors.record_once(lambda state: _cap_bodies(state.app))
    return doors


def _cap_bodies(app: App) -> None:
    """A door may allow less than this, never more."""
    app.config["MAX_CONTENT_LENGTH"] = app.extensions["hub"].settings.max_body_mb * 1024 * 1024


def _error(status: int, sentence: str) -> Response:
    response = jsonify(error=sentence)
    response.status_code = status
    return response


def _not_authentic(error: NotAuthentic) -> Response:
    # The address is what the sender should have signed: without it a wrong PUBLIC_BASE_URL is hard to find.
    logger.warning("refused: %s (as %s)", error, signed_request().url)
    return _error(403, str(error))


def _not_found(error: NotFound) -> Response:
    return _error(404, str(error))


def _not_configured(error: NotConfigured) -> Response:
    logger.error("a channel can't be used: %s", error)
    response = _error(503, "This channel is not set up yet; an administrator has to look at its settings.")
    response.headers["Retry-After"] = "60"
    return response


def _unreadable(error: Unreadable) -> Response:
    return _error(400, str(error))


def _refused(error: HTTPException) -> Response:
    code = error.code or 500
    if error.response is not None or code < 400:
        return Response(error.get_response().get_data(), code, dict(error.get_headers()))
    sentence = SENTENCES.get(code, error.description or error.name).format(method=request.method)
    response = _error(code, sentence)
    if code == 405:
        response.headers["Allow"] = ", ".join(getattr(error, "valid_methods", None) or ())
    return response


def _wrong_method(error: HTTPException) -> Response | HTTPException:
    """No door is found for a wrong method, so the application answers; for our addresses as our doors do."""
    return _refused(error) if request.path.startswith(OURS) else error


def _try_again(error: Exception) -> Response:
    if not is_outage(error):
        raise error
    logger.debug("nothing could be stored (%s); the sender is asked to try again", type(error).__name__)
    response = _error(503, "Nothing could be stored just now; try again in a few seconds.")
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response
