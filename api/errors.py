"""Every refusal of the API in one shape: {"error": {"code", "message"}}."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException

from hub.intake import OUTAGES
from hub.refusals import FieldRefused
from storage.access import Conflict, Forbidden, NotFound

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5
CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "wrong_type"}
TOLD = {
    400: "The body has to be valid JSON.",
    405: "This address does not take that method.",
    413: "The request is too large.",
    415: "Send JSON.",
}


class Refused(Exception):
    """The request can't be served; `message` says what to do."""

    def __init__(self, status: int, code: str, message: str, fields: Mapping[str, list[str]] | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.fields = status, code, message, fields


def register(blueprint: Blueprint) -> None:
    """Answer the blueprint's errors, and those of its parts, in the API's shape."""
    blueprint.register_error_handler(Refused, _told)
    blueprint.register_error_handler(Forbidden, lambda e: answer(403, "forbidden", str(e)))
    blueprint.register_error_handler(NotFound, lambda e: answer(404, "not_found", str(e)))
    blueprint.register_error_handler(Conflict, lambda e: answer(409, "conflict", str(e)))
    blueprint.register_error_handler(FieldRefused, _field_refused)
    blueprint.register_error_handler(HTTPException, _refused)
    for outage in OUTAGES:
        blueprint.register_error_handler(outage, _try_again)
    blueprint.register_error_handler(DBAPIError, _database)


def answer(status: int, code: str, message: str, **more: Any) -> Response:
    """An error as JSON."""
    response = jsonify(error={"code": code, "message": message, **more})
    response.status_code = status
    if status == 401:
        response.headers["WWW-Authenticate"] = f'Bearer realm="switchyard", error="{code}"'
    return response


def nowhere(rest: str) -> Response:
    """What is not in the description is not there."""
    return answer(404, "not_found", f"There is no {request.method} /api/v1/{rest[:200]}; see /api/v1/openapi.json.")


def _told(error: Refused) -> Response:
    more = {"fields": dict(error.fields)} if error.fields else {}
    return answer(error.status, error.code, error.message, **more)


def _field_refused(error: FieldRefused) -> Response:
    return answer(422, "invalid", f"{error.field}: {error.sentence}", fields={error.field: [error.sentence]})


def _refused(error: HTTPException) -> Response:
    code = error.code or 500
    return answer(code, CODES.get(code, "refused"), TOLD.get(code, error.description or error.name))


def _try_again(error: Exception) -> Response:
    logger.error("the database can't be used (%s); the caller is asked to try again", type(error).__name__)
    response = answer(503, "unavailable", "The database can't be used just now; try again in a few seconds.")
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _database(error: DBAPIError) -> Response:
    if error.connection_invalidated:
        return _try_again(error)
    raise error
