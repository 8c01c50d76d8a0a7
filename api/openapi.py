"""The description of the API (OpenAPI 3.1), made from the code and completed with what APIFlask leaves out.

APIFlask describes a whole application and answers its errors in JSON; ours also has pages for people. So the API's
parts are described by an application of their own that never serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from apiflask import APIBlueprint, APIFlask
from apiflask import settings as defaults
from flask import Blueprint, Response, jsonify
from flask.sansio.app import App

from api.shapes import Problem

PREFIX = "/api/v1"
ERROR = {"type": "object", "required": ["error"], "properties": {"error": Problem.model_json_schema()}}
INFO = (
    "Conversations, contacts and events of the hub. Every answer is JSON; every refusal is "
    '`{"error": {"code", "message"}}`. Lists page by `next`. Moments are RFC 3339 in UTC.'
)


def add_route(blueprint: Blueprint, parts: Sequence[APIBlueprint]) -> None:
    """Serve the description of `parts`, to anybody."""

    @cache
    def described() -> dict[str, Any]:
        return describe(parts)

    def openapi() -> Response:
        return jsonify(described())

    blueprint.add_url_rule(f"{PREFIX}/openapi.json", "openapi", openapi)
    blueprint.record_once(lambda state: _prepare(state.app))


def describe(parts: Sequence[APIBlueprint]) -> dict[str, Any]:
    """The description of these views."""
    app = APIFlask("switchyard", title="Switchyard", version="1", spec_path=None, docs_path=None)
    app.config.update(DESCRIPTION=INFO, HTTP_ERROR_SCHEMA=ERROR, VALIDATION_ERROR_SCHEMA=ERROR, AUTO_SERVERS=False)
    for part in parts:
        app.register_blueprint(part, url_prefix=PREFIX)
    with app.app_context():
        return _completed(app._get_spec("json"))  # type: ignore[arg-type]


def _prepare(app: App) -> None:
    """The settings that APIFlask's decorators read at each request."""
    for name in ("BASE_RESPONSE_SCHEMA", "VALIDATION_ERROR_STATUS_CODE", "VALIDATION_ERROR_DESCRIPTION"):
        app.config.setdefault(name, getattr(defaults, name))


def _completed(spec: dict[str, Any]) -> dict[str, Any]:
    token = {"type": "http", "scheme": "bearer", "description": "A token made by `app.py token create`."}
    spec.setdefault("components", {}).setdefault("securitySchemes", {})["token"] = token
    spec["security"] = [{"token": []}]
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPError"}}}
    for operations in spec["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                if "requestBody" in operation:
                    operation["requestBody"]["required"] = True
                told = "The token is missing, unknown, revoked or expired."
                operation["responses"]["401"] = {"description": told, "content": error}
    return spec
