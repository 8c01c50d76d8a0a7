"""Views with a shape: what they take and give is checked at the door and described in openapi.json.

APIFlask does the same, but it has to be the whole application, answers everybody's errors, and takes a fifth of a
second to import.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, ValidationError

from api.errors import Refused
from api.shapes import In

View = TypeVar("View", bound=Callable[..., Any])
Shape = type[BaseModel]
JSON = "application/json"
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address: what it takes in the query or body, what it gives, how else it may end."""

    method: str
    path: str
    view: Callable[..., Any]
    tag: str
    query: type[In] | None
    body: type[In] | None
    gives: Shape | None
    status: int
    refuses: tuple[int, ...]
    media: str = JSON  # of the answer; other than JSON the view makes it itself

    def serve(self, **ids: Any) -> Response:
        """Parse, let the view do its one thing, answer."""
        asked = fitted(self.query or In, request.args.to_dict())
        if self.query is not None:
            ids["asked"] = asked
        if self.body is not None:
            ids["asked"] = fitted(self.body, _json())
        result = self.view(**ids)
        if isinstance(result, Response):
            return result
        if self.gives is None:
            return Response(status=self.status)
        return Response(self.gives.model_validate(result).model_dump_json(), self.status, mimetype=JSON)


class Part:
    """A chapter of the API. Its views get `asked`, the checked query or body, and answer with a row or mapping."""

    def __init__(self, name: str, tag: str):
        self.blueprint = Blueprint(name, __name__)
        self.tag = tag
        self.operations: list[Operation] = []

    def get(self, path: str, **shape: Any) -> Callable[[View], View]:
        return self._route("GET", path, **shape)

    def post(self, path: str, **shape: Any) -> Callable[[View], View]:
        return self._route("POST", path, **shape)

    def put(self, path: str, **shape: Any) -> Callable[[View], View]:
        return self._route("PUT", path, **shape)

    def patch(self, path: str, **shape: Any) -> Callable[[View], View]:
        return self._route("PATCH", path, **shape)

    def delete(self, path: str, **shape: Any) -> Callable[[View], View]:
        return self._route("DELETE", path, **shape)

    def _route(
        self, method: str, path: str, *, gives: Shape | None, query: type[In] | None = None,
        body: type[In] | None = None, status: int = 200, refuses: tuple[int, ...] = (), media: str = JSON,
    ) -> Callable[[View], View]:  # fmt: skip
        def add(view: View) -> View:
            operation = Operation(method, path, view, self.tag, query, body, gives, status, refuses, media)
            self.operations.append(operation)
            self.blueprint.add_url_rule(path, view.__name__, operation.serve, methods=[method])
            return view

        return add


def fitted(shape: type[In], given: Any) -> In:
    """What was sent as its model. Raises Refused with the first thing wrong as a sentence and all of them by field."""
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        fields: dict[str, list[str]] = {}
        for each in error.errors(include_url=False, include_input=False, include_context=False):
            fields.setdefault(".".join(map(str, each["loc"])) or "body", []).append(each["msg"])
        name, told = next(iter(fields.items()))
        raise Refused(422, "invalid", f"{name}: {told[0]}.", fields) from None


def aware(moment: datetime, name: str) -> datetime:
    """A moment in UTC. Raises Refused when it names no time zone."""
    if moment.tzinfo is None:
        raise Refused(422, "invalid", f"{name} needs a time zone, e.g. 2026-11-24T10:00:00Z.")
    return moment.astimezone(UTC)


def _json() -> Any:
    if request.mimetype != JSON and not request.mimetype.endswith("+json"):
        raise Refused(415, "wrong_type", "Send JSON, with `Content-Type: application/json`.")
    try:
        return json.loads(request.get_data())
    except (ValueError, RecursionError):
        raise Refused(400, "bad_request", "The body has to be valid JSON.") from None
