"""Which other sites may use a form or a chat: origins from the channel's settings, as CORS and CSP want them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Response, abort, request

from hub.hub import Hub, Opened


def setting(opened: Opened, name: str, default: Any = "") -> Any:
    """One of the channel's settings, its secret resolved."""
    value = opened.settings.get(name)
    return default if value is None else value


def origins(opened: Opened) -> tuple[str, ...]:
    """The sites named in the channel's `origins`, each as scheme://host[:port]."""
    named = setting(opened, "origins", [])
    listed: Iterable[str] = named.split() if isinstance(named, str) else named
    return tuple(origin for each in listed if (origin := origin_of(each)))


def origin_of(url: str) -> str:
    """Scheme, host and port (RFC 6454); empty for anything that is no web address."""
    try:
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            return ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if not all(char.isalnum() or char in "-._:[]" for char in host):
        return ""
    return f"{parts.scheme}://{host}{port}"


def own_origins(hub: Hub) -> tuple[str, ...]:
    """Our own pages: as the outside reaches us, and as this request did."""
    return (origin_of(hub.settings.base_url), origin_of(request.host_url))


def known_origin(hub: Hub, opened: Opened) -> str:
    """The other site that this request comes from, "" for our own pages and for programs.

    Aborts with 403 when it is a site that the channel does not name.
    """
    origin = request.headers.get("Origin", "")
    if not origin or origin in own_origins(hub):
        return ""
    if origin not in origins(opened):
        abort(403, "This site may not use this channel; an administrator has to add it to the channel's origins.")
    return origin


def allow(response: Response, origin: str) -> Response:
    """Let that site's scripts read the answer (CORS); never with cookies."""
    response.vary.add("Origin")
    if origin:
        response.headers["Access-Control-Allow-Origin"] = origin
    return response


def preflight(origin: str) -> Response:
    """The answer to a browser that asks whether it may post."""
    response = allow(Response(status=204), origin)
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = "Content-Type, Idempotency-Key"
    response.headers["Access-Control-Max-Age"] = "600"
    return response


def frame_ancestors(opened: Opened) -> str:
    """The CSP source list of pages that may show ours in a frame."""
    return " ".join(("'self'", *origins(opened)))
