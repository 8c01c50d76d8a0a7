"""Receipts whose bytes may be dropped after a while are found by an index of their own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

DROPPABLE = sa.text("dropped_at IS NULL AND (origin <> 'message' OR state IN ('ignored','duplicate'))")


def upgrade() -> None:
    op.create_index(
        "ix_receipt_droppable", "receipt", ["received_at"], sqlite_where=DROPPABLE, postgresql_where=DROPPABLE
    )


def downgrade() -> None:
    op.drop_index("ix_receipt_droppable", "receipt")
