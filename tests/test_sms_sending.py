"""A text on its way out, and what Twilio says afterwards, against the local double over real HTTP."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from channels.base import (
    CheckFailed,
    DeliveryUpdate,
    NotAuthentic,
    Outbound,
    Raw,
    SendFailed,
    SendUncertain,
    SignedRequest,
)
from channels.sms import SmsChannel
from channels.twilio import MediaUnavailable
from sandbox.twilio import Mood, TwilioDouble
from sandbox.wire import Answer, Call, Wire

MARA = "+46701740605"
OURS = "+46700000000"


class Door:
    """A hub's Twilio door on loopback: it lets the channel judge, answers as the hub would and keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[Raw | DeliveryUpdate] = []
        self.channel: SmsChannel | None = None
        self.wire = Wire(self._judge)
        self.wire.start()
        self.url = self.wire.url

    def _judge(self, call: Call) -> Answer:
        assert self.channel is not None
        url = f"{self.url}{call.path}" + (f"?{urlencode(call.query)}" if call.query else "")
        try:
            self.heard += self.channel.hear(
                SignedRequest(call.method, url, call.headers, call.body, now=datetime.now(UTC))
            )
        except NotAuthentic:
            return Answer(403)
        return Answer(204)

    def close(self) -> None:
        self.wire.stop()


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()


@pytest.fixture
def twilio(door: Door) -> Iterator[TwilioDouble]:
    with TwilioDouble(hub_url=door.url) as double:
        door.channel = texts(double, status_url=f"{door.url}/webhooks/twilio/status")
        yield double


def texts(double: TwilioDouble, **settings: Any) -> SmsChannel:
    usual = {"account_sid": double.account_sid, "auth_token": double.auth_token, "base_url": double.url}
    return SmsChannel(name="texts", address=OURS, settings={**usual, **settings})


def line(text: str = "Your lamp is on its way 💡", to: str = MARA, id: str = "0b0e6d0e-9b0a") -> Outbound:
    return Outbound(id, (to,), text)


def test_a_reply_reaches_the_phone_and_its_delivery_comes_back(twilio: TwilioDouble, door: Door) -> None:
    assert door.channel is not None
    accepted = door.channel.send(line())
    assert accepted.state == "sent"
    text = twilio.wait_for(lambda text: text.status == "delivered")
    assert (text.sid, text.to, text.from_, text.body) == (accepted.external_id, MARA, OURS, line().text)
    assert twilio.wait_for_callback(text.sid, "delivered") == 204
    updates = [each for each in door.heard if isinstance(each, DeliveryUpdate)]
    assert [(each.state, each.id, each.external_id) for each in updates] == [
        ("sent", "0b0e6d0e-9b0a", text.sid),
        ("delivered", "0b0e6d0e-9b0a", text.sid),
    ]


def test_a_callback_may_come_before_the_answer_and_still_names_our_message(twilio: TwilioDouble, door: Door) -> None:
    twilio.early, twilio.lifecycle = True, ("delivered", "sent", "sent")
    assert door.channel is not None
    door.channel.send(line(id="early"))
    updates = [each for each in door.heard if isinstance(each, DeliveryUpdate)]
    assert [each.id for each in updates] == ["early"] * 3
    assert len({each.raw.dedupe_key for each in updates}) == 2


def test_a_carrier_s_refusal_comes_back_with_a_sentence(twilio: TwilioDouble, door: Door) -> None:
    twilio.lifecycle = ("sent", "undelivered:30006")
    assert door.channel is not None
    accepted = door.channel.send(line())
    assert twilio.wait_for_callback(accepted.external_id, "undelivered") == 204
    update = door.heard[-1]
    assert isinstance(update, DeliveryUpdate) and update.state == "failed" and "landline" in update.why


def test_a_messaging_service_chooses_the_sender(twilio: TwilioDouble) -> None:
    texts(twilio, messaging_service_sid="MG1").send(line())
    assert twilio.sent[0].service == "MG1" and twilio.sent[0].callback == ""


def test_a_phone_texts_us_with_a_picture_that_is_fetched_later(twilio: TwilioDouble, door: Door) -> None:
    assert twilio.text_in(MARA, OURS, "", [("image/png", b"\x89PNG...")], ProfileName="Mara") == 204
    (raw,) = door.heard
    assert isinstance(raw, Raw) and door.channel is not None
    inbound = SmsChannel.parse(raw)
    file = door.channel.fetch(inbound.fields["media.0"])
    assert (file.content_type, file.data) == ("image/png", b"\x89PNG...") and file.name.endswith(".png")
    assert inbound.flags == ("media",)


def test_the_same_webhook_fifty_times_has_one_key(twilio: TwilioDouble, door: Door) -> None:
    assert twilio.text_in(MARA, OURS, "Hello", copies=50) == 204
    assert len(door.heard) == 50
    assert len({each.dedupe_key for each in door.heard if isinstance(each, Raw)}) == 1


def test_another_account_s_webhook_is_refused_at_the_door(twilio: TwilioDouble) -> None:
    twilio.auth_token = "stolen"
    assert twilio.text_in(MARA, OURS, "Hello") == 403


def test_who_texted_stop_is_not_texted_until_start(twilio: TwilioDouble) -> None:
    twilio.text_in(MARA, OURS, "Stop")
    with pytest.raises(SendFailed, match="STOP") as refused:
        texts(twilio).send(line())
    assert refused.value.opted_out and refused.value.permanent
    twilio.text_in(MARA, OURS, "START")
    assert texts(twilio).send(line()).external_id
    assert [text.direction for text in twilio.phone(MARA)] == [
        "inbound",
        "outbound-reply",
        "inbound",
        "outbound-reply",
        "outbound-api",
    ]


@pytest.mark.parametrize(
    ("to", "sentence"),
    [("+15005550001", "21211"), ("+15005550003", "21408"), ("+15005550009", "21614"), ("nonsense", "21211")],
)
def test_a_number_that_twilio_refuses_fails_for_good(twilio: TwilioDouble, to: str, sentence: str) -> None:
    with pytest.raises(SendFailed, match=sentence) as refused:
        texts(twilio).send(line(to=to))
    assert refused.value.permanent and not refused.value.opted_out


@pytest.mark.parametrize(
    ("mood", "wait"),
    [
        (Mood(429, 20429, retry_after=7), timedelta(seconds=7)),
        (Mood(429, 20429), timedelta(seconds=10)),
        (Mood(429, html=True), timedelta(seconds=10)),
        (Mood(503, 20503), None),
        (Mood(503, html=True), timedelta(seconds=10)),
        (Mood(400, 21611), timedelta(seconds=10)),
    ],
)
def test_what_passes_is_tried_again(twilio: TwilioDouble, mood: Mood, wait: timedelta | None) -> None:
    twilio.moods.append(mood)
    with pytest.raises(SendFailed) as refused:
        texts(twilio).send(line())
    assert (refused.value.permanent, refused.value.retry_after) == (False, wait)
    assert twilio.sent == []


@pytest.mark.parametrize("mood", [Mood(401, 20003), Mood(400, 30007), Mood(403, html=True), Mood(400, 99999)])
def test_any_other_refusal_is_for_good(twilio: TwilioDouble, mood: Mood) -> None:
    twilio.moods.append(mood)
    with pytest.raises(SendFailed) as refused:
        texts(twilio).send(line())
    assert refused.value.permanent and refused.value.why


@pytest.mark.parametrize(
    ("mood", "taken"),
    [
        (Mood(drop="after"), True),
        (Mood(drop="before"), False),
        (Mood(500, 20500), False),
        (Mood(502, html=True), False),
        (Mood(html=True), True),
    ],
)
def test_an_unknown_outcome_is_never_guessed_but_looked_up(twilio: TwilioDouble, mood: Mood, taken: bool) -> None:
    since = datetime.now(UTC)
    twilio.moods.append(mood)
    channel = texts(twilio)
    with pytest.raises(SendUncertain):
        channel.send(line())
    outcome = channel.outcome(line(), since)
    assert (outcome is not None) is taken
    if outcome:
        assert outcome.external_id == twilio.sent[0].sid
    assert channel.outcome(line("Another wording"), since) is None
    assert channel.outcome(line(), since + timedelta(hours=1)) is None


def test_a_slow_twilio_leaves_the_outcome_open(twilio: TwilioDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("channels.twilio.TIMEOUT", 0.2)
    twilio.moods.append(Mood(delay=0.6))
    with pytest.raises(SendUncertain):
        texts(twilio).send(line())
    twilio.wait_for(lambda text: text.body == line().text)


def test_when_nobody_listens_the_text_was_certainly_not_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        double = TwilioDouble()
        channel = texts(double, base_url=base_url)
        with pytest.raises(SendFailed, match="reached") as failed:
            channel.send(line())
        assert not failed.value.permanent
        with pytest.raises(CheckFailed, match="base_url"):
            channel.check()
        with pytest.raises(SendUncertain):
            channel.outcome(line(), datetime.now(UTC))


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (line("x" * 1601), "1600"),
        (line(" "), "empty"),
        (Outbound("1", (), "Hello"), "recipient"),
    ],
)
def test_what_can_never_be_sent_is_refused_before_the_network(message: Outbound, sentence: str) -> None:
    double = TwilioDouble()
    with pytest.raises(SendFailed, match=sentence) as refused:
        texts(double, base_url="http://127.0.0.1:9").send(message)
    assert refused.value.permanent


def test_texts_whose_webhook_was_lost_are_found_in_twilio_s_list(twilio: TwilioDouble, door: Door) -> None:
    since = datetime.now(UTC) - timedelta(minutes=5)
    twilio.text_in(MARA, OURS, "first")
    lost = [twilio.text_lost(MARA, OURS, f"lost & found {number} é😀") for number in range(60)]
    texts(twilio).send(line())
    found = list(texts(twilio).missing(since))
    assert [raw.dedupe_key for raw in found[1:]] == [text.sid for text in lost]
    assert isinstance(door.heard[0], Raw) and found[0].dedupe_key == door.heard[0].dedupe_key
    inbound = SmsChannel.parse(found[-1])
    assert (inbound.text, inbound.sender.points[0].value) == ("lost & found 59 é😀", MARA)
    assert inbound.sent_at is not None and inbound.sent_at.tzinfo is not None


def test_a_lost_picture_message_is_found_with_its_picture(twilio: TwilioDouble, door: Door) -> None:
    twilio.text_in(MARA, OURS, "look", [("image/jpeg", b"\xff\xd8")])
    channel = texts(twilio)
    (raw,) = channel.missing(datetime.now(UTC) - timedelta(minutes=1))
    assert channel.fetch(SmsChannel.parse(raw).fields["media.0"]).data == b"\xff\xd8"


def test_media_is_only_fetched_from_twilio_and_only_up_to_a_size(
    twilio: TwilioDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = texts(twilio)
    for elsewhere in (
        "http://169.254.169.254/latest/meta-data",
        "https://evil.example/x",
        "https://api.twilio.com.evil.example/x",
        "http://api.twilio.com/x",
        f"{twilio.url}0/x",
        f"{twilio.url.replace('://', '://twilio.com@')}/x",
        "https://bucket.s3.amazonaws.com/x",
        "https://[",
        "file:///etc/passwd",
    ):
        with pytest.raises(MediaUnavailable, match="not kept at Twilio"):
            channel.fetch(elsewhere)
    with pytest.raises(MediaUnavailable, match="404") as gone:
        channel.fetch(f"{twilio.url}/nothing")
    assert gone.value.permanent
    monkeypatch.setattr("channels.twilio.MAX_MEDIA_BYTES", 1000)
    twilio.text_in(MARA, OURS, "", [("image/png", b"x" * 1001)])
    sid = twilio.messages[-1].media[0][0]
    url = f"{twilio.url}/2010-04-01/Accounts/{twilio.account_sid}/Messages/{twilio.messages[-1].sid}/Media/{sid}"
    with pytest.raises(MediaUnavailable, match="larger"):
        channel.fetch(url)


def test_check_signs_in_for_real(twilio: TwilioDouble) -> None:
    texts(twilio).check()
    with pytest.raises(CheckFailed, match="auth_token"):
        texts(twilio, auth_token="wrong").check()


def test_threads_that_send_at_once_each_get_their_own_answer(twilio: TwilioDouble) -> None:
    twilio.lifecycle = ()
    channel, answers = texts(twilio), {}

    def send(number: int) -> None:
        answers[number] = channel.send(line(f"text {number}", id=str(number))).external_id

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {int(text.body.split()[1]): text.sid for text in twilio.sent}


def test_nothing_of_a_text_or_token_is_logged(twilio: TwilioDouble, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts(twilio).send(line("a secret between us"))
    texts(twilio).outcome(line("a secret between us"), datetime.now(UTC))
    assert "secret between" not in caplog.text and twilio.auth_token not in caplog.text and MARA not in caplog.text
