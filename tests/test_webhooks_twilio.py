"""Twilio knocks: signed texts come in once, whatever the sender repeats, and nothing forged comes in at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
from requests import Response
from sqlmodel import select
from twilio.request_validator import RequestValidator

from hub import Hub
from storage.engines import PatientConnection
from storage.receipts import Receipt
from tests.clock import Clock
from tests.doors import ACCOUNT_SID, AUTH_TOKEN, MARA, OUR_NUMBER, SMS, Client, compose, messages, opened, served

BASE = "https://hub.example"
MESSAGES = "/webhooks/twilio/messages"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def hub(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Hub]:
    with opened(database_url, tmp_path, clock, SMS) as hub:
        yield hub


@pytest.fixture
def twilio(hub: Hub) -> Iterator[Client]:
    with served(compose(hub)) as client:
        yield client


def text(body: str, sid: str = "SM" + "1" * 32, sender: str = MARA) -> dict[str, str]:
    form = {"MessageSid": sid, "AccountSid": ACCOUNT_SID, "From": sender, "To": OUR_NUMBER}
    return form | {"Body": body, "NumMedia": "0"}


def post(twilio: Client, form: dict[str, str], path: str = MESSAGES, token: str = AUTH_TOKEN) -> Response:
    signature = RequestValidator(token).compute_signature(BASE + path, form)
    signed = {"X-Twilio-Signature": signature, **FORM}
    return twilio.post(path, data=urlencode(form), headers=signed)


def test_a_signed_text_is_stored_before_twilio_is_told_yes(hub: Hub, twilio: Client) -> None:
    answer = post(twilio, text("Where is my parcel? 📦 Tack – Mara"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml; charset=utf-8")
    assert answer.text.endswith("<Response/>")
    (message,) = messages(hub)
    assert message.text == "Where is my parcel? 📦 Tack – Mara"
    assert message.to_address == OUR_NUMBER


@pytest.mark.parametrize(
    "query", ["?name=caf%C3%A9", "?to=a%2Fb&x=%20y", "?q=%C3%A5%2B", "?a=1&a=2", "?t=%F0%9F%93%A6"]
)
def test_the_address_counts_as_it_was_written(hub: Hub, twilio: Client, query: str) -> None:
    assert post(twilio, text("hello"), MESSAGES + query).status_code == 200
    assert len(messages(hub)) == 1


@pytest.mark.parametrize("signature", ["", "forged", "aGVsbG8=", "ü", "x" * 5000])
def test_a_forged_text_is_refused_and_leaves_nothing(hub: Hub, twilio: Client, signature: str) -> None:
    answer = twilio.post(
        MESSAGES, data=urlencode(text("let me in")), headers={"X-Twilio-Signature": signature.encode(), **FORM}
    )
    assert answer.status_code == 403
    assert "signature" in answer.json()["error"] or "unsigned" in answer.json()["error"]
    assert messages(hub) == []


def test_an_unsigned_text_or_one_signed_by_somebody_else_is_refused(hub: Hub, twilio: Client) -> None:
    assert twilio.post(MESSAGES, data=urlencode(text("hello")), headers=FORM).status_code == 403
    assert post(twilio, text("hello"), token="another account's token").status_code == 403
    assert messages(hub) == []


def test_one_text_delivered_fifty_times_at_once_is_one_message(hub: Hub, twilio: Client) -> None:
    gate = threading.Barrier(10)

    def deliver(number: int) -> int:
        if number < 10:
            gate.wait()
        return post(twilio, text("Only once, please")).status_code

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(deliver, range(50))) == {200}
    assert [message.text for message in messages(hub)] == ["Only once, please"]


def test_twenty_first_texts_at_once_are_one_person_and_one_conversation(hub: Hub, twilio: Client) -> None:
    def deliver(number: int) -> int:
        return post(twilio, text(f"line {number}", sid=f"SM{number:032x}")).status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(deliver, range(20))) == {200}
    stored = messages(hub)
    assert len(stored) == 20
    assert len({message.conversation_id for message in stored}) == 1
    assert len({message.contact_id for message in stored}) == 1


def test_json_for_twilio_s_door_is_the_wrong_type(twilio: Client) -> None:
    answer = twilio.post(MESSAGES, json=text("hello"))
    assert answer.status_code == 415
    assert answer.json()["error"]


def test_a_megabyte_of_text_arrives_whole(hub: Hub, twilio: Client) -> None:
    long = "Längtan " * 125_000
    assert post(twilio, text(long)).status_code == 200
    assert [message.text for message in messages(hub)] == [long]


def test_a_request_too_large_for_a_text_is_refused(hub: Hub, twilio: Client) -> None:
    answer = post(twilio, text("x" * 4_200_000))
    assert answer.status_code == 413
    assert answer.json() == {"error": "The request is too large."}
    assert messages(hub) == []


def test_an_empty_text_is_kept_and_an_unreadable_one_is_set_aside(hub: Hub, twilio: Client) -> None:
    assert post(twilio, text("")).status_code == 200
    nameless = text("who am I?", sid="SM" + "2" * 32) | {"From": ""}
    assert post(twilio, nameless).status_code == 200
    with hub.store.read() as tx:
        states = [receipt.state for receipt in tx.exec(select(Receipt).order_by(Receipt.id))]  # type: ignore[arg-type]
    assert states == ["accepted", "quarantined"]


def test_a_number_of_another_account_is_found_among_several(database_url: str, tmp_path: Path, clock: Clock) -> None:
    settings = {"account_sid": "AC" + "6" * 32, "auth_token": "t2"}
    other = SMS.model_copy(update={"name": "other-texts", "address": "+4915735983331", "settings": settings})
    with opened(database_url, tmp_path, clock, SMS, other) as hub, served(compose(hub)) as twilio:
        form = text("Guten Tag") | {"To": other.address}
        assert post(twilio, form, token="t2").status_code == 200
        assert post(twilio, form, token="t3").status_code == 403
        (message,) = messages(hub)
        assert message.channel_id == hub.channel_named("other-texts").id


def test_a_status_of_a_message_that_is_not_ours_is_kept_and_changes_nothing(hub: Hub, twilio: Client) -> None:
    form = {"MessageSid": "SM" + "9" * 32, "MessageStatus": "delivered", "From": OUR_NUMBER, "To": MARA}
    for _ in range(2):
        answer = post(twilio, form, "/webhooks/twilio/status?m=3f0c")
        assert (answer.status_code, answer.content) == (204, b"")
    with hub.store.read() as tx:
        (receipt,) = tx.exec(select(Receipt)).all()
    assert (receipt.origin, receipt.state) == ("status", "ignored")


def test_without_a_database_twilio_is_asked_to_come_again(
    hub: Hub, twilio: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert post(twilio, text("first")).status_code == 200
    hub.store.engine.dispose()
    if hub.store.embedded:
        path = hub.store.url.database
        assert path
        for suffix in ("", "-wal", "-shm"):
            Path(path + suffix).unlink(missing_ok=True)
        Path(path).mkdir()
    else:
        monkeypatch.setattr(PatientConnection, "connect", _gone)
    answer = post(twilio, text("second", sid="SM" + "2" * 32))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "try again" in answer.json()["error"]


def _gone(*_arguments: object, **_options: object) -> None:
    import psycopg

    raise psycopg.OperationalError("connection refused")
