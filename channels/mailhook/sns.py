"""Amazon SNS, which carries what SES receives: whether a notification is genuine, and saying yes to a subscription.

Source: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import load_pem_x509_certificate

from channels.base import NotAuthentic, NotConfigured
from config.retold import stored

SECONDS = 10
MOST_BYTES = 64 * 1024
AMAZON = re.compile(r"sns\.[a-z0-9-]{3,32}\.amazonaws\.com(\.cn)?")
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        ("SubscriptionConfirmation", "UnsubscribeConfirmation"),
        ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
HASHES = {"1": SHA1, "2": SHA256}


class Topic:
    """One topic that may speak to us. `double` is the address of a local double, never set in production."""

    def __init__(self, arn: str, double: str = ""):
        self._arn = arn
        self._double = double.rstrip("/")
        self._certificates: dict[str, bytes] = {}  # by address; SNS signs with the same one for months

    def verify(self, told: Mapping[str, Any], now: datetime) -> None:
        """Raises NotAuthentic, or NotConfigured when the certificate can't be fetched just now."""
        if told.get("TopicArn") != self._arn:
            raise NotAuthentic("The notification is of another topic; compare the channel's topic_arn.")
        names, hashed = SIGNED.get(str(told.get("Type"))), HASHES.get(str(told.get("SignatureVersion")))
        if names is None or hashed is None:
            raise NotAuthentic("The notification has no type or signature that SNS knows.")
        text = "".join(f"{name}\n{told[name]}\n" for name in names if told.get(name) is not None)
        try:
            certificate = load_pem_x509_certificate(self._certificate(str(told.get("SigningCertURL", ""))))
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                raise NotAuthentic("The notification is signed with a certificate that is not valid now.")
            key = certificate.public_key()
            if not isinstance(key, RSAPublicKey):
                raise NotAuthentic("The notification's certificate has no RSA key.")
            # Version 1 is SNS's own default; what it covers was authentic, whatever is thought of SHA-1 otherwise.
            key.verify(base64.b64decode(str(told.get("Signature", ""))), text.encode(), PKCS1v15(), hashed())
        except (InvalidSignature, ValueError, binascii.Error) as wrong:
            raise NotAuthentic("The notification's signature is wrong.") from wrong

    def confirm(self, told: Mapping[str, Any]) -> None:
        """Answer a verified SubscriptionConfirmation. Raises NotConfigured: SNS asks again."""
        _get(self._amazon(str(told.get("SubscribeURL", ""))))

    def _certificate(self, url: str) -> bytes:
        if url not in self._certificates:
            address = self._amazon(url)
            if not urlsplit(address).path.endswith(".pem"):
                raise NotAuthentic("The notification names a certificate that is none.")
            self._certificates = {url: _get(address)}
        return self._certificates[url]

    def _amazon(self, url: str) -> str:
        """The address, when it is SNS's own: anybody can send us a certificate of his own making."""
        try:
            parts = urlsplit(url)
            own = parts.scheme == "https" and AMAZON.fullmatch(parts.netloc) is not None
        except ValueError:
            own = False
        if own or (self._double and url.startswith(f"{self._double}/")):
            return url
        raise NotAuthentic("The notification points to an address that is not Amazon's.")


def _get(url: str) -> bytes:
    try:
        with (
            requests.Session() as session,
            session.get(url, timeout=SECONDS, allow_redirects=False, stream=True) as answer,
        ):
            if answer.status_code == 200:
                return bytes(answer.raw.read(MOST_BYTES, decode_content=True))
            why = f"status {answer.status_code}"
    except requests.RequestException as error:
        why = type(error).__name__
    raise NotConfigured(
        stored(
            "{netloc} could not be asked ({why}); SNS sends this again by itself.", netloc=urlsplit(url).netloc, why=why
        )
    )
