"""What is known of the folders of mail accounts: how far they are read, which mails were seen, how reading goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import select

from storage.batches import placeholders
from storage.receipts import MailCursor
from storage.store import Tx

MOST_TRIES = 5  # after which a mail that the server does not hand over is taken as whatever it gives
REMEMBERED = timedelta(days=30)

MOVE = (
    "INSERT INTO mail_cursor(channel_id, folder, uidvalidity, uid, moved_at, behind) VALUES(?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (channel_id, folder) DO UPDATE SET uidvalidity = excluded.uidvalidity, uid = excluded.uid, "
    "moved_at = excluded.moved_at, behind = excluded.behind"
)
SEEN = (
    "INSERT INTO mail_seen(channel_id, folder, uidvalidity, uid, receipt_id, state, tries, seen_at, history) "
    "VALUES(?, ?, ?, ?, (SELECT id FROM receipt WHERE channel_id = ? AND dedupe_key = ?), ?, 1, ?, ?) "
    "ON CONFLICT (channel_id, folder, uidvalidity, uid) DO UPDATE SET receipt_id = excluded.receipt_id, "
    "state = excluded.state, tries = mail_seen.tries + 1 WHERE mail_seen.state = 'missing'"
)
LOOKED = (
    "INSERT INTO mail_cursor(channel_id, folder, uidvalidity, uid, moved_at, looked_at, behind, problem) "
    "VALUES(?, ?, 0, 0, ?, ?, ?, '') ON CONFLICT (channel_id, folder) DO UPDATE SET looked_at = excluded.looked_at, "
    "behind = excluded.behind, problem = ''"
)
FAILED = (
    "INSERT INTO mail_cursor(channel_id, folder, uidvalidity, uid, moved_at, problem) VALUES(?, ?, 0, 0, ?, ?) "
    "ON CONFLICT (channel_id, folder) DO UPDATE SET problem = excluded.problem"
)
# The account's own state is that of its folders: well when none of them has a problem.
WELL = (
    "UPDATE channel SET problem = '', checked_at = ? WHERE id = ? AND problem <> '' AND NOT EXISTS "
    "(SELECT 1 FROM mail_cursor WHERE channel_id = ? AND problem <> '')"
)
OF_FOLDER = "WHERE channel_id = ? AND folder = ? AND uidvalidity = ?"


def cursor_of(tx: Tx, channel_id: int, folder: str) -> MailCursor | None:
    """How far a folder has been read; None before the first look."""
    return tx.exec(select(MailCursor).where(MailCursor.channel_id == channel_id, MailCursor.folder == folder)).first()


def move_cursor(tx: Tx, channel_id: int, folder: str, uidvalidity: int, uid: int, behind: int) -> None:
    """Everything up to this number is durable; `behind` mails are known to be after it."""
    tx.sql(MOVE, channel_id, folder, uidvalidity, uid, tx.now, behind)


def note_seen(
    tx: Tx, channel_id: int, folder: str, uidvalidity: int, uid: int, dedupe_key: str | None, state: str,
    history: bool,
) -> None:  # fmt: skip
    """A mail under its number and the receipt that has its bytes, whether it was new or known; none when missing."""
    tx.sql(SEEN, channel_id, folder, uidvalidity, uid, channel_id, dedupe_key, state, tx.now, history)


def seen_mails(tx: Tx, channel_id: int, folder: str, uidvalidity: int) -> set[int]:
    """The numbers that are known, as far back as they are remembered."""
    rows = tx.sql(f"SELECT uid FROM mail_seen {OF_FOLDER}", channel_id, folder, uidvalidity)
    return {int(row[0]) for row in rows.fetchall()}


@dataclass(frozen=True, slots=True)
class Missing:
    """A mail that the server announced and did not hand over: how often it was asked, and whether it is from before."""

    tries: int
    history: bool


def missing_mails(tx: Tx, channel_id: int, folder: str, uidvalidity: int) -> dict[int, Missing]:
    """What is withheld of a folder, by its number."""
    statement = f"SELECT uid, tries, history FROM mail_seen {OF_FOLDER} AND state = 'missing'"
    rows = tx.sql(statement, channel_id, folder, uidvalidity).fetchall()
    return {int(uid): Missing(int(tries), bool(history)) for uid, tries, history in rows}


def unsettled_mails(tx: Tx, channel_id: int, folder: str, uidvalidity: int, most: int = 500) -> list[int]:
    """Durable mails with which something is still to be done at the server."""
    statement = f"SELECT uid FROM mail_seen {OF_FOLDER} AND state = 'unsettled' ORDER BY uid LIMIT {int(most)}"
    return [int(row[0]) for row in tx.sql(statement, channel_id, folder, uidvalidity).fetchall()]


def settle_seen(tx: Tx, channel_id: int, folder: str, uidvalidity: int, uids: Sequence[int]) -> None:
    """It is done with these."""
    _set_state(tx, channel_id, folder, uidvalidity, uids, "kept")


def forget_seen(tx: Tx, channel_id: int, folder: str, uidvalidity: int, gone: Iterable[int]) -> None:
    """What is no longer there is not asked for any more; what was kept long ago need not be remembered."""
    _set_state(tx, channel_id, folder, uidvalidity, sorted(gone), "gone")
    tx.sql(
        "DELETE FROM mail_seen WHERE channel_id = ? AND folder = ? AND seen_at < ? "
        "AND (state IN ('kept','gone') OR uidvalidity <> ?)",
        channel_id, folder, tx.now - REMEMBERED, uidvalidity,
    )  # fmt: skip


def note_reconciled(tx: Tx, channel_id: int, folder: str) -> None:
    """The folder was compared with what is known of it."""
    tx.sql(
        "UPDATE mail_cursor SET reconciled_at = ? WHERE channel_id = ? AND folder = ?", tx.now, channel_id, folder
    )  # fmt: skip


def note_look(tx: Tx, channel_id: int, folder: str, behind: int) -> None:
    """The server answered, and this many mails are still to be fetched."""
    tx.sql(LOOKED, channel_id, folder, tx.now, tx.now, behind)
    tx.sql(WELL, tx.now, channel_id, channel_id)


def note_problem(tx: Tx, channel_id: int, folder: str, problem: str) -> None:
    """The folder can't be read, and why."""
    tx.sql(FAILED, channel_id, folder, tx.now, problem)
    tx.sql("UPDATE channel SET problem = ?, checked_at = ? WHERE id = ?", problem, tx.now, channel_id)


def _set_state(tx: Tx, channel_id: int, folder: str, uidvalidity: int, uids: Sequence[int], state: str) -> None:
    for start in range(0, len(uids), 500):
        some = uids[start : start + 500]
        marks = placeholders(some)
        tx.sql(
            f"UPDATE mail_seen SET state = ? {OF_FOLDER} AND uid IN ({marks})",
            state,
            channel_id,
            folder,
            uidvalidity,
            *some,
        )
