"""A text on its way in: signatures, odd numbers, odd bodies, and what status callbacks mean."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from twilio.request_validator import HMAC_SHA256, RequestValidator

from channels import phone
from channels.base import (
    DeliveryState,
    DeliveryUpdate,
    NotAuthentic,
    NotConfigured,
    Raw,
    SignedRequest,
    Strength,
    Unreadable,
)
from channels.sms import SmsChannel, segments
from channels.twilio import read_form

MARA = "+46701740605"
OURS = "+46700000000"
TOKEN = "f" * 32
URL = "https://hub.example.com/webhooks/twilio/messages"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SETTINGS = {"account_sid": "AC" + "1" * 32, "auth_token": TOKEN}


def channel(**settings: Any) -> SmsChannel:
    return SmsChannel(name="texts", address=OURS, settings={**SETTINGS, **settings})


def form(**changes: str) -> dict[str, str]:
    """A message webhook as Twilio posts it."""
    usual = {
        "ToCountry": "SE",
        "SmsMessageSid": "SM" + "a" * 32,
        "NumMedia": "0",
        "SmsSid": "SM" + "a" * 32,
        "FromCity": "",
        "SmsStatus": "received",
        "Body": "Where is my order?",
        "FromCountry": "SE",
        "To": OURS,
        "NumSegments": "1",
        "MessageSid": "SM" + "a" * 32,
        "AccountSid": SETTINGS["account_sid"],
        "From": MARA,
        "ApiVersion": "2010-04-01",
    }
    return {**usual, **changes}


def signed(
    params: Mapping[str, str], url: str = URL, token: str = TOKEN, headers: Mapping[str, str] | None = None
) -> SignedRequest:
    signature = RequestValidator(token).compute_signature(url, params)
    return SignedRequest(
        "POST",
        url,
        {
            "x-twilio-signature": signature,
            "content-type": "application/x-www-form-urlencoded",
            **(headers or {}),
        },
        urlencode(params).encode(),
        now=NOW,
    )


def heard(**changes: str) -> Raw:
    (raw,) = channel().hear(signed(form(**changes)))
    assert isinstance(raw, Raw)
    return raw


def test_a_signed_text_is_kept_as_it_came_and_read() -> None:
    request = signed(form())
    (raw,) = channel().hear(request)
    assert isinstance(raw, Raw)
    assert raw.body is request.body and raw.dedupe_key == "SM" + "a" * 32
    inbound = SmsChannel.parse(raw)
    (point,) = inbound.sender.points
    assert (point.kind, point.value, point.strength) == ("phone", MARA, Strength.PHONE)
    assert (inbound.text, inbound.to, inbound.external_id) == ("Where is my order?", OURS, raw.dedupe_key)
    assert inbound.command == "" and inbound.flags == ()


def test_the_signature_covers_the_address_with_its_escapes_and_either_port() -> None:
    odd = URL + "?n=%C3%A9&s=a%2Fb&e="
    assert channel().hear(signed(form(), odd))
    with_port = signed(form(), URL.replace(".com/", ".com:443/"))
    without = SignedRequest("POST", URL, with_port.headers, with_port.body, now=NOW)
    assert channel().hear(without)


def test_a_form_is_read_as_the_standard_library_reads_it() -> None:
    dice = random.Random(17)
    for _ in range(2000):
        body = bytes(dice.choices(b"ab=&&+%%c3A9ff ;\xc3\xa9\xff", k=dice.randrange(40)))
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        names = dict.fromkeys(name for name, _ in pairs)
        assert read_form(body) == {name: [value for key, value in pairs if key == name] for name in names}


def test_a_repeated_parameter_is_signed_with_all_its_values() -> None:
    body = urlencode([*form().items(), ("Extra", "b"), ("Extra", "a")]).encode()
    text = URL + "".join(name + value for name, value in sorted([*form().items(), ("Extra", "b"), ("Extra", "a")]))
    signature = base64.b64encode(hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()
    assert channel().hear(SignedRequest("POST", URL, {"x-twilio-signature": signature}, body, now=NOW))


@pytest.mark.parametrize(
    "request_",
    [
        SignedRequest("POST", URL, {}, urlencode(form()).encode(), now=NOW),
        SignedRequest("POST", URL, {"x-twilio-signature": ""}, b"", now=NOW),
        SignedRequest("POST", URL, {"x-twilio-signature": "é" * 28}, urlencode(form()).encode(), now=NOW),
        SignedRequest("GET", URL, signed(form()).headers, urlencode(form()).encode(), now=NOW),
        SignedRequest("POST", "https://hub.example.com:abc/x", {"x-twilio-signature": "x"}, b"a=b", now=NOW),
        SignedRequest("POST", URL + "/other", signed(form()).headers, urlencode(form()).encode(), now=NOW),
        SignedRequest("POST", URL, signed(form()).headers, urlencode(form(Body="paid")).encode(), now=NOW),
        SignedRequest("POST", URL, {"x-twilio-signature": "x"}, b"\xff\xfe%ZZ&&&=", now=NOW),
        signed(form(), token="another"),
        signed(form(), headers={"x-twilio-webhooks-signature-settings": "key=k,algorithm=HMAC_MD5"}),
        signed(form(), headers={"x-twilio-webhooks-signature-settings": "key=k,algorithm=HMAC_SHA256"}),
    ],
)
def test_a_wrong_or_missing_signature_is_refused(request_: SignedRequest) -> None:
    with pytest.raises(NotAuthentic):
        channel().hear(request_)


def test_while_the_token_rotates_both_are_believed() -> None:
    rotating = channel(auth_token=["new" * 10, TOKEN])
    assert rotating.hear(signed(form()))
    assert rotating.hear(signed(form(), token="new" * 10))


def test_a_shared_key_signs_with_sha_256() -> None:
    settings = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
    signature = RequestValidator("shared").compute_signature(URL, form(), HMAC_SHA256)
    headers = {"x-twilio-signature": signature, "x-twilio-webhooks-signature-settings": settings}
    request = signed(form(), headers=headers)
    assert channel(shared_keys="shared").hear(request)
    with pytest.raises(NotAuthentic):
        channel(shared_keys="wrong").hear(request)


def test_a_whatsapp_message_keeps_its_address_and_adds_the_dialled_number() -> None:
    raw = heard(From="whatsapp:+5215512345678", ProfileName="Mara Lindqvist", OriginalRepliedMessageSid="SMb")
    inbound = SmsChannel.parse(raw)
    assert [(point.kind, point.value) for point in inbound.sender.points] == [
        ("whatsapp", "+5215512345678"),
        ("phone", "+525512345678"),
    ]
    assert inbound.sender.name == "Mara Lindqvist" and inbound.references == ("SMb",)


@pytest.mark.parametrize("origin", ["72345", "BANK", "+1", "messenger:1234567", "rcs:+46701740605"])
def test_a_sender_that_is_no_number_is_kept_verbatim(origin: str) -> None:
    (point,) = SmsChannel.parse(heard(From=origin)).sender.points
    assert point.value == (MARA if origin.startswith("rcs:") else origin)


def test_an_empty_body_is_legal_and_said() -> None:
    assert SmsChannel.parse(heard(Body="")).flags == ("empty",)


def test_a_picture_without_words_names_where_it_is() -> None:
    url = "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1"
    inbound = SmsChannel.parse(heard(Body="", NumMedia="1", MediaUrl0=url, MediaContentType0="image/jpeg"))
    assert inbound.fields == {"media.0": url, "media.0.type": "image/jpeg"} and inbound.flags == ("media",)


def test_a_shared_place_is_not_an_empty_message() -> None:
    inbound = SmsChannel.parse(heard(Body="", Latitude="59.3", Longitude="18.1"))
    assert inbound.fields == {"latitude": "59.3", "longitude": "18.1"} and inbound.flags == ("place",)


@pytest.mark.parametrize(
    "text", ["😀👨‍👩‍👧‍👦", "Привет", "a&b=c+d %41", "line\r\nbreak", " ", "x" * 1_000_000, "é" * 300_000]
)
def test_any_text_arrives_unchanged(text: str) -> None:
    assert SmsChannel.parse(heard(Body=text)).text == text


def test_a_null_character_is_dropped_from_the_text_but_not_from_the_raw_bytes() -> None:
    raw = heard(Body="a\x00b")
    assert b"%00" in raw.body and SmsChannel.parse(raw).text == "ab"
    nested = replace(raw, body=b"From=%2B46701740605&Body=a%0%000b")  # without its escape for NUL it would have one
    assert SmsChannel.parse(nested).text == "a%00b"


@pytest.mark.parametrize(
    ("body", "changes", "command"),
    [
        ("STOP", {}, "stop"),
        (" unsubscribe\n", {}, "stop"),
        ("Start", {}, "start"),
        ("yes", {}, "start"),
        ("Please stop sending", {}, ""),
        ("sluta", {"OptOutType": "STOP"}, "stop"),
        ("HELP", {"OptOutType": "HELP"}, ""),
        ("cancel", {"From": f"whatsapp:{MARA}"}, ""),
        ("stop", {"From": f"whatsapp:{MARA}"}, "stop"),
    ],
)
def test_opt_out_words_count_only_as_the_whole_message(body: str, changes: dict[str, str], command: str) -> None:
    assert SmsChannel.parse(heard(Body=body, **changes)).command == command


def test_a_request_without_a_sender_is_kept_but_unreadable() -> None:
    (raw,) = channel().hear(signed({"CallSid": "CA1"}))
    assert isinstance(raw, Raw) and raw.dedupe_key.startswith("sha256:")
    with pytest.raises(Unreadable):
        SmsChannel.parse(raw)


def status(state: str, code: str = "") -> DeliveryUpdate:
    params = {"MessageSid": "SM1", "MessageStatus": state, "SmsStatus": state, "To": MARA, "From": OURS}
    if code:
        params["ErrorCode"] = code
    url = "https://hub.example.com/webhooks/twilio/status?m=6f1c9a52-52a6-4d2e-8df3-6f0b6f6d7a11"
    (update,) = channel().hear(signed(params, url))
    assert isinstance(update, DeliveryUpdate)
    return update


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("queued", DeliveryState.SENT),
        ("sent", DeliveryState.SENT),
        ("delivered", DeliveryState.DELIVERED),
        ("read", DeliveryState.READ),
        ("undelivered", DeliveryState.FAILED),
        ("something-new", DeliveryState.SENT),
    ],
)
def test_a_callback_names_our_message_and_its_state(said: str, meant: DeliveryState) -> None:
    update = status(said)
    assert (update.state, update.id, update.external_id) == (meant, "6f1c9a52-52a6-4d2e-8df3-6f0b6f6d7a11", "SM1")
    assert update.raw.dedupe_key == f"status:SM1:{said}:"


def test_a_failed_callback_says_why_and_whether_the_customer_opted_out() -> None:
    landline, stopped, unknown = status("undelivered", "30006"), status("failed", "21610"), status("failed", "39999")
    assert "landline" in landline.why and not landline.opted_out
    assert "STOP" in stopped.why and stopped.opted_out
    assert "https://www.twilio.com/docs/errors/39999" in unknown.why
    assert status("undelivered").why


def test_a_missing_or_misspelt_setting_is_named() -> None:
    with pytest.raises(NotConfigured, match="'auth_token' is missing"):
        SmsChannel(name="texts", address=OURS, settings={"account_sid": "AC1"})
    with pytest.raises(NotConfigured, match="did you mean 'status_url'"):
        channel(statusurl="https://hub.example.com")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 160, "GSM-7")),
        ("a" * 160, (1, 0, "GSM-7")),
        ("a" * 161, (2, 145, "GSM-7")),
        ("a" * 306, (2, 0, "GSM-7")),
        ("a" * 307, (3, 152, "GSM-7")),
        ("€" * 80, (1, 0, "GSM-7")),
        ("€" * 81, (2, 143, "GSM-7")),  # a pair is never split: 76 in the first
        ("ç", (1, 69, "UCS-2")),
        ("😀" * 35, (1, 0, "UCS-2")),
        ("😀" * 36, (2, 61, "UCS-2")),
        ("ы" * 71, (2, 63, "UCS-2")),
        ("“quoted”", (1, 62, "UCS-2")),
        ("[x]{y}^\\~|", (1, 142, "GSM-7")),
    ],
)
def test_segments_are_counted_as_the_carrier_bills_them(text: str, expected: tuple[int, int, str]) -> None:
    assert segments(text) == expected


@pytest.mark.parametrize(
    ("written", "region", "value"),
    [
        ("070-174 06 05", "SE", MARA),
        ("+46 (0)70 174 06 05", "", MARA),
        ("0046701740605", "", MARA),
        ("\uff0b46701740605", "", MARA),
        ("٠٧٠١٧٤٠٦٠٥", "SE", MARA),
        ("tel:+46-70-174-06-05", "", MARA),
        ("+52 1 55 1234 5678", "", "+525512345678"),
        ("+551187654321", "", "+5511987654321"),
        ("070-174 06 05", "", None),
        ("5550123", "US", None),
        ("+12", "", None),
        ("hello", "SE", None),
        ("", "SE", None),
        ("0" * 5000, "SE", None),
    ],
)
def test_a_number_has_one_form_however_it_is_written(written: str, region: str, value: str | None) -> None:
    assert phone.normalise(written, region) == value
