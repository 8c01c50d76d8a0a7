"""Calendars, and what queues promise in them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calendar",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("plan", Json, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendar")),
        sa.UniqueConstraint("name", name=op.f("uq_calendar_name")),
    )
    with op.batch_alter_table("queue") as queue:
        queue.add_column(sa.Column("calendar_id", BigId, nullable=True))
        queue.create_foreign_key(op.f("fk_queue_calendar_id_calendar"), "calendar", ["calendar_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("queue") as queue:
        queue.drop_constraint(op.f("fk_queue_calendar_id_calendar"), type_="foreignkey")
        queue.drop_column("calendar_id")
    op.drop_table("calendar")
