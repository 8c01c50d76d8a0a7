"""Supervisors' commands: agents who finish, pinned work, paused queues; and an index of waiting work by what is due"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("agent", sa.Column("drained_at", UtcDateTime(), nullable=True))
    op.add_column("queue", sa.Column("paused_why", sa.String(), server_default="", nullable=False))
    op.add_column("work_item", sa.Column("pinned_at", UtcDateTime(), nullable=True))
    op.add_column("work_item", sa.Column("pin_agent_id", BigId, nullable=True))
    op.add_column("work_item", sa.Column("pin_until", UtcDateTime(), nullable=True))
    queued = sa.text("state = 'queued'")
    op.create_index(
        "ix_work_item_due",
        "work_item",
        ["due_at", "queue_id", "channel", "order_time", "id"],
        sqlite_where=queued,
        postgresql_where=queued,
    )


def downgrade() -> None:
    op.drop_index("ix_work_item_due", "work_item")
    for column in ("pin_until", "pin_agent_id", "pinned_at"):
        op.drop_column("work_item", column)
    op.drop_column("queue", "paused_why")
    op.drop_column("agent", "drained_at")
