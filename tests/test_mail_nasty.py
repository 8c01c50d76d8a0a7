"""Nothing that anybody can send stops the reading, or comes out in a form that can't be stored."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.damage import damaged
from tests.support.mails import MARA, mail, multipart, parsed, part

MAILS = Path(__file__).parent / "mail"


def nested(levels: int) -> bytes:
    body = mail()
    for _ in range(levels):
        body = mail(body, b"Content-Type: message/rfc822")
    return body


def deep_multipart(levels: int) -> bytes:
    opened = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (level, level + 1) for level in range(levels)
    )
    return mail(opened + b"--b%d\r\n\r\nleaf" % levels, b"Content-Type: multipart/mixed; boundary=b0")


def html(body: str) -> bytes:
    return mail(body.encode(), b"Content-Type: text/html; charset=utf-8")


NASTY: dict[str, bytes] = {
    "raw 8-bit header": mail(Subject=b"Gr\xfc\xdfe"),
    "broken encoded words": mail(Subject=b"=?utf-8?B?4pyT?= =?x-no?Q?=E9?= =?utf-8?b?!!!?= =?utf-8?q?=ZZ?="),
    "a header in an encoded word": mail(Subject=b"=?utf-8?q?a=0D=0ABcc:_evil@example.org?="),
    "unterminated encoded words": mail(Subject=b"=?a?q?x" * 30_000),
    "a subject of a megabyte": mail(Subject=b"x" * 1_000_000),
    "20,000 headers": b"".join(b"X-%d: y\r\n" % number for number in range(20_000)) + mail(),
    "30,000 recipients": mail(To=b",\r\n ".join(b"u%d@example.com" % number for number in range(30_000))),
    "5,000 parameters": mail(b"x", b"Content-Type: text/plain; " + b"; ".join(b"x*%d*=a" % n for n in range(5000))),
    "blanks in a parameter": mail(b"x", b"Content-Type: text/plain;" + b" " * 15_000 + b"=" * 900),
    "control characters": mail(b"he\x00llo\x00", Subject=b"a\x00b\x1b[31m"),
    "a lone surrogate": mail(b"+2AA-x", b"Content-Type: text/plain; charset=utf-7"),
    "an unknown charset": mail(b"\xe9\xe8", b'Content-Type: text/plain; charset="x-klingon"'),
    "a codec that is no charset": mail(b"4142zz", b"Content-Type: text/plain; charset=hex"),
    "a cipher that is no charset": mail(b"Uryyb \xe9", b"Content-Type: text/plain; charset=rot13"),
    "a charset with NUL": mail(b"x", b'Content-Type: text/plain; charset="utf-8\x00"'),
    "no boundary": mail(b"--X\r\n\r\nbody\r\n--X--", b"Content-Type: multipart/mixed"),
    "a boundary that never comes": mail(b"body text", b"Content-Type: multipart/mixed; boundary=never"),
    "an end that never comes": mail(b"--B\r\n\r\nhello", b"Content-Type: multipart/mixed; boundary=B"),
    "broken base64": mail(b"aGVsbG8gd29ybGQ$$$=!x", b"Content-Transfer-Encoding: base64"),
    "an unknown encoding": mail(b"hello", b"Content-Transfer-Encoding: x-bogus"),
    "a broken uuencode": mail(b"begin 644 x\r\n#86)C\r\nGARBAGE\xff\r\nend", b"Content-Transfer-Encoding: x-uuencode"),
    "two content types": mail(b"x", b"Content-Type: text/plain", b"Content-Type: multipart/mixed; boundary=B"),
    "a garbage content type": mail(b"x", b"Content-Type: ;;;="),
    "no body": mail(b""),
    "headers without an end": mail().split(b"\r\n\r\n")[0],
    "carriage returns only": mail().replace(b"\r\n", b"\r"),
    "line feeds only": mail().replace(b"\r\n", b"\n"),
    "an mbox line": b"From mara@example.com Sun Nov 22 00:00:00 2026\r\n" + mail(),
    "leading blank lines": b"\r\n\r\n" + mail(),
    "a line of noise": b"+OK 1234 octets follow\r\n" + mail(),
    "a byte order mark": b"\xef\xbb\xbf" + mail(),
    "50 mails in mails": nested(50),
    "3,000 mails in mails": nested(3000),
    "60 levels": deep_multipart(60),
    "1,000 levels": deep_multipart(1000),
    "10,000 parts": multipart(*[part()] * 10_000),
    "a partial message": mail(b"half", b'Content-Type: message/partial; id="x"; number=1; total=2'),
    "an external body": mail(b"x", b'Content-Type: message/external-body; access-type=URL; URL="http://169.254.0.1/"'),
    "encrypted": multipart(
        part(b"Content-Type: application/pgp-encrypted"),
        part(b"Content-Type: application/octet-stream"),
        kind=b"encrypted",
    ),
    "opaque S/MIME": mail(b"MIIB", b"Content-Type: application/pkcs7-mime; name=smime.p7m"),
    "a corrupt winmail.dat": multipart(
        part(b"Content-Type: application/ms-tnef; name=winmail.dat", content=b"\x78\x9f")
    ),
    "an invitation": multipart(part(b"Content-Type: text/calendar; method=REQUEST", content=b"BEGIN:VCALENDAR")),
    "100,000 nested divs": html("<div>" * 100_000 + "hello"),
    "200,000 attributes": html("<p " + "a " * 200_000 + ">hello"),
    "two megabytes of open tags": html("<a" * 1_000_000),
    "quotes without end": html("<p title='" * 50_000),
    "style without end": html("<style>" * 50_000 + "x"),
    "an XML declaration": html('<?xml version="1.0" encoding="utf-16"?><p>hello</p>'),
    "a body of spaces": mail(b" " * 100_000),
    "a body of dashes": mail(b"-" * 499 + b"\r\n" + (b"-" * 499 + b"\r\n") * 1500),
    "on on on": mail(b"On " * 50_000),
    "a megabyte in a line": mail(b"x" * 1_000_000),
    "1 MB of prose": mail(b"On 3 May 2026 she wrote to us: hello.\r\n" * 27_000),
    "spaces around a ruler": mail((b" " * 300 + b"original\r\n") * 1500),
    "at at at": mail(b"a@" * 250_000),
    "from from from": mail((b"From: a@example.com\r\n") * 20_000),
}


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_mail_is_read_quickly_and_can_be_stored(name: str) -> None:
    started = time.process_time()
    inbound = parsed(NASTY[name])
    assert time.process_time() - started < 3
    shown = [inbound.text, inbound.html, inbound.subject, inbound.sender.name, *(file.name for file in inbound.files)]
    for each in shown:
        each.encode("utf-8")
        assert "\x00" not in each
    assert "\n" not in inbound.subject
    assert 0 <= (inbound.quoted_at or 0) <= len(inbound.text)
    assert len(inbound.files) <= 201
    assert len(inbound.others) <= 100
    assert inbound.sender.points[0].value == MARA


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("3,000 mails in mails", "unparsed_structure"),
        ("1,000 levels", "unparsed_structure"),
        ("60 levels", "too_deep"),
        ("10,000 parts", "too_many_parts"),
        ("encrypted", "encrypted"),
        ("opaque S/MIME", "smime"),
        ("a corrupt winmail.dat", "tnef"),
        ("a partial message", "partial"),
        ("an external body", "external"),
        ("100,000 nested divs", "html_too_complex"),
        ("200,000 attributes", "html_too_complex"),
    ],
)
def test_what_was_left_out_is_named_and_kept_as_a_file(name: str, flag: str) -> None:
    inbound = parsed(NASTY[name])
    assert flag in inbound.flags
    assert inbound.files or flag in ("too_many_parts", "too_deep")
    if flag == "unparsed_structure":
        assert inbound.files[0].data == NASTY[name]
    if flag == "html_too_complex":
        assert inbound.html == ""
        assert "hello" in inbound.text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no boundary", "body"),
        ("a boundary that never comes", "body text"),
        ("an end that never comes", "hello"),
        ("broken base64", "hello world"),
        ("an unknown encoding", "hello"),
        ("an unknown charset", "éè"),
        ("carriage returns only", "hello"),
        ("an XML declaration", "hello"),
        ("a line of noise", "hello"),
    ],
)
def test_what_can_be_saved_of_a_broken_mail_is_shown(name: str, text: str) -> None:
    assert text in parsed(NASTY[name]).text


def test_damaged_mails_are_read() -> None:
    chance = random.Random(4711)
    whole = [path.read_bytes() for path in sorted(MAILS.glob("*.eml"))]
    for _ in range(500):
        inbound = parsed(damaged(chance.choice(whole), chance))
        words = [inbound.text, inbound.html, inbound.subject, inbound.sender.name, inbound.external_id]
        words += [*inbound.references, *inbound.others, *inbound.tokens]
        words += [each for file in inbound.files for each in (file.name, file.content_type, file.cid)]
        words += [each for point in inbound.sender.points for each in (point.value, point.shown)]
        for each in words:
            each.encode("utf-8")
            assert "\x00" not in each
        assert 0 <= (inbound.quoted_at or 0) <= len(inbound.text)
