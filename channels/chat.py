"""Web chat: what our own widget posts, who the customer's site says the visitor is, and answers read as facts.

Source for the identity token: RFC 7519 (JWT), signed with HS256 by the site that embeds the widget.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from channels import phone
from channels.base import (
    Accepted,
    ContactPoint,
    File,
    Inbound,
    Limits,
    NotAuthentic,
    Outbound,
    Raw,
    Sender,
    SendFailed,
    Settings,
    Strength,
    Unreadable,
)
from channels.mail.filenames import safe_name
from channels.mail.headers import normalised
from channels.settings import checked, unfit
from channels.text import storable
from config.language import N_
from config.retold import stored

MAX_CHARS = 10_000
MAX_VALUE = 320  # characters of an identity
MAX_FILES = 5
MIN_SECRET = 32  # bytes; RFC 7518 section 3.2 asks for as many as the hash has
_LEEWAY = timedelta(seconds=30)  # that two clocks may differ


class ChatChannel:
    """One widget, embedded in one or more sites.

    Settings: `identity_secret` with which the site signs its visitors' tokens, and `audience` that they have to name;
    `origins` that may embed the widget, `title`, `greeting` and `colour` for the door that serves it. Raises
    NotConfigured.
    """

    kind: ClassVar[str] = "chat"
    limits: ClassVar[Limits] = Limits(max_chars=MAX_CHARS)

    def __init__(self, *, name: str, address: str, settings: Settings):
        checked(name, settings, optional=("identity_secret", "audience", "origins", "title", "greeting", "colour"))
        self.name, self.address = name, address
        secret: str = settings.get("identity_secret") or ""
        if secret and len(secret.encode()) < MIN_SECRET:
            raise unfit(
                name,
                stored(
                    "'identity_secret' is too short; use {min_secret} random characters or more.", min_secret=MIN_SECRET
                ),
            )

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        """One line of the visitor. Raises Unreadable.

        The door has verified `visitor` and `claims`; nothing else in the body is believed.
        """
        body = _object(raw.body)
        visitor = _text(body, "visitor")
        if not visitor or len(visitor) > MAX_VALUE:
            raise Unreadable(N_("This chat line names no visitor; the widget has to be reloaded."))
        claims = body.get("claims") or {}
        if not isinstance(claims, dict):
            raise Unreadable(N_("The claims of this chat line are no object."))
        text, files = _text(body, "text"), _files(body.get("files") or [])
        page = _text(body, "page")
        return Inbound(
            Sender(
                (*_claimed(claims), ContactPoint("chat", visitor, Strength.COOKIE)),
                _text(claims, "name") or _text(body, "name"),
            ),
            text,
            external_id=_text(body, "id"),
            files=files,
            fields={"page": page} if page else {},
            flags=() if text.strip() or files else ("empty",),
        )

    def send(self, message: Outbound) -> Accepted:
        """The visitor's stream reads the stored answer, so there is nothing to hand over."""
        if len(message.text) > MAX_CHARS:
            raise SendFailed(
                stored("A chat line has at most {most} characters; shorten it.", most=f"{MAX_CHARS:,}"),
                permanent=True,
            )
        if not message.text.strip() and not message.files:
            raise SendFailed(N_("The chat line is empty; write something first."), permanent=True)
        return Accepted("", state="delivered")


def verify_identity(token: str, secret: str, now: datetime, audience: str = "") -> dict[str, Any]:
    """The claims of a token that the embedding site signed for its visitor. Raises NotAuthentic.

    It has to be valid `now`, to expire, to name its subject and, when `audience` is given, to be meant for us. Only
    HS256 counts, whatever the token's own header says (RFC 7519 section 4.1, RFC 8725 section 3.1).
    """
    if not secret:
        raise NotAuthentic("This widget has no identity secret; write identity_secret in the channel's settings.")
    import jwt  # here, with the cryptography it brings, because few sites sign for their visitors

    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            audience=audience or None,
            options={
                "require": ["exp", "sub"],
                "verify_aud": bool(audience),
                # The library would compare them with the machine's clock; below they are held against ours.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        begins, ends = float(claims.get("nbf", 0)), float(claims["exp"])
    except jwt.InvalidSignatureError as forged:
        raise NotAuthentic("The identity token's signature is wrong; check the secret on both sides.") from forged
    except jwt.InvalidAudienceError as elsewhere:
        raise NotAuthentic(f"The identity token is not meant for us; its aud has to be {audience!r}.") from elsewhere
    except jwt.MissingRequiredClaimError as short:
        raise NotAuthentic(f"The identity token lacks {short.claim!r}; the site has to add it.") from short
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as odd:
        raise NotAuthentic("The identity token can't be read; it has to be a JWT signed with HS256.") from odd
    if not ends > (now - _LEEWAY).timestamp():
        raise NotAuthentic("The identity token has expired; the site has to sign a new one.")
    if not begins <= (now + _LEEWAY).timestamp():
        raise NotAuthentic("The identity token is not valid yet; compare the clocks of both sides.")
    return claims


def _claimed(claims: Mapping[str, Any]) -> tuple[ContactPoint, ...]:
    """What the site vouches for, the e-mail first: it is what other channels know the person by."""
    points = []
    email = _text(claims, "email")
    if (address := normalised(email)) and len(address) <= MAX_VALUE:
        proved = claims.get("email_verified", True) is True
        points.append(ContactPoint("email", address, Strength.SIGNED if proved else Strength.CLAIMED, email))
    subject, issuer = _text(claims, "sub"), _text(claims, "iss")
    if subject:
        value = f"{issuer}:{subject}" if issuer else subject
        points.append(ContactPoint("external", value[:MAX_VALUE], Strength.SIGNED, subject))
    number = _text(claims, "phone") or _text(claims, "phone_number")
    if e164 := phone.normalise(number):
        points.append(ContactPoint("phone", e164, Strength.SIGNED, number))
    return tuple(sorted(points, key=lambda point: -point.strength))


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as broken:
        raise Unreadable(N_("This chat line is not JSON.")) from broken
    if not isinstance(content, dict):
        raise Unreadable(N_("This chat line is JSON, but no object."))
    return content


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(stored("The {key} of this chat line is no text.", key=repr(key)))
    return storable(value)


def _files(listed: Any) -> tuple[File, ...]:
    """Files as {"name", "type", "data"}, the data in base64."""
    if not isinstance(listed, list) or len(listed) > MAX_FILES or not all(isinstance(each, dict) for each in listed):
        raise Unreadable(stored("The files of this chat line are no list of at most {most}.", most=MAX_FILES))
    try:
        return tuple(
            File(
                safe_name(_text(each, "name"), _text(each, "type"), number),
                _text(each, "type"),
                b64decode(_text(each, "data"), validate=True),
            )
            for number, each in enumerate(listed, 1)
        )
    except (binascii.Error, ValueError) as broken:
        raise Unreadable(N_("A file of this chat line is not base64.")) from broken
