"""Too much waits to be stored: every door asks its caller to come again and keeps nothing, and then nothing is lost."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from requests import Response

import chatops
from hub import Hub
from hub.apitokens import create_token
from storage import Busy, Store, Tx
from storage.desk import ChannelAccount
from storage.store import POSTGRES_WRITERS
from storage.writer import Job
from tests.clock import Clock
from tests.doors import CHAT, FORM, SMS, Client, compose, messages, opened, served
from tests.office import Office, account, clock, mail, server, user
from tests.processes import until
from tests.support.dovecot import Dovecot
from tests.test_chat import Browser
from tests.test_forms import ANSWERS
from tests.test_mailhook import SECRET, letter
from tests.test_webhooks_twilio import post, text

__all__ = ["clock", "server", "user"]

SIGNING = "a signing secret of Slack's"
RAW = ChannelAccount(
    name="raw-mail", kind="mailhook", address="support@desk.example", settings={"provider": "raw", "secret": SECRET}
)
SLACK = ChannelAccount(
    name="partners", kind="slack",
    settings={"customer_channels": ["C0CUSTOMER"], "bot_token": "xoxb-1", "signing_secret": SIGNING},
)  # fmt: skip


@contextmanager
def full(store: Store) -> Iterator[None]:
    """Whoever writes is held, and behind him waits more than is ever let in."""
    go_on = threading.Event()
    writer = store.writer
    store.submit(lambda tx: None)
    for _ in range(1 if store.embedded else POSTGRES_WRITERS):
        begun = threading.Event()

        def hold(_: Tx, begun: threading.Event = begun) -> None:
            begun.set()
            go_on.wait(60)

        writer._queue.put([Job(hold)])
        assert begun.wait(30)
    for _ in range(writer._limit + 1):
        writer._queue.put([])
    try:
        yield
    finally:
        go_on.set()
        until(lambda: writer.waiting == 0, "the writer to take up what waits")
        store.submit(lambda tx: None)  # whatever had got in is stored by now


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    with opened(database_url, tmp_path, Clock(), SMS, FORM, CHAT, RAW, SLACK, slack_signing_secret=SIGNING) as hub:
        yield hub


@pytest.fixture
def site(hub: Hub) -> Iterator[Client]:
    app = compose(hub)
    app.register_blueprint(chatops.create_blueprint())
    with served(app) as client:
        yield client


def twilio(site: Client) -> Response:
    return post(site, text("Where is my parcel?"))


def form(site: Client) -> Response:
    return _answer(site.post("/webhooks/forms/contact", json=ANSWERS))


def chat(site: Client) -> Response:
    return _answer(Browser(site).say("Where is my parcel?"))


def mailhook(site: Client) -> Response:
    address = f"/webhooks/mail/raw-mail/{SECRET.replace(' ', '%20')}"
    return _answer(site.post(address, data=letter(), headers={"Content-Type": "message/rfc822"}))


def slack(site: Client) -> Response:
    stamp = str(int(Clock()().timestamp()))
    said = {"type": "message", "channel": "C0CUSTOMER", "user": "U0MARA", "text": "hello", "ts": "1763978400.000100"}
    event = {"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": said}
    body = json.dumps(event).encode()
    made = hmac.new(SIGNING.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={made}"}
    headers["Content-Type"] = "application/json"
    return _answer(site.post("/webhooks/slack/events", data=body, headers=headers))


def _answer(given: Any) -> Response:
    answer: Response = given
    return answer


@pytest.mark.parametrize("knock", [twilio, form, chat, mailhook, slack])
def test_a_full_house_asks_everybody_to_come_again(hub: Hub, site: Client, knock: Callable[[Client], Response]) -> None:
    with full(hub.store):
        answer = knock(site)
        assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    with hub.store.read() as tx:
        assert tx.sql("SELECT count(*) FROM receipt").fetchone()[0] == 0
    assert knock(site).status_code in (200, 201)
    assert len(messages(hub)) == 1


def test_programs_stand_back_for_what_customers_send(hub: Hub, site: Client) -> None:
    post(site, text("Where is my parcel?"))
    (message,) = messages(hub)
    with hub.store.write() as tx:
        token = {"Authorization": f"Bearer {create_token(tx, name='crm', role='admin')}"}
        tx.sql("UPDATE receipt SET state = 'quarantined'")
        tx.sql("UPDATE message SET receipt_id = NULL")
    asked = {
        f"/api/v1/conversations/{message.conversation_id}/notes": {"text": "call her"},
        f"/api/v1/receipts/{message.receipt_id}/retry": None,
        "/api/v1/receipts/replay": {"dry_run": False},
    }
    with full(hub.store):
        for path, body in asked.items():
            answer = site.post(path, json=body, headers=token)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        assert site.get("/api/v1/receipts", headers=token).status_code == 200
    assert len(messages(hub)) == 1
    assert site.get("/api/v1/receipts", headers=token).json()["receipts"][0]["state"] == "quarantined"
    assert site.post(next(iter(asked)), json={"text": "call her"}, headers=token).status_code == 201


def test_a_mailbox_waits_and_goes_on_where_it_was(
    database_url: str, tmp_path: Path, clock: Clock, server: Dovecot, user: str
) -> None:
    with opened(database_url, tmp_path, clock, account(server, user)) as hub:
        office = Office(hub)
        for number in range(3):
            server.deliver(user, mail(number))
        with closing(office.box()) as box:
            before = box._cursor()
            with full(hub.store), pytest.raises(Busy):
                box.read_new()
            assert (office.subjects(), box._cursor()) == ([], before)
            assert box.read_new() == 3
        assert office.subjects() == ["0", "1", "2"]
