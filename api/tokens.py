"""Who calls: the bearer token of a request as an actor."""

from __future__ import annotations

from contextlib import suppress

from flask import g, request

from api.errors import Refused
from hub.apitokens import is_stale, note_use, token_actor
from hub.web import hub_here
from storage.access import Actor
from storage.writer import Busy


def authenticate() -> None:
    """Before every view of the API (RFC 6750). Raises Refused."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "no_token", "Send `Authorization: Bearer <token>`; `app.py token create` makes one.")
    hub, token = hub_here(), token.strip()
    with hub.store.read() as tx:
        actor = token_actor(tx, token)
        stale = is_stale(tx, token)
    if actor is None:
        raise Refused(
            401, "bad_token", "This token is unknown, revoked or expired; ask an administrator for a new one."
        )
    if stale:
        with suppress(Busy):  # who reads need not wait until there is room to write that down
            hub.store.submit(lambda tx: note_use(tx, token))
    g.actor = actor


def actor_here() -> Actor:
    """Who makes this request."""
    actor: Actor = g.actor
    return actor
