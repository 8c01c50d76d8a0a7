"""Who else is in a conversation by mail: put in copy by the customer or by us, or joined by answering."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel, col, select

from storage.columns import BigId, ref, utc
from storage.store import Tx

SHOWN = 100
IS_IN = "SELECT 1 FROM participant WHERE conversation_id = ? AND address = ? AND how <> 'removed'"
COPIED = (
    "INSERT INTO participant(conversation_id, address, name, how, created_at) VALUES(?, ?, '', 'copied', ?) "
    "ON CONFLICT (conversation_id, address) DO NOTHING"
)
SET = (
    "INSERT INTO participant(conversation_id, address, name, how, created_at) VALUES(?, ?, '', ?, ?) "
    "ON CONFLICT (conversation_id, address) DO UPDATE SET how = excluded.how"
)
WROTE = (
    "INSERT INTO participant(conversation_id, address, name, how, contact_id, created_at) "
    "VALUES(?, ?, ?, 'joined', ?, ?) ON CONFLICT (conversation_id, address) DO UPDATE SET name = excluded.name, "
    "contact_id = excluded.contact_id WHERE participant.contact_id IS NULL"
)


class Participant(SQLModel, table=True):
    """An address that takes part beside the customer and never replaces them.

    `how` is "copied" for somebody whom the customer or an agent named, "joined" for a stranger who answered, "added"
    and "removed" for whom an agent wants to get every answer by mail, or none.
    `contact_id` is who that is, once they wrote.
    """

    conversation_id: int = Field(foreign_key="conversation.id", primary_key=True, sa_type=BigId)
    address: str = Field(primary_key=True, max_length=320)
    name: str = ""
    how: str = Field(max_length=8)
    contact_id: int | None = ref("contact.id", nullable=True)
    created_at: datetime = utc()

    @property
    def shown(self) -> str:
        """What people call them."""
        return self.name or self.address


def participants_of(tx: Tx, conversation_id: int) -> list[Participant]:
    """Everybody who was ever named and not removed, in the order in which they came."""
    query = select(Participant).where(Participant.conversation_id == conversation_id, Participant.how != "removed")
    return list(tx.exec(query.order_by(col(Participant.created_at), Participant.address).limit(SHOWN)))


def set_participant(tx: Tx, conversation_id: int, address: str, how: str) -> None:
    """An agent's word about who takes part: it goes before what mails say."""
    tx.sql(SET, conversation_id, address, how, tx.now)


def by_hand(tx: Tx, conversation_id: int, how: str) -> list[str]:
    """The addresses that agents have added, or removed."""
    query = select(Participant.address).where(Participant.conversation_id == conversation_id, Participant.how == how)
    return list(tx.exec(query.order_by(col(Participant.created_at), Participant.address)))


def is_participant(tx: Tx, conversation_id: int, address: str) -> bool:
    """Whether a mail from there is from somebody who was in the conversation before."""
    return tx.sql(IS_IN, conversation_id, address).fetchone() is not None


def note_copied(tx: Tx, conversation_id: int, address: str) -> None:
    """Somebody who knows the matter put this address in copy."""
    tx.sql(COPIED, conversation_id, address, tx.now)


def note_writer(tx: Tx, conversation_id: int, address: str, name: str, contact_id: int) -> None:
    """Somebody other than the customer wrote; whoever was in copy keeps that."""
    tx.sql(WROTE, conversation_id, address, name, contact_id, tx.now)
