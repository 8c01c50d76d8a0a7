"""What arrived, exactly as it arrived, and how far each mailbox has been read."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from storage.columns import BigId, json, key, ref, utc
from storage.store import Tx

INLINE_BYTES = 64 * 1024  # larger bodies are blobs

# No row comes back when it was here before: the unique key is the judge.
NEW_RECEIPT = (
    "INSERT INTO receipt(channel_id, dedupe_key, origin, state, why, attempts, content_type, headers, body, sha256, "
    "size, received_at) VALUES(?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (channel_id, dedupe_key) DO NOTHING RETURNING id"
)


class Receipt(SQLModel, table=True):
    """One raw thing. `state` is received (still to be read), accepted, duplicate, ignored or quarantined.

    The unique key is the only judge of "already seen". `body` is null when the bytes are the blob `sha256`.
    `origin` is message or status. `attempts` counts the tries at reading it, each before it begins.
    """

    __table_args__ = (
        UniqueConstraint("channel_id", "dedupe_key"),
        Index(
            "ix_receipt_open",
            "state",
            "id",
            sqlite_where=text("state IN ('received','quarantined')"),
            postgresql_where=text("state IN ('received','quarantined')"),
        ),
    )

    id: int | None = key()
    channel_id: int = ref("channel.id")
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
    `tries` counts) or gone. `receipt_id` names what it was stored as; receipts may be forgotten earlier.
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
