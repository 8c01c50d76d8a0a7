"""A chat line: who the site says the visitor is, and what is not believed."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from channels.base import NotAuthentic, NotConfigured, Outbound, Raw, SendFailed, Strength, Unreadable
from channels.chat import ChatChannel, verify_identity

SECRET = "s" * 64
NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def said(**body: Any) -> Raw:
    line = {"id": "0b0e6d0e-9b0a-4b6b-9d53-3a7c1f1f9b6e", "text": "Hello", "visitor": "v-1", **body}
    return Raw(str(line["id"]), json.dumps(line).encode(), "application/json")


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    usual = {"sub": "customer-17", "email": "mara.lindqvist@example.com", "aud": "hub"}
    expires = {"exp": NOW + timedelta(minutes=5)}
    return jwt.encode({**usual, **expires, **claims}, secret, algorithm=algorithm)


def test_an_anonymous_visitor_is_known_by_the_cookie_alone() -> None:
    inbound = ChatChannel.parse(said(name="Mara", page="https://shop.example.com/cart"))
    (point,) = inbound.sender.points
    assert (point.kind, point.value, point.strength) == ("chat", "v-1", Strength.COOKIE)
    assert inbound.sender.name == "Mara" and inbound.fields == {"page": "https://shop.example.com/cart"}
    assert inbound.external_id == "0b0e6d0e-9b0a-4b6b-9d53-3a7c1f1f9b6e"


def test_a_signed_visitor_is_first_of_all_the_e_mail_that_the_site_vouches_for() -> None:
    claims = verify_identity(token(name="Mara Lindqvist", phone="+46 70 174 06 05"), SECRET, NOW, "hub")
    inbound = ChatChannel.parse(said(claims=claims, name="Somebody"))
    assert [(point.kind, point.value, point.strength) for point in inbound.sender.points] == [
        ("email", "mara.lindqvist@example.com", Strength.SIGNED),
        ("external", "customer-17", Strength.SIGNED),
        ("phone", "+46701740605", Strength.SIGNED),
        ("chat", "v-1", Strength.COOKIE),
    ]
    assert inbound.sender.name == "Mara Lindqvist"


def test_an_address_that_the_site_did_not_verify_stays_a_claim() -> None:
    points = ChatChannel.parse(
        said(claims={"sub": "1", "email": "Mara@EXAMPLE.com", "email_verified": False})
    ).sender.points
    assert [(point.kind, point.strength) for point in points[:2]] == [
        ("external", Strength.SIGNED),
        ("email", Strength.CLAIMED),
    ]


@pytest.mark.parametrize(
    ("forged", "sentence"),
    [
        (token(exp=NOW - timedelta(minutes=1)), "expired"),
        (token(nbf=NOW + timedelta(minutes=1)), "not valid yet"),
        (token(exp="soon"), "can't be read"),
        (token(exp=10**400), "can't be read"),
        (token("w" * 64), "signature is wrong"),
        (token(aud="elsewhere"), "not meant for us"),
        (jwt.encode({"sub": "1", "aud": "hub"}, SECRET), "lacks 'exp'"),
        (token(algorithm="HS512"), "HS256"),
        (jwt.encode({"sub": "1", "exp": 9_000_000_000}, "", algorithm="none"), "HS256"),
        ("a.b", "can't be read"),
        ("", "can't be read"),
        ("é.é.é", "can't be read"),
    ],
)
def test_a_token_that_is_old_forged_or_meant_for_others_is_refused(forged: str, sentence: str) -> None:
    with pytest.raises(NotAuthentic, match=sentence):
        verify_identity(forged, SECRET, NOW, "hub")


def test_without_a_secret_nobody_is_believed() -> None:
    with pytest.raises(NotAuthentic, match="identity_secret"):
        verify_identity(token(), "", NOW)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"text": "hi"}',
        b'{"visitor": 7}',
        b'{"visitor": "v", "text": []}',
        b'{"visitor": "v", "claims": "x"}',
        b'{"visitor": "v", "files": [{"data": "?"}]}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_our_widget_would_not_write_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        ChatChannel.parse(Raw("k", body, "application/json"))


def test_what_no_database_can_hold_is_dropped_and_a_long_text_is_kept() -> None:
    raw = Raw("k", b'{"visitor": "v", "text": "a\\u0000b\\ud800c\\ud83d\\ude00"}', "application/json")
    assert ChatChannel.parse(raw).text == "ab\ufffdc😀"
    assert ChatChannel.parse(said(text="x" * 1_000_000)).text == "x" * 1_000_000


def test_a_file_gets_a_name_that_is_safe_to_save_under() -> None:
    listed = [{"name": "../../etc/cron.d/‮x.txt", "type": "text/plain", "data": b64encode(b"hi").decode()}]
    inbound = ChatChannel.parse(said(text="", files=listed))
    assert [(file.name, file.data) for file in inbound.files] == [("x.txt", b"hi")] and inbound.flags == ()


def test_an_answer_counts_as_delivered_and_a_novel_is_refused() -> None:
    channel = ChatChannel(name="shop", address="shop", settings={})
    assert channel.send(Outbound("1", ("v-1",), "Hello Mara")).state == "delivered"
    with pytest.raises(SendFailed, match="10,000") as refused:
        channel.send(Outbound("1", ("v-1",), "x" * 10_001))
    assert refused.value.permanent


def test_a_short_identity_secret_is_refused_when_the_channel_is_opened() -> None:
    with pytest.raises(NotConfigured, match="32"):
        ChatChannel(name="shop", address="shop", settings={"identity_secret": "short"})
