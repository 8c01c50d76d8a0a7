"""DKIM: what leaves is signed as the receiving side checks it, and no change on the way goes unnoticed."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dkim
import pytest

from channels.base import File
from channels.mail.signing import read_key, signed
from tests.support.smtp import Sink, smtp_sink
from tests.test_mail_compose import OURS, channel, reply

LONG_ID = f"<{'A' * 40}.{'B' * 45}@eurprd01.prod.exchangelabs.com>"


@dataclass(frozen=True)
class Key:
    private: str
    record: bytes

    def dns(self, name: bytes, timeout: int = 5) -> bytes | None:
        """Stands for the resolver: the one record that there is."""
        return self.record if name == b"s1._domainkey.shop.example." else None


def openssl(*words: str) -> bytes:
    return subprocess.run(["openssl", *words], check=True, capture_output=True).stdout


@pytest.fixture(scope="module", params=["rsa", "rsa-traditional", "ed25519"])
def key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Key:
    file = tmp_path_factory.mktemp("keys") / "dkim.pem"
    kind = ["ed25519"] if request.param == "ed25519" else ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    openssl("genpkey", "-algorithm", *kind, "-out", str(file))
    public = openssl("pkey", "-in", str(file), "-pubout", "-outform", "DER")
    if request.param == "rsa-traditional":
        file.write_bytes(openssl("rsa", "-in", str(file), "-traditional"))
    name, bare = ("ed25519", public[-32:]) if request.param == "ed25519" else ("rsa", public)
    return Key(file.read_text(), b"v=DKIM1; k=%s; p=%s" % (name.encode(), base64.b64encode(bare)))


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink() as running:
        running.passwords[OURS] = "secret"
        yield running


def sent(sink: Sink, key: Key, **changes: Any) -> bytes:
    account = channel(sink, dkim_selector="s1", dkim_key=key.private)
    account.send(reply(**changes))
    return sink.taken[-1].data


def test_what_the_mail_server_gets_verifies(sink: Sink, key: Key) -> None:
    files = (File("Räkning.pdf", "application/pdf", b"%PDF" * 100), File("a.png", "image/png", b"x", cid="a@b"))
    mail = sent(
        sink, key, text="Grüße\n.\n..\n\ntrailing   \n\n", html='<p>x</p><img src="cid:a@b">', files=files,
        references=(LONG_ID, "<s@x>"), subject="Überaus langer Betreff " * 20, cc=("jonas@example.com",),
    )  # fmt: skip
    assert mail.startswith(b"DKIM-Signature:")
    assert dkim.verify(mail, dnsfunc=key.dns)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"From: ", b"From: Evil <evil@example.org>\r\nFrom: "),
        (b"Subject: Re: Where", b"Subject: Re: Who"),
        (b"parcel left", b"parcel stays"),
        (b"To: mara", b"To: nora"),
        (b"MIME-Version", b"Reply-To: evil@example.org\r\nMIME-Version"),
        (b"Subject: ", b"Subject: other\r\nSubject: "),
    ],
)
def test_no_change_on_the_way_goes_unnoticed(sink: Sink, key: Key, was: bytes, becomes: bytes) -> None:
    mail = sent(sink, key)
    assert dkim.verify(mail, dnsfunc=key.dns)
    changed = mail.replace(was, becomes, 1)
    assert changed != mail
    assert not dkim.verify(changed, dnsfunc=key.dns)


def test_refolded_headers_still_verify(sink: Sink, key: Key) -> None:
    mail = sent(sink, key)
    assert dkim.verify(mail.replace(b"Subject: Re: Where", b"Subject:  Re:\r\n  Where", 1), dnsfunc=key.dns)


def test_the_way_out_of_bulk_mail_is_signed_too(sink: Sink, key: Key) -> None:
    """RFC 8058 4: otherwise anybody on the way could point it elsewhere."""
    mail = sent(sink, key, bulk=True, unsubscribe_url="https://desk.example/webhooks/unsubscribe/" + "x" * 120)
    assert dkim.verify(mail, dnsfunc=key.dns)
    assert not dkim.verify(mail.replace(b"https://desk.example", b"https://evil.example"), dnsfunc=key.dns)


def test_a_seed_and_a_key_on_one_line_are_read_as_well() -> None:
    seed = base64.b64encode(bytes(range(32))).decode()
    assert read_key("shop.example", "s1", seed).algorithm == "ed25519-sha256"
    pem = openssl("genrsa", "2048").decode()
    one_line = read_key("shop.example", "s1", pem.replace("\n", "\\n"))
    assert one_line.algorithm == "rsa-sha256"
    assert signed(b"From: a@b\r\n\r\nx\r\n", one_line).startswith(b"DKIM-Signature: ")


def test_a_key_never_shows_itself(tmp_path: Path) -> None:
    pem = openssl("genrsa", "2048").decode()
    assert pem.splitlines()[3] not in repr(replace(read_key("shop.example", "s1", pem), selector="s2"))
