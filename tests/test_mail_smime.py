"""Mail that is signed with S/MIME in one piece: its text is inside the signature, and agents read it like any other."""

from __future__ import annotations

import base64
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import (
    PKCS7EnvelopeBuilder,
    PKCS7Options,
    PKCS7SignatureBuilder,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from channels.mail.smime import DATA, MAX_DEPTH, SIGNED, signed_content
from inbox.mailwords import remarks_on_reading
from tests.desk import Desk
from tests.support import need
from tests.support.certificates import certificate
from tests.support.mails import mail, parsed

QUOTED = "On Mon, 23 Nov 2026 at 10:00, Support <support@shop.example> wrote:\r\n> It leaves today.\r\n"
SAID = f"The lamp from Malmö is broken.\r\n\r\n{QUOTED}"
PICTURE = b"\x89PNG\r\n\x1a\n rest"
LETTER = (
    b'Content-Type: multipart/mixed; boundary="in"\r\n\r\n--in\r\nContent-Type: text/plain; charset=utf-8\r\n'
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
    + SAID.encode()
    + b"\r\n--in\r\nContent-Type: image/png; name=lamp.png\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(PICTURE) + b"\r\n--in--\r\n"
)
PACKED = b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def packet(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Mara's letter inside her signature, as `cryptography` makes it (DER)."""
    return signed(LETTER, key)


def signed(content: bytes, key: ec.EllipticCurvePrivateKey, *options: PKCS7Options) -> bytes:
    builder = PKCS7SignatureBuilder().set_data(content).add_signer(issued(key), key, SHA256())
    return builder.sign(Encoding.DER, [PKCS7Options.Binary, *options])


def issued(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.Certificate:
    """A certificate of Mara's own making."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Mara Lindqvist")])
    today = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(today).not_valid_after(today + timedelta(days=1))
    return made.sign(key, SHA256())


def packed(packet: bytes, kind: bytes = PACKED) -> bytes:
    return mail(base64.encodebytes(packet), kind, b"MIME-Version: 1.0", b"Content-Transfer-Encoding: base64")


def element(tag: int, content: bytes) -> bytes:
    """With its length left open where it may be (X.690 8.1.3.6)."""
    if tag & 0x20:
        return bytes((tag, 0x80)) + content + b"\0\0"
    assert len(content) < 128
    return bytes((tag, len(content))) + content


def in_pieces(content: bytes, size: int) -> bytes:
    """As programs write that sign while they read: nothing has a length, the letter comes in pieces."""
    pieces = b"".join(element(0x04, content[at : at + size]) for at in range(0, len(content), size))
    inner = element(0x30, element(0x06, DATA) + element(0xA0, element(0x24, pieces)))
    digests = element(0x31, element(0x30, element(0x06, bytes.fromhex("608648016503040201"))))
    data = element(0x30, element(0x02, b"\1") + digests + inner + element(0x31, b""))
    return element(0x30, element(0x06, SIGNED) + element(0xA0, data))


@pytest.mark.parametrize(
    "kind",
    [
        PACKED,
        PACKED.replace(b"application/pkcs7", b"application/x-pkcs7"),
        b"Content-Type: application/pkcs7-mime; name=smime.p7m",
        b'Content-Type: application/octet-stream; name="SMIME.P7M"',
    ],
)
def test_the_letter_inside_a_signature_is_read(packet: bytes, kind: bytes) -> None:
    inbound = parsed(packed(packet, kind))
    assert inbound.text.startswith("The lamp from Malmö is broken.")
    assert inbound.text[inbound.quoted_at :].strip().startswith("On Mon, 23 Nov")
    assert [(file.name, file.content_type, file.data) for file in inbound.files] == [("lamp.png", "image/png", PICTURE)]
    assert inbound.flags == ("smime_opened",)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_letter_in_pieces_is_put_together(size: int) -> None:
    assert signed_content(in_pieces(LETTER, size)) == LETTER
    assert parsed(packed(in_pieces(LETTER, size))).text.startswith("The lamp from Malmö")


@pytest.mark.parametrize("options", [[], ["-stream"]])
def test_what_openssl_signs_is_read(tmp_path: Path, options: list[str]) -> None:
    need(shutil.which("openssl") is not None, "openssl (apt-get install openssl)")
    own = certificate(tmp_path)
    tmp_path.joinpath("letter").write_bytes(LETTER)
    command = ["openssl", "cms", "-sign", "-binary", "-nodetach", *options, "-in", str(tmp_path / "letter")]
    command += ["-signer", str(own.certificate), "-inkey", str(own.key), "-outform", "SMIME"]
    made = subprocess.run(command, check=True, capture_output=True).stdout
    inbound = parsed(b"From: mara.lindqvist@example.com\nSubject: Lamp\n" + made)
    assert inbound.text.startswith("The lamp from Malmö is broken.")
    assert (inbound.flags, [file.name for file in inbound.files]) == (("smime_opened",), ["lamp.png"])


def test_a_signature_around_a_signature_is_opened_as_well(key: ec.EllipticCurvePrivateKey) -> None:
    again = signed(packed(signed(LETTER, key)).partition(b"\r\n\r\n")[2], key)
    assert not parsed(packed(again)).text.startswith("The lamp")  # base64 without a word on what it is
    whole = PACKED + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(signed(LETTER, key))
    assert parsed(packed(signed(whole, key))).text.startswith("The lamp from Malmö")


def test_one_signed_mail_in_several_mailboxes_says_the_same(packet: bytes) -> None:
    assert parsed(packed(packet)).text == parsed(b"Received: by mx2\r\n" + packed(packet)).text


def test_what_is_encrypted_stays_closed_and_says_so() -> None:
    key = rsa.generate_private_key(65537, 2048)
    sealed = PKCS7EnvelopeBuilder().set_data(LETTER).add_recipient(issued(key)).encrypt(Encoding.DER, [])
    for kind in (b"enveloped-data", b"signed-data"):  # whatever the mail calls it
        inbound = parsed(packed(sealed, PACKED.replace(b"signed-data", kind)))
        assert inbound.text.strip() == ""
        [file] = inbound.files
        assert (file.name, file.data) == ("smime.p7m", sealed)
        assert inbound.flags == ("smime" if kind == b"enveloped-data" else "smime_signed",)


def test_a_signature_alone_is_a_file(key: ec.EllipticCurvePrivateKey) -> None:
    alone = signed(LETTER, key, PKCS7Options.DetachedSignature)
    inbound = parsed(packed(alone))
    assert ([file.data for file in inbound.files], inbound.flags) == ([alone], ("smime_signed",))


def test_of_a_packet_that_was_cut_off_the_beginning_is_read(packet: bytes) -> None:
    short = packet[: packet.index(b"On Mon, ")]
    assert parsed(packed(short)).text.strip() == "The lamp from Malmö is broken."
    assert parsed(packed(in_pieces(LETTER, 10)[:-200])).text.startswith("The lamp")


def test_nesting_without_end_costs_nothing(packet: bytes) -> None:
    head = in_pieces(b"", 1)
    start = head.index(b"\x24\x80")
    assert signed_content(head[:start] + b"\x24\x80" * 100_000) is None
    deep = b"\x24\x80" * (MAX_DEPTH - 1) + b"\x04\x02hi" + b"\0" * 99
    assert signed_content(head[:start] + deep) == b"hi"
    assert signed_content(packet[:2] + b"\x31\x80" * 100_000) is None


@given(st.binary(max_size=300), st.integers(0, 400), st.binary(min_size=1, max_size=9))
def test_no_packet_raises(noise: bytes, at: int, patch: bytes) -> None:
    signed_content(noise)
    whole = in_pieces(LETTER, 50)
    at %= len(whole)
    signed_content(whole[:at] + patch + whole[at + len(patch) :])


def test_an_agent_reads_it_and_is_told_that_nobody_has_checked_the_signature(desk: Desk, packet: bytes) -> None:
    taken = desk.raw_mail(packed(packet))
    [message] = desk.messages(taken.conversation_id or 0)
    assert message.text.startswith("The lamp from Malmö is broken.")
    assert remarks_on_reading(message) == [
        "Signed by its sender (S/MIME). The signature is not checked here; the raw mail has it."
    ]
