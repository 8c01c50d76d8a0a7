"""OAuth 2 for mail accounts: access tokens from a refresh token (RFC 6749), and one of those by device or by code.

Sources for the presets: learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-
smtp-application-by-using-oauth and developers.google.com/workspace/gmail/imap/xoauth2-protocol.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from channels.base import Settings
from channels.settings import unfit
from config.retold import stored

SECONDS = 15.0
LIFETIME = 3600  # of an access token that says nothing about it
PRESETS = {
    "microsoft": {
        "token_url": "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        "authorise_url": "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
        "device_url": "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode",
        "scope": "offline_access https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send",
    },
    "google": {  # its device flow does not know the scope for mail
        "token_url": "https://oauth2.googleapis.com/token",
        "authorise_url": "https://accounts.google.com/o/oauth2/v2/auth",
        "device_url": "",
        "scope": "https://mail.google.com/",
    },
    "custom": {"token_url": "", "authorise_url": "", "device_url": "", "scope": ""},
}
KEYS = (
    *("oauth", "client_id", "client_secret", "refresh_token", "tenant"),
    *("token_url", "authorise_url", "device_url", "scope"),
)
# A browser ends there with the code in its address; nothing has to listen (RFC 8252 7.3).
REDIRECT = "http://localhost"


class TokenTrouble(OSError):
    """There is no access token just now. Whoever connects meets it as a broken line; the sentence says what to do.

    `dead` says that asking again will not help.
    """

    def __init__(self, sentence: str, *, dead: bool = False):
        super().__init__(sentence)
        self.dead = dead


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """What an account's settings say about its provider."""

    channel: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    token_url: str = ""
    authorise_url: str = ""
    device_url: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """An access token, how long it is good, and the refresh token to use from now on."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    seconds: int


@dataclass(frozen=True, slots=True)
class Device:
    """What a person types in where, and how often we may ask whether that was done."""

    user_code: str
    address: str
    device_code: str = field(repr=False)
    interval: int
    seconds: int


class Bearer:
    """Where an account's access token comes from: a fixed one, or whoever keeps it fresh."""

    def __init__(self, token: str = ""):
        self.fetch: Callable[[], str] = lambda: token


def read_client(name: str, settings: Settings) -> OAuthClient | None:
    """The provider named by `oauth`, or None without one. Raises NotConfigured."""
    preset = str(settings.get("oauth") or "")
    if not preset:
        if stray := [key for key in KEYS if settings.get(key)]:
            raise unfit(name, stored("{stray} needs oauth: {known}.", stray=stray[0], known=", ".join(PRESETS)))
        return None
    if preset not in PRESETS:
        raise unfit(name, stored("oauth is {preset}; use {known}.", preset=repr(preset), known=", ".join(PRESETS)))
    tenant = str(settings.get("tenant") or "organizations")
    urls = {key: str(settings.get(key) or usual.format(tenant=tenant)) for key, usual in PRESETS[preset].items()}
    for key in ("client_id", "token_url"):
        if not (settings.get(key) or urls.get(key)):
            raise unfit(name, stored("{key} is missing; oauth needs it.", key=key))
    for key in ("token_url", "authorise_url", "device_url"):
        if urls[key] and not _is_safe(urls[key]):
            raise unfit(name, stored("{key} has to begin with https://, it carries secrets.", key=key))
    given = {key: str(settings.get(key) or "") for key in ("client_id", "client_secret", "refresh_token")}
    return OAuthClient(channel=name, **given, **urls)


def refreshed(client: OAuthClient, refresh_token: str) -> Grant:
    """A new access token. Raises TokenTrouble."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "scope": client.scope}
    return _granted(client, _asked(client, client.token_url, form), refresh_token)


def begin_device(client: OAuthClient) -> Device:
    """Ask for a code that a person types in on any device (RFC 8628). Raises TokenTrouble."""
    told = _asked(client, client.device_url, {"scope": client.scope})
    try:
        address = str(told.get("verification_uri") or told["verification_url"])
        interval, lifetime = int(told.get("interval") or 5), int(told.get("expires_in") or 900)
        return Device(str(told["user_code"]), address, str(told["device_code"]), interval, lifetime)
    except (KeyError, ValueError, TypeError) as odd:
        raise TokenTrouble(
            stored("{host} answered without a code. Check device_url.", host=_host(client.device_url))
        ) from odd


def ask_device(client: OAuthClient, device: Device) -> Grant | int:
    """The grant once somebody has consented; until then the seconds to wait before the next question.

    Raises TokenTrouble when it was refused or has run out.
    """
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": device.device_code}
    told = _asked(client, client.token_url, form, waiting=True)
    if told.get("error") in ("authorization_pending", "slow_down"):
        return device.interval + (5 if told["error"] == "slow_down" else 0)
    return _granted(client, told, "")


def consent_address(client: OAuthClient, state: str, verifier: str) -> str:
    """Where a person consents in a browser (RFC 6749 4.1, RFC 7636)."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": client.client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": client.scope,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "access_type": "offline",  # Google gives a refresh token only when asked for it
        "prompt": "consent",
    }
    return f"{client.authorise_url}?{urlencode(query)}"


def redeemed(client: OAuthClient, pasted: str, state: str, verifier: str) -> Grant:
    """A grant for the address (or the code alone) that the browser ended at. Raises TokenTrouble."""
    query = parse_qs(urlsplit(pasted).query) if "?" in pasted else {"code": [pasted], "state": [state]}
    if query.get("state") != [state] or not query.get("code"):
        why = query.get("error", ["it has no code of this attempt"])[0]
        raise TokenTrouble(
            stored("This is not the address that the browser ended at ({why}). Begin again.", why=why), dead=True
        )
    form = {"grant_type": "authorization_code", "code": query["code"][0].strip(), "redirect_uri": REDIRECT}
    return _granted(client, _asked(client, client.token_url, {**form, "code_verifier": verifier}), "")


def how_to_mend(client: OAuthClient) -> str:
    """What an administrator does when a token is dead."""
    return stored("Run `python app.py channel authorise {channel}`; it needs no working token.", channel=client.channel)


def _asked(client: OAuthClient, url: str, form: Mapping[str, str], *, waiting: bool = False) -> dict[str, Any]:
    host = _host(url)
    secret = {"client_secret": client.client_secret} if client.client_secret else {}
    try:
        with requests.Session() as session:
            answer = session.post(
                url, data={"client_id": client.client_id, **secret, **form}, timeout=SECONDS, allow_redirects=False
            )
        told = answer.json()
    except (requests.RequestException, ValueError) as error:
        why = type(error).__name__
        raise TokenTrouble(
            stored("{host} could not be asked for a token ({why}). It is tried again.", host=host, why=why)
        ) from error
    if not isinstance(told, dict):
        told = {}
    if answer.status_code == 200 or (waiting and told.get("error") in ("authorization_pending", "slow_down")):
        return told
    code = str(told.get("error") or f"status {answer.status_code}")
    words = " ".join(str(told.get("error_description") or "").split())[:200]
    said = f"{code}: {words}" if words else code
    if answer.status_code >= 500 or answer.status_code == 429:
        raise TokenTrouble(stored("{host} gives no token just now ({said}). It is tried again.", host=host, said=said))
    if code == "invalid_client":
        raise TokenTrouble(
            stored(
                "{host} does not know this client ({said}). Its secret may have run out: make a new one at the "
                "provider and set client_secret.", host=host, said=said,
            ), dead=True,
        )  # fmt: skip
    raise TokenTrouble(
        stored("{host} refused a token ({said}). {mend}", host=host, said=said, mend=how_to_mend(client)),
        dead=True,
    )


def _granted(client: OAuthClient, told: Mapping[str, Any], before: str) -> Grant:
    token, refresh = str(told.get("access_token") or ""), str(told.get("refresh_token") or before)
    if not token or not refresh:
        raise TokenTrouble(
            stored(
                "{host} gave no {kind} token. Check scope, and that the client may have offline access.",
                host=_host(client.token_url), kind="refresh" if token else "access",
            ), dead=True,
        )  # fmt: skip
    try:
        seconds = int(told.get("expires_in") or LIFETIME)
    except (TypeError, ValueError):
        seconds = LIFETIME
    return Grant(token, refresh, max(seconds, 0))


def _host(url: str) -> str:
    return urlsplit(url).netloc or "The provider"


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))
