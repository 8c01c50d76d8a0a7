"""One mail in several of our mailboxes, or twice in one, is one message: known by what its sender wrote.

The raw bytes differ, because every server on the way adds lines; and a Message-ID alone proves nothing, because
programs use one again for other words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from channels.base import Inbound
from hub.hub import Opened
from storage import Tx
from storage.columns import read_json
from storage.copies import first_with

MAIL_KINDS = ("email", "mailhook")
ALSO = "also:"  # a flag of the first message, followed by the channel that received it as well


def copy_key(kind: str, inbound: Inbound, digests: Iterable[str]) -> str:
    """The same for every copy of a mail; empty where nothing can be said. `digests` are those of its files."""
    if kind not in MAIL_KINDS or not inbound.external_id or inbound.sent_at is None or "too_large" in inbound.flags:
        return ""
    senders = [point.value for point in inbound.sender.points]
    parts = [inbound.external_id, inbound.sent_at.isoformat(), *senders, inbound.subject, inbound.text, inbound.html]
    parts += sorted(digests)
    whole = b"".join(f"{len(part)}:{part}".encode("utf-8", "replace") for part in parts)
    return hashlib.sha256(whole).hexdigest()


def note_copy(tx: Tx, opened: Opened, key: str, receipt_id: int) -> tuple[int, int] | None:
    """Say on the first message and on this receipt that they are the same mail; the message and its conversation.

    None when the first message is not there any more: then this one takes its place.
    """
    first = first_with(tx, key, receipt_id)
    if first is None:
        return None
    message_id, conversation_id, channel_id = first
    why = f"the same mail as message {message_id}"
    tx.sql("UPDATE receipt SET state = 'duplicate', why = ? WHERE id = ?", why, receipt_id)
    if channel_id != opened.id:
        _note_channel(tx, message_id, opened.account.name)
    return message_id, conversation_id


def _note_channel(tx: Tx, message_id: int, name: str) -> None:
    """Copies in several mailboxes are read by as many nodes at once: locked first, so that each adds to the others."""
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    flags = tx.sql(f"SELECT flags FROM message WHERE id = ?{lock}", message_id).fetchone()[0]
    known = read_json(flags)
    if f"{ALSO}{name}" not in known:
        tx.sql("UPDATE message SET flags = ? WHERE id = ?", json.dumps([*known, f"{ALSO}{name}"]), message_id)
