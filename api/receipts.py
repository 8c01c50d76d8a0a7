"""The ledger of what arrived: lists, raw bytes, reading again."""

from __future__ import annotations

from typing import Any

from flask import Response

from api import shapes
from api.routes import BYTES, Part, aware
from api.tokens import actor_here
from hub.intake import retry_receipt
from hub.receipts import leave, raw_bytes
from hub.redaction import MASKED
from hub.replay import plan_replay, replay
from hub.web import harmless, hub_here
from storage.access import receipt_for
from storage.ledger import Entry, Filter, entries, entry, words_of

part = Part("receipts", "Receipts")


@part.get("/receipts", query=shapes.ReceiptsQuery, gives=shapes.ReceiptPage)
def list_receipts(asked: shapes.ReceiptsQuery) -> dict[str, Any]:
    """Everything that arrived, newest first, with what became of it.

    A token that does not see every conversation gets the receipts of the messages that it sees.
    """
    with hub_here().store.read() as tx:
        page = entries(tx, actor_here(), _filter(asked), before=asked.before, limit=asked.limit)
    return {"receipts": [_shown(each) for each in page.entries], "next": page.following}


@part.get("/receipts/<int:receipt_id>", gives=shapes.Receipt)
def get_receipt(receipt_id: int) -> dict[str, Any]:
    """One receipt."""
    with hub_here().store.read() as tx:
        return _shown(entry(tx, actor_here(), receipt_id))


@part.get("/receipts/<int:receipt_id>/raw", gives=None, media=BYTES)
def get_raw(receipt_id: int) -> Response:
    """What arrived, to the byte, as a file to save. 404 also when its bytes are not kept any more."""
    hub = hub_here()
    with hub.store.read() as tx:
        receipt = receipt_for(tx, actor_here(), receipt_id)
    return harmless(raw_bytes(hub, receipt), BYTES, "attachment", f"receipt-{receipt_id}.txt")


@part.post("/receipts/<int:receipt_id>/retry", gives=shapes.Receipt, refuses=(409,))
def retry_one(receipt_id: int) -> dict[str, Any]:
    """Read it again now, if it has become no message; the answer tells what became of it."""
    hub, actor = hub_here(), actor_here()
    retry_receipt(hub, actor, receipt_id)
    with hub.store.read() as tx:
        return _shown(entry(tx, actor, receipt_id))


@part.post("/receipts/<int:receipt_id>/leave", gives=shapes.Receipt, refuses=(409,))
def leave_one(receipt_id: int) -> dict[str, Any]:
    """Say that a person has looked at what can't be read: it counts as stuck no more."""
    actor = actor_here()
    with hub_here().store.write() as tx:
        leave(tx, actor, receipt_id)
        tx.flush()
        return _shown(entry(tx, actor, receipt_id))


@part.post("/receipts/replay", body=shapes.ReplayIn, gives=shapes.Replayed, refuses=(403,))
def replay_receipts(asked: shapes.ReplayIn) -> dict[str, Any]:
    """Have all receipts of a filter read again that became no message. Counts only, unless `dry_run` is false.

    Nothing is doubled: what is a message stays that message. The hub reads them in the background.
    """
    hub, actor, wanted = hub_here(), actor_here(), _filter(asked)
    if asked.dry_run:
        with hub.store.read() as tx:
            found = plan_replay(tx, actor, wanted)
    else:
        found = replay(hub, actor, wanted)
    return {
        "dry_run": asked.dry_run, "matched": found.matched, "to_read": found.to_read, "messages": found.messages,
        "left": found.left,
    }  # fmt: skip


def _filter(asked: shapes.ReceiptFilter) -> Filter:
    return Filter(
        channel=asked.channel or "",
        state=asked.state or "",
        sort=asked.sort or "",
        since=None if asked.since is None else aware(asked.since, "since"),
        until=None if asked.until is None else aware(asked.until, "until"),
        words=words_of(asked.query or ""),
    )


def _shown(found: Entry) -> dict[str, Any]:
    channel = {"id": found.channel_id, "name": found.channel} if found.channel_id is not None else None
    return {
        "id": found.id, "channel": channel, "origin": found.origin, "state": found.state, "why": found.why,
        "attempts": found.attempts, "seen": found.seen, "seen_at": found.seen_at, "received_at": found.received_at,
        "content_type": found.content_type, "size": found.size, "key": found.key, "external_id": found.external_id,
        "sender": found.sender, "message_id": found.message_id, "conversation_id": found.conversation_id,
        "raw": found.kept, "looked_at": found.looked_at,
        "masked_cards": int(found.headers.get(MASKED, 0)),
    }  # fmt: skip
