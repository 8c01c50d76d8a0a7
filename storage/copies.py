"""Which mail was the first of those that say the same: the unique key decides, in the unit that files it."""

from __future__ import annotations

from sqlmodel import Field, SQLModel

from storage.columns import BigId
from storage.store import Rows, Tx

CLAIM = "INSERT INTO mail_copy(key, receipt_id) VALUES(?, ?) ON CONFLICT (key) DO NOTHING RETURNING receipt_id"
FIRST = (
    "SELECT c.receipt_id, m.id, m.conversation_id, m.channel_id FROM mail_copy c "
    "LEFT JOIN message m ON m.receipt_id = c.receipt_id WHERE c.key = ?"
)
REPLACE = "UPDATE mail_copy SET receipt_id = ? WHERE key = ? AND receipt_id = ?"


class MailCopy(SQLModel, table=True):
    """The receipt that a mail was filed from, under a key over what its sender wrote (`hub.copies`)."""

    __tablename__ = "mail_copy"

    key: str = Field(primary_key=True, max_length=64)
    receipt_id: int = Field(sa_type=BigId)


def claim_key(tx: Tx, key: str, receipt_id: int) -> Rows:
    """A row when this receipt is the first with the key; none when another was."""
    return tx.sql(CLAIM, key, receipt_id)


def first_with(tx: Tx, key: str, receipt_id: int) -> tuple[int, int, int] | None:
    """The message that stands for all with the key: its id, its conversation and its channel.

    None when it is not there any more, and this receipt now has its place: of several that come then, one takes it.
    """
    while (row := tx.sql(FIRST, key).fetchone()) is not None:
        standing, *message = row
        if message[0] is not None:
            return int(message[0]), int(message[1]), int(message[2])
        if tx.sql(REPLACE, receipt_id, key, standing).rowcount:
            break
    return None
