"""Commands that stay: the whole hub in one process under an embedded gunicorn, or the worker alone."""

from __future__ import annotations

import os
import re
import runpy
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

import worker as duties
from config import Settings, SettingsError
from config.collector import spare_what_is_loaded
from config.logs import set_up_logging
from hub import Hub
from hub.firstrun import first_address, nobody_yet
from storage.outages import is_news

AppFactory = Callable[[Settings], Any]
CONFIG = Path(__file__).resolve().parent.parent / "gunicorn.conf.py"


class Embedded(BaseApplication):
    """gunicorn with one worker process that has the background duties inside."""

    def __init__(self, settings: Settings, create_app: AppFactory, demo: bool):
        self.settings = settings
        self.create_app = create_app
        self.demo = demo
        super().__init__()

    def load_config(self) -> None:
        os.environ["HOST"], os.environ["PORT"] = self.settings.host, str(self.settings.port)
        os.environ.setdefault("PIN_CPU", "on" if self.settings.pin_cpu else "off")
        for name, value in runpy.run_path(str(CONFIG)).items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)
        start, end = self.cfg.post_worker_init, self.cfg.worker_exit
        self.cfg.set("wsgi_app", None)
        self.cfg.set("workers", 1)
        self.cfg.set("loglevel", "warning")

        def begin(process: Any) -> None:
            start(process)
            self.worker.start()
            _welcome(self.settings, self.demo, self.worker.hub)

        def finish(server: Any, process: Any) -> None:
            if hasattr(self, "worker"):
                self.worker.stop()
            if self.doubles is not None:
                self.doubles.stop()
            end(server, process)

        self.cfg.set("post_worker_init", begin)
        self.cfg.set("worker_exit", finish)

    doubles: Any = None

    def load(self) -> Any:
        """Called in the serving process, after the fork: threads and connections are made here."""
        settings = self.settings
        set_up_logging(settings, is_news)
        if self.demo:
            from sandbox import demo

            self.doubles = demo.start_doubles(settings)
            settings = self.doubles.settings
        application = self.create_app(settings)
        hub = application.extensions["hub"]
        if self.demo:
            self.doubles.furnish(hub)
        self.worker = duties.Worker(hub)
        return application


def run(settings: Settings, create_app: AppFactory) -> int:
    """Serve until stopped."""
    return _serve(settings, create_app, demo=False)


def demo(settings: Settings, create_app: AppFactory) -> int:
    """Serve a demo desk with a sandbox that plays the customers; its data lies apart from a real desk's."""
    if not settings.embedded:
        raise SettingsError("The demo runs on SQLite: unset DATABASE_URL.")
    apart = settings.changed(demo=True, data_dir=settings.data_dir / "demo")
    apart.data_dir.mkdir(parents=True, exist_ok=True)
    return _serve(apart, create_app, demo=True)


def worker(settings: Settings) -> int:
    """The background duties alone."""
    return duties.run(settings)


def _serve(settings: Settings, create_app: AppFactory, *, demo: bool) -> int:
    _must_be_free(settings)
    _must_be_numbers("WEB_THREADS", "WEB_CONCURRENCY")
    _must_be_ready(settings)
    spare_what_is_loaded()  # in the parent, which only watches; the process that serves does so once more
    Embedded(settings, create_app, demo).run()
    return 0


def _must_be_ready(settings: Settings) -> None:
    """The folder is ours and the database answers: said before the server starts, not from inside it."""
    from hub import Hub
    from storage.migrations import upgrade

    hub = Hub(settings)
    try:
        hub.occupy()
        upgrade(hub.store)
    finally:
        hub.stop()


def _must_be_numbers(*names: str) -> None:
    for name in names:
        if not re.fullmatch("[1-9][0-9]{0,3}", os.environ.get(name, "1")):
            raise SettingsError(f"{name} must be a whole number above 0, not {os.environ[name]!r}")


def _must_be_free(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"{settings.host}:{settings.port} can't be used ({error.strerror}): something else listens there, or "
                "the address is not this machine's. Set PORT to another number, e.g. PORT=8001."
            ) from None


def _welcome(settings: Settings, demo: bool, hub: Hub) -> None:
    lines = [f"Switchyard is running: {settings.base_url}"]
    if demo:
        from sandbox.demo import PASSWORD

        lines.append(f"Sign in as jonas@example.com (agent) or ines@example.com (admin), password {PASSWORD}")
        lines.append(f"Play the customers: {settings.base_url}/sandbox")
    with hub.store.read() as tx:
        if nobody_yet(tx):
            lines.append(f"Make the first account: {first_address(hub)}")
    print("\n".join(lines), file=sys.stdout, flush=True)
