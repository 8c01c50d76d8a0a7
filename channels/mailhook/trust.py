"""Whether a request with mail comes from the provider it says: each one's own way of proving it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from channels.base import NotAuthentic, NotConfigured, SignedRequest
from channels.mailhook.bodies import read_form
from config.language import N_

# As long as the slowest of them goes on trying (SendGrid): a repetition may carry its first signature, and what
# arrives twice is recognised by its content.
OLDEST = timedelta(hours=72)
AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a channel's settings demand. `secret` is the password of Basic, the bearer, or the end of the address."""

    user: str = ""
    secret: str = field(default="", repr=False)
    signing_key: str = field(default="", repr=False)


Check = Callable[[Proof, SignedRequest], None]


def by_secret(proof: Proof, request: SignedRequest) -> None:
    """RFC 7617 Basic, RFC 6750 Bearer, or the secret as the last part of the address."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        user, _, password = _base64(given).decode("utf-8", "replace").partition(":")
        if _same(password, proof.secret) and (not proof.user or _same(user, proof.user)):
            return
    elif scheme.lower() == "bearer":
        if _same(given.strip(), proof.secret):
            return
    elif not proof.user and _same(unquote(urlsplit(request.url).path.rpartition("/")[2]), proof.secret):
        return
    raise NotAuthentic("The request has no or the wrong password; compare it with the channel's user and secret.")


def by_mailgun(proof: Proof, request: SignedRequest) -> None:
    """documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks"""
    form = _form(request)
    stamp, token = form.get("timestamp", b""), form.get("token", b"")
    _must_be_recent(stamp.decode("latin-1"), request.now)
    wanted = hmac.new(proof.signing_key.encode(), stamp + token, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), form.get("signature", b"")):
        raise NotAuthentic("The signature is wrong; signing_key has to be Mailgun's HTTP webhook signing key.")


def by_mandrill(proof: Proof, request: SignedRequest) -> None:
    """mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks, "Authenticating" """
    signed = request.url + "".join(
        name + value.decode("utf-8", "replace") for name, value in sorted(_form(request).items())
    )
    digest = hmac.new(proof.signing_key.encode(), signed.encode(), hashlib.sha1).digest()
    if not _same(base64.b64encode(digest).decode(), request.headers.get("x-mandrill-signature", "")):
        raise NotAuthentic(f"The signature is wrong for {request.url}; compare signing_key and PUBLIC_BASE_URL.")


def by_sendgrid(proof: Proof, request: SignedRequest) -> None:
    """Signed (ECDSA over timestamp and body) where a key is set, Basic where a secret is, both where both are.

    twilio.com/docs/sendgrid/for-developers/parsing-email/securing-your-parse-webhooks
    """
    if proof.secret:
        by_secret(proof, request)
    if not proof.signing_key:
        return
    stamp = request.headers.get("x-twilio-email-event-webhook-timestamp", "")
    signature = _base64(request.headers.get("x-twilio-email-event-webhook-signature", ""))
    _must_be_recent(stamp, request.now)
    try:
        public_key(proof.signing_key).verify(signature, stamp.encode() + request.body, ECDSA(SHA256()))
    except InvalidSignature as wrong:
        raise NotAuthentic("The signature is wrong; signing_key has to be the public key of the policy.") from wrong


def public_key(written: str) -> EllipticCurvePublicKey:
    """SendGrid's key as its page shows it: base64 of DER, or PEM. Raises NotConfigured."""
    try:
        pem = written.strip().startswith("-----")
        key = load_pem_public_key(written.encode()) if pem else load_der_public_key(base64.b64decode(written))
    except (ValueError, binascii.Error) as broken:
        raise NotConfigured(
            N_("signing_key is no public key; copy it again from SendGrid's security policy.")
        ) from broken
    if not isinstance(key, EllipticCurvePublicKey):
        raise NotConfigured(N_("signing_key is not the kind of key that SendGrid signs with (ECDSA); copy it again."))
    return key


CHECKS: Mapping[str, Check] = {
    "cloudmailin": by_secret,
    "mailgun": by_mailgun,
    "mandrill": by_mandrill,
    "postmark": by_secret,
    "raw": by_secret,
    "sendgrid": by_sendgrid,
}


def _form(request: SignedRequest) -> Mapping[str, bytes]:
    try:
        return read_form(request.headers.get("content-type", ""), request.body).fields
    except ValueError as broken:
        raise NotAuthentic("The request is no form, so it carries no signature.") from broken


def _must_be_recent(stamp: str, now: datetime) -> None:
    seconds = int(stamp) if stamp.isascii() and stamp.isdecimal() and len(stamp) <= 11 else 0
    if not now - OLDEST <= datetime.fromtimestamp(seconds, now.tzinfo) <= now + AHEAD:
        raise NotAuthentic("The signature is missing or too old.")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def _same(given: str, wanted: str) -> bool:
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))
