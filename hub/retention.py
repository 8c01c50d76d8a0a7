"""What need not be kept for ever is dropped after a while, as the settings say, a little at a time.

The raw bytes of a message stay as long as its conversation does. Of everything else the verdict stays: that it came,
when, how often, and what became of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from hub.hub import Hub
from storage import Tx
from storage.batches import batches, placeholders
from storage.leases import drop_lease, take_lease
from storage.receipts import DROPPABLE, IN_BLOB

logger = logging.getLogger(__name__)

BATCH = 200  # rows of one unit: nobody else waits long
WALK = 5_000  # rows looked at in one read
LEASE, LEASE_SECONDS = "retention", 6 * 3600.0
SUSPICIOUS = 500  # files; when most of them seem to be nobody's, it is the database that is wrong

OLD_BYTES = f"SELECT id FROM receipt WHERE received_at < ? AND {DROPPABLE} ORDER BY received_at LIMIT {BATCH}"
DROP_BYTES = "UPDATE receipt SET body = NULL, sha256 = '', dropped_at = ? WHERE id IN ({marks}) AND " + DROPPABLE
OLD_KEYS = f"SELECT by, value FROM idempotency_key WHERE at < ? LIMIT {BATCH}"
OLD_DELIVERIES = (
    "SELECT id FROM delivery WHERE sender = 'webhook' AND state IN ('sent','failed','cancelled') AND ended_at < ? "
    f"LIMIT {BATCH}"
)
COPIES = (
    "SELECT c.key, r.received_at < ? FROM mail_copy c JOIN receipt r ON r.id = c.receipt_id WHERE c.key > ? "
    f"ORDER BY c.key LIMIT {WALK}"
)
NAMED = (
    f"SELECT sha256 FROM receipt WHERE {IN_BLOB} AND sha256 IN ({{marks}}) "
    f"UNION SELECT sha256 FROM attachment WHERE {IN_BLOB} AND sha256 IN ({{marks}})"
)


@dataclass(frozen=True, slots=True)
class Dropped:
    """How much one run has dropped of each."""

    receipts: int = 0
    keys: int = 0
    deliveries: int = 0
    copies: int = 0
    files: int = 0


def drop_old(hub: Hub, holder: str) -> Dropped | None:
    """One run over everything, by one node at a time; None when another one is at it."""
    if hub.store.submit(lambda tx: take_lease(tx, LEASE, holder, LEASE_SECONDS)) is None:
        return None
    try:
        kept = hub.settings
        dropped = Dropped(
            receipts=_receipts(hub, kept.keep_callbacks_days),
            keys=_keys(hub, kept.keep_keys_days),
            deliveries=_deliveries(hub, kept.keep_deliveries_days),
            copies=_copies(hub, kept.keep_mail_copies_days),
            files=_files(hub, kept.keep_orphans_days),
        )
    finally:
        hub.store.submit(lambda tx: drop_lease(tx, LEASE, holder))
    if dropped != Dropped():
        logger.info("dropped what was old: %s", dropped)
    return dropped


def _receipts(hub: Hub, days: int) -> int:
    """Bytes of callbacks, and of what was ignored or a duplicate."""

    def drop(tx: Tx, rows: Sequence[Any]) -> int:
        return tx.sql(DROP_BYTES.format(marks=placeholders(rows)), tx.now, *(row[0] for row in rows)).rowcount

    return _all(hub, days, lambda tx, before: tx.sql(OLD_BYTES, before).fetchall(), drop)


def _keys(hub: Hub, days: int) -> int:
    def drop(tx: Tx, rows: Sequence[Any]) -> int:
        return sum(tx.sql("DELETE FROM idempotency_key WHERE by = ? AND value = ?", *row).rowcount for row in rows)

    return _all(hub, days, lambda tx, before: tx.sql(OLD_KEYS, before).fetchall(), drop)


def _deliveries(hub: Hub, days: int) -> int:
    """The log of webhooks; one that is being replayed is not old any more."""

    def drop(tx: Tx, rows: Sequence[Any]) -> int:
        gone = f"DELETE FROM delivery WHERE id IN ({placeholders(rows)}) AND state IN ('sent','failed','cancelled')"
        return tx.sql(gone, *(row[0] for row in rows)).rowcount

    return _all(hub, days, lambda tx, before: tx.sql(OLD_DELIVERIES, before).fetchall(), drop)


def _all(hub: Hub, days: int, choose: Callable[[Tx, datetime], Sequence[Any]], drop: Callable[..., int]) -> int:
    """Choose in a read, which holds nobody up, then drop in a small unit, until nothing is old any more."""
    total = 0
    while days:
        with hub.store.read() as tx:
            rows = [tuple(row) for row in choose(tx, tx.now - timedelta(days=days))]
        dropped = hub.store.submit(partial(drop, rows=rows)) if rows else 0
        total += dropped
        if not dropped:
            return total
    return total


def _copies(hub: Hub, days: int) -> int:
    """The keys that a later copy of a mail is known by."""
    total, last = 0, ""
    while days:
        with hub.store.read() as tx:
            rows = [tuple(row) for row in tx.sql(COPIES, tx.now - timedelta(days=days), last).fetchall()]
        if not rows:
            return total
        last = rows[-1][0]
        for old in batches([key for key, is_old in rows if is_old], BATCH):
            total += hub.store.submit(partial(_forget_copies, old=old))
    return total


def _forget_copies(tx: Tx, old: Sequence[str]) -> int:
    return tx.sql(f"DELETE FROM mail_copy WHERE key IN ({placeholders(old)})", *old).rowcount


def _files(hub: Hub, days: int) -> int:
    """Files that no row names: what a crash left between a file and its unit, and what was dropped above."""
    if not days:
        return 0
    before = hub.store.clock() - timedelta(days=days)
    seen, orphans = 0, list[str]()
    for names in batches(hub.blobs.older_than(before), BATCH):
        seen += len(names)
        orphans += _orphans(hub, names)
    if len(orphans) > SUSPICIOUS and len(orphans) * 2 > seen:
        logger.error(
            "%s of %s old files in %s are named by no row: none was removed. Is DATABASE_URL the right one?",
            len(orphans), seen, hub.blobs.folder,
        )  # fmt: skip
        return 0
    removed = 0
    for names in batches(orphans, BATCH):
        for name in _orphans(hub, names):  # somebody may have named it since
            removed += hub.blobs.remove_old(name, before)
    return removed


def drop_files(hub: Hub, names: Sequence[str]) -> int:
    """Remove files at once that no row names any more; one that somebody stores again at this moment stays."""
    before = hub.store.clock()
    return sum(hub.blobs.remove_old(name, before) for batch in batches(names, BATCH) for name in _orphans(hub, batch))


def _orphans(hub: Hub, names: Sequence[str]) -> list[str]:
    with hub.store.read() as tx:
        named = {row[0] for row in tx.sql(NAMED.format(marks=placeholders(names)), *names, *names).fetchall()}
    return [name for name in names if name not in named]
