"""Bytes as lines and programs damage them."""

from __future__ import annotations

import random
from collections.abc import Sequence

MAIL_FRAGMENTS = (
    *(b"\r\n", b"\r\n\r\n", b"--outer", b"--report", b"=?utf-8?q?", b"?=", b"*0*=utf-8''", b"\x00", b"\xff\xfe"),
    *(b"Content-Type: ", b"message/rfc822", b"multipart/mixed", b"text/html", b"base64", b"utf-7", b"+2AA-"),
    *(b'"', b"<", b">", b"(", b"@", b":", b"From: ", b"text/calendar", b"application/ms-tnef", b"BEGIN:VEVENT\r\n"),
    *(
        b"\x78\x9f\x3e\x22",
        b"<div>",
        b"<style>",
        b"&#x",
        b"Fwd: ",
        b"> ",
        b"-- \r\n",
        b"charset=iso-2022-kr",
        b"\x1b$B",
    ),
)
BODY_FRAGMENTS = (
    *(b"{", b"}", b"[", b"]", b'"', b"\\u0000", b"\\ud800", b"null", b"1e999", b"-0", b"&", b"=", b"%00", b"%ff", b"%"),
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"--B\r\n", b"Content-Disposition: form-data; name=", b"[[[[[[[[", b'{"a":'),
)


def damaged(body: bytes, chance: random.Random, fragments: Sequence[bytes] = MAIL_FRAGMENTS) -> bytes:
    """The bytes after some were lost, changed, doubled or put in."""
    damage = bytearray(body)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(damage) + 1)
        kind = chance.random()
        if kind < 0.5:
            damage[at:at] = chance.choice(fragments)
        elif kind < 0.7:
            del damage[at : at + chance.randint(1, 60)]
        elif kind < 0.9:
            damage[at : at + 1] = bytes([chance.randrange(256)])
        else:
            damage[at:at] = damage[: chance.randint(1, 300)]
    return bytes(damage)
