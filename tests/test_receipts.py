"""The ledger of what arrived: every thing once, with how often it came and what became of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import and_, func
from sqlmodel import col, select

from channels.base import DeliveryState, DeliveryUpdate, Raw
from hub.delivery import settle_update
from hub.intake import retry_receipt
from hub.receipts import raw_bytes
from storage.access import SYSTEM, NotFound
from storage.blobs import BadBlob, Blobs
from storage.ledger import Filter, _rows, conditions
from storage.receipts import INLINE_BYTES, Receipt, is_unseen, still_open
from tests.desk import Desk


def receipt(desk: Desk, number: int | None) -> Receipt:
    with desk.hub.store.read() as tx:
        return tx.get_one(Receipt, number)


def test_what_comes_again_is_counted_on_the_first_receipt(desk: Desk) -> None:
    first = desk.text("hello", sid="SM" + "a" * 32)
    desk.clock.forward(minutes=5)
    again = desk.text("hello", sid="SM" + "a" * 32)

    assert (again.state, again.receipt_id) == ("duplicate", first.receipt_id)
    kept = receipt(desk, first.receipt_id)
    assert (kept.state, kept.seen) == ("accepted", 2)
    assert kept.seen_at == kept.received_at + timedelta(minutes=5)


def test_a_status_told_twice_is_one_receipt_that_names_its_message(desk: Desk) -> None:
    asked = desk.text("hello")
    with desk.hub.store.write() as tx:
        tx.sql(
            "UPDATE message SET kind = 'outbound', uuid = 'u1', state = 'sent' WHERE conversation_id = ?",
            asked.conversation_id,
        )
    channel_id = desk.hub.channel_named("support-sms").id
    told = DeliveryUpdate(Raw("status:SM1:delivered:", b"MessageStatus=delivered"), DeliveryState.DELIVERED, id="u1")

    assert [settle_update(desk.hub.store, channel_id, told) for _ in range(3)] == ["accepted", "duplicate", "duplicate"]
    with desk.hub.store.read() as tx:
        rows = tx.sql("SELECT seen, message_id, state FROM receipt WHERE origin = 'status'").fetchall()
    assert [tuple(row) for row in rows] == [(3, asked.message_id, "accepted")]


def test_unread_receipts_are_found_without_reading_the_others(desk: Desk) -> None:
    if not desk.hub.settings.embedded:
        return  # PostgreSQL proves the index's condition by itself
    waits = and_(col(Receipt.state) == "received", still_open())
    queries = [
        select(func.count()).select_from(Receipt).where(is_unseen()),
        select(Receipt.id).where(waits).order_by(col(Receipt.id)).limit(200),
        _rows().where(*conditions(Filter(state="quarantined")), col(Receipt.id) < 9).order_by(col(Receipt.id).desc()),
    ]
    with desk.hub.store.read() as tx:
        for query in queries:
            told = query.compile(tx.connection(), compile_kwargs={"literal_binds": True})
            plan = tx.sql(f"EXPLAIN QUERY PLAN {told}").fetchall()
            assert "ix_receipt_open" in str([tuple(row) for row in plan]), str(told)


def test_a_large_mail_whose_file_is_damaged_is_quarantined_with_the_files_name(desk: Desk) -> None:
    taken = desk.raw_mail(b"From: mara@example.com\r\n\r\n" + b"x" * INLINE_BYTES)
    kept = receipt(desk, taken.receipt_id)
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE receipt SET state = 'received' WHERE id = ?", kept.id)
    file = desk.hub.settings.data_dir / "blobs" / kept.sha256[:2] / kept.sha256
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"y")

    assert retry_receipt(desk.hub, SYSTEM, kept.id or 0).state == "quarantined"
    assert str(file) in receipt(desk, kept.id).why
    desk.hub.blobs.restore(whole)
    assert raw_bytes(desk.hub, kept) == whole


def test_a_receipt_without_its_bytes_says_so(desk: Desk) -> None:
    taken = desk.text("hello")
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE receipt SET body = NULL, dropped_at = ? WHERE id = ?", tx.now, taken.receipt_id)
    with pytest.raises(NotFound, match="not kept any more"):
        raw_bytes(desk.hub, receipt(desk, taken.receipt_id))


def test_bytes_are_held_to_their_name(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = blobs.put(b"one lamp")
    (tmp_path / digest[:2] / digest).write_bytes(b"two lamps")
    with pytest.raises(BadBlob, match="damaged"):
        blobs.get(digest)
    assert blobs.restore(b"one lamp") == digest
    assert blobs.get(digest) == b"one lamp"
    (tmp_path / digest[:2] / digest).unlink()
    with pytest.raises(BadBlob, match="missing"):
        blobs.get(digest)
