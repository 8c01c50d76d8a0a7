"""The description of the API (OpenAPI 3.1), made from its routes and shapes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from api.routes import JSON, Operation, Part, Shape
from api.shapes import Error, In
from hub.ruleschema import rules_schema

PREFIX = "/api/v1"
REFS = "#/components/schemas/{model}"
INFO = (
    "Conversations, contacts and events of the hub. Every answer is JSON; every refusal is "
    '`{"error": {"code", "message"}}`. Lists page by `next`. Moments are RFC 3339 in UTC.'
)
REFUSALS = {
    400: "The body is not JSON.",
    401: "The token is missing, unknown, revoked or expired.",
    403: "This token may not do that.",
    404: "There is no such thing, or none that this token may see.",
    409: "Somebody was faster, or the state has no room for this; the sentence says what to do.",
    415: "The body is not declared as JSON.",
    422: "The query or body does not fit; `fields` names what.",
}
_ARGUMENT = re.compile(r"<(?:int:)?(\w+)>")


def add_route(blueprint: Blueprint, parts: Iterable[Part]) -> None:
    """Serve the description of `parts` and the schema of rules, to anybody."""

    @cache
    def described() -> dict[str, Any]:
        return describe(parts)

    def openapi() -> Response:
        return jsonify(described())

    def rules_json() -> Response:
        response = jsonify(rules_schema())
        response.mimetype = "application/schema+json"
        return response

    blueprint.add_url_rule(f"{PREFIX}/openapi.json", "openapi", openapi)
    blueprint.add_url_rule(f"{PREFIX}/schemas/rules.json", "rules_schema", rules_json)


def describe(parts: Iterable[Part]) -> dict[str, Any]:
    """The description of every operation of these parts."""
    operations = [operation for part in parts for operation in part.operations]
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = PREFIX + _ARGUMENT.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation)
    token = {"type": "http", "scheme": "bearer", "description": "A token made by `app.py token create`."}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Switchyard", "version": "1", "description": INFO},
        "paths": paths,
        "components": {"schemas": _schemas(operations), "securitySchemes": {"token": token}},
        "security": [{"token": []}],
    }


def _described(operation: Operation) -> dict[str, Any]:
    summary, _, more = (inspect.getdoc(operation.view) or "").partition("\n")
    found: dict[str, Any] = {
        "operationId": operation.view.__name__,
        "tags": [operation.tag],
        "summary": summary,
        "parameters": [*_path_parameters(operation.path), *_query_parameters(operation.query)],
        "responses": _responses(operation),
    }
    if more.strip():
        found["description"] = more.strip()
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": _content(operation.body)}
    return found


def _responses(operation: Operation) -> dict[str, Any]:
    refused = {401, 422, *operation.refuses}  # 422 at least for a key in the query that nobody knows
    refused |= {404} if "<" in operation.path else set()
    refused |= {400, 415} if operation.body else set()
    well: dict[str, Any] = {"description": "Done."}
    if operation.gives is not None:
        well["content"] = _content(operation.gives)
    elif operation.media != JSON:
        well["content"] = {operation.media: {}}  # OpenAPI 3.1: bytes have no schema
    refusals = {str(code): {"description": REFUSALS[code], "content": _content(Error)} for code in sorted(refused)}
    return {str(operation.status): well, **refusals}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    shape = {"type": "integer", "minimum": 1}
    return [{"name": name, "in": "path", "required": True, "schema": shape} for name in _ARGUMENT.findall(path)]


def _query_parameters(query: type[In] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    described = query.model_json_schema()
    found = []
    for name, schema in described["properties"].items():
        kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
        if kinds:  # an optional parameter is left out, never null
            schema = {**kinds[0], **{key: value for key, value in schema.items() if value is not None}}
        parameter = {"name": name, "in": "query", "required": name in described.get("required", []), "schema": schema}
        found.append(parameter | ({"description": told} if (told := schema.pop("description", "")) else {}))
    return found


def _content(shape: Shape) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": REFS.format(model=shape.__name__)}}}


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    wanted: dict[tuple[Shape, JsonSchemaMode], None] = {(Error, "serialization"): None}
    for operation in operations:
        if operation.body is not None:
            wanted[operation.body, "validation"] = None
        if operation.gives is not None:
            wanted[operation.gives, "serialization"] = None
    _, described = models_json_schema(list(wanted), ref_template=REFS)
    schemas: dict[str, Any] = described["$defs"]
    return schemas
