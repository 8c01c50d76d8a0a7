"""Twilio's doors: texts that come in and what became of texts that went out."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import UnsupportedMediaType

from channels.base import NotAuthentic, NotConfigured, SignedRequest
from channels.twilio import read_form
from hub.hub import Hub, Opened
from hub.intake import hear
from hub.web import hub_here, signed_request
from storage.access import NotFound

MAX_BYTES = 4 * 1024 * 1024  # a megabyte of text with every character escaped; Twilio itself sends far less
FORM = "application/x-www-form-urlencoded"
KINDS = ("sms", "whatsapp")
REFUSED = "switchyard.refused"  # in the WSGI environment: what was raised when this request was taken already


@dataclass(frozen=True, slots=True)
class Answer:
    """What Twilio is told when all is well."""

    status: str
    headers: list[tuple[str, str]]
    body: tuple[bytes, ...] = ()

    def response(self) -> Response:
        response = Response(self.body, self.status)
        response.headers = Headers(self.headers)  # an answer without a body has no type
        return response


# Twilio wants TwiML back for a text; an empty one says nothing to the customer.
NOTHING_TO_SAY = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
HEARD = Answer(
    "200 OK",
    [("Content-Type", "text/xml; charset=utf-8"), ("Content-Length", str(len(NOTHING_TO_SAY)))],
    (NOTHING_TO_SAY,),
)
NOTED = Answer("204 NO CONTENT", [])


def add_routes(doors: Blueprint) -> None:
    doors.add_url_rule("/webhooks/twilio/messages", "twilio_messages", messages, methods=["POST"])
    doors.add_url_rule("/webhooks/twilio/status", "twilio_status", status, methods=["POST"])


def messages() -> Response:
    """A text arrived."""
    _take_once()
    return HEARD.response()


def status() -> Response:
    """A text of ours reached a new state."""
    _take_once()
    return NOTED.response()


def take(hub: Hub, signed: SignedRequest) -> None:
    """Store what Twilio says. Raises NotAuthentic, NotConfigured, NotFound, UnsupportedMediaType, or an outage."""
    if signed.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise UnsupportedMediaType(f"Twilio sends {FORM}.")
    refusal: NotAuthentic | NotConfigured | None = None
    for opened in _accounts(hub, signed):
        try:
            hear(hub, opened, signed)
        except (NotAuthentic, NotConfigured) as error:
            refusal = refusal or error
        else:
            return
    raise refusal or NotFound("No channel for texts is set up; add one of kind sms.")


def _take_once() -> None:
    request.max_content_length = MAX_BYTES
    if refused := request.environ.get(REFUSED):
        raise refused
    take(hub_here(), signed_request())


def _accounts(hub: Hub, signed: SignedRequest) -> list[Opened]:
    """Who may be meant: the account with the number itself, then the others, whose service may own it.

    What the request claims only sets the order: the signature decides.
    """
    accounts = [opened for opened in hub.channels() if opened.account.kind in KINDS]
    if len(accounts) < 2:
        return accounts
    form = read_form(signed.body)
    ours = {form.first("To"), form.first("From")} - {""}
    return sorted(accounts, key=lambda opened: opened.account.address not in ours)
