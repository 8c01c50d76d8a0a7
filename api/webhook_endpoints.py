"""Who gets webhooks: subscribers, their delivery log, handing an event over again. For administrators."""

from __future__ import annotations

from typing import Any

from api import shapes
from api.routes import Part
from api.tokens import actor_here
from hub import endpoints
from hub.web import hub_here
from storage.deliveries import Delivery

part = Part("webhook_endpoints", "Webhooks")


@part.get("/webhook-endpoints", gives=shapes.EndpointList, refuses=(403,))
def list_endpoints() -> dict[str, Any]:
    """Every subscriber."""
    with hub_here().store.read() as tx:
        return {"endpoints": [row.model_dump() for row in endpoints.endpoints(tx, actor_here())]}


@part.post("/webhook-endpoints", body=shapes.EndpointIn, gives=shapes.NewEndpoint, status=201, refuses=(403, 409))
def create_endpoint(asked: shapes.EndpointIn) -> dict[str, Any]:
    """Send events to an address from now on. The answer has the secret, this once."""
    hub = hub_here()
    with hub.store.write() as tx:
        made = endpoints.add_endpoint(
            tx, actor_here(), name=asked.name, url=asked.url, events=asked.events,
            private=hub.settings.webhook_allow_private,
        )  # fmt: skip
        return made.model_dump()


@part.get("/webhook-endpoints/<int:endpoint_id>", gives=shapes.Endpoint, refuses=(403,))
def get_endpoint(endpoint_id: int) -> dict[str, Any]:
    """One subscriber and how it fares."""
    with hub_here().store.read() as tx:
        return endpoints.endpoint(tx, actor_here(), endpoint_id).model_dump()


@part.delete("/webhook-endpoints/<int:endpoint_id>", gives=None, status=204, refuses=(403,))
def delete_endpoint(endpoint_id: int) -> None:
    """Send it nothing more; its log goes with it."""
    with hub_here().store.write() as tx:
        endpoints.remove_endpoint(tx, actor_here(), endpoint_id)


@part.get(
    "/webhook-endpoints/<int:endpoint_id>/deliveries", query=shapes.PageQuery, gives=shapes.DeliveryPage, refuses=(403,)
)
def list_deliveries(endpoint_id: int, asked: shapes.PageQuery) -> dict[str, Any]:
    """What was handed over, newest first, with what the other side said."""
    limit = asked.limit
    with hub_here().store.read() as tx:
        rows = endpoints.deliveries_of(tx, actor_here(), endpoint_id, before=asked.before, limit=limit + 1)
    page = rows[:limit]
    following = page[-1].id if len(rows) > limit else None
    return {"deliveries": [_shown(row) for row in page], "next": following}


@part.post("/deliveries/<int:delivery_id>/replay", gives=shapes.WebhookDelivery, refuses=(403, 409))
def replay_delivery(delivery_id: int) -> dict[str, Any]:
    """Hand it over again under the same webhook-id; a subscriber that was switched off is switched on."""
    with hub_here().store.write() as tx:
        return _shown(endpoints.replay(tx, actor_here(), delivery_id))


def _shown(row: Delivery) -> dict[str, Any]:
    return row.model_dump() | {"type": row.payload.get("type", "")}
