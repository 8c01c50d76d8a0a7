"""For whoever runs the hub: is the process there, can it do its work."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from hub.hub import Hub
from hub.intake import OUTAGES
from hub.web import hub_here
from storage.migrations import is_current
from storage.receipts import stuck


def create_blueprint() -> Blueprint:
    """`/healthz` and `/readyz`, open to all: they tell nothing but whether."""
    status = Blueprint("status", __name__)
    status.add_url_rule("/healthz", "healthz", healthz)
    status.add_url_rule("/readyz", "readyz", readyz)
    return status


def healthz() -> Response:
    """The process answers; it should not be restarted."""
    return jsonify(status="ok")


def readyz() -> Response:
    """Requests may come: the database answers and has the shape this code knows. 503 otherwise.

    `duties` tells whether somebody matches work. It does not decide, because web processes go on taking messages
    in while the worker is being replaced. `receipts` tells what is stuck and does not decide either: a restart reads
    nothing.
    """
    checks = _checks(hub_here())
    ready = checks["database"] == checks["schema"] == "ok"
    response = jsonify(status="ok" if ready else "unready", checks=checks)
    response.status_code = 200 if ready else 503
    response.headers["Cache-Control"] = "no-store"
    return response


def _checks(hub: Hub) -> dict[str, str]:
    try:
        with hub.store.read() as tx:
            unread, unseen = stuck(tx)
            leads = tx.sql("SELECT 1 FROM lease WHERE name = 'router' AND expires_at > ?", tx.now).fetchone()
        fits = is_current(hub.store)
    except (*OUTAGES, SQLAlchemyError) as error:
        return {"database": f"does not answer ({type(error).__name__})", "schema": "unknown", "duties": "unknown"}
    schema = "ok" if fits else "old: run `python app.py db upgrade`"
    duties = "running" if leads else "nobody matches work"
    late = "some are stuck: `python app.py doctor` tells which" if unread or unseen else "ok"
    return {"database": "ok", "schema": schema, "duties": duties, "receipts": late}
