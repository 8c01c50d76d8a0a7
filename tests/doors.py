"""A hub with its doors open on a real port: what the tests of doors start from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from requests import Session
from sqlmodel import select
from werkzeug.serving import make_server

import api
import webhooks
from config import Settings
from hub import Hub
from hub.delivery import Courier
from hub.outbound import reconcile_message, send_message
from hub.replies import reply
from storage.conversations import Message
from storage.desk import ChannelAccount, touch_desk
from tests.clock import Clock
from tests.desk import Desk, hub_with_readers
from webhooks.express import Express

OUR_NUMBER = "+46101385500"
MARA = "+46701740605"
AUTH_TOKEN = "4a1f9c0e7d2b4f6a8c1e3d5b7a9f0c2e"
ACCOUNT_SID = "AC" + "5" * 32
IDENTITY_SECRET = "a shop's own secret, long enough for HS256"
SHOP = "https://shop.example"

SMS = ChannelAccount(
    name="texts", kind="sms", address=OUR_NUMBER, settings={"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}
)
CHAT = ChannelAccount(
    name="shop-chat", kind="chat", settings={"identity_secret": IDENTITY_SECRET, "audience": "hub", "origins": [SHOP]}
)
FORM = ChannelAccount(
    name="contact", kind="form", settings={"honeypot": "website", "origins": [SHOP], "redirects": [f"{SHOP}/thanks"]}
)


def settings_for(url: str, folder: Path, **changes: Any) -> Settings:
    """Settings of a hub in a test; on SQLite the URL names the file."""
    return Settings(
        database_url=url, data_dir=folder, secret_key="for tests only", public_base_url="https://hub.example"
    ).changed(**changes)


def furnish(hub: Hub, *accounts: ChannelAccount) -> None:
    """These channels, on the desk that migrations leave."""
    with hub.store.write() as tx:
        for account in accounts:
            tx.add(ChannelAccount(**account.model_dump(exclude={"id", "created_at"}), created_at=tx.now))
        tx.flush()
        touch_desk(tx)
    hub.look_again()


def compose(hub: Hub) -> Flask:
    """The application with the doors under test."""
    app = Flask("doors", static_folder=None)
    app.extensions["hub"] = hub
    app.register_blueprint(webhooks.create_blueprint())
    app.register_blueprint(api.create_blueprint())
    app.wsgi_app = Express(app)  # type: ignore[method-assign]
    return app


@contextmanager
def opened(url: str, folder: Path, clock: Clock, *accounts: ChannelAccount, **changes: Any) -> Iterator[Hub]:
    """A furnished hub."""
    hub = hub_with_readers(settings_for(url, folder, **changes), clock)
    try:
        furnish(hub, *accounts)
        yield hub
    finally:
        hub.stop()


class Client(Session):
    """Real HTTP to the application; paths are relative to its address."""

    def __init__(self, address: str):
        super().__init__()
        self.address = address
        self.trust_env = False

    def request(self, method: Any, url: Any, *args: Any, **options: Any) -> Any:
        options.setdefault("timeout", 30)
        return super().request(method, self.address + url if url.startswith("/") else url, *args, **options)


@contextmanager
def served(app: Flask) -> Iterator[Client]:
    """The application on a free port of this machine."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    client = Client(f"http://127.0.0.1:{server.server_port}")
    try:
        yield client
    finally:
        client.close()
        server.shutdown()
        thread.join(5)
        server.server_close()


def messages(hub: Hub) -> list[Message]:
    """Everything that was said, oldest first."""
    with hub.store.read() as tx:
        return list(tx.exec(select(Message).order_by(Message.id)))  # type: ignore[arg-type]


def answer(desk: Desk, conversation_id: int, text: str, **options: Any) -> None:
    """Jonas answers, and the answer leaves."""
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, conversation_id, text=text, tokens=desk.hub.tokens, **options)
    desk.clock.forward(seconds=11)
    Courier(desk.hub, {"channel": send_message}, reconcile_message).run_once()
