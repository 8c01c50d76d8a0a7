"""Our webhooks go out signed, come again when they fail, are logged, and never reach into our own network."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlmodel import select
from standardwebhooks import Webhook

from hub.delivery import Courier
from hub.endpoints import add_endpoint, deliveries_of, remove_endpoint, replay, send_test
from hub.followers import Followers
from hub.outbound import reconcile_message
from hub.outside import NotAllowed, check_address
from hub.outside import post as post_outside
from storage.access import Conflict, Forbidden
from storage.deliveries import Delivery, WebhookEndpoint
from tests.desk import Desk
from webhooks import outgoing


class Crm:
    """A subscriber on this machine. `answers` are given in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = [(200, {}, b"thanks")]
        self.heard: list[tuple[dict[str, str], bytes]] = []
        crm = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                crm.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status, headers, answer = crm.answers[0] if len(crm.answers) == 1 else crm.answers.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def crm() -> Iterator[Crm]:
    crm = Crm()
    yield crm
    crm.server.shutdown()
    crm.server.server_close()


class Subscription:
    """The desk with one endpoint, and the duties that serve it."""

    def __init__(self, desk: Desk, url: str, *events: str):
        desk.clock.moment = datetime.now(UTC)  # the receiver's library compares with its own clock
        desk.hub.settings = desk.hub.settings.changed(webhook_allow_private=True)
        self.desk, self.store = desk, desk.hub.store
        with self.store.write() as tx:
            made = add_endpoint(tx, desk.ines, name="crm", url=url, events=events, private=True)
            self.id, self.secret = made.id or 0, made.secret
        self._followers = Followers(desk.hub, {"webhooks": outgoing.FOLLOWER}, "test")
        self._courier = Courier(desk.hub, {"webhook": outgoing.send}, reconcile_message)
        self._followers.run_once()

    def work(self) -> None:
        self._followers.run_once()
        self._courier.run_once()

    def log(self) -> list[Delivery]:
        with self.store.read() as tx:
            return deliveries_of(tx, self.desk.ines, self.id)

    def endpoint(self) -> WebhookEndpoint:
        with self.store.read() as tx:
            return tx.exec(select(WebhookEndpoint)).one()


def test_a_subscriber_gets_what_it_asked_for_signed(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    desk.text("Where is my parcel?")
    subscription.work()
    ((headers, body),) = crm.heard
    event = Webhook(subscription.secret).verify(body, headers)
    assert event["type"] == "message.received"
    assert event["data"]["conversation_id"] == desk.only_conversation().id
    assert "parcel" not in body.decode()  # ids only: the words are fetched with a token
    (delivery,) = subscription.log()
    assert (delivery.state, delivery.response["status"], delivery.response["body"]) == ("sent", 200, "thanks")
    assert delivery.response["milliseconds"] >= 0


def test_a_failed_webhook_comes_again_under_the_same_id_with_a_new_signature(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [(500, {}, b"oh no \x00\xff" + b"x" * 5000), (204, {}, b"")]
    desk.text("hello")
    subscription.work()
    (delivery,) = subscription.log()
    assert (delivery.state, delivery.response["status"], delivery.attempts) == ("queued", 500, 1)
    assert delivery.response["body"].startswith("oh no ")
    assert len(delivery.response["body"]) <= 2048
    assert subscription.endpoint().failing_since is not None
    subscription.work()
    assert len(crm.heard) == 1  # not before its time
    desk.clock.forward(seconds=7)
    subscription.work()
    first, second = (headers for headers, _ in crm.heard)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) > int(first["webhook-timestamp"])
    assert Webhook(subscription.secret).verify(crm.heard[1][1], second)
    assert subscription.log()[0].state == "sent"
    assert (subscription.endpoint().failing_since, subscription.endpoint().problem) == (None, "")


def test_retry_after_is_heeded(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [(429, {"Retry-After": "90"}, b""), (200, {}, b"")]
    desk.text("hello")
    subscription.work()
    desk.clock.forward(seconds=80)
    subscription.work()
    assert len(crm.heard) == 1
    desk.clock.forward(seconds=11)
    subscription.work()
    assert subscription.log()[0].state == "sent"


def test_gone_means_gone(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [(410, {}, b"")]
    desk.text("hello")
    subscription.work()
    assert subscription.log()[0].state == "failed"
    assert not subscription.endpoint().active
    assert "410" in subscription.endpoint().problem
    desk.text("again")
    subscription.work()
    assert len(crm.heard) == 1


def test_a_redirect_is_not_followed(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [(307, {"Location": crm.url + "/elsewhere"}, b"")]
    desk.text("hello")
    subscription.work()
    assert len(crm.heard) == 1
    assert "redirect" in subscription.log()[0].error


def test_five_days_of_failure_switch_it_off_and_a_replay_on_again(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [(503, {}, b"")]
    desk.text("one")
    subscription.work()
    desk.clock.forward(days=4, hours=23)
    subscription.work()
    assert subscription.endpoint().active
    desk.clock.forward(days=1)
    subscription.work()
    assert not subscription.endpoint().active
    assert subscription.endpoint().problem.startswith("Switched off after five days of failure.")
    desk.clock.forward(days=2)
    subscription.work()
    (delivery,) = subscription.log()
    assert delivery.state == "failed"
    crm.answers = [(200, {}, b"")]
    with subscription.store.write() as tx:
        replay(tx, desk.ines, delivery.id or 0)
    subscription.work()
    assert subscription.log()[0].state == "sent"
    assert len({headers["webhook-id"] for headers, _ in crm.heard}) == 1
    assert subscription.endpoint().active


def test_a_subscriber_that_is_not_there_is_tried_again(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.server.shutdown()
    crm.server.server_close()
    desk.text("hello")
    subscription.work()
    (delivery,) = subscription.log()
    assert (delivery.state, delivery.error) == ("queued", "It could not be reached.")


def test_while_a_subscriber_is_away_one_event_tries_for_all_and_the_others_keep_their_tries(
    desk: Desk, crm: Crm
) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [(503, {}, b"")]
    for number in range(12):
        desk.text(f"text {number}")
    subscription.work()
    assert len(crm.heard) == 4, "as many as may try at once"
    subscription.work()
    assert len(crm.heard) == 4, "it is left in peace"
    for tries in (5, 6):
        desk.clock.forward(seconds=4)
        subscription.work()
        subscription.work()
        assert len(crm.heard) == tries
    assert sorted(delivery.attempts for delivery in subscription.log()) == [0] * 6 + [1] * 6
    crm.answers = [(200, {}, b"thanks")]
    desk.clock.forward(seconds=30)
    subscription.work()
    assert len(crm.heard) == 7
    for _ in range(3):
        subscription.work()
    assert {delivery.state for delivery in subscription.log()} == {"sent"}
    assert len({headers["webhook-id"] for headers, _ in crm.heard}) == 12


def test_a_subscriber_that_refuses_some_events_is_there_for_the_others(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [*[(422, {}, b"unknown")] * 9, (200, {}, b"thanks")]
    for number in range(12):
        desk.text(f"text {number}")
    for _ in range(3):
        subscription.work()
    assert len(crm.heard) == 12
    assert Counter(delivery.state for delivery in subscription.log()) == {"queued": 9, "sent": 3}


def test_what_a_person_sends_goes_before_what_waits_for_a_subscriber_that_is_away(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url, "message.received")
    crm.answers = [(503, {}, b"")]
    for number in range(12):
        desk.text(f"text {number}")
    subscription.work()
    with subscription.store.write() as tx:
        send_test(tx, desk.ines, subscription.id)
    desk.clock.forward(seconds=3)
    subscription.work()
    assert json.loads(crm.heard[-1][1])["type"] == "webhook.test"
    assert len(crm.heard) == 5


def test_only_an_administrator_manages_endpoints(desk: Desk, crm: Crm) -> None:
    subscription = Subscription(desk, crm.url)
    with pytest.raises(Forbidden), subscription.store.write() as tx:
        add_endpoint(tx, desk.jonas, name="mine", url="https://crm.example/", private=True)
    with pytest.raises(Forbidden), subscription.store.read() as tx:
        deliveries_of(tx, desk.jonas, subscription.id)
    with pytest.raises(Conflict), subscription.store.write() as tx:
        add_endpoint(tx, desk.ines, name="crm", url="https://crm.example/")
    with pytest.raises(Conflict), subscription.store.write() as tx:
        add_endpoint(tx, desk.ines, name="other", url="https://crm.example/", events=["message.eaten"])
    with subscription.store.write() as tx:
        remove_endpoint(tx, desk.ines, subscription.id)
    desk.text("hello")
    subscription.work()
    assert crm.heard == []


INSIDE = [
    "https://127.0.0.1/",
    "https://localhost/",
    "https://[::1]/",
    "https://10.0.0.5/",
    "https://192.168.1.1/",
    "https://172.16.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[fd00:ec2::254]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://0.0.0.0/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://①②⑦.0.0.1/",
    "https://user:secret@example.com/",
    "http://example.com/",
    "https://example.com:22/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "https:///nothing",
    "",
]


@pytest.mark.parametrize("url", INSIDE)
def test_no_webhook_reaches_into_our_own_network(url: str) -> None:
    with pytest.raises(NotAllowed):
        post_outside(url, b"{}", {})


def test_on_our_own_network_the_metadata_address_stays_closed() -> None:
    check_address("http://127.0.0.1:8080/hook", private=True)
    for url in ("http://169.254.169.254/", "http://[fd00:ec2::254]/", "file:///etc/passwd"):
        with pytest.raises(NotAllowed):
            post_outside(url, b"{}", {}, private=True)
