"""A web form: any shape of post becomes a message, and its answers stay claims."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from channels.base import Inbound, NotConfigured, Outbound, Raw, SendFailed, Strength, Unreadable
from channels.form import FormChannel

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MARA = {
    "name": "Mara Lindqvist",
    "email": "Mara.Lindqvist@Example.com",
    "phone": "070-174 06 05",
    "subject": "Return",
    "message": "The lamp is broken.",
}


def channel(**settings: Any) -> FormChannel:
    return FormChannel(name="contact", address="contact", settings={"region": "SE", **settings})


def read(body: bytes, content_type: str = JSON, **settings: Any) -> Inbound:
    return FormChannel.parse(channel(**settings).raw("key", body, content_type))


def multipart(*parts: bytes) -> bytes:
    return b"".join(b"--xx\r\n" + part + b"\r\n" for part in parts) + b"--xx--\r\n"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps(MARA).encode(), JSON),
        (json.dumps(MARA).encode("utf-16"), "application/json; charset=utf-16"),
        (b"\xef\xbb\xbf" + json.dumps(MARA).encode(), "application/vnd.site+json"),
        (json.dumps(MARA).encode(), "text/plain"),
        (json.dumps(MARA).encode(), FORM),
        (urlencode(MARA).encode(), FORM),
        (
            multipart(*(f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in MARA.items())),
            "multipart/form-data; boundary=xx",
        ),
    ],
)
def test_every_usual_way_to_post_makes_the_same_message(body: bytes, content_type: str) -> None:
    inbound = read(body, content_type)
    assert [(point.kind, point.value, point.strength) for point in inbound.sender.points] == [
        ("email", "mara.lindqvist@example.com", Strength.CLAIMED),
        ("phone", "+46701740605", Strength.CLAIMED),
    ]
    assert (inbound.sender.name, inbound.subject, inbound.text) == ("Mara Lindqvist", "Return", "The lamp is broken.")
    assert list(inbound.fields) == list(MARA) and inbound.flags == () and inbound.automatic == ""


def test_who_leaves_no_address_is_known_by_the_submission_alone() -> None:
    inbound = read(json.dumps({"email": "not an address", "phone": "none", "message": "Hi"}).encode())
    (point,) = inbound.sender.points
    assert (point.kind, point.value, point.strength) == ("external", "form:key", Strength.COOKIE)
    assert inbound.flags == ("no_address",)


def test_the_mapping_finds_answers_by_odd_names_and_by_jmespath() -> None:
    posted = {
        "your-email": "mara.lindqvist@example.com",
        "form_response": {"answers": [{"field": {"ref": "what"}, "text": "The lamp is broken."}]},
    }
    where = {"email": "your-email", "text": "form_response.answers[?field.ref=='what'].text | [0]"}
    inbound = read(json.dumps(posted).encode(), fields=where)
    assert inbound.sender.points[0].value == "mara.lindqvist@example.com" and inbound.text == "The lamp is broken."


def test_without_a_mapped_text_all_answers_are_the_text() -> None:
    body = urlencode([("Model", "L-200"), ("Colour", "red"), ("Colour", "blue"), ("Note", "")]).encode()
    inbound = read(body, FORM)
    assert inbound.text == "Model: L-200\nColour: red, blue"
    assert inbound.fields == {"Model": "L-200", "Colour": "red, blue", "Note": ""} and inbound.flags == ("no_address",)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("message=Sk%E5l".encode("latin-1"), f"{FORM}; charset=iso-8859-1"),
        ("message=Sk%E5l&_charset_=windows-1252".encode("latin-1"), FORM),
        (b"message=Sk\xe5l", FORM),
        ("message=Skål".encode(), FORM),
        (b"message=Sk%C3%A5l", FORM),
        ('{"message": "Skål"}'.encode("latin-1"), "application/json; charset=iso-8859-1"),
        (
            multipart(b'Content-Disposition: form-data; name="message"\r\n\r\nSk\xe5l'),
            "multipart/form-data; boundary=xx",
        ),
    ],
)
def test_the_page_s_charset_is_honoured_also_when_it_is_labelled_wrong(body: bytes, content_type: str) -> None:
    inbound = read(body, content_type)
    assert inbound.text == "Skål" and "_charset_" not in inbound.fields


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        (b'{"name": "Mara"', JSON, "line 1, column 16"),
        (b"", JSON, "line 1"),
        (b"[1]", JSON, "no object"),
        (b'{"a":' * 100_000, JSON, "nested too deeply"),
        (b"<xml/>", "text/xml", "text/xml"),
        (b"hello", "", "nothing named"),
        (
            b"--xx\r\nContent-Disposition: form-data; name=a\r\n\r\ncut",
            "multipart/form-data; boundary=xx",
            "incomplete",
        ),
        (b"x", "multipart/form-data", "incomplete"),
        (b"&".join(b"a%d=1" % n for n in range(600)), FORM, "more than 500"),
        (json.dumps(dict.fromkeys(map(str, range(501)), 1)).encode(), JSON, "more than 500"),
    ],
)
def test_what_is_no_form_says_what_to_send_instead(body: bytes, content_type: str, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        read(body, content_type)


def test_a_filled_honeypot_marks_spam_and_is_not_shown() -> None:
    inbound = read(json.dumps({**MARA, "website": "http://spam.example"}).encode(), honeypot="website")
    assert inbound.automatic == "spam" and "website" not in inbound.fields
    assert read(json.dumps({**MARA, "website": " "}).encode(), honeypot="website").automatic == ""


def test_uploads_become_files_with_safe_names() -> None:
    disposition = b'Content-Disposition: form-data; name="f"; filename="../../a.txt"\r\n'
    upload = disposition + b"Content-Type: text/plain\r\n\r\nhi\r\nyou"
    empty = b'Content-Disposition: form-data; name="g"; filename=""\r\n\r\n'
    inbound = read(multipart(upload, empty), "multipart/form-data; boundary=xx")
    assert [(file.name, file.content_type, file.data) for file in inbound.files] == [
        ("a.txt", "text/plain", b"hi\r\nyou")
    ]


def test_a_name_or_subject_cannot_carry_line_breaks_into_a_header() -> None:
    inbound = read(json.dumps({"name": "Mara\r\nBcc: x@example.com", "subject": "a\nb", "message": "x"}).encode())
    assert inbound.sender.name == "Mara Bcc: x@example.com" and inbound.subject == "a b"


def test_null_characters_and_lone_surrogates_never_reach_the_store() -> None:
    inbound = read(b'{"message": "a\\u0000b\\ud800", "k\\u0000": {"deep": "\\ud800"}}')
    assert inbound.text == "ab\ufffd" and "\x00" not in "".join([*inbound.fields, *inbound.fields.values()])


def test_a_browser_is_only_sent_on_to_listed_addresses() -> None:
    form = channel(redirects=["https://shop.example.com/thanks"])
    assert form.redirect("https://shop.example.com/thanks?from=hub")
    for elsewhere in (
        "https://shop.example.com/thanksgiving",
        "https://shop.example.com.evil.example/thanks",
        "https://shop.example.com@evil.example/thanks",
        "http://shop.example.com/thanks",
        "//evil.example/thanks",
        "javascript:alert(1)",
        "https://shop.example.com/thanks/../admin",
        "https://shop.example.com/thanks\r\nSet-Cookie: a=b",
        "https://[",
        "",
    ):
        assert form.redirect(elsewhere) == "", elsewhere


def test_a_mapping_that_can_never_work_is_refused_when_the_channel_is_opened() -> None:
    with pytest.raises(NotConfigured, match=r"fields\.email"):
        channel(fields={"email": "a[?"})
    with pytest.raises(NotConfigured, match="'mail'"):
        channel(fields={"mail": "email"})


def test_a_form_has_no_way_back() -> None:
    with pytest.raises(SendFailed, match="e-mail") as refused:
        channel().send(Outbound("1", ("mara.lindqvist@example.com",), "Hello"))
    assert refused.value.permanent


def test_a_receipt_without_its_mapping_is_read_by_the_usual_names() -> None:
    assert FormChannel.parse(Raw("k", json.dumps(MARA).encode(), JSON)).text == "The lamp is broken."
