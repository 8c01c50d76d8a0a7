"""Handing a composed mail to the account's SMTP server (RFC 5321, RFC 6409), once, and saying how that ended."""

from __future__ import annotations

import re
import smtplib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from channels.base import SendFailed, SendUncertain
from channels.mail.answers import SENDER, WHAT, sentence, wait_of
from channels.mail.connections import LINE_ERRORS, Connections
from channels.mail.settings import explain, said
from config.retold import stored

TOTAL_SECONDS = 90.0  # for one mail, however slowly the server answers each step; the courier's lease is longer
GO_AHEAD = 354
CLOSING = 421
TAKEN = (250, 251)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail and its envelope. Without `must`, the customer, nobody gets it; copies can fail alone."""

    sender: str
    recipients: Sequence[str]
    must: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Handed:
    """Whom the server refused although it took the others' mail: for good, or for now. Address and sentence."""

    refused: Mapping[str, str]
    waiting: Mapping[str, str]


class Stale(Exception):
    """A kept connection broke before any content went over it: certainly nothing was sent."""


def submit(connections: Connections, mail: Mail) -> Handed:
    """Hand it over for everybody whom the server accepts.

    A kept connection that turns out to be dead is replaced at once. Raises SendFailed: permanent for 5xx answers, to
    be tried again for 4xx answers and for anything that breaks before the content goes out, a refused login included
    (it is the account's fault, not the mail's). Raises SendUncertain when the line breaks after that: the server may
    have taken it.
    """
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        try:
            return _once(connections, mail, deadline, fresh=False)
        except Stale:
            return _once(connections, mail, deadline, fresh=True)
    except LINE_ERRORS as error:
        raise SendFailed(explain(connections.server, error)) from error


def _once(connections: Connections, mail: Mail, deadline: float, *, fresh: bool) -> Handed:
    with connections.borrowed(deadline, fresh=fresh) as connection:
        try:
            handed = _announce(connection.smtp, mail)
            _expect(connection.smtp.docmd("DATA"), WHAT, (GO_AHEAD,))
        except LINE_ERRORS as broken:
            if connection.mails and not fresh:
                raise Stale from broken
            raise
        _content(connection.smtp, mail.data)
        return handed


def _announce(smtp: smtplib.SMTP, mail: Mail) -> Handed:
    room = smtp.esmtp_features.get("size", "")
    if room.isdigit() and 0 < int(room) < len(mail.data):
        megabytes = int(room) // 1_000_000
        raise SendFailed(
            stored("The mail server takes at most {megabytes} MB; send the files by a link.", megabytes=megabytes),
            permanent=True,
        )
    options = [f"size={len(mail.data)}"] if smtp.has_extn("size") else []
    _expect(smtp.mail(mail.sender, options), SENDER)
    refused: dict[str, SendFailed] = {}
    for recipient in mail.recipients:
        try:
            _expect(smtp.rcpt(recipient), recipient)
        except SendFailed as refusal:
            if recipient == mail.must:
                raise
            refused[recipient] = refusal
    if len(refused) == len(mail.recipients):
        raise _all_refused(refused)
    return Handed(
        {address: refusal.why for address, refusal in refused.items() if refusal.permanent},
        {address: refusal.why for address, refusal in refused.items() if not refusal.permanent},
    )


def _all_refused(refused: Mapping[str, SendFailed]) -> SendFailed:
    waits = [refusal.retry_after for refusal in refused.values() if refusal.retry_after]
    return SendFailed(
        " ".join(refusal.why for refusal in refused.values()),
        permanent=all(refusal.permanent for refusal in refused.values()),
        retry_after=max(waits, default=None),
    )


def _content(smtp: smtplib.SMTP, data: bytes) -> None:
    body = re.sub(rb"(?m)^\.", b"..", data)
    try:
        smtp.send(body + (b"" if body.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        code, words = smtp.getreply()
        if code < 0:
            raise smtplib.SMTPServerDisconnected("no answer")
    except LINE_ERRORS as error:
        raise SendUncertain(
            stored(
                "The line to the mail server broke after the mail was handed over ({said}): it may have been sent. "
                "Ask the customer before sending it again.",
                said=said(error),
            )
        ) from error
    if code not in TAKEN:
        raise _refusal(code, words, WHAT)


def _expect(answer: tuple[int, bytes], what: str, wanted: Sequence[int] = TAKEN) -> None:
    """Raises SendFailed for a refusal, smtplib's exceptions where the server is not there any more or leaves."""
    code, words = answer
    if code in wanted:
        return
    if code < 0:
        raise smtplib.SMTPServerDisconnected("no answer")
    if code == CLOSING:
        raise smtplib.SMTPResponseException(code, words)
    raise _refusal(code, words, what)


def _refusal(code: int, words: bytes, what: str) -> SendFailed:
    wait: timedelta | None = wait_of(code, words)
    return SendFailed(sentence(code, words, what), permanent=code >= 500, retry_after=wait)
