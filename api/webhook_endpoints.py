"""Who gets webhooks: subscribers, their delivery log, handing an event over again. For administrators."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint

from api import shapes
from api.tokens import actor_here
from hub import endpoints
from hub.web import hub_here
from storage.deliveries import Delivery

part = APIBlueprint("webhook_endpoints", __name__, tag="Webhooks")


@part.get("/webhook-endpoints")
@part.output(shapes.EndpointList)
@part.doc(responses=[403])
def listed() -> dict[str, Any]:
    """Every subscriber."""
    with hub_here().store.read() as tx:
        return {"endpoints": [row.model_dump() for row in endpoints.endpoints(tx, actor_here())]}


@part.post("/webhook-endpoints")
@part.input(shapes.EndpointIn)
@part.output(shapes.NewEndpoint, 201)
@part.doc(responses=[403, 409])
def add(json_data: shapes.EndpointIn) -> dict[str, Any]:
    """Send events to an address from now on. The answer has the secret, this once."""
    hub, asked = hub_here(), json_data
    with hub.store.write() as tx:
        made = endpoints.add_endpoint(
            tx, actor_here(), name=asked.name, url=asked.url, events=asked.events,
            private=hub.settings.webhook_allow_private,
        )  # fmt: skip
        return made.model_dump()


@part.get("/webhook-endpoints/<int:endpoint_id>")
@part.output(shapes.Endpoint)
@part.doc(responses=[403])
def one(endpoint_id: int) -> dict[str, Any]:
    """One subscriber and how it fares."""
    with hub_here().store.read() as tx:
        return endpoints.endpoint(tx, actor_here(), endpoint_id).model_dump()


@part.delete("/webhook-endpoints/<int:endpoint_id>")
@part.output({}, 204)
@part.doc(responses=[403])
def remove(endpoint_id: int) -> str:
    """Send it nothing more; its log goes with it."""
    with hub_here().store.write() as tx:
        endpoints.remove_endpoint(tx, actor_here(), endpoint_id)
    return ""


@part.get("/webhook-endpoints/<int:endpoint_id>/deliveries")
@part.input(shapes.PageQuery, location="query")
@part.output(shapes.DeliveryPage)
@part.doc(responses=[403])
def deliveries(endpoint_id: int, query_data: shapes.PageQuery) -> dict[str, Any]:
    """What was handed over, newest first, with what the other side said."""
    limit = query_data.limit
    with hub_here().store.read() as tx:
        rows = endpoints.deliveries_of(tx, actor_here(), endpoint_id, before=query_data.before, limit=limit + 1)
    page = rows[:limit]
    following = page[-1].id if len(rows) > limit else None
    return {"deliveries": [_shown(row) for row in page], "next": following}


@part.post("/deliveries/<int:delivery_id>/replay")
@part.output(shapes.WebhookDelivery)
@part.doc(responses=[403, 409])
def replay(delivery_id: int) -> dict[str, Any]:
    """Hand it over again under the same webhook-id; a subscriber that was switched off is switched on."""
    with hub_here().store.write() as tx:
        return _shown(endpoints.replay(tx, actor_here(), delivery_id))


def _shown(row: Delivery) -> dict[str, Any]:
    return row.model_dump() | {"type": row.payload.get("type", "")}
