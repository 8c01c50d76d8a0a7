"""Handing a composed mail to the account's SMTP server (RFC 5321, RFC 6409), once, and saying how that ended."""

from __future__ import annotations

import re
import smtplib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from channels.base import SendFailed, SendUncertain
from channels.mail.settings import Server, explain, said

TOTAL_SECONDS = 90.0  # for one mail, however slowly the server answers each step; the courier's lease is longer
GO_AHEAD = 354
TAKEN = 250


def submit(server: Server, sender: str, recipients: Sequence[str], data: bytes) -> None:
    """Send `data` to all of `recipients`, or to none: one refused address fails the mail before its content is sent.

    `sender` is the envelope address. Raises SendFailed: permanent for 5xx answers, to be tried again for 4xx answers
    and for anything that breaks before the content goes out, a refused login included (it is the account's fault,
    not the mail's). Raises SendUncertain when the line breaks after that: the server may have taken it.
    """
    try:
        with session(server) as smtp:
            _announce(smtp, sender, recipients, data)
            _hand_over(smtp, data)
    except (smtplib.SMTPException, OSError) as error:
        raise _failed(server, error) from error


@contextmanager
def session(server: Server) -> Iterator[smtplib.SMTP]:
    """A logged-in connection that is cut after TOTAL_SECONDS. Raises smtplib's exceptions and OSError."""
    deadline = time.monotonic() + TOTAL_SECONDS
    domain = server.username.rpartition("@")[2] if "@" in server.username else "localhost"
    if server.tls == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, domain, timeout=server.timeout, context=server.context()
        )
    else:
        smtp = smtplib.SMTP(server.host, server.port, domain, timeout=server.timeout)
    guard = threading.Timer(max(0.0, deadline - time.monotonic()), _cut, [smtp])
    guard.daemon = True
    guard.start()
    try:
        if server.tls == "starttls":
            smtp.starttls(context=server.context())
        smtp.ehlo_or_helo_if_needed()
        log_in(smtp, server)
        if time.monotonic() > deadline:  # what the guard can't cut: a name look-up, a TLS handshake
            raise TimeoutError
        yield smtp
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()  # the mail is already answered for
    finally:
        guard.cancel()
        smtp.close()


def _cut(smtp: smtplib.SMTP) -> None:
    """End the line under whoever reads from it. Past a TLS wrapper, which must not be used from two threads."""
    if smtp.sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(smtp.sock, socket.SHUT_RDWR)


def log_in(smtp: smtplib.SMTP, server: Server) -> None:
    """By XOAUTH2 where the account has a token, by password otherwise, not at all without a username."""
    if server.oauth_token:
        bearer = f"user={server.username}\x01auth=Bearer {server.oauth_token}\x01\x01"
        # The server explains a refusal in a challenge, which an empty line acknowledges.
        smtp.auth("XOAUTH2", lambda challenge=None: "" if challenge else bearer)
    elif server.username:
        smtp.login(server.username, server.password)


def _announce(smtp: smtplib.SMTP, sender: str, recipients: Sequence[str], data: bytes) -> None:
    room = smtp.esmtp_features.get("size", "")
    if room.isdigit() and 0 < int(room) < len(data):
        megabytes = int(room) // 1_000_000
        raise SendFailed(f"The mail server takes at most {megabytes} MB; send the files by a link.", permanent=True)
    options = [f"size={len(data)}"] if smtp.has_extn("size") else []
    _expect(smtp.mail(sender, options), "the sender address")
    for recipient in recipients:
        _expect(smtp.rcpt(recipient), recipient, (TAKEN, 251))


def _hand_over(smtp: smtplib.SMTP, data: bytes) -> None:
    _expect(smtp.docmd("DATA"), "the mail", (GO_AHEAD,))
    body = re.sub(rb"(?m)^\.", b"..", data)
    try:
        smtp.send(body + (b"" if body.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        answer = smtp.getreply()
    except (smtplib.SMTPException, OSError) as error:
        raise SendUncertain(
            f"The line to the mail server broke after the mail was handed over ({said(error)}): it may have been sent. "
            "Ask the customer before sending it again."
        ) from error
    _expect(answer, "the mail")


def _expect(answer: tuple[int, bytes], what: str, wanted: tuple[int, ...] = (TAKEN,)) -> None:
    code, words = answer
    if code in wanted:
        return
    if code < 0:
        raise smtplib.SMTPServerDisconnected("no answer")
    reply = " ".join(f"{code} {words.decode('utf-8', 'replace')}".split())[:200]
    if code >= 500:
        raise SendFailed(f"The mail server refused {what} for good ({reply}). Nothing was sent.", permanent=True)
    raise SendFailed(f"The mail server refused {what} for now ({reply}). It is tried again by itself.")


def _failed(server: Server, error: Exception) -> SendFailed:
    return SendFailed(explain(server, error))
