"""Which mail was the first of those that say the same: the unique key decides, in the unit that files it."""

from __future__ import annotations

from sqlmodel import Field, SQLModel

from storage.columns import BigId
from storage.store import Rows, Tx

CLAIM = "INSERT INTO mail_copy(key, receipt_id) VALUES(?, ?) ON CONFLICT (key) DO NOTHING RETURNING receipt_id"
FIRST = (
    "SELECT m.id, m.conversation_id, m.channel_id FROM message m "
    "WHERE m.receipt_id = (SELECT receipt_id FROM mail_copy WHERE key = ?)"
)


class MailCopy(SQLModel, table=True):
    """The receipt that a mail was filed from, under a key over what its sender wrote (`hub.copies`)."""

    __tablename__ = "mail_copy"

    key: str = Field(primary_key=True, max_length=64)
    receipt_id: int = Field(sa_type=BigId)


def claim_key(tx: Tx, key: str, receipt_id: int) -> Rows:
    """A row when this receipt is the first with the key; none when another was."""
    return tx.sql(CLAIM, key, receipt_id)


def first_with(tx: Tx, key: str) -> tuple[int, int, int] | None:
    """The message that stands for all with the key: its id, its conversation and its channel."""
    row = tx.sql(FIRST, key).fetchone()
    return None if row is None else (int(row[0]), int(row[1]), int(row[2]))
