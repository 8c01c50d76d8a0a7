"""DKIM signatures on what leaves (RFC 6376, Ed25519 by RFC 8463), made last over the bytes as they go out."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from config.language import N_
from config.retold import stored

SIGNED = (
    *("from", "to", "cc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references"),
    *("mime-version", "content-type", "list-unsubscribe", "list-unsubscribe-post"),
)
# Named once more than they are there, so that a second one can't be added on the way without breaking the signature.
OVERSIGNED = ("from", "to", "subject", "reply-to")
RELAXED = (b"relaxed", b"relaxed")
ED25519_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")  # RFC 8410: what precedes the 32 bytes of the seed
PEM = re.compile(r"-----BEGIN (?:RSA )?PRIVATE KEY-----(.+?)-----END", re.S)
LABEL = r"[a-z0-9](?:[a-z0-9_\-]{0,61}[a-z0-9])?"
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*", re.I)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Whose key it is: the public half stands in DNS at <selector>._domainkey.<domain>."""

    domain: str
    selector: str
    algorithm: str
    secret: bytes = field(repr=False)


def read_key(domain: str, selector: str, written: str) -> SigningKey:
    """A private key as OpenSSL writes it (PEM, RSA or Ed25519), or an Ed25519 seed in base64.

    Raises ValueError with a sentence.
    """
    if not DOMAIN.fullmatch(domain) or not DOMAIN.fullmatch(selector):
        raise ValueError(
            stored(
                "dkim_domain {domain} and dkim_selector {selector} have to be names as in DNS.",
                domain=repr(domain), selector=repr(selector),
            )
        )  # fmt: skip
    found = PEM.search(written.replace("\\n", "\n"))
    try:
        data = base64.b64decode(re.sub(r"\s", "", found.group(1) if found else written), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if data.startswith(ED25519_PKCS8) or (not found and len(data) == 32):
        return SigningKey(domain, selector, "ed25519-sha256", base64.b64encode(data[-32:]))
    key = SigningKey(domain, selector, "rsa-sha256", written.replace("\\n", "\n").encode("ascii", "replace"))
    try:
        signed(b"From: a@b\r\n\r\nx\r\n", key)
    except Exception as error:  # dkimpy's readers raise whatever their ASN.1 makes them
        raise ValueError(
            N_("dkim_key is no private key: use a PEM file as `openssl genrsa 2048` writes it, without a passphrase.")
        ) from error
    return key


def signed(mail: bytes, key: SigningKey) -> bytes:
    """The mail with its signature in front."""
    present = {
        name.lower().decode("ascii") for name in re.findall(rb"(?m)^([!-9;-~]+):", mail.partition(b"\r\n\r\n")[0])
    }
    names = [name for name in SIGNED if name in present] + list(OVERSIGNED)
    import dkim  # here, with the resolver it brings, because few desks sign for themselves

    signer = dkim.DKIM(mail, signature_algorithm=key.algorithm.encode())
    header: bytes = signer.sign(
        key.selector.encode(), key.domain.encode(), key.secret, canonicalize=RELAXED,
        include_headers=[name.encode() for name in names],
    )  # fmt: skip
    return header + mail
