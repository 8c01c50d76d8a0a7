"""What changes while work waits, when a queue is full, and for whom work is kept"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

STEP = sa.text("step_at IS NOT NULL")


def upgrade() -> None:
    with op.batch_alter_table("queue") as queue:
        queue.add_column(sa.Column("ladder", Json, nullable=False, server_default="[]"))
        queue.add_column(sa.Column("limits", Json, nullable=False, server_default="{}"))
    with op.batch_alter_table("routing_rule") as rule:
        rule.add_column(sa.Column("ladder", Json, nullable=False, server_default="[]"))
    with op.batch_alter_table("work_item") as item:
        item.add_column(sa.Column("ladder_rule_id", BigId, nullable=True))
        item.add_column(sa.Column("ladder_used", sa.Integer(), nullable=False, server_default="0"))
        item.add_column(sa.Column("ladder_since", UtcDateTime(), nullable=True))
        item.add_column(sa.Column("ladder_reached", sa.Integer(), nullable=False, server_default="0"))
        item.add_column(sa.Column("step_at", UtcDateTime(), nullable=True))
        item.add_column(sa.Column("joined", Json, nullable=False, server_default="[]"))
        item.add_column(sa.Column("age_credit", sa.Integer(), nullable=False, server_default="0"))
        item.add_column(sa.Column("prefer_id", BigId, nullable=True))
        item.add_column(sa.Column("prefer_until", UtcDateTime(), nullable=True))
        item.create_foreign_key(op.f("fk_work_item_prefer_id_agent"), "agent", ["prefer_id"], ["id"])
    op.create_index("ix_work_item_step", "work_item", ["step_at"], sqlite_where=STEP, postgresql_where=STEP)
    # What waits already has waited since it came.
    op.execute("UPDATE work_item SET ladder_since = enqueued_at WHERE state IN ('queued', 'offered')")


def downgrade() -> None:
    op.drop_index("ix_work_item_step", "work_item")
    with op.batch_alter_table("work_item") as item:
        item.drop_constraint(op.f("fk_work_item_prefer_id_agent"), type_="foreignkey")
        for column in (
            "prefer_until", "prefer_id", "age_credit", "joined", "step_at", "ladder_reached", "ladder_since",
            "ladder_used", "ladder_rule_id",
        ):  # fmt: skip
            item.drop_column(column)
    with op.batch_alter_table("routing_rule") as rule:
        rule.drop_column("ladder")
    with op.batch_alter_table("queue") as queue:
        queue.drop_column("limits")
        queue.drop_column("ladder")
