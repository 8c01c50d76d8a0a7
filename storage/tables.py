"""Every table, imported: what migrations and tests need to know them all."""

from sqlmodel import SQLModel

from storage import (
    automatic,
    calendars,
    channel_tokens,
    checks,
    clocks,
    conversations,
    copies,
    deliveries,
    desk,
    doors,
    experiments,
    facts,
    idempotency,
    later,
    macros,
    participants,
    people,
    receipts,
    tags,
    work,
)

metadata = SQLModel.metadata
__all__ = [
    "automatic",
    "calendars",
    "channel_tokens",
    "checks",
    "clocks",
    "conversations",
    "copies",
    "deliveries",
    "desk",
    "doors",
    "experiments",
    "facts",
    "idempotency",
    "later",
    "macros",
    "metadata",
    "participants",
    "people",
    "receipts",
    "tags",
    "work",
]
