"""Every table, imported: what migrations and tests need to know them all."""

from sqlmodel import SQLModel

from storage import conversations, deliveries, desk, facts, idempotency, people, receipts, work

metadata = SQLModel.metadata
__all__ = ["conversations", "deliveries", "desk", "facts", "idempotency", "metadata", "people", "receipts", "work"]
