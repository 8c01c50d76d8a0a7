"""One folder of a mail account: what is new after a cursor, waiting for it (IDLE, RFC 2177), and what is done after."""

from __future__ import annotations

import hashlib
import imaplib
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date

from imapclient import SEEN, IMAPClient
from imapclient.exceptions import IMAPClientError

from channels.base import CheckFailed, Cursor, Raw
from channels.mail.imap import (
    BATCH_MAILS,
    LINE_ERRORS,
    SUBSTITUTE,
    WHOLE_BYTES,
    Content,
    Envelope,
    announces,
    batches,
    beginning,
    connect,
    envelopes,
    large,
    log_out,
    small,
)
from channels.mail.settings import MailSettings, explain, said
from config.retold import stored

log = logging.getLogger(__name__)

# Routers forget silent connections after some ten minutes; a dead one is noticed when IDLE ends.
IDLE_SECONDS = 240.0
SOME_UIDS = 500  # that one command names
ALONE_TRIES = 3  # at a mail under whose fetching the line breaks; then it is left out, and asked for again later


class ConnectionLost(Exception):
    """The mailbox can't be reached just now. The sentence says why; the next poll connects again."""


class Refused(Exception):
    """The server won't do something with a mail that is kept. The sentence says why; reading goes on."""


class Mailbox:
    """One folder of one account over one connection, used by one thread at a time; `close` may come from any."""

    def __init__(self, settings: MailSettings, address: str, folder: str) -> None:
        self.name = folder
        self.behind = 0
        self.since = settings.since
        self._settings = settings
        self._address = address
        self._client: IMAPClient | None = None
        self._closing = threading.Event()
        self._busy = threading.Lock()
        self._keywords = False  # whether the folder takes flags of our own (Exchange does not)
        # Mails that the line broke under, and how often it did under each alone: a server may hang up over one that
        # it can't read.
        self._breaking: dict[int, int] = {}

    @property
    def settles(self) -> bool:
        """Whether anything is to be done with a mail that is kept."""
        after = self._settings
        return bool(after.mark_seen or after.add_label or after.move_to or after.delete_after)

    def poll(self, cursor: Cursor) -> Iterator[tuple[Raw | None, Cursor]]:
        """Everything after `cursor` in ascending UID order; from the beginning where UIDVALIDITY changed.

        A mail that is gone or that the server can't deliver now yields None with the cursor behind it. Of one larger
        than max_bytes only the beginning comes, marked `too_large` in `Raw.headers`. Raises ConnectionLost.
        """
        self._closing.clear()
        with self._line(connecting=True) as client:
            uidvalidity = self._select(client)
            same = cursor.folder == self.name and cursor.uidvalidity == uidvalidity
            last = cursor.uid if same else 0
            # "n:*" names the newest mail even when its UID is below n.
            wanted = ["SINCE", self.since] if self.since and not last else ["UID", f"{last + 1}:*"]
            uids = sorted(uid for uid in client.search(wanted) if uid > last)
        self.behind = len(uids)
        for found in self._fetched(uidvalidity, uids, substitutes=False):
            self.behind -= 1
            yield found

    def listing(self, since: date) -> tuple[int, list[int]]:
        """UIDVALIDITY, and in ascending order the UIDs of mails that arrived on that day or later.

        Raises ConnectionLost.
        """
        self._closing.clear()
        with self._line(connecting=True) as client:
            return self._select(client), sorted(client.search(["SINCE", since]))

    def present(self, uids: Sequence[int]) -> set[int]:
        """Those that are still there, after a `listing`. Raises ConnectionLost."""
        found: set[int] = set()
        for start in range(0, len(uids), SOME_UIDS):
            with self._line() as client:
                found.update(client.search(["UID", ",".join(map(str, uids[start : start + SOME_UIDS]))]))
        return found & set(uids)

    def sizes(self, uids: Sequence[int]) -> dict[int, int]:
        """Bytes of each mail, as the server announces them; without those that it can't even measure.

        Raises ConnectionLost.
        """
        found: dict[int, int] = {}
        groups = [uids[start : start + SOME_UIDS] for start in range(0, len(uids), SOME_UIDS)]
        while groups:
            group = groups.pop()
            with self._line(connecting=True) as client:
                self._select(client)
            try:
                with self._line() as client:
                    found |= {uid: each.size for uid, each in envelopes(client, group).items()}
            except ConnectionLost:
                half = len(group) // 2
                groups += [group[:half], group[half:]] if half else []
        return found

    def fetch(
        self, uidvalidity: int, uids: Sequence[int], *, substitutes: bool = False
    ) -> Iterator[tuple[Raw | None, Cursor]]:
        """These mails, in their order. `substitutes` takes also what Exchange gives in place of one it can't convert.

        Raises ConnectionLost, also when the folder has other numbers by now.
        """
        self._closing.clear()
        with self._line(connecting=True) as client:
            if self._select(client) != uidvalidity:
                raise ConnectionLost(f"The folder {self.name} was given new numbers; the next poll reads it again.")
        yield from self._fetched(uidvalidity, uids, substitutes=substitutes)

    def _select(self, client: IMAPClient) -> int:
        selected = client.select_folder(self.name, readonly=not self.settles)
        self._keywords = b"\\*" in selected.get(b"PERMANENTFLAGS", ())
        return int(selected.get(b"UIDVALIDITY", 0))

    def _fetched(
        self, uidvalidity: int, uids: Sequence[int], *, substitutes: bool
    ) -> Iterator[tuple[Raw | None, Cursor]]:
        for chunk in self._chunks(uids):
            if len(chunk) == 1 and self._breaking.get(chunk[0], 0) >= ALONE_TRIES:
                del self._breaking[chunk[0]]
                yield None, Cursor(self.name, uidvalidity, chunk[0])
                continue
            done = 0
            try:
                for found in self._fetched_chunk(uidvalidity, chunk, substitutes):
                    self._breaking.pop(chunk[done], None)
                    done += 1
                    yield found
            except ConnectionLost:
                if not self._closing.is_set():
                    for uid in chunk[done:]:
                        self._breaking[uid] = self._breaking.get(uid, 0) + (len(chunk) == 1)
                raise

    def _chunks(self, uids: Sequence[int]) -> Iterator[list[int]]:
        """Neighbours that are asked for together; mails that the line broke under come alone."""
        chunk: list[int] = []
        for uid in uids:
            doubtful = uid in self._breaking
            if chunk and (doubtful or len(chunk) == BATCH_MAILS):
                yield chunk
                chunk = []
            if doubtful:
                yield [uid]
            else:
                chunk.append(uid)
        if chunk:
            yield chunk

    def _fetched_chunk(
        self, uidvalidity: int, chunk: list[int], substitutes: bool
    ) -> Iterator[tuple[Raw | None, Cursor]]:
        with self._line() as client:
            known = envelopes(client, chunk)
        for batch in batches(chunk, known):
            with self._line() as client:
                bodies = small(client, [known[uid] for uid in batch if uid in known])
            for uid in batch:
                here = Cursor(self.name, uidvalidity, uid)
                content = self._content(known[uid], bodies.pop(uid, None)) if uid in known else None
                if content is None or (not substitutes and SUBSTITUTE.search(content.body[:4000])):
                    yield None, here
                else:
                    yield self._raw(known[uid], content, here), here

    def _content(self, envelope: Envelope, body: bytes | None) -> Content | None:
        if body is None and envelope.size <= WHOLE_BYTES:
            return None
        if body is None or len(body) > WHOLE_BYTES:
            return large(self._line, envelope, self._settings.max_bytes)
        if len(body) > self._settings.max_bytes or envelope.size > self._settings.max_bytes:
            return beginning(body, envelope.size)
        return Content(body, hashlib.sha256(body).hexdigest(), len(body))

    def _raw(self, envelope: Envelope, content: Content, here: Cursor) -> Raw:
        headers = {
            "address": self._address,
            "folder": here.folder,
            "uid": str(here.uid),
            "uidvalidity": str(here.uidvalidity),
        }
        if envelope.internaldate is not None:
            headers["internaldate"] = envelope.internaldate.astimezone(UTC).isoformat()
        if envelope.gm_msgid:
            headers["gm_msgid"] = str(envelope.gm_msgid)
        if content.cut:
            headers["too_large"] = str(content.size)
        return Raw(
            f"sha256:{content.digest}",
            content.body,
            "message/rfc822",
            headers,
            content.file,
            content.size if content.file else 0,
        )

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
            if announces(client.noop()[1]):
                return True
            while not self._closing.is_set() and (left := until - time.monotonic()) > 0:
                client.idle()
                answers = client.idle_check(timeout=min(left, IDLE_SECONDS))
                # On a dead connection idle_check says "nothing" at once and for ever; ending IDLE tells.
                answers += client.idle_done()[1]
                if announces(answers):
                    return True
        return False

    def settle(self, uidvalidity: int, uids: Sequence[int]) -> None:
        """Mark, label, move or delete these mails as the settings say. Doing it again is harmless.

        Raises ConnectionLost or Refused: then it is to be tried again. Refused also when the folder has other numbers
        by now, under which somebody else's mail would be deleted.
        """
        with self._line(connecting=True) as client:
            if self._select(client) != uidvalidity:
                raise Refused(f"The folder {self.name} was given new numbers; the next poll reads it again.")
            try:
                self._settle(client, uids)
            except imaplib.IMAP4.abort:
                raise
            except IMAPClientError as error:  # the line is fine
                raise Refused(
                    f"{self._settings.imap.host} refused it ({said(error)}). Check the channel's settings."
                ) from error

    def _settle(self, client: IMAPClient, uids: Sequence[int]) -> None:
        after = self._settings
        if after.mark_seen:
            client.add_flags(uids, [SEEN], silent=True)
        if after.add_label and client.has_capability("X-GM-EXT-1"):
            client.add_gmail_labels(uids, [after.add_label], silent=True)
        elif after.add_label and self._keywords:
            client.add_flags(uids, [after.add_label], silent=True)
        if after.move_to:
            _move(client, uids, after.move_to)
        elif after.delete_after:
            _delete(client, uids)

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

    @contextmanager
    def _line(self, *, connecting: bool = False) -> Iterator[IMAPClient]:
        """The connection; dropped on any error, which becomes ConnectionLost."""
        with self._busy:
            try:
                if self._client is None and connecting:
                    self._client = connect(self._settings.imap)
                if self._client is None:
                    raise ConnectionLost(
                        f"The connection to {self._settings.imap.host} was closed; the next poll opens it."
                    )
                yield self._client
            except (ConnectionLost, Refused):
                raise
            except Exception as error:  # the library's own reader breaks over what no server should say
                self._drop(polite=False)
                raise ConnectionLost(explain(self._settings.imap, error)) from error

    def _drop(self, *, polite: bool) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if polite:
            log_out(client)
        else:
            with suppress(*LINE_ERRORS):
                client.shutdown()


def check_folders(settings: MailSettings) -> None:
    """Log in and open every folder on a connection of its own. Raises CheckFailed."""
    server = settings.imap
    try:
        client = connect(server)
        try:
            for folder in settings.folders:
                if not client.folder_exists(folder):
                    raise CheckFailed(
                        stored(
                            "IMAP server {host}: no folder {folder}. Check folder and folders.",
                            host=server.host,
                            folder=repr(folder),
                        )
                    )
                client.select_folder(folder, readonly=True)
        finally:
            log_out(client)
    except LINE_ERRORS as error:
        raise CheckFailed(explain(server, error)) from error


def _move(client: IMAPClient, uids: Sequence[int], folder: str) -> None:
    """RFC 6851, or by copying where the server can't; then only our own mails are expunged (RFC 4315)."""
    if not client.folder_exists(folder):
        client.create_folder(folder)
    if client.has_capability("MOVE"):
        client.move(uids, folder)
    else:
        client.copy(uids, folder)
        _delete(client, uids)


def _delete(client: IMAPClient, uids: Sequence[int]) -> None:
    client.delete_messages(uids, silent=True)
    if client.has_capability("UIDPLUS"):
        client.uid_expunge(uids)  # a plain EXPUNGE would also take what others have marked
