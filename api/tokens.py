"""Who calls: the bearer token of a request as an actor."""

from __future__ import annotations

from flask import g, request

from api.errors import Refused
from hub.apitokens import token_actor
from hub.web import hub_here
from storage.access import Actor


def authenticate() -> None:
    """Before every view of the API (RFC 6750). Raises Refused."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "no_token", "Send `Authorization: Bearer <token>`; `app.py token create` makes one.")
    with hub_here().store.read() as tx:
        actor = token_actor(tx, token.strip())
    if actor is None:
        raise Refused(
            401, "bad_token", "This token is unknown, revoked or expired; ask an administrator for a new one."
        )
    g.actor = actor


def actor_here() -> Actor:
    """Who makes this request."""
    actor: Actor = g.actor
    return actor
