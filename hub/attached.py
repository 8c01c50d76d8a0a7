"""The files of a message on its way in: durable before the unit that refers to them."""

from __future__ import annotations

from dataclasses import dataclass

from channels.base import File, Inbound
from hub.hub import Hub
from storage import Tx

NEW_FILE = (
    "INSERT INTO attachment(message_id, name, content_type, size, sha256, cid, inline, source_url, created_at) "
    "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An attachment whose bytes are durable, or media that is still to be fetched from `source_url`."""

    file: File
    sha256: str
    source_url: str = ""


def store_files(hub: Hub, inbound: Inbound) -> tuple[StoredFile, ...]:
    """Keep its files; media that a provider keeps is only noted."""
    stored = [StoredFile(file, hub.blobs.put(file.data)) for file in inbound.files]
    if "media" in inbound.flags:
        stored += [StoredFile(file, "", url) for file, url in _media(inbound)]
    return tuple(stored)


def _media(inbound: Inbound) -> list[tuple[File, str]]:
    """Files a provider keeps for us; a duty of the worker fetches them (`hub.media`)."""
    found = []
    for name, url in inbound.fields.items():
        if name.startswith("media.") and not name.endswith(".type"):
            content_type = inbound.fields.get(f"{name}.type", "application/octet-stream")
            found.append((File(f"{name.replace('.', '-')}", content_type, b""), url))
    return found


def attach_file(tx: Tx, message_id: int, stored: StoredFile) -> None:
    """Make it a file of this message."""
    file = stored.file
    tx.sql(
        NEW_FILE, message_id, file.name[:200], file.content_type[:200], len(file.data), stored.sha256, file.cid[:200],
        file.inline, stored.source_url, tx.now,
    )  # fmt: skip
