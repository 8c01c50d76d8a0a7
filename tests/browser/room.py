"""The inbox over a furnished desk: what tests of pages and stories in the browser start from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from selectolax.lexbor import LexborHTMLParser as Page
from selectolax.lexbor import LexborNode
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

import inbox
from hub.web import Cookies
from inbox import assets
from tests.desk import Desk

PASSWORD = "correct horse"


class _Compiled(BytecodeCache):
    """Templates are compiled once in a test process, whichever application shows them."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.code


_compiled = _Compiled()


def application(desk: Desk) -> Flask:
    """The inbox alone, without the doors for machines."""
    app = Flask("inbox_test", static_folder=None)
    app.extensions["hub"] = desk.hub
    app.session_interface = Cookies()
    app.config["MAX_CONTENT_LENGTH"] = desk.hub.settings.max_body_mb * 1_000_000
    assets.register(app)
    app.register_blueprint(inbox.create_blueprint())
    app.jinja_env.bytecode_cache = _compiled
    return app


def seat(app: Flask, desk: Desk) -> Flask:
    """An application that was made for another desk with the same settings, on this one from now on."""
    app.extensions |= {"hub": desk.hub, "inbox_sight": None}
    return app


class Browser:
    """A browser without scripts, or with `hx` one in which htmx asks."""

    def __init__(self, app: Flask):
        self.client: FlaskClient = app.test_client()
        self.token = ""
        self.at = "/inbox/mine"

    def sign_in(self, email: str, password: str = PASSWORD, **values: Any) -> TestResponse:
        self.get("/sign-in")
        return self.post("/sign-in", email=email, password=password, **values)

    def get(self, path: str, *, hx: bool = False, **headers: str) -> TestResponse:
        response = self.client.get(path, headers=self._headers(hx) | headers)
        self._learn(response)
        if not hx and response.status_code == 200 and "html" in response.content_type:
            self.at = path
        return response

    def post(self, path: str, *, hx: bool = False, files: Any = None, **values: Any) -> TestResponse:
        data = {"csrf_token": self.token} | values
        if files is not None:
            data["file"] = files
        response = self.client.post(path, data=data, headers=self._headers(hx))
        self._learn(response)
        return response

    def page(self, path: str, *, hx: bool = False) -> Page:
        response = self.get(path, hx=hx)
        assert response.status_code == 200, (response.status_code, response.text[:2000])
        return Page(response.text)

    def _headers(self, hx: bool) -> dict[str, str]:
        return {"HX-Request": "true", "HX-Current-URL": f"http://localhost{self.at}"} if hx else {}

    def _learn(self, response: TestResponse) -> None:
        if "html" in response.content_type and (field := Page(response.text).css_first("input[name=csrf_token]")):
            self.token = field.attributes.get("value") or ""


def words(page: Page, selector: str) -> list[str]:
    """The text of every matching part, spaces collapsed."""
    return [" ".join(node.text().split()) for node in page.css(selector)]


@contextmanager
def served(app: Flask, secured: SSLContext | None = None) -> Iterator[str]:
    """The application on a real port of this machine, with threads; yields its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=secured)
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, name="inbox-test", daemon=True)
    thread.start()
    try:
        yield f"http{'s' if secured else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def attr(page: Page | LexborNode, selector: str, name: str) -> str:
    """An attribute of the first matching part; the test fails when there is none."""
    node = page.css_first(selector)
    assert node is not None, f"nothing matches {selector}"
    return node.attributes[name] or ""
