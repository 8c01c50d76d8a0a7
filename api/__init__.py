"""The API for other programs, by bearer token; health and metrics for whoever runs the hub."""

from __future__ import annotations

from flask import Blueprint, request

from api import (
    calendars,
    contactdata,
    contacts,
    conversations,
    errors,
    events,
    explanations,
    health,
    metrics,
    openapi,
    receipts,
    rules,
    savedreplies,
    supervision,
    views,
    webhook_endpoints,
)
from api.tokens import authenticate
from hub.web import hub_here, know_ids

PARTS = (
    conversations.part,
    contacts.part,
    contactdata.part,
    events.part,
    receipts.part,
    calendars.part,
    rules.part,
    savedreplies.part,
    views.part,
    supervision.part,
    explanations.part,
    webhook_endpoints.part,
)


def create_blueprint() -> Blueprint:
    """`/api/v1/…` for holders of a token, `/healthz`, `/readyz` and `/metrics` for whoever runs the hub."""
    outer = Blueprint("api", __name__)
    openapi.add_route(outer, PARTS)
    outer.register_blueprint(_v1())
    outer.register_blueprint(health.create_blueprint())
    outer.register_blueprint(metrics.create_blueprint())
    return outer


def _v1() -> Blueprint:
    v1 = Blueprint("v1", __name__, url_prefix=openapi.PREFIX)
    v1.before_request(authenticate)
    v1.before_request(know_ids)
    v1.before_request(_have_room)
    errors.register(v1)
    for part in PARTS:
        v1.register_blueprint(part.blueprint)
    v1.add_url_rule("/<path:rest>", "nowhere", errors.nowhere, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    return v1


def _have_room() -> None:
    """Writes stand back for what customers send, also those that don't go through the queue. Raises Busy: 503."""
    if request.method not in ("GET", "HEAD"):
        hub_here().store.writer.must_have_room()
