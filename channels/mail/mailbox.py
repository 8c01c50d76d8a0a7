"""The IMAP side of a mail account (RFC 3501, IDLE by RFC 2177): what is new after a cursor, and waiting for it."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imapclient import SEEN, IMAPClient
from imapclient.exceptions import IMAPClientError
from imapclient.imapclient import SocketTimeout

from channels.base import CheckFailed, Cursor, Raw
from channels.mail.settings import MailSettings, Server, explain

log = logging.getLogger(__name__)

BATCH_MAILS = 50
BATCH_BYTES = 8 * 1024 * 1024
# Routers forget silent connections after some ten minutes; a dead one is noticed when IDLE ends.
IDLE_SECONDS = 240.0

# The library logs every command, passwords and contents included, for whoever switches debugging on.
logging.getLogger("imapclient").setLevel(logging.WARNING)

LINE_ERRORS = (IMAPClientError, OSError)  # imaplib's abort is the former, ssl's errors are the latter


class ConnectionLost(Exception):
    """The mailbox can't be reached just now. The sentence says why; the next poll connects again."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the server says about a mail before it is fetched."""

    uid: int
    size: int
    internaldate: datetime | None


class Mailbox:
    """One folder of one account over one connection, used by one thread at a time; `close` may come from any."""

    def __init__(self, settings: MailSettings, address: str) -> None:
        self._settings = settings
        self._address = address
        self._client: IMAPClient | None = None
        self._closing = threading.Event()
        self._busy = threading.Lock()
        self._unsettled: list[int] = []

    def poll(self, cursor: Cursor) -> Iterator[tuple[Raw | None, Cursor]]:
        """Everything after `cursor` in ascending UID order; from the beginning where UIDVALIDITY changed.

        A mail that is gone or that the server can't deliver yields None with the cursor behind it. One larger than
        max_bytes yields its header alone, marked `too_large` in `Raw.headers`. Raises ConnectionLost.
        """
        self._closing.clear()
        with self._line(connecting=True) as client:
            selected = client.select_folder(self._settings.folder, readonly=not self._settings.mark_seen)
            uidvalidity = int(selected.get(b"UIDVALIDITY", 0))
            same = cursor.folder == self._settings.folder and cursor.uidvalidity == uidvalidity
            last = cursor.uid if same else 0
            # "n:*" names the newest mail even when its UID is below n.
            uids = sorted(uid for uid in client.search(["UID", f"{last + 1}:*"]) if uid > last)
        self._unsettled.clear()
        for start in range(0, len(uids), BATCH_MAILS):
            chunk = uids[start : start + BATCH_MAILS]
            known = self._envelopes(chunk)
            for batch in _batches(chunk, known):
                bodies = self._bodies([known[uid] for uid in batch if uid in known])
                for uid in batch:
                    self._unsettled.append(uid)
                    body = bodies.pop(uid, None)
                    here = Cursor(self._settings.folder, uidvalidity, uid)
                    yield (None if body is None else self._raw(known[uid], body, here)), here

    def _envelopes(self, uids: list[int]) -> dict[int, Envelope]:
        with self._line() as client:
            answers = client.fetch(uids, ["RFC822.SIZE", "INTERNALDATE"])
        return {
            uid: Envelope(uid, int(answers[uid][b"RFC822.SIZE"]), answers[uid].get(b"INTERNALDATE"))
            for uid in uids
            if b"RFC822.SIZE" in answers.get(uid, {})
        }

    def _bodies(self, batch: list[Envelope]) -> dict[int, bytes]:
        fitting = [each.uid for each in batch if each.size <= self._settings.max_bytes]
        larger = [each.uid for each in batch if each.size > self._settings.max_bytes]
        with self._line() as client:
            answers = client.fetch(fitting, ["BODY.PEEK[]"]) if fitting else {}
            heads = client.fetch(larger, ["BODY.PEEK[HEADER]"]) if larger else {}
        bodies = {uid: answer.get(b"BODY[]") for uid, answer in answers.items()}
        bodies |= {uid: answer.get(b"BODY[HEADER]") for uid, answer in heads.items()}
        return {uid: body for uid, body in bodies.items() if body is not None}

    def _raw(self, envelope: Envelope, body: bytes, here: Cursor) -> Raw:
        headers = {
            "address": self._address,
            "folder": here.folder,
            "uid": str(here.uid),
            "uidvalidity": str(here.uidvalidity),
        }
        if envelope.internaldate is not None:
            headers["internaldate"] = envelope.internaldate.astimezone(UTC).isoformat()
        if max(envelope.size, len(body)) > self._settings.max_bytes:
            headers["too_large"] = str(max(envelope.size, len(body)))
            body = body.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"  # a server may announce less than it sends
        key = f"sha256:{hashlib.sha256(body).hexdigest()}"
        return Raw(dedupe_key=key, body=body, content_type="message/rfc822", headers=headers)

    def wait(self, seconds: float) -> bool:
        """Until the server announces a mail, at most `seconds`; at once False after `close`. Raises ConnectionLost.

        A server without IDLE announces nothing: then it is just a pause that `close` ends.
        """
        if self._closing.is_set():
            return False
        if self._client is None:
            return True  # nobody has listened since the connection went: ask
        try:
            return self._listen(time.monotonic() + seconds)
        except ConnectionLost:
            if self._closing.is_set():
                return False
            raise

    def _listen(self, until: float) -> bool:
        with self._line() as client:
            if not client.has_capability("IDLE"):
                self._closing.wait(max(0, until - time.monotonic()))
                return False
            if _announces(client.noop()[1]):
                return True
            while not self._closing.is_set() and (left := until - time.monotonic()) > 0:
                client.idle()
                answers = client.idle_check(timeout=min(left, IDLE_SECONDS))
                # On a dead connection idle_check says "nothing" at once and for ever; ending IDLE tells.
                answers += client.idle_done()[1]
                if _announces(answers):
                    return True
        return False

    def settled(self, cursor: Cursor) -> None:
        """Mark mails up to `cursor` as seen where mark_seen asks for it; best effort, never raises."""
        done = [uid for uid in self._unsettled if uid <= cursor.uid]
        self._unsettled = self._unsettled[len(done) :]
        if not self._settings.mark_seen or not done or self._client is None:
            return
        try:
            with self._line() as client:
                client.add_flags(done, [SEEN], silent=True)
        except ConnectionLost as error:
            log.warning("mailbox %s: mails stay unread there: %s", self._address, error)

    def close(self) -> None:
        """Drop the connection from any thread. Never raises."""
        self._closing.set()
        client = self._client
        if client is None:
            return
        if self._busy.acquire(blocking=False):
            try:
                self._drop(polite=True)
            finally:
                self._busy.release()
        else:  # the thread that reads comes back with an end of file and drops it
            with suppress(OSError):
                # Past TLS, whose own shutdown would pull its state from under the reader.
                socket.socket.shutdown(client.socket(), socket.SHUT_RDWR)

    def check(self) -> None:
        """Log in and open the folder on a connection of its own. Raises CheckFailed."""
        server = self._settings.imap
        try:
            client = connect(server)
            try:
                if not client.folder_exists(self._settings.folder):
                    raise CheckFailed(f"IMAP server {server.host}: no folder {self._settings.folder!r}. Check folder.")
                client.select_folder(self._settings.folder, readonly=True)
            finally:
                _log_out(client)
        except LINE_ERRORS as error:
            raise CheckFailed(explain(server, error)) from error

    @contextmanager
    def _line(self, *, connecting: bool = False) -> Iterator[IMAPClient]:
        """The connection; dropped on any error of it, which becomes ConnectionLost."""
        with self._busy:
            try:
                if self._client is None and connecting:
                    self._client = connect(self._settings.imap)
                if self._client is None:
                    raise ConnectionLost(
                        f"The connection to {self._settings.imap.host} was closed; the next poll opens it."
                    )
                yield self._client
            except LINE_ERRORS as error:
                self._drop(polite=False)
                raise ConnectionLost(explain(self._settings.imap, error)) from error

    def _drop(self, *, polite: bool) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if polite:
            _log_out(client)
        else:
            with suppress(*LINE_ERRORS):
                client.shutdown()


def connect(server: Server) -> IMAPClient:
    """A logged-in connection with a timeout on every read. Raises IMAPClientError and OSError."""
    context = None if server.tls == "none" else server.context()
    client = IMAPClient(
        server.host,
        server.port,
        use_uid=True,
        ssl=server.tls == "tls",
        ssl_context=context,
        timeout=SocketTimeout(server.timeout, server.timeout),
    )
    try:
        client.normalise_times = False
        if server.tls == "starttls":
            client.starttls(context)
        if server.oauth_token:
            client.oauth2_login(server.username, server.oauth_token)
        else:
            client.login(server.username, server.password)
    except LINE_ERRORS:
        with suppress(*LINE_ERRORS):
            client.shutdown()
        raise
    return client


def _log_out(client: IMAPClient) -> None:
    with suppress(*LINE_ERRORS):
        client.logout()


def _announces(answers: list[Any]) -> bool:
    return any(len(each) > 1 and each[1] == b"EXISTS" for each in answers)


def _batches(uids: list[int], known: dict[int, Envelope]) -> Iterator[list[int]]:
    """Neighbours that are fetched in one command: at most 8 MB unless a single mail is larger."""
    batch: list[int] = []
    total = 0
    for uid in uids:
        size = known[uid].size if uid in known else 0
        if batch and total + size > BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(uid)
        total += size
    if batch:
        yield batch
