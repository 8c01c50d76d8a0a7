"""Connections to an account's SMTP server, kept open from one mail to the next and shared by the sending threads."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from channels.base import SendFailed
from channels.mail.settings import Server

LINE_ERRORS = (smtplib.SMTPException, OSError)
IDLE_SECONDS = 30.0  # kept for the next mail; servers hang up after some minutes (RFC 5321 4.5.3.2.7)
PROBE_SECONDS = 5.0  # for a kept connection to show that it lives
PARTING_SECONDS = 2.0  # for a goodbye that changes nothing


@dataclass(slots=True, eq=False)
class Connection:
    """One logged-in line. `mails` counts what was handed over on it, so 0 means that it is fresh."""

    smtp: smtplib.SMTP
    mails: int = 0
    idle_since: float = 0.0


class Connections:
    """At most `most` at a time, each for at most `mails` mails and closed after IDLE_SECONDS without one."""

    def __init__(self, server: Server, most: int = 4, mails: int = 50) -> None:
        """Nothing is connected yet."""
        self.server = server
        self._mails = mails
        self._room = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._sweeper: threading.Timer | None = None

    @contextmanager
    def borrowed(self, deadline: float, *, fresh: bool = False) -> Iterator[Connection]:
        """A line for one mail, cut at `deadline` (monotonic seconds) whoever waits for it.

        It is kept afterwards, also when the server refused something (SendFailed), but not after anything else.
        Raises smtplib's exceptions and OSError where none can be opened.
        """
        if not self._room.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        try:
            connection = (None if fresh else self._living()) or Connection(connect(self.server, deadline))
            try:
                with cut_off(connection.smtp, deadline):
                    yield connection
            except SendFailed:
                self._keep(connection)
                raise
            except BaseException:
                connection.smtp.close()
                raise
            self._keep(connection)
        finally:
            self._room.release()

    def _living(self) -> Connection | None:
        """A kept line that answers RSET, which also ends what a refused mail left begun. The youngest first."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return None
            if time.monotonic() - connection.idle_since < IDLE_SECONDS and self._answers(connection.smtp):
                return connection
            part(connection.smtp)

    def _answers(self, smtp: smtplib.SMTP) -> bool:
        if smtp.sock is None:
            return False
        try:
            smtp.sock.settimeout(min(PROBE_SECONDS, self.server.timeout))
            code, _ = smtp.rset()
            smtp.sock.settimeout(self.server.timeout)
        except (*LINE_ERRORS, AttributeError):  # smtplib drops its socket where the line is gone
            return False
        return code == 250

    def _keep(self, connection: Connection) -> None:
        connection.mails += 1
        if connection.mails >= self._mails:
            part(connection.smtp)
            return
        connection.idle_since = time.monotonic()
        with self._lock:
            self._idle.append(connection)
            self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweeper is None and self._idle:
            self._sweeper = threading.Timer(IDLE_SECONDS, self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        oldest = time.monotonic() - IDLE_SECONDS
        with self._lock:
            self._sweeper = None
            leaving = [each for each in self._idle if each.idle_since <= oldest]
            self._idle = [each for each in self._idle if each.idle_since > oldest]
            self._sweep_later()
        for connection in leaving:
            part(connection.smtp)


def connect(server: Server, deadline: float) -> smtplib.SMTP:
    """A logged-in line, cut at `deadline`. Raises smtplib's exceptions and OSError."""
    domain = server.username.rpartition("@")[2] if "@" in server.username else "localhost"
    timeout = min(server.timeout, max(0.01, deadline - time.monotonic()))
    if server.tls == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, domain, timeout=timeout, context=server.context()
        )
    else:
        smtp = smtplib.SMTP(server.host, server.port, domain, timeout=timeout)
    try:
        with cut_off(smtp, deadline):
            if server.tls == "starttls":
                smtp.starttls(context=server.context())
            smtp.ehlo_or_helo_if_needed()
            log_in(smtp, server)
        if time.monotonic() > deadline:  # what can't be cut: a name look-up, a TLS handshake
            raise TimeoutError
    except BaseException:
        smtp.close()
        raise
    return smtp


def log_in(smtp: smtplib.SMTP, server: Server) -> None:
    """By XOAUTH2 where the account has a token, by password otherwise, not at all without a username."""
    if token := server.oauth_token:
        bearer = f"user={server.username}\x01auth=Bearer {token}\x01\x01"
        # The server explains a refusal in a challenge, which an empty line acknowledges.
        smtp.auth("XOAUTH2", lambda challenge=None: "" if challenge else bearer)
    elif server.username:
        smtp.login(server.username, server.password)


@contextmanager
def cut_off(smtp: smtplib.SMTP, deadline: float) -> Iterator[None]:
    """End the line at `deadline` under whoever reads from it then."""
    guard = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [smtp])
    guard.daemon = True
    guard.start()
    try:
        yield
    finally:
        guard.cancel()


def _cut(smtp: smtplib.SMTP) -> None:
    """Past a TLS wrapper, which must not be used from two threads."""
    if smtp.sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(smtp.sock, socket.SHUT_RDWR)


def part(smtp: smtplib.SMTP) -> None:
    """Say goodbye and close; what was to be said is said. Never raises."""
    with suppress(*LINE_ERRORS, AttributeError):
        if smtp.sock is not None:
            smtp.sock.settimeout(PARTING_SECONDS)
            smtp.quit()
    smtp.close()
