"""Mails made up for tests, and the channel's reading of them."""

from __future__ import annotations

from channels.base import Inbound, Raw
from channels.mail import EmailChannel

MARA = "mara.lindqvist@example.com"
OURS = "support@shop.example"


def parsed(body: bytes, **headers: str) -> Inbound:
    return EmailChannel.parse(Raw("x", body, "message/rfc822", {"address": OURS, **headers}))


def mail(content: bytes = b"hello", *fields: bytes, **changed: bytes | None) -> bytes:
    """An ordinary mail with some fields changed (None leaves one out) or added."""
    given: dict[str, bytes | None] = {
        "From": b"Mara <mara.lindqvist@example.com>",
        "To": b"support@shop.example",
        "Subject": b"Lamp",
        "Date": b"Sun, 22 Nov 2026 10:00:00 +0100",
        "Message_ID": b"<1@example.com>",
    }
    given.update(changed)
    lines = [name.replace("_", "-").encode() + b": " + value for name, value in given.items() if value is not None]
    return b"\r\n".join([*lines, *fields, b"", content])


def part(*fields: bytes, content: bytes = b"x") -> bytes:
    return b"\r\n".join([*fields, b"", content])


def multipart(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    body = b"".join(b"--B\r\n" + each + b"\r\n" for each in parts) + b"--B--\r\n"
    return mail(body, b"Content-Type: multipart/" + kind + b"; boundary=B")
