"""A fact and the row that keeps it; what facts there are is in storage/facts.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from storage.columns import BigId, json, key, utc


@dataclass(frozen=True, slots=True)
class Fact:
    """`conversation_id` and `contact_id` are columns of the table as well; `by` says who did it.

    `by` is "agent:<id>", "token:<id>", "customer", "system" or "channel:<name>".
    """

    kinds: ClassVar[dict[str, type[Fact]]] = {}

    def __init_subclass__(cls) -> None:
        Fact.kinds[cls.__name__] = cls

    def data(self) -> dict[str, Any]:
        """The fields as a JSON document."""
        return {name: getattr(self, name) for name in _names(type(self))}


_field_names: dict[type[Fact], tuple[str, ...]] = {}


def _names(kind: type[Fact]) -> tuple[str, ...]:
    if kind not in _field_names:
        _field_names[kind] = tuple(f.name for f in fields(kind))
    return _field_names[kind]


# The audit log: facts of a person's hand on accounts, settings and other people's work. What concerns one conversation
# stands in that conversation. The words are those of the index, or SQLite would not take it.
AUDITED = (
    "name IN ('SignedIn','SignInsEnded','SignInStopped','PasswordChanged','PasswordResetAsked','SecondStepChanged',"
    "'RecoveryCodesMade','AgentInvited','AgentChanged','AgentSwitched','RoleChanged','TokenCreated','TokenRevoked',"
    "'SignInRulesChanged','DeskChanged','AgentDrained','AgentUndrained','QueuePaused','QueueResumed','ContactsMerged',"
    "'ContactsUnmerged','AddressAllowed','ReceiptsReplayed','ReceiptLeft','ContactBlocked','ContactExported',"
    "'ContactErased','ContactsParted')"
)


class FactRow(SQLModel, table=True):
    """A stored fact. `id` order is commit order: a reader that has seen id N has missed nothing below N."""

    __tablename__ = "fact"
    __table_args__ = (
        Index("ix_fact_conversation_id", "conversation_id", "id"),
        Index("ix_fact_contact_id", "contact_id", "id"),
        Index("ix_fact_audited", "id", sqlite_where=text(AUDITED), postgresql_where=text(AUDITED)),
    )

    id: int | None = key()
    name: str = Field(max_length=64)
    at: datetime = utc()
    conversation_id: int | None = Field(default=None, sa_type=BigId)
    contact_id: int | None = Field(default=None, sa_type=BigId)
    data: dict[str, Any] = json()
