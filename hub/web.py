"""What every door that machines call needs of Flask: the hub of this process and the request as it was signed."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from flask import Flask, Request, Response, current_app, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from channels.base import SignedRequest
from hub.hub import Hub

LOCKED = "default-src 'none'; sandbox"
MACHINES = ("/webhooks/", "/chat/", "/api/", "/healthz", "/readyz", "/metrics")


class Cookies(SecureCookieSessionInterface):
    """Signed cookies for people's pages; machines have none, and making the signer costs more than their routing."""

    def open_session(self, app: Flask, request: Request) -> Any:
        """None lets Flask hand out a session that refuses to be written."""
        if request.path.startswith(MACHINES):
            return None
        session: SecureCookieSession | None = super().open_session(app, request)
        return session


def hub_here() -> Hub:
    """The hub that app.py composed for this process."""
    hub: Hub = current_app.extensions["hub"]
    return hub


def signed_request() -> SignedRequest:
    """The request at hand, for a channel to judge. To be called before anything reads `request.form`.

    The address is PUBLIC_BASE_URL plus the request line's own target: a rebuilt one would differ from what the
    sender signed in its escapes.
    """
    hub = hub_here()
    environ = request.environ
    target: str = environ.get("REQUEST_URI") or environ.get("RAW_URI") or request.full_path
    if not target.startswith("/"):  # RFC 9112 3.2.2: a proxy may send the absolute form
        parts = urlsplit(target)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return SignedRequest(
        method=request.method,
        url=hub.settings.base_url + target,
        headers=_headers(environ),
        body=request.get_data(),
        now=hub.store.clock(),
    )


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    """The header fields by their names in lower case, as CGI passes them on (RFC 3875 section 4.1.18)."""
    headers = {name[5:].replace("_", "-").lower(): environ[name] for name in environ if name.startswith("HTTP_")}
    if content_type := environ.get("CONTENT_TYPE"):
        headers["content-type"] = content_type
    return headers


def harmless(data: bytes, content_type: str, how: str, name: str) -> Response:
    """Bytes from outside for a browser: `how` is attachment or inline; nothing in them can run or reach anything."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace('"', "").replace("\\", "")
    response = Response(data, content_type=content_type)
    # RFC 6266 4.3: both names, for browsers that know only one.
    response.headers["Content-Disposition"] = f"{how}; filename=\"{plain or 'file'}\"; filename*=UTF-8''{quote(name)}"
    response.headers["Content-Security-Policy"] = LOCKED
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if how == "inline" else "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
