"""Duties that only one process may do at a time, held by a row and fenced by an epoch."""

from __future__ import annotations

from datetime import timedelta

from storage.store import Tx


def take_lease(tx: Tx, name: str, holder: str, seconds: float) -> int | None:
    """Take or renew a lease; its epoch, or None while somebody else holds it. A new holder gets a higher epoch."""
    until = tx.now + timedelta(seconds=seconds)
    if tx.sql("UPDATE lease SET expires_at = ? WHERE name = ? AND holder = ?", until, name, holder).rowcount == 0:
        tx.sql(
            "INSERT INTO lease(name, holder, epoch, expires_at) VALUES(?, ?, 1, ?) ON CONFLICT (name) DO UPDATE "
            "SET holder = excluded.holder, epoch = lease.epoch + 1, expires_at = excluded.expires_at "
            "WHERE lease.expires_at < ?",
            name, holder, until, tx.now,
        )  # fmt: skip
    row = tx.sql("SELECT epoch FROM lease WHERE name = ? AND holder = ?", name, holder).fetchone()
    return None if row is None else int(row[0])


def holds_lease(tx: Tx, name: str, holder: str, epoch: int) -> bool:
    """Whether a write of this holder still counts; on PostgreSQL the row stays locked until the commit."""
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    row = tx.sql(f"SELECT 1 FROM lease WHERE name = ? AND holder = ? AND epoch = ?{lock}", name, holder, epoch)
    return row.fetchone() is not None


def drop_all_leases(tx: Tx) -> None:
    """End what an earlier life of the only process still holds, so that nothing waits for it to run out."""
    tx.sql("UPDATE lease SET expires_at = ? WHERE expires_at > ?", tx.now - timedelta(days=1), tx.now)


def drop_lease(tx: Tx, name: str, holder: str) -> None:
    """Give a lease back, so that the next one need not wait for it to run out."""
    tx.sql("UPDATE lease SET expires_at = ? WHERE name = ? AND holder = ?", tx.now - timedelta(days=1), name, holder)
