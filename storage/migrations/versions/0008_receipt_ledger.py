"""Receipts count re-deliveries, name the message a status is about, may belong to no channel and may drop their bytes.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("receipt") as receipt:
        receipt.alter_column("channel_id", existing_type=BigId, nullable=True)
        receipt.add_column(sa.Column("seen", sa.Integer(), server_default="1", nullable=False))
        receipt.add_column(sa.Column("seen_at", UtcDateTime(), nullable=True))
        receipt.add_column(sa.Column("message_id", BigId, nullable=True))
        receipt.add_column(sa.Column("dropped_at", UtcDateTime(), nullable=True))
    op.create_index("ix_receipt_received_at", "receipt", ["received_at"])
    _partial("uq_receipt_of_none", "receipt", "dedupe_key", "channel_id IS NULL", unique=True)
    _partial("ix_receipt_blob", "receipt", "sha256", "sha256 <> ''")
    _partial("ix_receipt_message", "receipt", "message_id", "message_id IS NOT NULL")
    _partial("ix_attachment_blob", "attachment", "sha256", "sha256 <> ''")


def downgrade() -> None:
    op.drop_index("ix_attachment_blob", "attachment")
    for name in ("ix_receipt_message", "ix_receipt_blob", "uq_receipt_of_none", "ix_receipt_received_at"):
        op.drop_index(name, "receipt")
    op.execute("DELETE FROM receipt WHERE channel_id IS NULL")
    with op.batch_alter_table("receipt") as receipt:
        for name in ("dropped_at", "message_id", "seen_at", "seen"):
            receipt.drop_column(name)
        receipt.alter_column("channel_id", existing_type=BigId, nullable=False)


def _partial(name: str, table: str, column: str, where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, [column], unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
