"""What every kind of channel has to keep, whoever wrote it: the contract, tried on each of KINDS."""

from __future__ import annotations

import json
import logging
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from channels import KINDS, open_channel
from channels.base import (
    Accepted,
    Channel,
    CheckFailed,
    Checks,
    ContactPoint,
    Hears,
    Inbound,
    Limits,
    NotAuthentic,
    NotConfigured,
    Outbound,
    Polls,
    Raw,
    Reconciles,
    SendFailed,
    SendUncertain,
    SignedRequest,
    Unreadable,
)
from sandbox.slack import SlackDouble, SlackMood
from sandbox.twilio import Mood, TwilioDouble
from tests.support.smtp import smtp_sink

MARA_MAIL, MARA_PHONE = "mara.lindqvist@example.com", "+46701740605"
SECRET = "n0t-f0r-l0gs" * 4
URL = "https://hub.example.com/webhooks"
FORM = "application/x-www-form-urlencoded"
MAIL = (
    b"From: Mara Lindqvist <mara.lindqvist@example.com>\r\nTo: support@example.com\r\nSubject: Lamp\r\n"
    b"\r\nIt is broken.\r\n"
)
EVENT = {
    "type": "message",
    "channel": "C0CUSTOMER",
    "user": "U0MARA",
    "text": "It is broken.",
    "ts": "1763802000.000100",
}


@dataclass(frozen=True)
class Kind:
    """One kind with everything the suite needs: settings for a provider at `port`, a message that came, one to send."""

    address: str
    settings: Callable[[int], dict[str, Any]]
    arrived: Raw
    point: tuple[str, str]  # kind and value of the first contact point
    to: str
    required: tuple[str, ...] = ()


CASES = {
    "email": Kind(
        "support@example.com",
        lambda port: {
            **dict.fromkeys(("imap_host", "smtp_host"), "127.0.0.1"),
            **dict.fromkeys(("imap_port", "smtp_port"), port),
            **dict.fromkeys(("imap_tls", "smtp_tls"), "none"),
            "username": "support",
            "password": SECRET,
            "timeout": 2,
        },
        Raw("sha256:1", MAIL, "message/rfc822"),
        ("email", MARA_MAIL),
        MARA_MAIL,
        ("imap_host", "username"),
    ),
    "mailhook": Kind(
        "support@example.com",
        lambda port: {
            **{"provider": "raw", "secret": SECRET, "smtp_host": "127.0.0.1", "smtp_port": port, "smtp_tls": "none"},
            **{"username": "support", "password": SECRET, "timeout": 2},
        },
        Raw("sha256:1", MAIL, "message/rfc822", {"provider": "raw"}),
        ("email", MARA_MAIL),
        MARA_MAIL,
        ("provider", "secret"),
    ),
    "sms": Kind(
        "+46700000000",
        lambda port: {"account_sid": "AC1", "auth_token": SECRET, "base_url": f"http://127.0.0.1:{port}"},
        Raw("SM1", urlencode({"MessageSid": "SM1", "From": MARA_PHONE, "Body": "It is broken."}).encode(), FORM),
        ("phone", MARA_PHONE),
        MARA_PHONE,
        ("account_sid", "auth_token"),
    ),
    "chat": Kind(
        "shop",
        lambda port: {"identity_secret": SECRET},
        Raw("1", json.dumps({"id": "1", "visitor": "v-1", "text": "It is broken."}).encode(), "application/json"),
        ("chat", "v-1"),
        "v-1",
    ),
    "form": Kind(
        "contact",
        lambda port: {"honeypot": "website"},
        Raw("1", json.dumps({"email": MARA_MAIL, "message": "It is broken."}).encode(), "application/json"),
        ("email", MARA_MAIL),
        MARA_MAIL,
    ),
    "slack": Kind(
        "C0CUSTOMER",
        lambda port: {
            "bot_token": f"xoxb-{SECRET}",
            "signing_secret": SECRET,
            "customer_channels": ["C0CUSTOMER"],
            "base_url": f"http://127.0.0.1:{port}",
        },
        Raw("C0CUSTOMER:1", json.dumps({"team_id": "T1", "event": EVENT}).encode(), "application/json"),
        ("slack", "T1:U0MARA"),
        "C0CUSTOMER:1763802000.000100",
        ("bot_token", "signing_secret"),
    ),
}
REMOTE = ("email", "mailhook", "sms", "slack")  # kinds that hand over to somebody else's server


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which certainly nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(kind: str, port: int, **changes: Any) -> Channel:
    case = CASES[kind]
    return open_channel(kind, f"my-{kind}", case.address, {**case.settings(port), **changes})


def outbound(kind: str, text: str = "It is on its way.") -> Outbound:
    return Outbound("5b0e2f0e-0000-4000-8000-000000000001", (CASES[kind].to,), text, external_id="<own@example.com>")


def texts_in(value: object) -> Iterator[str]:
    """Every text in a parsed message."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from texts_in(list(value.items()))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from texts_in(each)
    elif hasattr(value, "__dataclass_fields__"):
        for each in fields(value):  # type: ignore[arg-type]
            yield from texts_in(getattr(value, each.name))


def test_every_kind_is_tried_here() -> None:
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize("place", sorted(KINDS.values()))
def test_every_kind_can_be_the_first_module_that_a_process_loads(place: str) -> None:
    """As in a reader of mail: what is imported in a circle works in some orders only."""
    load = f"import {place.partition(':')[0]}"
    subprocess.run([sys.executable, "-c", load], cwd=Path(__file__).parent.parent, check=True)


def test_an_unknown_kind_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotConfigured, match="email"):
        open_channel("fax", "fax", "", {})


def test_a_site_s_own_kind_is_opened_by_its_line_of_configuration() -> None:
    own = open_channel("pager", "p", "x", {}, kinds={"pager": "channels.chat:ChatChannel"})
    assert isinstance(own, Channel)


def test_a_channel_says_what_it_is(kind: str, nobody: int) -> None:
    channel = opened(kind, nobody)
    assert isinstance(channel, Channel) and isinstance(channel.limits, Limits)
    assert (channel.kind, channel.name, channel.address) == (kind, f"my-{kind}", CASES[kind].address)
    assert SECRET not in repr(channel)


def test_a_setting_that_does_not_exist_is_named(kind: str, nobody: int) -> None:
    with pytest.raises(NotConfigured, match="colur"):
        opened(kind, nobody, colur="blue")


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, case in CASES.items() for key in case.required])
def test_a_setting_that_is_missing_is_named_and_no_secret_is_told(kind: str, key: str, nobody: int) -> None:
    with pytest.raises(NotConfigured, match=key) as refused:
        opened(kind, nobody, **{key: ""})
    assert SECRET not in str(refused.value) and f"my-{kind}" in str(refused.value)


def test_a_message_is_read_the_same_each_time(kind: str, nobody: int) -> None:
    channel, arrived = opened(kind, nobody), CASES[kind].arrived
    inbound = channel.parse(arrived)
    assert inbound == type(channel).parse(arrived)
    point = inbound.sender.points[0]
    assert (point.kind, point.value) == CASES[kind].point
    assert inbound.text.strip() == "It is broken."


def test_bytes_of_any_kind_are_a_message_or_unreadable(kind: str, nobody: int) -> None:
    channel, arrived, dice = opened(kind, nobody), CASES[kind].arrived, random.Random(kind)
    tried = [b"", b"\x00" * 100, b"\xff\xfe\x00", b"{", b"[" * 50_000, b"=&=&%", b"\r\n\r\n", dice.randbytes(5000)]
    for _ in range(60):
        bent = bytearray(arrived.body)
        for _ in range(dice.randrange(1, 8)):
            bent[dice.randrange(len(bent))] = dice.randrange(256)
        tried += [bytes(bent), bytes(bent[: dice.randrange(len(bent))])]
    for body in tried:
        try:
            inbound = channel.parse(replace(arrived, body=body))
        except Unreadable as unreadable:
            assert str(unreadable).endswith((".", "?")) or " " in str(unreadable)
            continue
        _check_sound(inbound)


def _check_sound(inbound: Inbound) -> None:
    """What storage relies on: text that any database holds, identities that fit, points strongest first."""
    for text in texts_in(inbound):
        assert "\x00" not in text
        text.encode()
    points = inbound.sender.points
    assert all(isinstance(point, ContactPoint) and 0 < len(point.value) <= 320 for point in points)
    assert [point.strength for point in points] == sorted((point.strength for point in points), reverse=True)
    assert inbound.sent_at is None or inbound.sent_at.tzinfo is not None


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"email", "mailhook"}))
def test_a_text_over_the_limit_is_refused_before_the_network(kind: str, nobody: int) -> None:
    channel = opened(kind, nobody)
    assert channel.limits.max_chars is not None
    with pytest.raises(SendFailed) as refused:
        channel.send(outbound(kind, "x" * (channel.limits.max_chars + 1)))
    assert refused.value.permanent and refused.value.why.endswith(".")


@pytest.mark.parametrize("kind", REMOTE)
def test_without_a_connection_a_message_is_tried_again(kind: str, nobody: int) -> None:
    with pytest.raises(SendFailed) as failed:
        opened(kind, nobody).send(outbound(kind))
    assert not failed.value.permanent and failed.value.why.endswith(".") and SECRET not in failed.value.why


@pytest.mark.parametrize("kind", REMOTE)
def test_the_test_button_tells_when_nobody_answers(kind: str, nobody: int) -> None:
    channel = opened(kind, nobody)
    assert isinstance(channel, Checks)
    with pytest.raises(CheckFailed) as failed:
        channel.check()
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize("kind", ["mailhook", "sms", "slack"])
def test_who_calls_without_a_signature_is_turned_away(kind: str, nobody: int) -> None:
    channel = opened(kind, nobody)
    assert isinstance(channel, Hears)
    body = CASES[kind].arrived.body
    for headers in ({}, {"x-twilio-signature": "x", "x-slack-signature": "v0=x", "x-slack-request-timestamp": "0"}):
        with pytest.raises(NotAuthentic):
            channel.hear(SignedRequest("POST", URL, headers, body, now=datetime.now(UTC)))


def test_what_a_channel_can_do_it_declares_by_its_methods(nobody: int) -> None:
    declared = {
        kind: tuple(isinstance(opened(kind, nobody), ability) for ability in (Polls, Hears, Reconciles))
        for kind in KINDS
    }
    assert declared == {
        "email": (True, False, False),
        "mailhook": (False, True, False),
        "sms": (False, True, True),
        "chat": (False, False, False),
        "form": (False, False, False),
        "slack": (False, True, True),
    }


# -- a provider that answers: as told by a test, "yes", "no" or by hanging up after it took the message


@contextmanager
def sms_provider(mood: str) -> Iterator[dict[str, Any]]:
    with TwilioDouble(account_sid="AC1", auth_token=SECRET, lifecycle=()) as double:
        double.moods.extend({"no": [Mood(400, 21211)], "silence": [Mood(drop="after")]}.get(mood, []))
        yield {"base_url": double.url}
        assert len(double.sent) == (mood != "no")


@contextmanager
def slack_provider(mood: str) -> Iterator[dict[str, Any]]:
    with SlackDouble(bot_token=f"xoxb-{SECRET}") as double:
        double.moods.extend(
            {"no": [SlackMood(error="is_archived")], "silence": [SlackMood(drop="after")]}.get(mood, [])
        )
        yield {"base_url": double.url}
        assert len(double.messages) == (mood != "no")


@contextmanager
def mail_provider(mood: str) -> Iterator[dict[str, Any]]:
    with smtp_sink() as server:
        server.passwords["support"] = SECRET
        server.data_answer = "550 no" if mood == "no" else "250 OK"
        server.drop_after_data = mood == "silence"
        yield {"smtp_host": server.host, "smtp_port": server.port}
        assert len(server.taken) == (mood != "no")


PROVIDERS: dict[str, Callable[[str], AbstractContextManager[dict[str, Any]]]] = {
    "email": mail_provider,
    "mailhook": mail_provider,
    "sms": sms_provider,
    "slack": slack_provider,
}


@pytest.mark.parametrize("kind", REMOTE)
@pytest.mark.parametrize("mood", ["yes", "no", "silence"])
def test_an_answer_is_told_from_a_refusal_and_from_silence(
    kind: str, mood: str, nobody: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ExitStack() as stack:
        channel = opened(kind, nobody, **stack.enter_context(PROVIDERS[kind](mood)))
        if mood == "yes":
            accepted = channel.send(outbound(kind))
            assert isinstance(accepted, Accepted) and accepted.external_id and accepted.state in ("sent", "delivered")
        elif mood == "no":
            with pytest.raises(SendFailed) as refused:
                channel.send(outbound(kind))
            assert refused.value.permanent and refused.value.why
        else:
            with pytest.raises(SendUncertain):
                channel.send(outbound(kind))
    ours = [record for record in caplog.records if not record.name.startswith(("mail.log", "asyncio"))]
    assert not [record for record in ours if "on its way" in record.getMessage() or SECRET in record.getMessage()]
