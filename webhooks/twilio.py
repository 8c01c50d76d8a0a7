"""Twilio's doors: texts that come in and what became of texts that went out."""

from __future__ import annotations

from flask import Blueprint, Response, abort, request

from channels.base import NotAuthentic, NotConfigured, SignedRequest
from channels.twilio import read_form
from hub.hub import Hub, Opened
from hub.intake import hear
from hub.web import hub_here, signed_request
from storage.access import NotFound

MAX_BYTES = 4 * 1024 * 1024  # a megabyte of text with every character escaped; Twilio itself sends far less
FORM = "application/x-www-form-urlencoded"
NOTHING_TO_SAY = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
KINDS = ("sms", "whatsapp")


def add_routes(doors: Blueprint) -> None:
    doors.add_url_rule("/webhooks/twilio/messages", "twilio_messages", messages, methods=["POST"])
    doors.add_url_rule("/webhooks/twilio/status", "twilio_status", status, methods=["POST"])


def messages() -> Response:
    """A text arrived. Twilio wants TwiML back; an empty one says nothing to the customer."""
    _take()
    return Response(NOTHING_TO_SAY, mimetype="text/xml")


def status() -> Response:
    """A text of ours reached a new state."""
    _take()
    return Response(status=204)


def _take() -> None:
    request.max_content_length = MAX_BYTES
    hub = hub_here()
    signed = signed_request()
    if signed.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        abort(415, f"Twilio sends {FORM}.")
    refusal: NotAuthentic | NotConfigured | None = None
    for opened in _accounts(hub, signed):
        try:
            hear(hub, opened, signed)
        except (NotAuthentic, NotConfigured) as error:
            refusal = refusal or error
        else:
            return
    raise refusal or NotFound("No channel for texts is set up; add one of kind sms.")


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
