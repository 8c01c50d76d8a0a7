"""The plumbing of a local double: a small threaded HTTP server, and an honest caller of the hub's webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import requests

PATIENCE = 15.0  # seconds that a provider waits for a webhook's answer
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the double received it. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def form(self) -> dict[str, str]:
        """The parameters of a form-encoded body."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. `drop` closes the connection instead, as a broken line would."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False


def json_answer(content: Any, status: int = 200, **headers: str) -> Answer:
    """An object as JSON; header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json; charset=utf-8", **named})


class Wire:
    """A server on 127.0.0.1 and a free port that lets `answer` judge every request in a thread of its own."""

    def __init__(self, answer: Callable[[Call], Answer]):
        self._answer = answer
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), _listening(self._answer))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="double", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is its own business; anything else has been answered with 500."""


def _listening(answer: Callable[[Call], Answer]) -> type[BaseHTTPRequestHandler]:
    class Listener(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:  # the line broke: half a request is none
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            given = answer(Call(self.command, parts.path, query, headers, body))
            if given.drop:
                self.close_connection = True
                return
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, format: str, *args: Any) -> None:
            """Silence: a double keeps what was said to it in its own lists."""

    return Listener


class Caller:
    """Posts to the hub as a provider does: `public_url` is the address that is signed, `hub_url` the one called."""

    def __init__(self, hub_url: str, public_url: str = ""):
        self.hub_url, self.public_url = hub_url.rstrip("/"), (public_url or hub_url).rstrip("/")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the hub's answer, 0 when there was none."""
        return self.ask(url, body, headers)[0]

    def ask(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the hub's answer; (0, b"") when there was none. Like a provider it follows no redirect."""
        target = self.hub_url + url[len(self.public_url) :] if url.startswith(f"{self.public_url}/") else url
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.post(target, data=body, headers=dict(headers), timeout=PATIENCE, allow_redirects=False)
            except requests.RequestException:
                return 0, b""
            return answer.status_code, answer.content

    def post_often(self, times: int, url: str, body: bytes, headers: Mapping[str, str]) -> list[int]:
        """The same request `times` times at once."""
        answers = [0] * times

        def once(number: int) -> None:
            answers[number] = self.post(url, body, headers)

        threads = [threading.Thread(target=once, args=(number,)) for number in range(times)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers


def await_one(
    changed: threading.Condition, among: Callable[[], Iterable[T]], predicate: Callable[[T], bool], timeout: float
) -> T:
    """The first of `among()` that fulfils the predicate, as soon as there is one. Raises TimeoutError (seconds)."""
    found: list[T] = []

    def look() -> bool:
        found[:] = [each for each in among() if predicate(each)][:1]
        return bool(found)

    with changed:
        if not changed.wait_for(look, timeout):
            raise TimeoutError(f"nothing fitting came within {timeout:g} s; there are: {list(among())!r}")
    return found[0]
