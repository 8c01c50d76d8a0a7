"""Files that a provider keeps for us: fetched after the message is safe, tried again until they are here."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Protocol, runtime_checkable

from channels.base import File
from hub.hub import Hub
from storage import Tx
from storage.conversations import Attachment, Message
from storage.facts import ContactChanged
from storage.failpoints import step

logger = logging.getLogger(__name__)

BATCH = 20
FIRST_WAIT = timedelta(seconds=10)  # until the second try; each wait is twice the one before
TRIES = 17  # the last one comes after a week

DUE = (
    "SELECT id FROM attachment WHERE source_url <> '' AND attempts < ? AND (due_at IS NULL OR due_at <= ?) "
    "ORDER BY attempts, id LIMIT ?"
)
CLAIM = "UPDATE attachment SET attempts = attempts + 1, due_at = ? WHERE id = ? AND attempts = ? AND source_url <> ''"
HERE = (
    "UPDATE attachment SET sha256 = ?, size = ?, content_type = ?, name = ?, source_url = '' "
    "WHERE id = ? AND source_url <> ''"
)


@runtime_checkable
class Fetches(Protocol):
    """A channel whose messages name files by address."""

    def fetch(self, url: str) -> File:
        """The file. What it raises may say `permanent`: asking again is no use."""
        ...


def fetch_waiting(hub: Hub) -> int:
    """Fetch what is due at the provider, the new ones first; how many files arrived."""
    with hub.store.read() as tx:
        due = [row[0] for row in tx.sql(DUE, TRIES, tx.now, BATCH).fetchall()]
    return sum(_fetch(hub, number) for number in due)


def _fetch(hub: Hub, number: int) -> bool:
    with hub.store.read() as tx:
        waiting = tx.get_one(Attachment, number)
        message = tx.get_one(Message, waiting.message_id)
    if not hub.store.submit(partial(_claim, number=number, attempts=waiting.attempts)):
        return False  # another worker has it
    step("media.claimed")
    try:
        channel = hub.channel(message.channel_id or 0).must()
        if not isinstance(channel, Fetches):
            raise TypeError(f"channel {message.channel_id} fetches no files")
        file = channel.fetch(waiting.source_url)
        digest = hub.blobs.put(file.data)
        step("media.fetched")
    except Exception as error:
        logger.warning("attachment %s could not be fetched: %s", number, type(error).__name__)
        if getattr(error, "permanent", False):
            hub.store.submit(partial(_give_up, number=number))
        return False
    return hub.store.submit(partial(_keep, number=number, file=file, digest=digest, contact_id=message.contact_id))


def _claim(tx: Tx, number: int, attempts: int) -> bool:
    return tx.sql(CLAIM, tx.now + FIRST_WAIT * 2**attempts, number, attempts).rowcount == 1


def _give_up(tx: Tx, number: int) -> None:
    tx.sql("UPDATE attachment SET attempts = ? WHERE id = ?", TRIES, number)


def _keep(tx: Tx, number: int, file: File, digest: str, contact_id: int | None) -> bool:
    kept = tx.sql(HERE, digest, len(file.data), file.content_type[:200], file.name[:200], number).rowcount == 1
    if kept and contact_id is not None:
        tx.emit(ContactChanged(contact_id, "attachment"))
    return kept
