"""What arrived, exactly as it arrived, and how far each mailbox has been read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Index,
    LargeBinary,
    UniqueConstraint,
    and_,
    literal_column,
    or_,
    text,
)
from sqlmodel import Field, SQLModel, col, func, select

from storage.batches import placeholders
from storage.columns import BigId, json, key, ref, utc
from storage.store import Tx

STUCK_AFTER = timedelta(minutes=10)  # longer than all tries at reading something take
INLINE_BYTES = 64 * 1024  # larger bodies are blobs

# No row comes back when it was here before: the unique key is the judge.
NEW_RECEIPT = (
    "INSERT INTO receipt(channel_id, dedupe_key, origin, state, why, attempts, content_type, headers, body, sha256, "
    "size, received_at) VALUES(?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (channel_id, dedupe_key) DO NOTHING"
)
NEW_STATUS = (
    "INSERT INTO receipt(channel_id, dedupe_key, origin, state, why, attempts, content_type, headers, body, sha256, "
    "size, received_at, message_id) VALUES(?, ?, 'status', ?, ?, 0, ?, ?, ?, '', ?, ?, ?) "
    "ON CONFLICT (channel_id, dedupe_key) DO NOTHING"
)
# What belongs to no channel (Slack's buttons) has a unique index of its own: to databases no NULL is like another.
NEW_RECEIPT_OF_NONE = (
    "INSERT INTO receipt(channel_id, dedupe_key, origin, state, why, attempts, content_type, headers, body, sha256, "
    "size, received_at) VALUES(NULL, ?, ?, ?, ?, 0, ?, '{}', ?, '', ?, ?) "
    "ON CONFLICT (dedupe_key) WHERE channel_id IS NULL DO NOTHING"
)
# SQLite uses a partial index only where the query says the index's own condition in the same words.
OPEN = "state IN ('received','quarantined')"
# What may lose its bytes after a while. A message's own never do; what is to be read still needs them.
DROPPABLE = "dropped_at IS NULL AND (origin <> 'message' OR state IN ('ignored','duplicate'))"
IN_BLOB = "sha256 <> ''"


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Receipt(SQLModel, table=True):
    """One raw thing. `state` is received (still to be read), accepted, duplicate, ignored or quarantined.

    The unique key is the only judge of "already seen"; `seen` counts how often it came and `seen_at` is when it came
    again last. `body` is null when the bytes are the blob `sha256`, or when they were dropped at `dropped_at`.
    `origin` is message, status (of our message `message_id`) or press (of a button in Slack, of no channel).
    `attempts` counts the tries at reading it, each before it begins. At `looked_at` a person left it in quarantine.
    """

    __table_args__ = (
        UniqueConstraint("channel_id", "dedupe_key"),
        _partial("uq_receipt_of_none", "dedupe_key", where="channel_id IS NULL", unique=True),
        _partial("ix_receipt_open", "state", "id", where=OPEN),
        _partial("ix_receipt_droppable", "received_at", where=DROPPABLE),
        _partial("ix_receipt_blob", "sha256", where=IN_BLOB),
        _partial("ix_receipt_message", "message_id", where="message_id IS NOT NULL"),
        Index("ix_receipt_received_at", "received_at"),
    )

    id: int | None = key()
    channel_id: int | None = ref("channel.id", nullable=True)
    dedupe_key: str = Field(max_length=255)
    origin: str = Field(default="message", max_length=8)
    state: str = Field(max_length=12)
    why: str = ""
    attempts: int = 0
    content_type: str = ""
    headers: dict[str, str] = json()
    body: bytes | None = Field(default=None, sa_type=LargeBinary)
    sha256: str = Field(default="", max_length=64)
    size: int = 0
    received_at: datetime = utc()
    seen: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    seen_at: datetime | None = utc(nullable=True)
    message_id: int | None = Field(default=None, sa_type=BigId)
    dropped_at: datetime | None = utc(nullable=True)
    looked_at: datetime | None = utc(nullable=True)


def still_open() -> ColumnElement[bool]:
    """The condition that lets SQLite find unread and quarantined receipts by their index; said beside the state."""
    return literal_column(f"receipt.{OPEN}")  # without a type: of a boolean SQLAlchemy makes "… = 1", no index's words


def seen_again(tx: Tx, channel_id: int, dedupe_key: str) -> int:
    """Count a re-delivery on the receipt that was there first; its id. The first delivery pays nothing for this."""
    rows = tx.sql(
        "UPDATE receipt SET seen = seen + 1, seen_at = ? WHERE channel_id = ? AND dedupe_key = ? RETURNING id",
        tx.now, channel_id, dedupe_key[:255],
    ).fetchall()  # fmt: skip
    return int(rows[0][0])


def note_press(tx: Tx, key: str, body: bytes, state: str, why: str = "") -> bool:
    """Keep what Slack told of a button; False when it told before, which is counted."""
    content_type = "application/x-www-form-urlencoded"
    noted = tx.insert(
        NEW_RECEIPT_OF_NONE, key, "press", state, why, content_type, body, len(body), tx.now
    ).fetchone()  # fmt: skip
    if noted is None:
        sql = "UPDATE receipt SET seen = seen + 1, seen_at = ? WHERE channel_id IS NULL AND dedupe_key = ?"
        tx.sql(sql, tx.now, key)
    return noted is not None


def begin_try(tx: Tx, receipt_id: int, attempts: int) -> bool:
    """Count a further try at reading a receipt; False when another process was faster or it needs none.

    The first try is counted by storing it. A reader that takes the whole process with it is so found out.
    """
    counted = tx.sql(
        "UPDATE receipt SET attempts = attempts + 1 WHERE id = ? AND attempts = ? "
        "AND state IN ('received','quarantined')",
        receipt_id, attempts,
    )  # fmt: skip
    return counted.rowcount == 1


def is_kept() -> ColumnElement[bool]:
    """The condition on receipts whose bytes are still here."""
    return and_(col(Receipt.dropped_at).is_(None), or_(col(Receipt.sha256) != "", col(Receipt.body).is_not(None)))


def is_unseen() -> ColumnElement[bool]:
    """The condition on what can't be read and nobody has looked at yet."""
    return and_(col(Receipt.state) == "quarantined", still_open(), col(Receipt.looked_at).is_(None))


def stuck(tx: Tx) -> tuple[int, int]:
    """How many receipts are unread for too long, and how many unreadable wait for a person: 0 and 0 is healthy."""
    late = and_(col(Receipt.state) == "received", still_open(), col(Receipt.received_at) <= tx.now - STUCK_AFTER)
    unread, unseen = (
        tx.exec(select(func.count()).select_from(Receipt).where(condition)).one() for condition in (late, is_unseen())
    )
    return unread, unseen


def reopen(tx: Tx, numbers: Sequence[int]) -> int:
    """Have receipts read again that nothing could be made of; their tries begin anew. How many there are."""
    marks = placeholders(numbers)
    opened = tx.sql(
        f"UPDATE receipt SET state = 'received', why = '', attempts = 0 WHERE id IN ({marks}) AND {OPEN}", *numbers
    )
    return opened.rowcount


class MailCursor(SQLModel, table=True):
    """How far a folder has been read: moved in the same unit that stores the receipt. And how that goes.

    `looked_at` is the last time that the server told what is new, `behind` how many mails were still to be fetched
    then, `problem` the sentence of what failed since. UIDs are unsigned and of 32 bits (RFC 3501 2.3.1.1).
    """

    __tablename__ = "mail_cursor"

    channel_id: int = Field(foreign_key="channel.id", primary_key=True, sa_type=BigId)
    folder: str = Field(primary_key=True, max_length=255)
    uidvalidity: int = Field(default=0, sa_type=BigInteger)
    uid: int = Field(default=0, sa_type=BigInteger)
    moved_at: datetime = utc()
    looked_at: datetime | None = utc(nullable=True)
    reconciled_at: datetime | None = utc(nullable=True)
    behind: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    problem: str = Field(default="", sa_column_kwargs={"server_default": ""})


class MailSeen(SQLModel, table=True):
    """One mail under one number of one folder, so that a gap is found and what is to be done with it isn't forgotten.

    `state` is kept, unsettled (flag, label or move are still to be done), missing (the server did not hand it over;
    `tries` counts) or gone. `receipt_id` names what it was stored as; receipts may be forgotten earlier. `history` is a
    mail from before, which wakes nobody however late it comes.
    """

    __tablename__ = "mail_seen"
    __table_args__ = (
        Index(
            "ix_mail_seen_open",
            "channel_id",
            "folder",
            "state",
            sqlite_where=text("state IN ('unsettled','missing')"),
            postgresql_where=text("state IN ('unsettled','missing')"),
        ),
    )

    channel_id: int = Field(foreign_key="channel.id", primary_key=True, sa_type=BigId)
    folder: str = Field(primary_key=True, max_length=255)
    uidvalidity: int = Field(primary_key=True, sa_type=BigInteger)
    uid: int = Field(primary_key=True, sa_type=BigInteger)
    receipt_id: int | None = Field(default=None, sa_type=BigId)
    state: str = Field(max_length=9)
    tries: int = 1
    seen_at: datetime = utc()
    history: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
