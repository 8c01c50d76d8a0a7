"""Web forms: a hosted page for each form channel, and the address that its own or anybody's form posts to."""

from __future__ import annotations

import json
import re
import uuid
from hashlib import sha256
from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from channels.base import Unreadable
from channels.form import USUAL, FormChannel
from config.language import _, words
from hub.hub import Hub, Opened
from hub.intake import Taken, take_in
from hub.tongue import as_asked
from hub.web import hub_here
from storage.access import NotFound
from webhooks.embed import allow, frame_ancestors, known_origin, origin_of, origins, own_origins, preflight, setting

JSON = "application/json"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
WINDOW_SECONDS = 600
OVERLAP_SECONDS = 60
LABELS = words(
    {"name": "Your name", "email": "E-mail", "phone": "Phone", "subject": "Subject", "text": "How can we help?"}
)
_INPUT_NAME = re.compile(r"[A-Za-z_][\w.\-]*")


def add_routes(doors: Blueprint) -> None:
    doors.add_url_rule("/forms/<key>", "form_page", page, methods=["GET"])
    doors.add_url_rule("/forms/<key>/thanks", "form_thanks", thanks, methods=["GET"])
    doors.add_url_rule(
        "/webhooks/forms/<key>", "form_post", post, methods=["POST", "OPTIONS"], provide_automatic_options=False
    )


@as_asked
def page(key: str) -> Response:
    """The hosted form. It works without scripts; an id made here tells a double click from a second letter."""
    opened, __ = _form(hub_here(), key)
    inputs = _inputs(opened)
    if inputs is None:
        raise NotFound(f"The form {key!r} has no page of its own: its fields are read from another site's JSON.")
    text = render_template(
        "webhooks/form.html",
        title=setting(opened, "title") or _("Contact us"),
        intro=setting(opened, "intro"),
        inputs=inputs,
        honeypot=setting(opened, "honeypot"),
        action=url_for(".form_post", key=key, id=uuid.uuid4().hex),
    )
    return _hosted(text, opened)


@as_asked
def thanks(key: str) -> Response:
    """Where a browser lands after posting."""
    opened, __ = _form(hub_here(), key)
    told = setting(opened, "thanks") or _("Your message has arrived. We'll get back to you soon.")
    return _hosted(render_template("webhooks/thanks.html", words=told, again=url_for(".form_page", key=key)), opened)


def post(key: str) -> AnyResponse:
    """Answers as JSON, urlencoded or multipart. Scripts get JSON back, browsers are sent on to a page."""
    hub = hub_here()
    opened, channel = _form(hub, key)
    if request.method == "OPTIONS":
        return preflight(known_origin(hub, opened))
    is_json = request.mimetype == JSON or request.mimetype.endswith("+json")
    if not is_json and request.mimetype not in FORMS:
        abort(415, "Post the form as JSON, urlencoded or multipart.")
    origin = known_origin(hub, opened) if is_json or origins(opened) else ""
    request.max_form_memory_size = None  # the size of the whole body is capped already
    body = request.get_data()
    answers = _json_object(body) if is_json else request.form
    if not body.strip() or not (answers or request.files):
        raise Unreadable("The form is empty.")
    given = request.args.get("id") or request.headers.get("Idempotency-Key") or answers.get("_id")
    dedupe_key = _dedupe_key(hub, opened, _comparable(body), str(given or ""))
    taken = take_in(hub, opened, channel.raw(dedupe_key, body, request.content_type or ""))
    accepted = request.accept_mimetypes
    if is_json or accepted[JSON] > accepted["text/html"]:
        return allow(_receipt(taken), origin)
    wanted = str(request.args.get("redirect") or answers.get("_redirect") or "")
    return redirect(channel.redirect(wanted) or url_for(".form_thanks", key=key), 303)


def _form(hub: Hub, key: str) -> tuple[Opened, FormChannel]:
    opened = hub.channel_named(key)
    if opened.account.kind != "form":
        raise NotFound(f"There is no form called {key!r}.")
    channel = opened.must()
    assert isinstance(channel, FormChannel)
    return opened, channel


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answers = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise Unreadable("The body is not valid JSON.") from error
    if not isinstance(answers, dict):
        raise Unreadable("The body has to be a JSON object: one key for each answer.")
    return answers


def _comparable(body: bytes) -> bytes:
    """The body without the boundary that a browser chooses anew for each click."""
    boundary = request.mimetype_params.get("boundary", "")
    return body.replace(boundary.encode(), b"") if boundary else body


def _dedupe_key(hub: Hub, opened: Opened, body: bytes, given: str) -> str:
    """A double click is one message; the same words an hour later are a second one.

    With an id from the sender, id and content together are the key: an id reused for other words must not swallow
    them. Without one the content counts once in ten minutes. The first minute of such a window also looks back at
    the one before, so that a double click across the border is still one.
    """
    digest = sha256(body).hexdigest()
    if given:
        return f"{sha256(given.encode()).hexdigest()}:{digest}"
    window, since = divmod(int(hub.store.clock().timestamp()), WINDOW_SECONDS)
    if since < OVERLAP_SECONDS and _arrived_since(hub, opened, earlier := f"{digest}:{window - 1}"):
        return earlier
    return f"{digest}:{window}"


def _arrived_since(hub: Hub, opened: Opened, key: str) -> bool:
    with hub.store.read() as tx:
        row = tx.sql("SELECT 1 FROM receipt WHERE channel_id = ? AND dedupe_key = ?", opened.id, key).fetchone()
    return row is not None


def _receipt(taken: Taken) -> Response:
    """A duplicate is a success: what was sent is here."""
    response = Response(json.dumps({"ok": True, "state": "received"}), mimetype=JSON)
    response.status_code = 200 if taken.state == "duplicate" else 201
    return response


def _inputs(opened: Opened) -> list[dict[str, str]] | None:
    """What the hosted page asks, under the names that the channel's mapping reads; None when it reads no such names."""
    mapping = {**USUAL, **setting(opened, "fields", {})}
    found = []
    for meaning in LABELS:
        where = "message" if mapping[meaning] == USUAL["text"] else mapping[meaning]
        if not _INPUT_NAME.fullmatch(where):
            return None
        found.append({"name": where, "meaning": meaning, "label": LABELS[meaning]})
    return found


def _hosted(text: str, opened: Opened) -> Response:
    response = Response(text, mimetype="text/html")
    # Our own form may redirect to an allowed address, and browsers apply form-action to redirects as well.
    targets = " ".join(("'self'", *own_origins(hub_here()), *_redirect_origins(opened)))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action {targets}; "
        f"frame-ancestors {frame_ancestors(opened)}"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _redirect_origins(opened: Opened) -> list[str]:
    return [origin for each in setting(opened, "redirects", []) if (origin := origin_of(each))]
