"""Reading mailboxes: one leader per folder, raw mails durable with the cursor, then understood one by one."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from sqlmodel import col, select

from channels.base import Cursor, Folder, NotConfigured, Polls, Raw
from hub.history import HISTORY
from hub.hub import Hub, Opened
from hub.intake import read_first, read_receipt
from hub.receipts import note_receipt, shelve
from hub.redaction import redacted
from storage import Tx
from storage.access import NotFound
from storage.failpoints import step
from storage.leases import drop_lease, take_lease
from storage.mailboxes import (
    MOST_TRIES,
    cursor_of,
    forget_seen,
    missing_mails,
    move_cursor,
    note_look,
    note_problem,
    note_reconciled,
    note_seen,
    seen_mails,
    settle_seen,
    unsettled_mails,
)
from storage.receipts import Receipt, still_open

logger = logging.getLogger(__name__)

BATCH = 50
BATCH_BYTES = 8 * 1024 * 1024
LEASE_SECONDS = 45.0  # also how long mail waits when the process that read it dies
BACKOFF_SECONDS = (1, 2, 5, 10, 30, 60)
# A day more than mail needs that comes late by a queue or a restored folder; INTERNALDATE knows no time zone.
RECONCILED_DAYS = 3
RECONCILE_EVERY = timedelta(hours=1)
NOTE_SECONDS = 20.0  # how old the written state of a healthy folder may be
# Longer than any step takes: every read has a timeout of its own, and a batch renews this.
SILENT_SECONDS = 600.0

Batch = list[tuple[Raw | None, Cursor]]
Guard = Callable[[Tx], object]
Stored = tuple[int, Raw, str]  # the receipt, what it holds, and the blob with its bytes, if they are many


class LeaseLost(Exception):
    """Another process reads this folder now; nothing was stored."""


class Mailbox:
    """Follows one folder of one account for as long as this process leads it."""

    def __init__(self, hub: Hub, opened: Opened, holder: str, folder: str = ""):
        self.hub = hub
        self.opened = opened
        self.folder = folder or _polls(opened).folders()[0]
        self.lease = lease_name(opened.account.name, self.folder)
        self.holder = holder
        self.epoch: int | None = None
        self._line: Folder = follow(opened, self.folder)
        self._behind = True  # whether something may be stored that is not filed yet
        self._problem = ""
        self._noted_at = -NOTE_SECONDS
        self._beat = time.monotonic()

    @property
    def silent_for(self) -> float:
        """Seconds since anything went on here."""
        return time.monotonic() - self._beat

    def loop(self, stop: threading.Event) -> None:
        """Poll, then wait for news, until told to stop. A lost connection is mended with growing pauses."""
        failures = 0
        while not stop.is_set():
            self._beat = time.monotonic()
            try:
                if not self._lead():
                    stop.wait(5)
                    continue
                if self._behind:  # that comes first: later mails may answer it
                    file_left_over(self.hub, 0, self.opened.id)
                    self._behind = False
                self.read_new()
                self.settle_left()
                self.reconcile_if_due()
                self._healthy()
                failures = 0
                self._beat = time.monotonic()
                if stop.is_set():  # a close before the poll is forgotten by it
                    break
                self._line.wait(min(self.hub.settings.mail_poll_seconds, LEASE_SECONDS / 3))
            except Exception as error:
                failures, self._behind = failures + 1, True
                self._note_problem(error, failures)
                pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]
                stop.wait(pause * random.uniform(0.7, 1.3))  # many nodes must not come back as one
        self.close()
        try:
            self.hub.store.submit(lambda tx: drop_lease(tx, self.lease, self.holder))
        except Exception as error:  # it runs out by itself
            logger.warning("mailbox %s: its lease could not be given back: %s", self.lease, error)

    def close(self) -> None:
        """End a wait under way and drop the connection; called from another thread."""
        self._line.close()

    def read_new(self) -> int:
        """Store everything after the cursor, in batches; then file it. Returns how many mails were new.

        Raises LeaseLost, or the channel's own error when the connection breaks: what was stored stays stored.
        """
        count = 0
        for batch in in_batches(self._line.poll(self._cursor())):
            step("mailbox.fetched")
            count += self._store(batch, advance=True)
            self.settle_left()
            step("mailbox.settled")
        return count

    def settle_left(self) -> None:
        """Flag, label or move what is durable. What the server refuses is tried again at the next look."""
        if not self._line.settles:
            return
        with self.hub.store.read() as tx:
            at = cursor_of(tx, self.opened.id, self.folder)
            uids = unsettled_mails(tx, self.opened.id, self.folder, at.uidvalidity) if at else []
        if at is None or not uids:
            return
        try:
            self._line.settle(at.uidvalidity, uids)
        except Exception as error:
            logger.warning("mailbox %s: mails stay as they are there: %s", self.lease, error)
            return
        self.hub.store.submit(lambda tx: settle_seen(tx, self.opened.id, self.folder, at.uidvalidity, uids))

    def reconcile_if_due(self) -> int:
        """Compare the last days of the folder with what is known of it, once an hour. How many mails were new."""
        with self.hub.store.read() as tx:
            at = cursor_of(tx, self.opened.id, self.folder)
            due = at is None or at.reconciled_at is None or at.reconciled_at + RECONCILE_EVERY <= tx.now
        return self.reconcile() if due else 0

    def reconcile(self) -> int:
        """Fetch what a gap left out or the server did not hand over, as far as the cursor has been. How many were new.

        Raises LeaseLost, or the channel's own error.
        """
        since = (self.hub.store.clock() - timedelta(days=RECONCILED_DAYS)).date()
        uidvalidity, listed = self._line.listing(since)
        with self.hub.store.read() as tx:
            at = cursor_of(tx, self.opened.id, self.folder)
            known = seen_mails(tx, self.opened.id, self.folder, uidvalidity)
            missing = missing_mails(tx, self.opened.id, self.folder, uidvalidity)
        there = self._line.present(sorted(missing)) if missing else set()
        count = 0
        reached = at.uid if at is not None and at.uidvalidity == uidvalidity else 0  # else the next poll reads all
        wanted = [uid for uid in listed if uid <= reached and uid not in known] + sorted(there)
        last_try = [uid for uid in wanted if uid in missing and missing[uid].tries >= MOST_TRIES - 1]
        again = [uid for uid in wanted if uid not in missing or missing[uid].tries < MOST_TRIES - 1]
        history = {uid for uid, each in missing.items() if each.history}
        for uids, substitutes in ((again, False), (last_try, True)):
            if uids:
                for batch in in_batches(self._line.fetch(uidvalidity, uids, substitutes=substitutes)):
                    count += self._store(batch, advance=False, history=history)
        if count:
            logger.warning("mailbox %s: %s mails were missing and are here now", self.lease, count)
        gone = set(missing) - there

        def unit(tx: Tx) -> None:
            note_reconciled(tx, self.opened.id, self.folder)
            forget_seen(tx, self.opened.id, self.folder, uidvalidity, gone)

        self.hub.store.submit(unit)
        return count

    def _store(self, batch: Batch, *, advance: bool, history: Container[int] = ()) -> int:
        """One unit: the raw mails, their numbers and how far the folder has been read. How many were new."""
        self._beat = time.monotonic()
        stored = store_mails(
            self.hub, self.opened, batch, settles=self._line.settles, guard=self._must_lead,
            behind=self._line.behind if advance else None, history=history,
        )  # fmt: skip
        step("mailbox.stored")
        read_first(self.hub, self.opened, whole(self.hub, stored))
        step("mailbox.filed")
        return len(stored)

    def _must_lead(self, tx: Tx) -> None:
        if self.epoch is not None and take_lease(tx, self.lease, self.holder, LEASE_SECONDS) != self.epoch:
            raise LeaseLost(f"another process reads {self.lease} now")

    def _cursor(self) -> Cursor:
        with self.hub.store.read() as tx:
            row = cursor_of(tx, self.opened.id, self.folder)
        return Cursor(self.folder, row.uidvalidity, row.uid) if row else Cursor(self.folder)

    def _lead(self) -> bool:
        before = self.epoch
        self.epoch = self.hub.store.submit(lambda tx: take_lease(tx, self.lease, self.holder, LEASE_SECONDS))
        self._behind |= self.epoch != before
        return self.epoch is not None

    def _healthy(self) -> None:
        if self._problem or time.monotonic() - self._noted_at >= NOTE_SECONDS:
            self._note("")

    def _note_problem(self, error: Exception, failures: int) -> None:
        logger.warning("mailbox %s: %s (%s in a row)", self.lease, type(error).__name__, failures)
        if not isinstance(error, LeaseLost) and failures <= 2:
            self._note(str(error)[:500] or type(error).__name__)

    def _note(self, problem: str) -> None:
        """Write down how it goes: what the doctor, the figures and the inbox tell comes from there."""

        def unit(tx: Tx) -> None:
            if problem:
                note_problem(tx, self.opened.id, self.folder, problem)
            else:
                note_look(tx, self.opened.id, self.folder, self._line.behind)

        try:
            self.hub.store.submit(unit)
        except Exception:  # the database is what is away: the loop's own pause covers it
            logger.warning("mailbox %s: its state could not be written", self.lease)
        else:
            self._problem, self._noted_at = problem, time.monotonic()


def lease_name(account: str, folder: str) -> str:
    """What the reader of a folder holds; short enough for its column however the folder is called."""
    name = f"mailbox:{account}:{folder}"
    return name if len(name) <= 128 else f"mailbox:{hashlib.sha256(name.encode()).hexdigest()}"


def in_batches(arrivals: Iterator[tuple[Raw | None, Cursor]]) -> Iterator[Batch]:
    """At most 50 mails or 8 MB, unless a single mail is larger; what came before an error comes before it."""
    batch: Batch = []
    size = 0
    broken: Exception | None = None
    try:
        for raw, here in arrivals:
            batch.append((raw, here))
            size += len(raw.body) + raw.file_size if raw else 0
            if len(batch) >= BATCH or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except Exception as error:
        broken = error
    if batch:
        yield batch
    if broken is not None:
        raise broken


def store_mails(
    hub: Hub, opened: Opened, batch: Batch, *, settles: bool, guard: Guard, behind: int | None = None,
    history: Container[int] = (),
) -> list[Stored]:  # fmt: skip
    """Make mails durable with what is known about their numbers; the receipts that are new.

    `guard` raises in the unit when it must not happen any more. `behind` is how many are still to come after these;
    without it the cursor stays where it is. Those in `history` are from before: they wake nobody, and nothing is done
    with them at the server.
    """
    batch = [(raw and redacted(hub, _marked(raw, here, history)), here) for raw, here in batch]
    kept = [(raw, *_shelved(hub, raw)) for raw, _ in batch if raw is not None]
    reached = batch[-1][1]

    def unit(tx: Tx) -> list[Stored]:
        guard(tx)
        numbers = [note_receipt(tx, opened, raw, body, digest) for raw, body, digest in kept]
        step("mailbox.noted")
        for raw, here in batch:
            past = here.uid in history
            state = "missing" if raw is None else "unsettled" if settles and not past else "kept"
            key = raw.dedupe_key if raw else None
            note_seen(tx, opened.id, here.folder, here.uidvalidity, here.uid, key, state, past)
        if behind is not None:
            move_cursor(tx, opened.id, reached.folder, reached.uidvalidity, reached.uid, behind)
        new = zip(numbers, kept, strict=True)
        return [(number, raw, digest) for number, (raw, _, digest) in new if number is not None]

    return hub.store.submit(unit)


def _marked(raw: Raw, here: Cursor, history: Container[int]) -> Raw:
    return replace(raw, headers={**raw.headers, HISTORY: "yes"}) if here.uid in history else raw


def whole(hub: Hub, stored: Iterable[Stored]) -> Iterator[tuple[int, Raw]]:
    """Receipts with their bytes; a large mail is loaded when its turn comes."""
    for number, raw, digest in stored:
        yield number, raw if raw.file is None else replace(raw, body=hub.blobs.get(digest), file=None, file_size=0)


def _shelved(hub: Hub, raw: Raw) -> tuple[bytes | None, str]:
    if raw.file is None:
        return shelve(hub, raw.body)
    with raw.file as file:
        return None, hub.blobs.put_file(file)


def folders_of(opened: Opened) -> tuple[str, ...]:
    """What is to be followed of an account; nothing of one that is not asked but calls us."""
    return opened.channel.folders() if isinstance(opened.channel, Polls) else ()


def follow(opened: Opened, folder: str) -> Folder:
    """A folder of an account over a connection of its own. Raises NotConfigured."""
    return _polls(opened).follow(folder)


def _polls(opened: Opened) -> Polls:
    channel = opened.must()
    assert isinstance(channel, Polls)
    return channel


def file_receipts(hub: Hub, numbers: Iterable[int]) -> None:
    """Understand stored receipts. One bad mail never stops the next: it is quarantined."""
    for number in numbers:
        with hub.store.read() as tx:
            receipt = tx.get(Receipt, number)
        if receipt is None or receipt.state != "received":
            continue
        try:
            read_receipt(hub, hub.channel(receipt.channel_id or 0), receipt)
        except (NotFound, NotConfigured):
            logger.warning("receipt %s waits: its channel is switched off or can't be opened", number)


def file_left_over(hub: Hub, older_than_seconds: float = 30.0, channel_id: int | None = None) -> int:
    """Receipts (of one channel) that a crash left between stored and understood; how many were taken up."""
    # Those of a channel that is switched off or can't be opened wait for it, and nothing else waits behind them.
    working = [opened.id for opened in hub.channels() if opened.channel is not None]
    with hub.store.read() as tx:
        before = tx.now - timedelta(seconds=older_than_seconds)
        query = select(Receipt.id).where(Receipt.state == "received", still_open(), Receipt.received_at <= before)
        query = query.where(col(Receipt.channel_id).in_(working))
        if channel_id is not None:
            query = query.where(Receipt.channel_id == channel_id)
        left = list(tx.exec(query.order_by(col(Receipt.id)).limit(200)))
    file_receipts(hub, [number for number in left if number is not None])
    return len(left)
