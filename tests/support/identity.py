"""An identity provider for tests: OpenID Connect over real HTTP with real signatures and any fault one likes."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask, Response, jsonify, redirect, request
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from werkzeug.serving import make_server

CLIENT, SECRET = "switchyard", "a secret: with/odd+signs"

Claims = dict[str, Any]


@dataclass
class Identity:
    """The provider. `claims`, `sign` and `document` are where a test makes something wrong."""

    now: Callable[[], datetime]
    base: str = ""
    person: Claims = field(default_factory=lambda: {"sub": "j1", "email": "Jonas@desk.example", "email_verified": True})
    claims: Callable[[Claims], Claims] = lambda told: told
    sign: Callable[[Claims], str] | None = None
    document: Claims = field(default_factory=dict)
    userinfo: Claims | None = None
    alg: str = "RS256"
    refuses: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    kid: str = "one"

    def __post_init__(self) -> None:
        self.new_key()

    def new_key(self, kid: str = "one") -> None:
        """Another key, as providers change theirs."""
        self.kid = kid
        self.key: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if self.alg == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    def jwk(self) -> Claims:
        public = self.key.public_key()
        told = (ECAlgorithm if self.alg == "ES256" else RSAAlgorithm).to_jwk(public, as_dict=True)
        return {**told, "kid": self.kid, "use": "sig"}

    def token(self, nonce: str) -> str:
        at = int(self.now().timestamp())
        told = {"iss": self.base, "aud": CLIENT, "iat": at, "exp": at + 300, "nonce": nonce, **self.person}
        told = self.claims(told)
        if self.sign is not None:
            return self.sign(told)
        return jwt.encode(told, self.key, algorithm=self.alg, headers={"kid": self.kid})


@contextmanager
def identity(now: Callable[[], datetime]) -> Iterator[Identity]:
    """Run it on a free port."""
    provider = Identity(now)
    server = make_server("127.0.0.1", 0, _app(provider), threaded=True)
    server.daemon_threads = True  # type: ignore[attr-defined]
    provider.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, name="identity", daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def _app(provider: Identity) -> Flask:
    app = Flask("identity")

    @app.before_request
    def note() -> None:
        provider.asked.append(request.path)

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Response:
        return jsonify({
            "issuer": provider.base, "authorization_endpoint": f"{provider.base}/authorize",
            "token_endpoint": f"{provider.base}/token", "jwks_uri": f"{provider.base}/keys",
            "userinfo_endpoint": f"{provider.base}/userinfo",
        } | provider.document)  # fmt: skip

    @app.get("/keys")
    def keys() -> Response:
        return jsonify({"keys": [provider.jwk()]})

    @app.get("/authorize")
    def authorize() -> Any:
        asked = request.args
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256" and "openid" in asked["scope"].split()
        back = {"state": asked["state"], "iss": provider.base}
        if provider.refuses:
            return redirect(f"{asked['redirect_uri']}?{urlencode(back | {'error': provider.refuses})}")
        code = hashlib.sha256(asked["state"].encode()).hexdigest()
        provider.codes[code] = {name: asked[name] for name in ("nonce", "code_challenge", "redirect_uri")}
        return redirect(f"{asked['redirect_uri']}?{urlencode(back | {'code': code})}")

    @app.post("/token")
    def token() -> Any:
        auth, form = request.authorization, request.form
        proved = auth is not None and (unquote(auth.username or ""), unquote(auth.password or "")) == (CLIENT, SECRET)
        begun = provider.codes.pop(form.get("code", ""), None)
        hashed = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
        if not proved or begun is None or begun["code_challenge"] != challenge:
            return jsonify({"error": "invalid_grant"}), 400
        if begun["redirect_uri"] != form.get("redirect_uri"):
            return jsonify({"error": "invalid_request"}), 400
        return jsonify({"id_token": provider.token(begun["nonce"]), "access_token": "at-1", "token_type": "Bearer"})

    @app.get("/userinfo")
    def userinfo() -> Any:
        if request.headers.get("Authorization") != "Bearer at-1" or provider.userinfo is None:
            return jsonify({}), 401
        return jsonify(provider.userinfo)

    return app
