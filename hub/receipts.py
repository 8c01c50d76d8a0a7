"""What lies in the ledger: where raw bytes are kept, what is noted of them, how they come back."""

from __future__ import annotations

import json

from channels.base import Ignored, Raw
from config.language import _
from hub.hub import Hub, Opened
from hub.redaction import redacted
from storage import Tx
from storage.access import RECEIPTS, Actor, Conflict, NotFound, receipt_for
from storage.facts import ReceiptLeft
from storage.receipts import INLINE_BYTES, NEW_RECEIPT, Receipt, seen_again
from storage.store import Rows


def new_receipt(tx: Tx, opened: Opened, raw: Raw, body: bytes | None, digest: str, state: str, why: str) -> Rows:
    """The row of what has just arrived; none comes back when it was here before. Sent with the next statement."""
    headers = json.dumps(dict(raw.headers)) if raw.headers else "{}"
    return tx.insert(
        NEW_RECEIPT, opened.id, raw.dedupe_key[:255], "message", state, why, raw.content_type[:200], headers, body,
        digest, raw.file_size or len(raw.body), tx.now,
    )  # fmt: skip


def note_receipt(tx: Tx, opened: Opened, raw: Raw, body: bytes | None, digest: str) -> int | None:
    """Keep the raw thing for later reading; None when it was here before, which is counted."""
    row = new_receipt(tx, opened, raw, body, digest, "received", "").fetchone()
    if row is None:
        seen_again(tx, opened.id, raw.dedupe_key)
    return int(row[0]) if row else None


def keep_ignored(hub: Hub, opened: Opened, heard: Ignored) -> tuple[str, int]:
    """A receipt with the reason why this call is no message; its bytes only when they were meant for us."""
    raw = redacted(hub, heard.raw)
    body, digest = (None, "") if heard.private else shelve(hub, raw.body)

    def unit(tx: Tx) -> tuple[str, int]:
        receipt = new_receipt(tx, opened, raw, body, digest, "ignored", heard.why).fetchone()
        if receipt is None:
            return "duplicate", seen_again(tx, opened.id, raw.dedupe_key)
        if heard.private:
            tx.sql("UPDATE receipt SET dropped_at = ? WHERE id = ?", tx.now, receipt[0])
        return "ignored", int(receipt[0])

    return hub.store.submit(unit)


def leave(tx: Tx, actor: Actor, receipt_id: int) -> None:
    """A person has looked at what can't be read: it stays in the ledger and asks for nobody any more.

    Raises NotFound, or Conflict when it is not in quarantine.
    """
    actor.must(RECEIPTS)
    receipt = receipt_for(tx, actor, receipt_id)
    if receipt.state != "quarantined":
        raise Conflict(_("This one is {state}; only what can't be read is left as it is.", state=receipt.state))
    if receipt.looked_at is None:
        receipt.looked_at = tx.now
        tx.add(receipt)
        tx.emit(ReceiptLeft(receipt_id, by=actor.by))


def raw_bytes(hub: Hub, receipt: Receipt) -> bytes:
    """What arrived, to the byte. Raises NotFound when retention has dropped it, or BadBlob."""
    if receipt.body is not None:
        return receipt.body
    if receipt.dropped_at is not None:
        raise NotFound(_("The bytes of receipt {id} are not kept any more; its verdict is.", id=receipt.id))
    return hub.blobs.get(receipt.sha256)


def shelve(hub: Hub, body: bytes) -> tuple[bytes | None, str]:
    """Where the bytes of a receipt go: into its row, or when large into a blob that is durable before the row."""
    return (body, "") if len(body) <= INLINE_BYTES else (None, hub.blobs.put(body))
