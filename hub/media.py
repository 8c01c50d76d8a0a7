"""Files that a provider keeps for us: fetched after the message is safe, tried again until they are here."""

from __future__ import annotations

import logging
from typing import Protocol, runtime_checkable

from sqlmodel import col, select

from channels.base import File
from hub.hub import Hub
from storage.conversations import Attachment, Message
from storage.facts import ContactChanged

logger = logging.getLogger(__name__)

BATCH = 20


@runtime_checkable
class Fetches(Protocol):
    """A channel whose messages name files by address."""

    def fetch(self, url: str) -> File: ...


def fetch_waiting(hub: Hub) -> int:
    """Fetch what is still at the provider; how many files arrived. One that fails waits for the next round."""
    with hub.store.read() as tx:
        waiting = list(
            tx.exec(
                select(Attachment, Message.channel_id, Message.contact_id)
                .join(Message, col(Message.id) == col(Attachment.message_id))
                .where(Attachment.sha256 == "", col(Attachment.source_url) != "")
                .order_by(col(Attachment.id).desc())
                .limit(BATCH)
            )
        )
    return sum(_fetch(hub, file, channel_id, contact_id) for file, channel_id, contact_id in waiting)


def _fetch(hub: Hub, waiting: Attachment, channel_id: int | None, contact_id: int | None) -> int:
    try:
        channel = hub.channel(channel_id or 0).must()
        if not isinstance(channel, Fetches):
            return 0
        file = channel.fetch(waiting.source_url)
    except Exception as error:
        logger.warning("attachment %s could not be fetched: %s", waiting.id, type(error).__name__)
        return 0
    digest = hub.blobs.put(file.data)
    with hub.store.write() as tx:
        tx.sql(
            "UPDATE attachment SET sha256 = ?, size = ?, content_type = ?, name = ?, source_url = '' WHERE id = ?",
            digest, len(file.data), file.content_type[:200], file.name[:200], waiting.id,
        )  # fmt: skip
        if contact_id is not None:
            tx.emit(ContactChanged(contact_id, "attachment"))
    return 1
