"""Pinned work is found without looking at all that waits"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pinned = sa.text("pinned_at IS NOT NULL")
    op.create_index(
        "ix_work_item_pinned", "work_item", ["pinned_at", "id"], sqlite_where=pinned, postgresql_where=pinned
    )


def downgrade() -> None:
    op.drop_index("ix_work_item_pinned", "work_item")
