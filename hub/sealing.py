"""Secrets that the database must keep and must not show."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken


class Envelope:
    """Encrypts text (Fernet: AES-128-CBC and HMAC-SHA256) with a key made from SECRET_KEY, another for each purpose."""

    def __init__(self, secret_key: str, purpose: str):
        digest = hashlib.sha256(f"switchyard {purpose} {secret_key}".encode()).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))

    def close(self, text: str) -> str:
        """As text for the database."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str | None:
        """None for what another SECRET_KEY has sealed, or nothing."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except (InvalidToken, ValueError):
            return None
