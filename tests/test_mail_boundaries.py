"""A multipart mail is taken apart as the standard library does it, without a pattern for each of its boundaries."""

from __future__ import annotations

import re
from email import feedparser
from email.message import Message
from email.parser import BytesFeedParser
from pathlib import Path
from typing import Any

import pytest

from channels.mail.boundaries import Boundary, match_cheaply
from tests.corpus import HOME

FIXTURES = sorted((Path(__file__).parent / "mail").glob("*.eml"))
ENDINGS = (".eml", ".msg", ".raw")
ODD = [
    b'Content-Type: multipart/mixed; boundary="a.b*c+(d)"\r\n\r\nbefore\r\n--a.b*c+(d) \t\r\n\r\nx\n--axbxc\n'
    b"--a.b*c+(d)--\t\nafter\n",
    b"Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: multipart/mixed; boundary=B1\n\n--B1\n\nx\n"
    b"--B\n\ny\n--B--",
    b"Content-Type: multipart/digest; boundary=B\n\n--B\n\n--B\n--B --\n--B--x\n--B--",
    b"Content-Type: multipart/mixed; boundary=B\n\n--B\r\n\r\nx\r--B\r\ry\r--B--\r",
    b'Content-Type: multipart/mixed; boundary=""\n\n--\n\nx\n----\n',
]


def read(mail: bytes) -> Message:
    parser = BytesFeedParser()
    parser.feed(mail)
    return parser.close()


def tree(part: Any) -> list[Any]:
    content = [tree(each) for each in part.get_payload()] if part.is_multipart() else part.get_payload()
    defects = [type(each).__name__ for each in part.defects]
    return [list(part.raw_items()), part.preamble, part.epilogue, defects, content]


def test_every_mail_is_taken_apart_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = [path for path in sorted(HOME.rglob("*")) if path.suffix in ENDINGS and path.stat().st_size < 200_000]
    mails = ODD + [path.read_bytes() for path in FIXTURES + corpus[::7]]
    monkeypatch.setattr(feedparser, "re", re)
    before = [str(tree(read(mail))) for mail in mails]
    match_cheaply()
    assert [str(tree(read(mail))) for mail in mails] == before


def test_it_does_what_a_pattern_does() -> None:
    separator = "--a.b*c"
    pattern = re.compile(f"(?P<sep>{re.escape(separator)})" + r"(?P<end>--)?(?P<ws>[ \t]*)(?P<linesep>\r\n|\r|\n)?$")
    quick = Boundary(f"(?P<sep>{separator})" + r"(?P<end>--)?(?P<ws>[ \t]*)(?P<linesep>\r\n|\r|\n)?$")
    for line in ("--a.b*c", "--a.b*c\n", "--a.b*c-- \t\r\n", "--a.b*c--x\n", "--axb*c\n", " --a.b*c\n", "--a.b*c-\r"):
        one, other = pattern.match(line), quick.match(line)
        assert (one is None) is (other is None), line
        if one and other:
            assert (one["end"], one["linesep"]) == (other["end"], other["linesep"])
