"""One IMAP connection (RFC 3501): opened and logged in, and what a mail is fetched with, in bounded memory."""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError
from imapclient.imapclient import SocketTimeout

from channels.mail.settings import Server

BATCH_MAILS = 50
BATCH_BYTES = 8 * 1024 * 1024
# A mail announced larger than this is fetched piece by piece into a file.
WHOLE_BYTES = 2 * 1024 * 1024
PIECE_BYTES = 512 * 1024
# Of a mail beyond max_bytes: its header and, where the sender put it first, its text.
HEAD_BYTES = 256 * 1024
# Exchange announces what a mail takes in its store; what is announced a little too large is still tried.
ANNOUNCED_TOLERANCE = 1.5
# What Exchange hands over, with OK, in place of a mail that it can't convert.
SUBSTITUTE = re.compile(rb"(?im)^Subject:[ \t]*Retrieval using the IMAP4 protocol failed")

# The library logs every command, passwords and contents included, for whoever switches debugging on.
logging.getLogger("imapclient").setLevel(logging.WARNING)

LINE_ERRORS = (IMAPClientError, OSError)  # imaplib's abort is the former, ssl's errors are the latter

Line = Callable[[], AbstractContextManager[IMAPClient]]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the server says about a mail before it is fetched. `gm_msgid` is Gmail's own number, 0 elsewhere."""

    uid: int
    size: int
    internaldate: datetime | None
    gm_msgid: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """A mail's bytes, in memory or in a file. `cut` says that only the beginning was fetched."""

    body: bytes
    digest: str
    size: int
    cut: bool = False
    file: BinaryIO | None = None


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


def log_out(client: IMAPClient) -> None:
    """Politely; never raises."""
    with suppress(*LINE_ERRORS):
        client.logout()


def announces(answers: list[Any]) -> bool:
    """Whether the server said that a mail arrived."""
    return any(len(each) > 1 and each[1] == b"EXISTS" for each in answers)


def envelopes(client: IMAPClient, uids: Sequence[int]) -> dict[int, Envelope]:
    """Sizes and dates; a mail that is gone is left out."""
    gmail = client.has_capability("X-GM-EXT-1")
    answers = client.fetch(uids, ["RFC822.SIZE", "INTERNALDATE", *(["X-GM-MSGID"] if gmail else [])])
    return {
        uid: Envelope(uid, int(had[b"RFC822.SIZE"]), had.get(b"INTERNALDATE"), int(had.get(b"X-GM-MSGID", 0)))
        for uid in uids
        if b"RFC822.SIZE" in (had := answers.get(uid, {}))
    }


def batches(uids: Sequence[int], known: dict[int, Envelope]) -> Iterator[list[int]]:
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


def small(client: IMAPClient, batch: Sequence[Envelope]) -> dict[int, bytes]:
    """The bodies of those that are announced to fit into memory, in one command; those without one are left out.

    One that is larger than it was announced comes as its first WHOLE_BYTES + 1 bytes.
    """
    wanted = [each.uid for each in batch if each.size <= WHOLE_BYTES]
    answers = client.fetch(wanted, [f"BODY.PEEK[]<0.{WHOLE_BYTES + 1}>"]) if wanted else {}
    return {uid: body for uid, answer in answers.items() if (body := answer.get(b"BODY[]<0>")) is not None}


def large(line: Line, envelope: Envelope, most: int) -> Content | None:
    """A large mail piece by piece into a file; its beginning alone beyond `most` bytes; None when it is gone.

    What is counted is what comes: a server may announce less or more than it sends.
    """
    if envelope.size <= most * ANNOUNCED_TOLERANCE:
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - whoever stores it closes it
        digest, size = hashlib.sha256(), 0
        while size <= most:
            piece = _piece(line, envelope.uid, size, PIECE_BYTES)
            if piece is None:
                file.close()
                return None
            file.write(piece)
            digest.update(piece)
            size += len(piece)
            if len(piece) < PIECE_BYTES:
                if size > most:
                    break
                file.seek(0)
                return Content(b"", digest.hexdigest(), size, file=file)
        file.close()
    head = _piece(line, envelope.uid, 0, HEAD_BYTES)
    return None if head is None else beginning(head, envelope.size)


def beginning(body: bytes, size: int) -> Content:
    """What is kept of a mail that is too large: known by its header alone, however much of it was fetched."""
    header = body.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    return Content(body[:HEAD_BYTES], hashlib.sha256(header).hexdigest(), max(size, len(body)), cut=True)


def _piece(line: Line, uid: int, offset: int, length: int) -> bytes | None:
    with line() as client:
        answer = client.fetch([uid], [f"BODY.PEEK[]<{offset}.{length}>"])
    piece: bytes | None = answer.get(uid, {}).get(f"BODY[]<{offset}>".encode())
    return piece
