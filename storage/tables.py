"""Every table, imported: what migrations and tests need to know them all."""

from sqlmodel import SQLModel

metadata = SQLModel.metadata
__all__ = [
    *("channel_tokens", "conversations", "deliveries", "desk", "facts", "idempotency", "metadata", "people"),
    *("receipts", "work"),
]
