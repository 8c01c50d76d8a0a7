"""One Twilio account: what it signs, what it is asked over REST, and what its error numbers mean to an agent.

Sources: twilio.com/docs/usage/security (signatures), /docs/api/errors (numbers), /docs/messaging/api/media-resource.
"""

from __future__ import annotations

import logging
import mimetypes
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from hmac import compare_digest, digest
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import requests
from requests.auth import HTTPBasicAuth
from twilio.base.exceptions import TwilioException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import (
    HMAC_SHA1,
    HMAC_SHA256,
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)
from twilio.rest import Client
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

from channels.base import CheckFailed, File, NotAuthentic, SendFailed, SendUncertain, SignedRequest
from config.language import N_
from config.retold import stored

TIMEOUT = 10.0  # seconds; the vendor's client would wait for ever
MAX_MEDIA_BYTES = 5 * 1024 * 1024
RECENT_BYTES = 16 * 1024  # of a body whose parameters are remembered for a moment
_OWN_HOSTS = (".twilio.com",)
_MEDIA_HOSTS = (".twilio.com", ".twiliocdn.com", ".amazonaws.com")  # where Twilio redirects to for media
_REDIRECTS = 3
_TOO_FAST = timedelta(seconds=10)
_HASHES = {HMAC_SHA1: "sha1", HMAC_SHA256: "sha256"}
_SIGNATURE = SIGNATURE_HEADER.lower()
_SIGNATURE_SETTINGS = SIGNATURE_SETTINGS_HEADER.lower()

_OPTED_OUT = "The customer texted STOP and can't be texted until they text START; use another channel."
_ADDRESS = N_("This number can't receive texts; check it or use another channel.")
_LANDLINE = N_("This is a landline, which can't receive texts; call or use another channel.")
_UNREACHABLE = N_("The phone is switched off or out of reach; the text is tried again later.")
_SENDER = N_("This sender may not text that destination; an administrator has to check it in the Twilio console.")
_CONTENT = N_("Twilio refused the content as empty, too long or too large; shorten the text.")
_FILTERED = N_("The carrier blocked the text as unwanted; reword it or use another channel.")
_UNREGISTERED = N_("The sender isn't registered with the carriers; an administrator has to complete that at Twilio.")
_BUSY = N_("Twilio is sending as fast as it may; the text is tried again shortly.")
_TROUBLE = N_("The carrier or Twilio had a passing fault; the text is tried again shortly.")
_WINDOW = N_("WhatsApp allows free text only within 24 hours of the customer's last message; send a template.")
_CREDENTIALS = N_("Twilio refused our credentials; an administrator has to check account_sid and auth_token.")

WHY: dict[int, str] = {
    **dict.fromkeys((21610,), _OPTED_OUT),
    **dict.fromkeys((21211, 21214, 21217, 21401, 21614, 30005, 63003, 63024), _ADDRESS),
    30006: _LANDLINE,
    30003: _UNREACHABLE,
    **dict.fromkeys((21606, 21612, 21408, 21659, 21703, 21712), _SENDER),
    **dict.fromkeys((21602, 21617, 21619, 21620, 21623, 30019, 63021), _CONTENT),
    **dict.fromkeys((30004, 30007, 30450, 30610, 30640), _FILTERED),
    **dict.fromkeys((30022, 30023, 30032, 30034), _UNREGISTERED),
    **dict.fromkeys((20429, 21611, 30001, 30002, 63017, 63018), _BUSY),
    **dict.fromkeys((20503, 30008, 30410), _TROUBLE),
    **dict.fromkeys((63016, 63032, 63049), _WINDOW),
    **dict.fromkeys((20003, 20005), _CREDENTIALS),
}
_PASSING: dict[str | None, timedelta | None] = {_UNREACHABLE: timedelta(minutes=30), _BUSY: _TOO_FAST, _TROUBLE: None}


class MediaUnavailable(Exception):
    """A picture or file at Twilio could not be fetched. `permanent` says that asking again is no use."""

    def __init__(self, why: str, *, permanent: bool = False):
        super().__init__(why)
        self.why, self.permanent = why, permanent


class Form(dict[str, list[str]]):
    """Posted parameters with all their values, in the shape that Twilio's validator reads without guessing."""

    getall = dict.__getitem__

    def first(self, name: str) -> str:
        values = self.get(name)
        return values[0] if values else ""


def read_form(body: bytes) -> Form:
    """The parameters of a form-encoded body; blank ones are kept because they are signed like the others.

    The same as `parse_qsl` in half the time, because it decodes only what has escapes. Not to be changed: a body
    is read to be verified and again to be understood, and both get the same form.
    """
    return _recent_form(body) if len(body) < RECENT_BYTES else _form(body)


def _form(body: bytes) -> Form:
    form = Form()
    for pair in body.decode("utf-8", "replace").split("&"):
        if pair:
            name, _, value = pair.partition("=")
            form.setdefault(_decoded(name), []).append(_decoded(value))
    return form


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote_to_bytes(text).decode("utf-8", "replace") if "%" in text else text


_recent_form = lru_cache(maxsize=64)(_form)


def why(code: int) -> str:
    """An error number as a sentence for the agent."""
    known = WHY.get(code)
    if known:
        return stored("{why} (Twilio {code})", why=known, code=code)
    return stored("Twilio refused the text: see https://www.twilio.com/docs/errors/{code}", code=code)


def failure(status: int, code: int) -> SendFailed | SendUncertain:
    """What a refusal of a send means. A 5xx says nothing about the message, except for 503, which never took it."""
    sentence = WHY.get(code)
    if status >= 500 and status != 503:
        return SendUncertain(N_("Twilio answered with a fault after it may have taken the text; it is being checked."))
    if sentence in _PASSING:
        return SendFailed(why(code), retry_after=_PASSING[sentence])
    if status in (429, 503):
        return SendFailed(_BUSY, retry_after=_TOO_FAST)
    return SendFailed(why(code), permanent=True, opted_out=sentence is _OPTED_OUT)


def _signature(secret: bytes, url: str, form: Form, algorithm: str) -> bytes:
    """What `RequestValidator.compute_signature` answers, in half the time."""
    signed = [url]
    for name in sorted(form):
        for value in sorted(set(values)) if len(values := form[name]) > 1 else values:
            signed += (name, value)
    return b64encode(digest(secret, "".join(signed).encode(), _HASHES[algorithm]))


class Account:
    """Credentials with what they open. Safe to share between threads."""

    def __init__(self, sid: str, tokens: tuple[str, ...], shared_keys: tuple[str, ...] = (), base_url: str = ""):
        self.sid, self.base_url = sid, base_url.rstrip("/")
        self._token = tokens[0]
        self._validators = {
            HMAC_SHA1: [RequestValidator(token) for token in tokens],
            HMAC_SHA256: [RequestValidator(key) for key in shared_keys],
        }
        self._threads = threading.local()

    def verified(self, request: SignedRequest) -> Form:
        """The parameters of a request that Twilio signed. Raises NotAuthentic.

        The header naming an algorithm only selects among our own secrets; it never decides trust.
        """
        headers = request.headers
        signature = headers.get(_SIGNATURE)
        if not signature or request.method != "POST":
            raise NotAuthentic("An unsigned request, or no POST: let Twilio call this address with HTTP POST.")
        algorithm = get_signature_algorithm(headers.get(_SIGNATURE_SETTINGS)).upper()
        try:
            form = read_form(request.body)
            for validator in self._validators.get(algorithm, ()):
                # Most requests are signed for the address as it is; only then are the ports worth a second look.
                if compare_digest(_signature(validator.token, request.url, form, algorithm), signature.encode()):
                    return form
                if validator.validate(request.url, form, signature, algorithm):
                    return form
        except ValueError as odd:
            raise NotAuthentic("The address or body of the request can't be checked.") from odd
        raise NotAuthentic("The signature is wrong: check auth_token, and that PUBLIC_BASE_URL is what Twilio calls.")

    @property
    def client(self) -> Client:
        """Twilio's REST client, one a thread: it keeps its last answer on itself, where threads would mix it up."""
        client: Client | None = getattr(self._threads, "client", None)
        if client is None:
            client = Client(self.sid, self._token, http_client=Http(self.base_url))
            self._threads.client = client
        return client

    def fetch(self, url: str) -> File:
        """A media item, at most MAX_MEDIA_BYTES. Raises MediaUnavailable.

        Only Twilio's own hosts are asked, on every hop, and only the first one sees the credentials.
        """
        credentials: HTTPBasicAuth | None = HTTPBasicAuth(self.sid, self._token)
        address = self._media_address(url, _OWN_HOSTS)
        with requests.Session() as session:
            session.trust_env = False  # neither a .netrc nor a proxy may see the credentials
            for _ in range(_REDIRECTS + 1):
                try:
                    with session.get(
                        address, auth=credentials, timeout=TIMEOUT, stream=True, allow_redirects=False
                    ) as answer:
                        target = answer.headers.get("Location", "")
                        if not (answer.is_redirect and target):
                            return _file(url, answer)
                except requests.RequestException as lost:
                    raise MediaUnavailable("Twilio's media store did not answer; it is asked again.") from lost
                following = self._media_address(urljoin(address, target), _MEDIA_HOSTS)
                if urlsplit(following).netloc != urlsplit(address).netloc:
                    credentials = None
                address = following
        raise MediaUnavailable("The media item redirects in circles.", permanent=True)

    def _media_address(self, url: str, hosts: tuple[str, ...]) -> str:
        if self.base_url and url.startswith(f"{self.base_url}/"):
            return url
        try:
            parts = urlsplit(url)
            if parts.scheme == "https" and (parts.hostname or "").endswith(hosts):
                return at_base(self.base_url, url)
        except ValueError:
            pass
        raise MediaUnavailable("The media item is not kept at Twilio, so it is not fetched.", permanent=True)


def at_base(base_url: str, url: str) -> str:
    """The address of a double, if there is one: https://api.twilio.com/… at BASE/…, other products at BASE/product/…"""
    if not base_url:
        return url
    parts = urlsplit(url)
    product = (parts.hostname or "").split(".")[0]
    folder = "" if product == "api" else f"/{product}"
    return f"{base_url}{folder}{parts.path}" + (f"?{parts.query}" if parts.query else "")


@contextmanager
def sending() -> Iterator[None]:
    """Turn whatever goes wrong in a send into SendFailed or SendUncertain."""
    try:
        yield
    except TwilioException as refused:
        status, code = getattr(refused, "status", 0), getattr(refused, "code", 0)
        raise failure(int(status or 0), int(code or 0)) from refused
    except requests.RequestException as lost:
        raise _lost(lost) from lost
    except ValueError as garbled:
        raise SendUncertain(N_("Twilio's answer could not be read; the text is being checked.")) from garbled


@contextmanager
def asking() -> Iterator[None]:
    """Turn whatever goes wrong while Twilio is asked something into CheckFailed."""
    try:
        yield
    except TwilioException as refused:
        raise CheckFailed(why(int(getattr(refused, "code", 0) or 0))) from refused
    except SendFailed as busy:
        raise CheckFailed(busy.why) from busy
    except (requests.RequestException, ValueError) as lost:
        raise CheckFailed(N_("Twilio can't be reached; check base_url and the network.")) from lost


def _lost(error: requests.RequestException) -> SendFailed | SendUncertain:
    """Nothing was sent when no connection came about; after that nobody knows."""
    reason: Any = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    never = (NewConnectionError, ConnectTimeoutError)
    if isinstance(reason, never) or isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return SendFailed(N_("Twilio can't be reached; the text is tried again shortly."))
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SendFailed(N_("Twilio's certificate can't be verified; an administrator has to look at the network."))
    return SendUncertain(N_("The line to Twilio broke after the text may have been taken; it is being checked."))


class Http(TwilioHttpClient):
    """Twilio's HTTP client with a timeout, without its logging of addresses, and with a base URL for a double."""

    def __init__(self, base_url: str = ""):
        quiet = logging.Logger("switchyard.twilio", level=logging.CRITICAL)
        super().__init__(timeout=TIMEOUT, logger=quiet)
        self.base_url = base_url
        if base_url:
            self.session.trust_env = False  # a double is local: no proxy in between

    def request(self, method: str, url: str, *args: Any, **options: Any) -> Response:
        """As the vendor's, with scheme and host replaced when there is a base URL. Raises SendFailed for 429."""
        response = super().request(method, at_base(self.base_url, url), *args, **options)
        if response.status_code == 429:
            seconds = str(response.headers.get("Retry-After", ""))
            raise SendFailed(_BUSY, retry_after=timedelta(seconds=int(seconds)) if seconds.isdecimal() else _TOO_FAST)
        return response


def _file(url: str, answer: requests.Response) -> File:
    if answer.status_code != 200:
        gone = answer.status_code in (401, 403, 404, 410)
        raise MediaUnavailable(f"Twilio's media store answered {answer.status_code}.", permanent=gone)
    data = bytearray()
    for piece in answer.iter_content(65536):
        data += piece
        if len(data) > MAX_MEDIA_BYTES:
            raise MediaUnavailable("The media item is larger than 5 MB.", permanent=True)
    content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    suffix = mimetypes.guess_extension(content_type) or ".bin"
    stem = "".join(each for each in urlsplit(url).path.rpartition("/")[2] if each.isalnum())[:40]
    return File(f"{stem or 'media'}{suffix}", content_type or "application/octet-stream", bytes(data))
