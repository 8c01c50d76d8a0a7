"""Reading mailboxes: one leader per account, raw mails durable with the cursor, then understood one by one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice

from sqlmodel import col, select

from channels.base import Cursor, Polls, Raw
from hub.hub import Hub, Opened
from hub.intake import note_receipt, read_first, read_receipt, shelve
from storage import Tx
from storage.access import NotFound
from storage.failpoints import step
from storage.leases import drop_lease, take_lease
from storage.receipts import MailCursor, Receipt

logger = logging.getLogger(__name__)

BATCH = 50
LEASE_SECONDS = 45.0  # also how long mail waits when the process that read it dies
BACKOFF_SECONDS = (1, 2, 5, 10, 30, 60)

MOVE = (
    "INSERT INTO mail_cursor(channel_id, folder, uidvalidity, uid, moved_at) VALUES(?, ?, ?, ?, ?) "
    "ON CONFLICT (channel_id, folder) DO UPDATE SET uidvalidity = excluded.uidvalidity, uid = excluded.uid, "
    "moved_at = excluded.moved_at"
)


class LeaseLost(Exception):
    """Another process reads this mailbox now; nothing was stored."""


class Mailbox:
    """Follows one account for as long as this process leads it."""

    def __init__(self, hub: Hub, opened: Opened, holder: str):
        self.hub = hub
        self.opened = opened
        self.lease = f"mailbox:{opened.account.name}"
        self.holder = holder
        self.epoch: int | None = None
        self._behind = True  # whether something may be stored that is not filed yet

    def loop(self, stop: threading.Event) -> None:
        """Poll, then wait for news, until told to stop. A lost connection is mended with growing pauses."""
        failures = 0
        while not stop.is_set():
            try:
                if not self._lead():
                    stop.wait(5)
                    continue
                if self._behind:  # that comes first: later mails may answer it
                    file_left_over(self.hub, 0, self.opened.id)
                    self._behind = False
                self.read_new()
                self._healthy(failures)
                failures = 0
                self._channel().wait(min(self.hub.settings.mail_poll_seconds, LEASE_SECONDS / 3))
            except Exception as error:
                failures, self._behind = failures + 1, True
                self._note_problem(error, failures)
                stop.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1])
        self.close()
        self.hub.store.submit(lambda tx: drop_lease(tx, self.lease, self.holder))

    def close(self) -> None:
        """End a wait under way and drop the connection; called from another thread."""
        self._channel().close()

    def read_new(self) -> int:
        """Store everything after the cursor, in batches; then file it. Returns how many mails were new.

        Raises LeaseLost, or the channel's own error when the connection breaks: what was stored stays stored.
        """
        arrivals = self._channel().poll(self._cursor())
        count = 0
        while batch := list(islice(arrivals, BATCH)):
            step("mailbox.fetched")
            count += self._store(batch)
            self._channel().settled(batch[-1][1])
            step("mailbox.settled")
        return count

    def _store(self, batch: list[tuple[Raw | None, Cursor]]) -> int:
        """One unit: the raw mails and how far the folder has been read."""
        kept = [(raw, *shelve(self.hub, raw.body)) for raw, _ in batch if raw is not None]
        reached = batch[-1][1]

        def unit(tx: Tx) -> list[tuple[int, Raw]]:
            if self.epoch is not None and take_lease(tx, self.lease, self.holder, LEASE_SECONDS) != self.epoch:
                raise LeaseLost(f"another process reads {self.opened.account.name} now")
            numbers = [note_receipt(tx, self.opened, raw, body, digest) for raw, body, digest in kept]
            step("mailbox.noted")
            tx.sql(MOVE, self.opened.id, reached.folder, reached.uidvalidity, reached.uid, tx.now)
            return [(number, raw) for number, (raw, *_) in zip(numbers, kept, strict=True) if number is not None]

        arrived = self.hub.store.submit(unit)
        step("mailbox.stored")
        read_first(self.hub, self.opened, arrived)
        step("mailbox.filed")
        return len(arrived)

    def _channel(self) -> Polls:
        channel = self.opened.must()
        assert isinstance(channel, Polls)
        return channel

    def _cursor(self) -> Cursor:
        with self.hub.store.read() as tx:
            row = tx.exec(
                select(MailCursor).where(MailCursor.channel_id == self.opened.id).order_by(col(MailCursor.folder))
            ).first()
        folder = str(self.opened.account.settings.get("folder", "INBOX"))
        return Cursor(folder, row.uidvalidity, row.uid) if row and row.folder == folder else Cursor(folder)

    def _lead(self) -> bool:
        before = self.epoch
        self.epoch = self.hub.store.submit(lambda tx: take_lease(tx, self.lease, self.holder, LEASE_SECONDS))
        self._behind |= self.epoch != before
        return self.epoch is not None

    def _healthy(self, failures: int) -> None:
        if failures or self.opened.account.problem:
            self._write_problem("")

    def _note_problem(self, error: Exception, failures: int) -> None:
        logger.warning("mailbox %s: %s (%s in a row)", self.opened.account.name, type(error).__name__, failures)
        if failures <= 2:
            self._write_problem(str(error)[:500] or type(error).__name__)

    def _write_problem(self, problem: str) -> None:
        def unit(tx: Tx) -> None:
            tx.sql("UPDATE channel SET problem = ?, checked_at = ? WHERE id = ?", problem, tx.now, self.opened.id)

        try:
            self.hub.store.submit(unit)
        except Exception:  # the database is what is away: the loop's own pause covers it
            logger.warning("mailbox %s: its state could not be written", self.opened.account.name)
        else:
            self.opened.account.problem = problem


def file_receipts(hub: Hub, numbers: Iterable[int]) -> None:
    """Understand stored receipts. One bad mail never stops the next: it is quarantined."""
    for number in numbers:
        with hub.store.read() as tx:
            receipt = tx.get(Receipt, number)
        if receipt is None or receipt.state != "received":
            continue
        try:
            read_receipt(hub, hub.channel(receipt.channel_id), receipt)
        except NotFound:
            logger.warning("receipt %s waits: its channel is switched off", number)


def file_left_over(hub: Hub, older_than_seconds: float = 30.0, channel_id: int | None = None) -> int:
    """Receipts (of one channel) that a crash left between stored and understood; how many were taken up."""
    with hub.store.read() as tx:
        before = tx.now - timedelta(seconds=older_than_seconds)
        query = select(Receipt.id).where(Receipt.state == "received", Receipt.received_at <= before)
        if channel_id is not None:
            query = query.where(Receipt.channel_id == channel_id)
        left = list(tx.exec(query.order_by(col(Receipt.id)).limit(200)))
    file_receipts(hub, [number for number in left if number is not None])
    return len(left)
