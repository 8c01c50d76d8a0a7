"""An SMTP server on 127.0.0.1 that keeps what it takes and answers as a test tells it to."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(slots=True)
class Taken:
    """A mail that the server took."""

    sender: str
    recipients: list[str]
    data: bytes
    session: Session = field(repr=False)


@dataclass  # no slots: aiosmtpd looks at every attribute, which fails on slotted classes before Python 3.11.5
class Sink:
    """What was taken, and what to answer: by recipient, to DATA, and whether to hang up or stall instead.

    `answers` are given once each, in turn, before the others apply: "RCPT 450 4.7.1 later" to the next RCPT. "drop"
    instead of an answer hangs up.
    """

    host: str = "127.0.0.1"
    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    recipient_answers: dict[str, str] = field(default_factory=dict)
    sender_answer: str = "250 OK"
    data_answer: str = "250 OK"
    drop_after_data: bool = False
    stall_after_data: float = 0
    passwords: dict[str, str] = field(default_factory=dict)
    bearer_tokens: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)  # recipients that were asked for, in their order
    lines: list[SMTP] = field(default_factory=list, repr=False)

    @property
    def sessions(self) -> int:
        """Over how many connections mail was taken."""
        return len({id(each.session) for each in self.taken})

    def hang_up(self) -> None:
        """Cut every connection without a word, as a server does that is restarted."""
        for server in self.lines:
            if isinstance(server.transport, asyncio.Transport):
                server.loop.call_soon_threadsafe(server.transport.abort)

    def _scripted(self, server: SMTP, command: str, otherwise: str) -> str:
        if self.answers and self.answers[0].startswith(f"{command} "):
            answer = self.answers.pop(0).removeprefix(f"{command} ")
            if answer != "drop":
                return answer
            cast(asyncio.Transport, server.transport).abort()
        return otherwise

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.lines.append(server)
        return responses

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        envelope.mail_from = address
        return self._scripted(server, "MAIL", self.sender_answer)

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        self.tried.append(address)
        answer = self._scripted(server, "RCPT", self.recipient_answers.get(address, "250 OK"))
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._scripted(server, "DATA", self.data_answer)
        if answer.startswith("2"):
            content = envelope.original_content or b""
            self.taken.append(Taken(envelope.mail_from or "", list(envelope.rcpt_tos), content, session))
        if self.stall_after_data:
            await asyncio.sleep(self.stall_after_data)
        if self.drop_after_data:
            cast(asyncio.Transport, server.transport).abort()
        return answer

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:
        """The exchange that Gmail and Microsoft 365 use: user and bearer token in one base64 line."""
        written = await server.challenge_auth("") if len(args) == 1 else base64.b64decode(args[1])
        pairs = written.split(b"\x01") if isinstance(written, bytes) else []
        parts = {name: content for name, _, content in (each.partition(b"=") for each in pairs)}
        user, bearer = parts.get(b"user", b"").decode(), parts.get(b"auth", b"").decode()
        if bearer == f"Bearer {self.bearer_tokens.get(user, object())}":
            self.logins.append(user)
            return AuthResult(success=True, auth_data=user)
        await server.challenge_auth('{"status":"401"}')
        return AuthResult(success=False, handled=False)

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        user, password = data.login.decode(), data.password.decode()
        if self.passwords.get(user) != password:
            return AuthResult(success=False, handled=False)
        self.logins.append(user)
        return AuthResult(success=True)


class _OnFreePort(Controller):
    def _trigger_server(self) -> None:
        self.port = cast(asyncio.Server, self.server).sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@contextmanager
def smtp_sink(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, max_bytes: int = 33_554_432
) -> Iterator[Sink]:
    """A running sink on a free port, gone with the block. `starttls` and `tls` are server-side contexts."""
    sink = Sink()
    server = _OnFreePort(
        sink,
        hostname=sink.host,
        port=0,
        ssl_context=tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=sink.authenticate,
        auth_require_tls=False,
        data_size_limit=max_bytes,
        decode_data=False,
    )
    server.start()
    sink.port = server.port
    try:
        yield sink
    finally:
        server.stop()
