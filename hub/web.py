"""What every door that machines call needs of Flask: the hub of this process and the request as it was signed."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from flask import Flask, Request, Response, current_app, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from channels.base import SignedRequest
from config.language import _
from hub.hub import Hub
from storage.access import NotFound

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LOCKED = "default-src 'none'; sandbox"
MAX_ID = 2**53  # what JSON numbers hold exactly
MACHINES = ("/webhooks/", "/chat/", "/api/", "/healthz", "/readyz", "/metrics")


class Cookies(SecureCookieSessionInterface):
    """Signed cookies for people's pages; machines have none, and making the signer costs more than their routing."""

    def open_session(self, app: Flask, request: Request) -> Any:
        """None lets Flask hand out a session that refuses to be written."""
        if request.path.startswith(MACHINES):
            return None
        session: SecureCookieSession | None = super().open_session(app, request)
        return session


def client_ip() -> str:
    """Who asks; behind a proxy of ours (FORWARDED_ALLOW_IPS) the address that it saw, in X-Forwarded-For."""
    peer, said = request.remote_addr or "", request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(",")
    try:
        return str(ip_address(said)) if not peer or peer in trusted or "*" in trusted else peer
    except ValueError:  # it says nothing
        return peer


def hub_here() -> Hub:
    """The hub that app.py composed for this process."""
    hub: Hub = current_app.extensions["hub"]
    return hub


def know_ids() -> None:
    """A number in an address that no id can be is not there; databases would call it an error. Raises NotFound."""
    for value in (request.view_args or {}).values():
        if isinstance(value, int) and value > MAX_ID:
            raise NotFound(_("There is no {value}.", value=value))


def signed_request() -> SignedRequest:
    """The request at hand, for a channel to judge. To be called before anything reads `request.form`."""
    return signed_as(hub_here(), request.environ, request.get_data())


def signed_as(hub: Hub, environ: WSGIEnvironment, body: bytes) -> SignedRequest:
    """A request as its sender signed it.

    The address is PUBLIC_BASE_URL plus the request line's own target: a rebuilt one would differ from what the
    sender signed in its escapes.
    """
    target: str = environ.get("REQUEST_URI") or environ.get("RAW_URI") or Request(environ).full_path
    if not target.startswith("/"):  # RFC 9112 3.2.2: a proxy may send the absolute form
        parts = urlsplit(target)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return SignedRequest(
        environ["REQUEST_METHOD"], hub.settings.base_url + target, Headers(environ), body, now=hub.store.clock()
    )


class Headers(Mapping[str, str]):
    """Header fields by their names in lower case, looked up where CGI passes them on (RFC 3875 section 4.1.18)."""

    __slots__ = ("_environ",)

    def __init__(self, environ: WSGIEnvironment):
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value = self._environ.get(_cgi_name(name))
        if not value:
            raise KeyError(name)
        return str(value)

    def get(self, name: str, default: Any = None) -> Any:
        return self._environ.get(_cgi_name(name)) or default

    def __iter__(self) -> Iterator[str]:
        for name in self._environ:
            if name.startswith("HTTP_"):
                yield name[5:].replace("_", "-").lower()
        if self._environ.get("CONTENT_TYPE"):
            yield "content-type"

    def __len__(self) -> int:
        return sum(1 for __ in self)


@lru_cache(maxsize=64)
def _cgi_name(name: str) -> str:
    known = name.upper().replace("-", "_")
    return known if known == "CONTENT_TYPE" else f"HTTP_{known}"


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
