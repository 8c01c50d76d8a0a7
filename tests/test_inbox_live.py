"""The live line: each agent hears what he may see, at once and without a gap."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from hub.people import set_password
from hub.pump import facts_after
from hub.signin import BY_PASSWORD, let_in, passed
from inbox.stream import wants
from storage.people import Agent
from tests.browser.room import PASSWORD, application, served
from tests.desk import Desk


class Line:
    """An open stream, as a browser reads it."""

    def __init__(self, response: requests.Response):
        self._lines = response.iter_lines(decode_unicode=True)

    def next(self) -> tuple[int, dict[str, object]]:
        """The next event's id and data."""
        number = 0
        for line in self._lines:
            if line.startswith("id: "):
                number = int(line[4:])
            if line.startswith("data: "):
                return number, json.loads(line[6:])
        raise AssertionError("the line was cut")


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    desk.hub.settings = desk.hub.settings.changed(public_base_url="")  # http, so that cookies travel
    with served(application(desk)) as url:
        yield url


def signed_in(address: str, email: str) -> requests.Session:
    session = requests.Session()
    page = session.get(f"{address}/sign-in").text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    fields = {"email": email, "password": PASSWORD, "csrf_token": token}
    answer = session.post(f"{address}/sign-in", data=fields, allow_redirects=False)
    assert answer.status_code == 303
    return session


@contextmanager
def listening(session: requests.Session, address: str, **headers: str) -> Iterator[Line]:
    with session.get(f"{address}/inbox/stream", stream=True, headers=headers, timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield Line(response)


def test_jonas_hears_of_maras_message_within_a_tenth_of_a_second(desk: Desk, address: str) -> None:
    jonas = signed_in(address, "jonas@desk.example")
    with listening(jonas, address) as line:
        started = time.monotonic()
        taken = desk.text("Where is my lamp?")
        heard = [line.next() for _ in range(4)]
        took = time.monotonic() - started

    facts = [data["fact"] for _, data in heard]
    assert facts == ["Changed", "ConversationOpened", "ConversationQueued", "MessageReceived"]
    assert heard[-1][1] == {
        "fact": "MessageReceived",
        "conversation": taken.conversation_id,
        "message_id": taken.message_id,
        "contact_id": taken.contact_id,
    }
    assert took < 0.5  # 0.1 on a machine that does nothing else; browsers are measured in their own story


def test_a_browser_can_tell_a_quiet_line_from_a_dead_one(
    desk: Desk, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.pump.PING_SECONDS", 0.05)
    jonas = signed_in(address, "jonas@desk.example")
    with jonas.get(f"{address}/inbox/stream", stream=True, timeout=10) as response:
        lines = response.iter_lines(decode_unicode=True)
        assert next(line for line in lines if line.startswith("event: ")) == "event: ping"
        assert next(lines) == "data:", "a browser passes no event on that has no data field"


def test_what_was_missed_comes_first_after_a_cut(desk: Desk, address: str) -> None:
    jonas = signed_in(address, "jonas@desk.example")
    with listening(jonas, address) as line:
        desk.text("one")
        last = [line.next() for _ in range(4)][-1][0]
    desk.text("two")
    with listening(jonas, address, **{"Last-Event-ID": str(last)}) as line:
        number, data = line.next()
    assert number > last and data["fact"] == "MessageReceived"


def test_tomas_hears_nothing_of_shipping(desk: Desk, address: str) -> None:
    tomas = signed_in(address, "tomas@desk.example")
    with listening(tomas, address) as line:
        secret = desk.mail("Order 48213", "My lamp").conversation_id
        own = desk.mail("Refund", "A refund please", sender="Claire <claire@example.com>").conversation_id
        heard: list[dict[str, object]] = []
        while not heard or heard[-1].get("conversation") != own:
            heard.append(line.next()[1])

    assert secret not in [data.get("conversation") for data in heard]
    assert all(set(data) == {"fact"} for data in heard[:-1])


def test_an_ended_sign_in_hears_no_more(desk: Desk) -> None:
    store = desk.hub.store
    secret = let_in(store, passed(store, "jonas@desk.example", PASSWORD, ip="192.0.2.1"), BY_PASSWORD)
    with application(desk).app_context():
        told = wants(desk.hub, desk.jonas, secret)

    desk.text("Where is my lamp?")
    with desk.hub.store.read() as tx:
        before = facts_after(tx, 0)
    assert told(before[-1]) is not None

    with desk.hub.store.write() as tx:
        set_password(tx, tx.get_one(Agent, desk.jonas.agent_id), "a new password")
    desk.text("One more thing")
    with desk.hub.store.read() as tx:
        after = facts_after(tx, before[-1].id)
    assert [fact.name for fact in after] == ["SignInsEnded", "PasswordChanged", "MessageReceived"]
    assert [told(fact) for fact in after] == [None, None, None]
