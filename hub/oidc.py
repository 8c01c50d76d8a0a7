"""Single sign-on by OpenID Connect: the authorization code flow with PKCE, and every check that its standards ask for.

OpenID Connect Core 1.0 (3.1.3.7: the ID token), Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (iss in the answer).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import jwt
import requests

from config.language import _
from config.settings import Settings
from hub.throttle import SignInRefused
from storage.clock import Clock

logger = logging.getLogger(__name__)

SCOPES = "openid email profile"
# Signatures that only the provider can make. "none" and those by a shared secret are not among them (RFC 8725 3.1).
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY = timedelta(minutes=1)  # that the two clocks may differ
OLDEST = timedelta(minutes=10)  # an ID token is made for this sign-in, not kept from an earlier one
KEPT_SECONDS = 3600.0  # how long what the provider says of itself is believed
TIMEOUT = 10.0
LARGEST = 1_000_000  # bytes of an answer
DOCUMENT = "/.well-known/openid-configuration"
WANTED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
LOCAL = ("127.0.0.1", "localhost", "::1")


class ProviderTrouble(SignInRefused):
    """The identity provider does not answer, or not as the standard says. Trying again may help."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in on its way: what the browser keeps until the provider sends it back."""

    state: str
    nonce: str
    verifier: str


class Provider:
    """One process's view of the identity provider: its endpoints and keys, fetched when they are first needed."""

    def __init__(self, settings: Settings, clock: Clock):
        self.name = settings.oidc_name
        self._issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._client_secret = settings.oidc_client_secret
        self._back = f"{settings.base_url}/sign-in/oidc/back"
        self._clock = clock
        self._turn = threading.Lock()
        self._document: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []
        self._fetched_at = float("-inf")

    def begin(self) -> tuple[str, Attempt]:
        """Where to send the browser, and what it has to keep. Raises ProviderTrouble."""
        attempt = Attempt(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))
        asked = {
            "response_type": "code", "client_id": self._client_id, "redirect_uri": self._back, "scope": SCOPES,
            "state": attempt.state, "nonce": attempt.nonce, "code_challenge_method": "S256",
            "code_challenge": _challenge(attempt.verifier),
        }  # fmt: skip
        endpoint = self._known()["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", attempt

    def finish(self, attempt: Attempt, answer: Mapping[str, str]) -> str:
        """The verified e-mail address of who signed in there. Raises SignInRefused with what is wrong."""
        if not hmac.compare_digest(answer.get("state", "").encode("utf-8", "replace"), attempt.state.encode()):
            raise SignInRefused(_("This answer belongs to another sign-in. Begin again."))
        if answer.get("iss", self._issuer) != self._issuer:
            raise SignInRefused(
                _("This answer comes from another provider than {_issuer}. Begin again.", _issuer=self._issuer)
            )
        if error := answer.get("error"):
            logger.warning("single sign-on was refused by the provider: %r", error[:100])
            if error == "access_denied":
                raise SignInRefused(_("{name} did not sign you in: you or it said no. Begin again.", name=self.name))
            raise SignInRefused(_("{name} did not sign you in. Begin again.", name=self.name))
        if not answer.get("code"):
            raise SignInRefused(_("{name} sent no code along. Begin again.", name=self.name))
        given = self._exchanged(answer["code"], attempt.verifier)
        claims = self._checked(str(given.get("id_token") or ""), attempt.nonce)
        if "email" not in claims and given.get("access_token"):
            claims |= self._more(str(given["access_token"]), claims)
        email = claims.get("email")
        if not isinstance(email, str) or "@" not in email:
            raise SignInRefused(
                _("{name} does not say your e-mail address, by which you are known here.", name=self.name)
            )
        if claims.get("email_verified") not in (True, "true"):
            raise SignInRefused(
                _(
                    "{name} does not vouch for {email}: the address has to be verified there first.",
                    name=self.name,
                    email=email,
                )
            )
        return email

    def _exchanged(self, code: str, verifier: str) -> dict[str, Any]:
        """The code for tokens, at the provider's own endpoint (Core 3.1.3.1)."""
        known = self._known()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._back, "code_verifier": verifier}
        methods = known.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        auth = None
        if self._client_secret and "client_secret_basic" in methods:
            auth = (quote(self._client_id, safe=""), quote(self._client_secret, safe=""))  # RFC 6749 2.3.1
        else:
            form |= {"client_id": self._client_id}
            form |= {"client_secret": self._client_secret} if self._client_secret else {}
        return self._fetched("POST", known["token_endpoint"], data=form, auth=auth)

    def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        """What an ID token says, once everything about it is right (Core 3.1.3.7)."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise SignInRefused(
                _("{name} sent no readable proof of who you are. Begin again.", name=self.name)
            ) from None
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise SignInRefused(
                _(
                    "The proof of {name} is not signed in a way that only it can sign ({algorithm}).",
                    name=self.name,
                    algorithm=algorithm,
                )
            )
        key = self._key(header)
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=[algorithm], audience=self._client_id, issuer=self._issuer,
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat"],
                    "verify_exp": False, "verify_nbf": False, "verify_iat": False,  # by our own clock, below
                },
            )  # fmt: skip
        except jwt.InvalidAudienceError:
            raise SignInRefused(
                _("The proof of {name} was made for another program than this one.", name=self.name)
            ) from None
        except jwt.InvalidIssuerError:
            raise SignInRefused(
                _("The proof was made by another provider than {_issuer}.", _issuer=self._issuer)
            ) from None
        except jwt.MissingRequiredClaimError as missing:
            raise SignInRefused(
                _("The proof of {name} does not say its {claim}.", name=self.name, claim=missing.claim)
            ) from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise SignInRefused(
                _("The signature of {name} is wrong: somebody else made this proof.", name=self.name)
            ) from None
        self._must_be_of_now(claims)
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._client_id:
            raise SignInRefused(
                _("The proof of {name} was made for several programs, and not first for this one.", name=self.name)
            )
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode("utf-8", "replace"), nonce.encode()):
            raise SignInRefused(_("The proof of {name} belongs to another sign-in. Begin again.", name=self.name))
        return claims

    def _must_be_of_now(self, claims: Mapping[str, Any]) -> None:
        now = self._clock().timestamp()
        try:
            ends, made, begins = float(claims["exp"]), float(claims["iat"]), float(claims.get("nbf", 0))
        except (ValueError, TypeError):
            raise SignInRefused(_("The proof of {name} does not say when it was made.", name=self.name)) from None
        leeway = LEEWAY.total_seconds()
        if ends <= now - leeway or made < now - OLDEST.total_seconds():
            raise SignInRefused(_("The proof of {name} is too old. Begin again.", name=self.name))
        if made > now + leeway or begins > now + leeway:
            raise SignInRefused(
                _("The proof of {name} is from the future: the clock here or there is wrong.", name=self.name)
            )

    def _key(self, header: Mapping[str, Any]) -> Any:
        """The provider's public key for a signature; one that is not known yet is looked for once more."""
        for fresh in (False, True):
            self._known(fresh=fresh and time.monotonic() - self._fetched_at > 1)
            fitting = [key for key in self._keys if key.get("use", "sig") == "sig"]
            if "kid" in header:
                fitting = [key for key in fitting if key.get("kid") == header["kid"]]
            if len(fitting) == 1:
                try:
                    return jwt.PyJWK(fitting[0], algorithm=str(header["alg"])).key
                except (jwt.PyJWTError, ValueError, TypeError):
                    break
        raise SignInRefused(_("The signature of {name} is by a key that it does not publish.", name=self.name))

    def _more(self, access_token: str, claims: Mapping[str, Any]) -> dict[str, Any]:
        """What the ID token leaves to the userinfo endpoint (Core 5.3): the address, if it is the same person's."""
        endpoint = self._known().get("userinfo_endpoint")
        if not endpoint:
            return {}
        told = self._fetched("GET", str(endpoint), headers={"Authorization": f"Bearer {access_token}"})
        if told.get("sub") != claims["sub"]:
            raise SignInRefused(_("{name} speaks of two people. Begin again.", name=self.name))
        return {name: told[name] for name in ("email", "email_verified") if name in told}

    def _known(self, *, fresh: bool = False) -> dict[str, Any]:
        """What the provider says of itself, and its keys. Raises ProviderTrouble."""
        with self._turn:
            if fresh or time.monotonic() - self._fetched_at > KEPT_SECONDS:
                document = self._fetched("GET", self._issuer.rstrip("/") + DOCUMENT)
                if document.get("issuer") != self._issuer:  # Discovery 4.3
                    raise ProviderTrouble(
                        f"{self._issuer} calls itself {str(document.get('issuer'))[:200]}: an admin has to set "
                        "oidc_issuer to exactly that."
                    )
                if missing := [name for name in WANTED if not isinstance(document.get(name), str)]:
                    raise ProviderTrouble(f"{self.name} does not say its {missing[0]}.")
                keys = self._fetched("GET", document["jwks_uri"]).get("keys")
                self._keys = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
                self._document, self._fetched_at = document, time.monotonic()
            return self._document

    def _fetched(self, method: str, url: str, **given: Any) -> dict[str, Any]:
        """A JSON object from the provider. Nothing is followed elsewhere: what is sent is meant for it alone."""
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in LOCAL:
            raise ProviderTrouble(f"{self.name} wants to be asked without encryption at {parts.hostname}.")
        try:
            with requests.request(
                method, url, timeout=TIMEOUT, allow_redirects=False, stream=True, **given
            ) as response:  # fmt: skip
                body = response.raw.read(LARGEST + 1, decode_content=True)
                status = response.status_code
            told = _object(body) if len(body) <= LARGEST else None
        except (requests.RequestException, OSError) as error:
            logger.warning("the identity provider can't be reached: %s", error)
            raise ProviderTrouble(f"{self.name} can't be reached right now. Try again in a moment.") from None
        if status != 200 or told is None:
            logger.warning("the identity provider answered %s to %s %s", status, method, parts.path)
            raise ProviderTrouble(f"{self.name} refused what we asked it (answer {status}). Begin again.")
        return told


def _challenge(verifier: str) -> str:
    """RFC 7636 4.2, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None
