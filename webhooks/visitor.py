"""Who talks in a chat: a session token that proves which visitor this is, without a cookie and without a table."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer

from channels.base import NotAuthentic

LASTS = timedelta(days=30)
CLAIMS = ("sub", "iss", "email", "email_verified", "name", "phone", "phone_number")
MAX_CLAIM = 320
MAX_TOKEN = 8192


@dataclass(frozen=True, slots=True)
class Visitor:
    """One visitor of one chat channel. `value` is the identity's normalised value: a SHA-256, never the secret.

    `claims` are those of a token that the embedding site has signed; empty for somebody unknown.
    """

    channel: str
    value: str
    claims: Mapping[str, Any] = field(default_factory=dict)


class Sessions:
    """Issues and reads session tokens, which we sign: nothing is stored for the many visitors who never write."""

    def __init__(self, secret_key: str):
        self._tokens = URLSafeSerializer(secret_key, salt="switchyard chat session")

    def begin(self, channel: str, claims: Mapping[str, Any], now: datetime) -> tuple[str, Visitor]:
        """A new visitor. Whom the site vouches for is the same visitor in every browser."""
        kept = {name: _short(claims[name]) for name in CLAIMS if name in claims}
        if kept.get("sub"):
            seed = json.dumps(["signed", channel, kept.get("iss", ""), kept["sub"]])
        else:
            seed = json.dumps(["unknown", channel, secrets.token_hex(32)])
        visitor = Visitor(channel, sha256(seed.encode()).hexdigest(), kept)
        return self.renew(visitor, now), visitor

    def renew(self, visitor: Visitor, now: datetime) -> str:
        """A token for the same visitor that lasts from now on."""
        content = [visitor.channel, visitor.value, dict(visitor.claims), int((now + LASTS).timestamp())]
        token: str | bytes = self._tokens.dumps(content)
        return token if isinstance(token, str) else token.decode()

    def read(self, token: str, now: datetime) -> Visitor:
        """Whose token this is. Raises NotAuthentic with a sentence for the visitor."""
        try:
            channel, value, claims, until = self._tokens.loads(token[:MAX_TOKEN])
        except BadSignature as forged:
            raise NotAuthentic("This chat session is unknown; reload the page.") from forged
        if until < now.timestamp():
            raise NotAuthentic("This chat session has expired; reload the page.")
        return Visitor(channel, value, claims)


def _short(value: Any) -> Any:
    return value[:MAX_CLAIM] if isinstance(value, str) else bool(value)
