"""Signed references: ids that we issue and recognise, so that a reply finds its conversation without guessing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

MAC_CHARS = 16  # of base32: 80 bits
_MESSAGE_ID = re.compile(r"<sy\.([0-9a-f-]{36})\.([a-z2-7]+)@", re.ASCII)


class Tokens:
    """Reply tokens carry a conversation's id and a MAC. They allow appending to it; they prove nobody's identity."""

    def __init__(self, secret_key: str):
        self._key = hashlib.sha256(b"switchyard reply token " + secret_key.encode()).digest()

    def issue(self, conversation_id: int) -> str:
        """A token of [a-z2-7] only, because local parts of addresses lose their case on the way."""
        number = base64.b32encode(conversation_id.to_bytes(5, "big")).decode().lower()
        return number + self._mac(number)

    def read(self, token: str) -> int | None:
        """The conversation a token was issued for, or None when it is not one of ours."""
        token = token.lower()
        number, mac = token[:-MAC_CHARS], token[-MAC_CHARS:]
        if len(number) != 8 or not hmac.compare_digest(mac.encode("utf-8", "replace"), self._mac(number).encode()):
            return None
        return int.from_bytes(base64.b32decode(number.upper()), "big")

    def message_id(self, uuid: str, conversation_id: int, domain: str) -> str:
        """The Message-ID (RFC 5322 3.6.4) of an outgoing mail, chosen before the first try."""
        return f"<sy.{uuid}.{self.issue(conversation_id)}@{domain or 'switchyard.invalid'}>"

    def conversation_of(self, message_id: str) -> int | None:
        """The conversation of one of our own Message-IDs."""
        found = _MESSAGE_ID.match(message_id.strip())
        return self.read(found.group(2)) if found else None

    def _mac(self, number: str) -> str:
        digest = hmac.new(self._key, number.encode("utf-8", "replace"), hashlib.sha256).digest()
        return base64.b32encode(digest[:10]).decode().lower()
