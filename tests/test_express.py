"""What is answered before Flask is answered as Flask would, and whatever goes wrong is Flask's to refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from requests import Response
from twilio.request_validator import RequestValidator

from hub import Hub
from storage import Busy
from tests.clock import Clock
from tests.doors import AUTH_TOKEN, SMS, Client, compose, messages, opened, served
from tests.test_webhooks_twilio import BASE, FORM, MESSAGES, post, text
from webhooks.express import MOST_BYTES

STATUS = "/webhooks/twilio/status"


@pytest.fixture
def hub(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Hub]:
    with opened(database_url, tmp_path, clock, SMS) as hub:
        yield hub


@pytest.fixture
def express(hub: Hub) -> Iterator[Client]:
    with served(compose(hub)) as client:
        yield client


@pytest.fixture
def flask_alone(hub: Hub) -> Iterator[Client]:
    app = compose(hub)
    app.wsgi_app = app.wsgi_app._flask  # type: ignore
    with served(app) as client:
        yield client


def told(answer: Response) -> tuple[int, dict[str, str], bytes]:
    """Everything that a caller sees, but for the moment."""
    headers = {name.lower(): value for name, value in answer.headers.items() if name != "Date"}
    return answer.status_code, headers, answer.content


def delivered(client: Client) -> Response:
    return post(client, {"MessageSid": "SM" + "2" * 32, "MessageStatus": "delivered"}, STATUS)


KNOCKS: dict[str, Callable[[Client], Response]] = {
    "a text": lambda client: post(client, text("Hello")),
    "an update": delivered,
    "a forged text": lambda client: post(client, text("Hello"), token="somebody else's"),
    "an unsigned text": lambda client: client.post(MESSAGES, data="Body=Hello", headers=FORM),
    "no form": lambda client: client.post(MESSAGES, data="{}", headers={"Content-Type": "application/json"}),
    "no length": lambda client: client.post(MESSAGES, data=iter([b"Body=Hello"]), headers=FORM),
    "a wrong method": lambda client: client.get(MESSAGES),
}


@pytest.mark.parametrize("knock", KNOCKS.values(), ids=KNOCKS.keys())
def test_both_ways_give_the_same_answer(
    express: Client, flask_alone: Client, knock: Callable[[Client], Response]
) -> None:
    assert told(knock(express)) == told(knock(flask_alone))


def test_a_text_that_could_not_be_stored_is_tried_once_and_asked_for_again(
    hub: Hub, express: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storing waits for ten seconds; Twilio must not wait for twenty."""
    tries: list[Any] = []

    def busy(unit: Any) -> None:
        tries.append(unit)
        raise Busy("the database does not answer")

    monkeypatch.setattr(hub.store, "submit", busy)
    answer = post(express, text("Hello"))
    assert (answer.status_code, answer.headers["Retry-After"], len(tries)) == (503, "5", 1)


def test_a_large_text_takes_the_long_way_and_arrives(hub: Hub, express: Client) -> None:
    assert post(express, text("x" * MOST_BYTES)).status_code == 200
    assert [len(message.text) for message in messages(hub)] == [MOST_BYTES]


def test_an_address_with_escapes_is_judged_as_it_was_signed(hub: Hub, express: Client) -> None:
    path = MESSAGES + "?shop=caf%C3%A9&x=%2F"
    signed = {"X-Twilio-Signature": RequestValidator(AUTH_TOKEN).compute_signature(BASE + path, text("Hi")), **FORM}
    assert express.post(path, data=text("Hi"), headers=signed).status_code == 200
    assert len(messages(hub)) == 1


def test_the_figures_count_both_ways(express: Client) -> None:
    post(express, text("Hello"))
    post(express, text("Hello"), token="somebody else's")
    figures = express.get("/metrics").text
    assert f'switchyard_http_seconds_count{{rule="{MESSAGES}",status="200"}} 1.0' in figures
    assert f'switchyard_http_seconds_count{{rule="{MESSAGES}",status="403"}} 1.0' in figures
