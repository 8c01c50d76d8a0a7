"""A local double of an OAuth 2 provider for mail: token endpoint, device codes, consent by code with PKCE, rotation."""

from __future__ import annotations

import base64
import hashlib
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from sandbox.wire import Answer, Call, Wire, json_answer

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(slots=True)
class AuthServer:
    """One client, one mailbox. Refresh tokens are good once: whoever uses an old one again has lost a race.

    `issue` makes access tokens, which are good for `seconds`. `moods` are statuses for the next requests.
    """

    issue: Callable[[], str]
    client_id: str = "hub"
    client_secret: str = "the client's secret"
    seconds: int = 3600
    rotates: bool = True
    refreshes: int = 0
    reused: int = 0
    moods: deque[int] = field(default_factory=deque)
    good: set[str] = field(default_factory=set)
    _wire: Wire = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _device: dict[str, bool] = field(default_factory=dict)
    _codes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._wire = Wire(self._answer)

    def __enter__(self) -> AuthServer:
        self._wire.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.stop()

    @property
    def settings(self) -> dict[str, str]:
        """What a channel's settings say about it."""
        urls = {name: f"{self._wire.url}/{path}" for name, path in _PATHS.items()}
        return {"oauth": "custom", "client_id": self.client_id, "client_secret": self.client_secret, **urls}

    def refresh_token(self) -> str:
        """One that is good, as an administrator got it."""
        token = f"refresh-{uuid.uuid4()}"
        self.good.add(token)
        return token

    def revoke_everything(self) -> None:
        """As after a changed password."""
        self.good.clear()

    def type_in(self, user_code: str) -> None:
        """A person consents at the device page."""
        self._device[user_code] = True

    def consent(self, address: str) -> str:
        """A person consents in a browser; the address it ends at."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = f"code-{uuid.uuid4()}"
        self._codes[code] = query["code_challenge"]
        return f"{query['redirect_uri']}/?{urlencode({'code': code, 'state': query['state']})}"

    def _answer(self, call: Call) -> Answer:
        with self._lock:
            if self.moods:
                return json_answer({"error": "temporarily_unavailable"}, self.moods.popleft())
            form = call.form()
            if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
                return _error("invalid_client", "AADSTS7000222: The provided client secret keys are expired.", 401)
            if call.path == "/device":
                code = uuid.uuid4().hex[:8].upper()
                self._device[code] = False
                told = {"device_code": code, "user_code": code, "verification_uri": f"{self._wire.url}/type"}
                return json_answer({**told, "interval": 1, "expires_in": 60})
            return self._token(form) if call.path == "/token" else Answer(404)

    def _token(self, form: dict[str, str]) -> Answer:
        kind = form.get("grant_type")
        if kind == "refresh_token":
            self.refreshes += 1
            if form.get("refresh_token") not in self.good:
                self.reused += 1
                return _error("invalid_grant", "AADSTS70008: The refresh token has expired due to inactivity.")
            if self.rotates:
                self.good.discard(form["refresh_token"])
                return self._grant()
            return json_answer({"access_token": self.issue(), "expires_in": self.seconds})
        if kind == DEVICE:
            known = self._device.get(form.get("device_code", ""))
            if known is None:
                return _error("expired_token", "The code has run out.")
            return self._grant() if known else _error("authorization_pending", "")
        if kind == "authorization_code":
            challenge = self._codes.pop(form.get("code", ""), "")
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge:
                return self._grant()
            return _error("invalid_grant", "The code is not valid.")
        return _error("unsupported_grant_type", "")

    def _grant(self) -> Answer:
        token = f"refresh-{uuid.uuid4()}"
        self.good.add(token)
        told = {"access_token": self.issue(), "refresh_token": token, "token_type": "Bearer"}
        return json_answer({**told, "expires_in": self.seconds})


_PATHS = {"token_url": "token", "device_url": "device", "authorise_url": "authorise"}


def _error(code: str, words: str, status: int = 400) -> Answer:
    return json_answer({"error": code, "error_description": words}, status)
