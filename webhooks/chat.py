"""Web chat: the loader that a site embeds, the frame it opens, lines up by POST and answers down as events."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request, send_from_directory
from flask.sansio.app import App

from channels.base import NotAuthentic, Raw, Unreadable
from channels.chat import MAX_CHARS, verify_identity
from config.language import N_, _
from hub.hub import Hub, Opened
from hub.intake import take_in
from hub.tongue import as_asked
from hub.web import hub_here
from storage.access import NotFound
from webhooks.embed import frame_ancestors, known_origin, origin_of, origins, own_origins, setting
from webhooks.lines import Streams, lines_of
from webhooks.visitor import Sessions, Visitor

FOLDER = Path(__file__).parent / "static"
MAX_BYTES = 128 * 1024
JSON = "application/json"
GREETING = N_("Hello! How can we help?")
_CLIENT_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Chat:
    """What the chat's views share in one process."""

    sessions: Sessions
    streams: Streams


def add_routes(doors: Blueprint) -> None:
    doors.record_once(lambda state: _prepare(state.app))
    doors.add_url_rule("/chat/widget.js", "chat_widget", widget, methods=["GET"])
    doors.add_url_rule("/chat/frame", "chat_frame", page, methods=["GET"])
    doors.add_url_rule("/chat/session", "chat_session", session, methods=["POST"])
    doors.add_url_rule("/chat/messages", "chat_post", post, methods=["POST"])
    doors.add_url_rule("/chat/messages", "chat_messages", messages, methods=["GET"])
    doors.add_url_rule("/chat/stream", "chat_stream", stream, methods=["GET"])


def widget() -> Response:
    """The loader. Any site may fetch it; whether it may show the chat is for the frame to say."""
    response = send_from_directory(FOLDER, "widget.js", mimetype="text/javascript")
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@as_asked
def page() -> Response:
    """The chat itself, in a frame on our own origin: its storage and its requests are never the embedding site's."""
    hub = hub_here()
    opened = _channel(hub, request.args.get("channel", ""))
    origin = origin_of(request.args.get("origin", "")) or own_origins(hub)[1]
    if origin not in (*own_origins(hub), *origins(opened)):
        abort(403, "This site may not show this chat; an administrator has to add it to the channel's origins.")
    colour = setting(opened, "colour")
    text = render_template(
        "webhooks/chat.html",
        channel=opened.account.name,
        origin=origin,
        title=setting(opened, "title") or _("Chat with us"),
        greeting=setting(opened, "greeting") or _(GREETING),
        colour=colour if _COLOUR.fullmatch(colour) else "",
        max_chars=MAX_CHARS,
    )
    response = Response(text, mimetype="text/html")
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {frame_ancestors(opened)}"
    )
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def session() -> Response:
    """A token for a visitor: a known one goes on, a site's signed identity counts more, anybody else is new."""
    hub, chat = hub_here(), _chat_here()
    asked = _body()
    opened = _channel(hub, _text(asked, "channel"))
    known_origin(hub, opened)
    now = hub.store.clock()
    if identity := _text(asked, "identity"):
        claims = verify_identity(identity, setting(opened, "identity_secret"), now, setting(opened, "audience"))
        token, __ = chat.sessions.begin(opened.account.name, claims, now)
        return _answer({"token": token, "signed": True}, 201)
    visitor = _known(chat, opened, _text(asked, "token"))
    if visitor is not None:
        return _answer({"token": chat.sessions.renew(visitor, now), "signed": False}, 200)
    token, __ = chat.sessions.begin(opened.account.name, {}, now)
    return _answer({"token": token, "signed": False}, 201)


def post() -> Response:
    """One line of the visitor. The same id sent again is the same line."""
    hub = hub_here()
    visitor = _visitor()
    opened = _channel(hub, visitor.channel)
    known_origin(hub, opened)
    asked = _body()
    client_id, text = _text(asked, "id"), _text(asked, "text")
    if not _CLIENT_ID.fullmatch(client_id):
        raise Unreadable("A line needs an id of its own: a UUID.")
    if not text.strip():
        raise Unreadable("The line is empty; write something first.")
    if len(text) > MAX_CHARS:
        raise Unreadable(f"A line has at most {MAX_CHARS:,} characters; shorten it.")
    body = {
        "id": client_id,
        "text": text,
        "visitor": visitor.value,
        "claims": dict(visitor.claims),
        "page": _page(_text(asked, "page")),
    }
    raw = Raw(f"{visitor.value[:40]}:{client_id}", json.dumps(body).encode(), JSON)
    taken = take_in(hub, opened, raw)
    return _answer({"id": client_id, "state": taken.state}, 200 if taken.state == "duplicate" else 201)


def messages() -> Response:
    """The visitor's own lines and the answers to them. `after` is the cursor of an earlier answer."""
    hub = hub_here()
    visitor = _visitor()
    after = request.args.get("after", "0")
    if not after.isdecimal() or len(after) > 18:
        raise Unreadable("after has to be the cursor of an earlier answer.")
    with hub.store.read() as tx:
        lines, cursor = lines_of(tx, visitor.value, int(after))
    return _answer({"messages": lines, "cursor": cursor}, 200)


def stream() -> Response:
    """Lines as they come. `Last-Event-ID` or `after` (a cursor) resumes without a gap."""
    hub, chat = hub_here(), _chat_here()
    visitor = _visitor()
    return hub.pump.response(request, chat.streams.wants(visitor.value))


def _prepare(app: App) -> None:
    hub: Hub = app.extensions["hub"]
    app.extensions["chat"] = Chat(Sessions(hub.settings.secret_key), Streams(hub))


def _chat_here() -> Chat:
    chat: Chat = current_app.extensions["chat"]
    return chat


def _channel(hub: Hub, name: str) -> Opened:
    """The chat channel with this name; the first one when none is named."""
    chats = hub.channels_of_kind("chat")
    for opened in chats:
        if name in ("", opened.account.name):
            opened.must()
            return opened
    raise NotFound(f"There is no chat called {name!r}." if name else "No chat is set up; add a channel of kind chat.")


def _visitor() -> Visitor:
    scheme, __, token = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer" or not token:
            raise NotAuthentic("This needs a chat session; reload the page.")
        return _chat_here().sessions.read(token.strip(), hub_here().store.clock())
    except NotAuthentic as error:
        response = _answer({"error": str(error)}, 401)
        response.headers["WWW-Authenticate"] = "Bearer"
        abort(response)


def _known(chat: Chat, opened: Opened, token: str) -> Visitor | None:
    """Who comes back. A signed visitor without the site's signature has signed out there: he is somebody new here."""
    if not token:
        return None
    try:
        visitor = chat.sessions.read(token, hub_here().store.clock())
    except NotAuthentic:
        return None
    return visitor if visitor.channel == opened.account.name and not visitor.claims else None


def _body() -> dict[str, Any]:
    if request.mimetype != JSON:
        abort(415, "Post JSON.")
    request.max_content_length = MAX_BYTES
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError) as error:
        raise Unreadable("The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise Unreadable("The body has to be a JSON object.")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"{name!r} has to be a text.")
    return value


def _page(url: str) -> str:
    """Which page the visitor is on, without its query: that may carry secrets of the site."""
    origin = origin_of(url)
    return f"{origin}{urlsplit(url.strip()).path}"[:500] if origin else ""


def _answer(content: dict[str, Any], status: int) -> Response:
    response = jsonify(content)
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response
