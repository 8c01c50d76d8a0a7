"""What need not be kept is dropped in time; what people may still need stays."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from channels.base import DeliveryState, DeliveryUpdate, Raw
from hub import retention
from hub.delivery import settle_update
from hub.intake import retry_receipt
from hub.receipts import raw_bytes
from hub.retention import Dropped, drop_old
from storage.access import Conflict, NotFound
from storage.conversations import Attachment
from storage.idempotency import answered_before, remember
from storage.leases import take_lease
from storage.receipts import INLINE_BYTES, Receipt
from tests.browser.scene import quarantine, rich_mail
from tests.desk import Desk

MAIL = (
    b"From: mara@example.com\r\nSubject: Lamp\r\nMessage-ID: <one@x>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\n\r\n"
)


def run(desk: Desk) -> Dropped | None:
    return drop_old(desk.hub, "node 1")


def receipt(desk: Desk, number: int | None) -> Receipt:
    with desk.hub.store.read() as tx:
        return tx.get_one(Receipt, number)


def callback(desk: Desk, key: str = "status:SM9:failed:") -> int:
    told = DeliveryUpdate(Raw(key, b"MessageStatus=failed"), DeliveryState.FAILED, id="u9")
    settle_update(desk.hub.store, desk.hub.channel_named("support-sms").id, told)
    with desk.hub.store.read() as tx:
        return int(tx.sql("SELECT id FROM receipt WHERE dedupe_key = ?", key).fetchone()[0])


def age(desk: Desk, days: float) -> None:
    """Every file was stored so long ago."""
    moment = (desk.clock() - timedelta(days=days)).timestamp()
    for path in (desk.hub.settings.data_dir / "blobs").glob("??/*"):
        os.utime(path, (moment, moment))


def files(desk: Desk) -> list[Path]:
    return sorted((desk.hub.settings.data_dir / "blobs").glob("??/*"))


def test_callbacks_lose_their_bytes_and_keep_their_verdict(desk: Desk) -> None:
    told, text = callback(desk), desk.text("hello").receipt_id
    first = desk.raw_mail(MAIL + b"It flickers." + b" " * INLINE_BYTES).receipt_id
    copy = desk.raw_mail(b"Received: by mx\r\n" + MAIL + b"It flickers." + b" " * INLINE_BYTES)
    assert copy.state == "duplicate"
    with desk.hub.store.write() as tx:
        ghost = quarantine(tx, b"?", "It names no sender.")
    desk.clock.forward(days=179)
    assert run(desk) == Dropped()
    desk.clock.forward(days=2)
    assert run(desk) == Dropped(receipts=2, files=1)

    gone = receipt(desk, told)
    assert (gone.state, gone.why, gone.body, bool(gone.dropped_at)) == (
        "ignored",
        "no such message of ours",
        None,
        True,
    )
    for number in (told, copy.receipt_id):
        with pytest.raises(NotFound, match="not kept any more"):
            raw_bytes(desk.hub, receipt(desk, number))
    for number in (text, first, ghost):
        assert raw_bytes(desk.hub, receipt(desk, number))
    assert run(desk) == Dropped()
    assert callback(desk) == told and receipt(desk, told).seen == 2


def test_a_large_duplicate_leaves_no_file_and_takes_none_that_others_name(desk: Desk) -> None:
    kept = desk.raw_mail(rich_mail()).message_id
    desk.raw_mail(MAIL + b"x" * INLINE_BYTES)
    copy = desk.raw_mail(b"Received: by mx\r\n" + MAIL + b"x" * INLINE_BYTES)
    assert copy.state == "duplicate"
    orphan = desk.hub.blobs.put(b"left by a crash")
    before = files(desk)
    desk.clock.forward(days=181)
    age(desk, 29)
    assert run(desk) == Dropped(receipts=1)
    age(desk, 31)
    assert run(desk) == Dropped(files=2)
    assert len(files(desk)) == len(before) - 2
    assert not any(path.name == orphan for path in files(desk))
    with desk.hub.store.read() as tx:
        attached = [file for file in tx.sql("SELECT sha256 FROM attachment WHERE message_id = ?", kept).fetchall()]
        assert all(desk.hub.blobs.get(file[0]) for file in attached)


def test_a_file_that_is_stored_again_at_the_last_moment_stays(desk: Desk) -> None:
    digest = desk.hub.blobs.put(b"stored again")
    age(desk, 31)
    before = desk.clock() - timedelta(days=30)
    assert list(desk.hub.blobs.older_than(before)) == [digest]
    desk.hub.blobs.put(b"stored again")
    assert not desk.hub.blobs.remove_old(digest, before)
    assert desk.hub.blobs.get(digest) == b"stored again"


def test_a_file_that_a_crash_left_aside_comes_back(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        digest = desk.hub.blobs.put(b"named by a row")
        tx.add(Attachment(name="a", content_type="text/plain", size=14, sha256=digest, created_at=tx.now))
    (path,) = files(desk)
    path.rename(path.with_name(f".{digest}.aside"))
    age(desk, 31)
    assert run(desk) == Dropped()
    assert desk.hub.blobs.get(digest) == b"named by a row"


def test_what_a_writer_left_unfinished_goes(desk: Desk) -> None:
    digest = desk.hub.blobs.put(b"whole")
    (path,) = files(desk)
    path.with_name(f".{digest}.17.abcd").write_bytes(b"wh")
    with desk.hub.store.write() as tx:
        tx.add(Attachment(name="a", content_type="text/plain", size=5, sha256=digest, created_at=tx.now))
    age(desk, 31)
    run(desk)
    assert files(desk) == [path]


def test_with_the_wrong_database_no_file_goes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "SUSPICIOUS", 3)
    for number in range(5):
        desk.hub.blobs.put(b"%d" % number)
    age(desk, 31)
    assert run(desk) == Dropped()
    assert len(files(desk)) == 5
    assert "Is DATABASE_URL the right one?" in caplog.text


def test_keys_logs_and_copies_go_in_their_time(desk: Desk) -> None:
    message = desk.raw_mail(MAIL + b"It flickers.").message_id or 0
    with desk.hub.store.write() as tx:
        assert answered_before(tx, desk.ines, "key", "digest") is None
        remember(tx, desk.ines, "key", message)
        for key, state in (("old", "sent"), ("waits", "queued")):
            tx.sql(
                "INSERT INTO delivery(sender, target, dedupe_key, payload, state, due_at, claims, in_doubt, attempts, "
                "error, response, external_id, created_at, ended_at) VALUES('webhook', 'endpoint:1', ?, '{}', ?, ?, 0, "
                "?, 1, '', '{}', '', ?, ?)",
                key, state, tx.now, False, tx.now, tx.now,
            )  # fmt: skip
    desk.clock.forward(days=31)
    assert run(desk) == Dropped(keys=1)
    desk.clock.forward(days=150)
    assert run(desk) == Dropped(deliveries=1)
    assert desk.raw_mail(b"Received: by mx\r\n" + MAIL + b"It flickers.").state == "duplicate"
    desk.clock.forward(days=1000)
    assert run(desk) == Dropped(receipts=1, copies=1)
    with desk.hub.store.read() as tx:
        assert [row[0] for row in tx.sql("SELECT state FROM delivery WHERE sender = 'webhook'").fetchall()] == [
            "queued"
        ]


def test_0_keeps_for_ever(desk: Desk) -> None:
    names = ("callbacks", "deliveries", "keys", "mail_copies", "orphans")
    desk.hub.settings = desk.hub.settings.changed(**{f"keep_{name}_days": 0 for name in names})
    callback(desk)
    desk.raw_mail(MAIL + b"It flickers.")
    desk.hub.blobs.put(b"nobody's")
    desk.clock.forward(days=5000)
    assert run(desk) == Dropped()


def test_many_go_in_small_units_and_one_node_does_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "OLD_BYTES", retention.OLD_BYTES.replace(f"LIMIT {retention.BATCH}", "LIMIT 2"))
    for number in range(5):
        callback(desk, f"status:{number}")
    desk.clock.forward(days=181)
    desk.hub.store.submit(lambda tx: take_lease(tx, retention.LEASE, "node 2", 60))
    assert run(desk) is None
    desk.clock.forward(minutes=2)
    assert run(desk) == Dropped(receipts=5)


def test_what_is_old_is_found_without_reading_everything(desk: Desk) -> None:
    if not desk.hub.settings.embedded:
        return  # PostgreSQL chooses by its statistics, and there is nothing to read here
    with desk.hub.store.read() as tx:
        plan = tx.sql(f"EXPLAIN QUERY PLAN {retention.OLD_BYTES}", tx.now).fetchall()
    assert "ix_receipt_droppable" in str([tuple(row) for row in plan])


def test_what_lost_its_bytes_is_not_tried_again(desk: Desk) -> None:
    number = desk.form(email="mara@example.com", message="hi").receipt_id or 0
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE receipt SET state = 'ignored', why = 'the honeypot field was filled in' WHERE id = ?", number)
        tx.sql("DELETE FROM message WHERE receipt_id = ?", number)
    desk.clock.forward(days=181)
    assert run(desk) == Dropped(receipts=1)
    with pytest.raises(Conflict, match="ignored already"):
        retry_receipt(desk.hub, desk.ines, number)
