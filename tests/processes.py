"""A hub as an operator runs it: processes of its own, configured by environment and desk file, stopped for good."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.support.forkserver import ForkServer, Process

ROOT = Path(__file__).resolve().parent.parent
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]
PATIENCE = 20.0  # seconds for something that normally takes a fraction of one


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until something is there and return it. Raises TimeoutError with its name."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)
    return found


class Processes:
    """`python app.py` on SQLite, or gunicorn and workers on PostgreSQL; output goes to files in `folder`.

    They are forked from a server that has loaded the product, except where `cold`.
    """

    def __init__(
        self, database_url: str, folder: Path, environment: dict[str, str], port: int, root: Path = ROOT,
        *, cold: bool = False,
    ):  # fmt: skip
        self.embedded = database_url.startswith("sqlite")
        self.folder = folder
        self.root = root  # the checkout that runs
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        own = {"DATA_DIR": str(folder), "PORT": str(port), "SECRET_KEY": "s" * 40, "PIN_CPU": "off"}
        own["DATABASE_URL"] = "" if self.embedded else database_url
        self.environment = {**os.environ, "SWITCHYARD_CHEAP_PASSWORDS": "1", **own, **environment}
        self.running: list[Process] = []
        self._cold = cold
        self._servers: dict[Path, ForkServer] = {}  # by the checkout they have loaded

    def command(self, *words: str) -> str:
        """Run `python app.py …` to its end; its output."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = self._server().spawn([sys.executable, "app.py", *words], {}, out, err)
            if done.wait():
                err.seek(0)
                raise RuntimeError(f"app.py {' '.join(words)} ended with {done.returncode}: {err.read().decode()}")
            out.seek(0)
            return out.read().decode()

    def start(self, web: int = 1, workers: int = 1) -> None:
        """Start and wait until the web answers."""
        if self.embedded:
            self._spawn("web", [sys.executable, "app.py"], {})
        else:
            self._spawn("web", GUNICORN, {"WEB_CONCURRENCY": str(web)})
            for number in range(workers):
                self._spawn(f"worker-{number}", [sys.executable, "worker.py"], {})
        self._await(self.url)

    def another_web(self) -> str:
        """One more web process, on a port of its own, as behind a load balancer; its address. Only on PostgreSQL."""
        port = free_port()
        self._spawn(f"web-{port}", GUNICORN, {"WEB_CONCURRENCY": "1", "PORT": str(port), "PUBLIC_BASE_URL": self.url})
        url = f"http://127.0.0.1:{port}"
        self._await(url)
        return url

    def stop(self) -> None:
        """End every process and wait for it."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = []
        for server in self._servers.values():
            server.close()
        self._servers = {}

    def _await(self, url: str) -> None:
        until(lambda: self._answers(url), f"the hub to answer on {url}; see the logs in {self.folder}", 60)

    def _answers(self, url: str) -> bool:
        for process in self.running:
            if process.poll() is not None:
                logs = "\n".join(file.read_text() for file in sorted(self.folder.glob("*.log")))
                raise RuntimeError(f"a process ended with {process.returncode} at start: {logs[-3000:]}")
        try:
            return requests.get(f"{url}/healthz", timeout=2).ok
        except requests.RequestException:  # not yet
            return False

    def _spawn(self, name: str, words: list[str], more: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running.append(self._server().spawn(words, more, log, log))

    def _server(self) -> ForkServer:
        if self.root not in self._servers:
            self._servers[self.root] = ForkServer(self.root, self.environment, cold=self._cold)
        return self._servers[self.root]


class Browser(requests.Session):
    """An agent's browser without its scripts: signs in and posts forms with their token."""

    def __init__(self, url: str, email: str, password: str):
        super().__init__()
        self.base = url
        self.token = self._token(self.get(f"{url}/sign-in").text)
        answer = self.post_form("/sign-in", email=email, password=password)
        assert "/sign-in" not in answer.url, f"{email} could not sign in"
        self.token = self._token(answer.text)

    def post_form(self, path: str, **fields: str | int) -> requests.Response:
        """Submit a form; the page that follows. Raises for an error."""
        answer = self.post(self.base + path, data={**fields, "csrf_token": self.token}, headers={"Referer": self.base})
        if answer.status_code >= 400:
            raise RuntimeError(f"POST {path} answered {answer.status_code}: {answer.text[:300]}")
        return answer

    def reply_choices(self, conversation: int) -> dict[str, str]:
        """The composer's channels by their labels, the best of each kind first."""
        page = self.get(f"{self.base}/inbox/c/{conversation}").text
        found = re.findall(r'<option value="([^"]+)"[^>]*>(Email|SMS|Web chat)', page)
        return {label: value for value, label in reversed(found)}

    def _token(self, page: str) -> str:
        found = re.search(r'(?:name="csrf_token" value|data-token)="([^"]+)"', page)
        assert found, "the page has no form token"
        return found.group(1)


class Api:
    """A program with a bearer token."""

    def __init__(self, url: str, token: str):
        self.base = f"{url}/api/v1"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer. Raises for an error."""
        answer = self.session.get(self.base + path, params=query, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, **body: Any) -> Any:
        """The JSON answer. Raises for an error."""
        answer = self.session.post(self.base + path, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()
