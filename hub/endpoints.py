"""Subscribers of our events: who gets webhooks, what was handed over, and handing it over again."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Sequence

from sqlmodel import col, select

from channels.text import storable
from config.language import _
from hub.delivery import deliver
from hub.feed import TYPES
from hub.lanes import before_all
from hub.outside import NotAllowed, check_address
from hub.refusals import FieldRefused
from storage import Tx
from storage.access import WEBHOOKS, Actor, Conflict, NotFound
from storage.deliveries import Delivery, WebhookEndpoint
from storage.facts import DeskChanged

SECRET_BYTES = 32
MAX_NAME = 64
TEST = "webhook.test"  # the type of an event that only its receiver cares for


class EndpointRefused(FieldRefused, Conflict):
    """An endpoint that can't be as it was given; `field` is the one to mend."""


def endpoints(tx: Tx, actor: Actor) -> list[WebhookEndpoint]:
    """Every subscriber, also those switched off, oldest first. Raises Forbidden."""
    actor.must(WEBHOOKS)
    return list(tx.exec(select(WebhookEndpoint).order_by(col(WebhookEndpoint.id))))


def endpoint(tx: Tx, actor: Actor, endpoint_id: int) -> WebhookEndpoint:
    """One subscriber. Raises Forbidden or NotFound."""
    actor.must(WEBHOOKS)
    found = tx.get(WebhookEndpoint, endpoint_id)
    if found is None:
        raise NotFound(_("There is no webhook endpoint {endpoint_id}.", endpoint_id=endpoint_id))
    return found


def add_endpoint(
    tx: Tx, actor: Actor, *, name: str, url: str, events: Sequence[str] = (), private: bool = False
) -> WebhookEndpoint:
    """Send events to an address from now on; its `secret` is made here and is what it verifies our signature with.

    `private` lets it be on our own network. Raises Forbidden, or Conflict when the name is taken, the address may
    not be called or a type is unknown.
    """
    actor.must(WEBHOOKS)
    name = storable(name).strip()[:MAX_NAME]
    if not name:
        raise EndpointRefused("name", _("The endpoint needs a name."))
    _must_be_callable(url, events, private)
    if tx.exec(select(WebhookEndpoint.id).where(WebhookEndpoint.name == name)).first() is not None:
        raise EndpointRefused("name", _("There is an endpoint called {name} already.", name=repr(name)))
    made = WebhookEndpoint(name=name, url=url, secret=_new_secret(), events=list(events), created_at=tx.now)
    tx.add(made)
    tx.flush()
    tx.emit(DeskChanged(f"webhook {name}", by=actor.by))
    return made


def change_endpoint(
    tx: Tx, actor: Actor, endpoint_id: int, *, url: str, events: Sequence[str] = (), private: bool = False
) -> list[str]:  # fmt: skip
    """Another address or other events from now on; what was changed. What waits already goes to the new address.

    Raises Forbidden, NotFound and EndpointRefused.
    """
    row = endpoint(tx, actor, endpoint_id)
    _must_be_callable(url, events, private)
    wanted = {"url": url, "events": [each for each in TYPES if each in events]}
    what = [name for name, value in wanted.items() if _comparable(getattr(row, name)) != _comparable(value)]
    for name in what:
        setattr(row, name, wanted[name])
    if what:
        tx.add(row)
        tx.emit(DeskChanged(f"webhook {row.name} changed: {', '.join(what)}", by=actor.by))
    return what


def switch_endpoint(tx: Tx, actor: Actor, endpoint_id: int, on: bool) -> None:
    """Off, it gets nothing, and what waits fails; on again, it gets what happens from then on."""
    row = endpoint(tx, actor, endpoint_id)
    if row.active is not on:
        row.active, row.failing_since, row.problem = on, None, ""
        tx.add(row)
        tx.emit(DeskChanged(f"webhook {row.name} switched {'on' if on else 'off'}", by=actor.by))


def renew_secret(tx: Tx, actor: Actor, endpoint_id: int) -> str:
    """Another secret, with which everything is signed from now on. It is told this once."""
    row = endpoint(tx, actor, endpoint_id)
    row.secret = _new_secret()
    tx.add(row)
    tx.emit(DeskChanged(f"webhook {row.name} has a new secret", by=actor.by))
    return row.secret


def send_test(tx: Tx, actor: Actor, endpoint_id: int) -> None:
    """An event that happened nowhere, signed and delivered as all others are. Raises Conflict for one that is off."""
    row = endpoint(tx, actor, endpoint_id)
    if not row.active:
        raise Conflict(_("The endpoint is switched off: switch it on first."))
    payload = {"type": TEST, "timestamp": tx.now.isoformat(), "data": {"endpoint": row.name, "by": actor.by}}
    target = f"endpoint:{row.id}"
    first = before_all(tx, "webhook", target)
    deliver(tx, "webhook", target, f"{row.id}:test:{secrets.token_hex(8)}", payload, due_at=first)


def _must_be_callable(url: str, events: Sequence[str], private: bool) -> None:
    if unknown := sorted(set(events) - set(TYPES)):
        raise EndpointRefused(
            "events",
            _("There is no event type {unknown}; GET /api/v1/event-types lists them.", unknown=repr(unknown[0])),
        )
    try:
        check_address(url, private=private)
    except NotAllowed as refused:
        raise EndpointRefused("url", str(refused)) from refused


def _new_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def _comparable(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


def remove_endpoint(tx: Tx, actor: Actor, endpoint_id: int) -> None:
    """Send it nothing more, not even what waits; its log goes with it. Raises Forbidden or NotFound."""
    gone = endpoint(tx, actor, endpoint_id)
    tx.sql("DELETE FROM delivery WHERE sender = 'webhook' AND target = ?", f"endpoint:{endpoint_id}")
    tx.delete(gone)
    tx.emit(DeskChanged(f"webhook {gone.name} removed", by=actor.by))


def deliveries_of(
    tx: Tx, actor: Actor, endpoint_id: int, *, before: int | None = None, limit: int = 50
) -> list[Delivery]:
    """The delivery log of a subscriber, newest first. Raises Forbidden or NotFound."""
    endpoint(tx, actor, endpoint_id)
    query = select(Delivery).where(Delivery.sender == "webhook", Delivery.target == f"endpoint:{endpoint_id}")
    if before is not None:
        query = query.where(col(Delivery.id) < before)
    return list(tx.exec(query.order_by(col(Delivery.id).desc()).limit(limit)))


def replay(tx: Tx, actor: Actor, delivery_id: int) -> Delivery:
    """Hand an event over again under the same webhook-id, at once and with all its tries; a switched-off endpoint is
    switched on by it.

    Raises Forbidden, NotFound, or Conflict while it is under way anyway.
    """
    actor.must(WEBHOOKS)
    delivery = tx.get(Delivery, delivery_id)
    if delivery is None or delivery.sender != "webhook":
        raise NotFound(_("There is no webhook delivery {delivery_id}.", delivery_id=delivery_id))
    subscriber = endpoint(tx, actor, int(delivery.target.partition(":")[2]))
    again = tx.sql(
        "UPDATE delivery SET state = 'queued', due_at = ?, attempts = 0, error = '', ended_at = NULL "
        "WHERE id = ? AND state IN ('sent','failed','cancelled')",
        before_all(tx, "webhook", delivery.target), delivery_id,
    )  # fmt: skip
    if again.rowcount == 0:
        raise Conflict(_("This delivery is under way; wait for its next try."))
    if not subscriber.active:
        subscriber.active, subscriber.failing_since, subscriber.problem = True, None, ""
        tx.add(subscriber)
    tx.refresh(delivery)
    return delivery
