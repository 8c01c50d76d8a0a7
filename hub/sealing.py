"""Secrets that the database must keep and must not show."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from config.language import N_
from config.settings import SettingsError

SEALED = "sealed:"  # where a secret stands that was typed into a page; as a desk's file has it, too


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


class Secrets:
    """Secrets that people type into a page: they stand sealed where a reference would, and are shown to nobody."""

    def __init__(self, secret_key: str):
        self._envelope = Envelope(secret_key, "channel secret")

    def seal(self, secret: str) -> str:
        """As a setting has it."""
        return SEALED + self._envelope.close(secret)

    def opened(self, value: str) -> str:
        """What was sealed. Raises SettingsError for what another SECRET_KEY has sealed."""
        secret = self._envelope.open(value.removeprefix(SEALED))
        if secret is None:
            raise SettingsError(N_("a secret was sealed with another SECRET_KEY: type it again in Settings, Channels"))
        return secret


def is_sealed(value: object) -> bool:
    """Whether a setting is a secret that was typed into a page."""
    return isinstance(value, str) and value.startswith(SEALED)
