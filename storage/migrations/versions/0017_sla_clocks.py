"""Clocks for first reply, next reply and resolution"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

RUNNING, TO_NOTE = sa.text("ended_at IS NULL"), sa.text("next_at IS NOT NULL")
LIVE = "state IN ('queued','offered','assigned')"
DUE = sa.text(f"{LIVE} AND first_reply_at IS NULL AND breached_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "sla_clock",
        sa.Column("id", BigId, nullable=False),
        sa.Column("work_item_id", BigId, nullable=False),
        sa.Column("conversation_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("target_seconds", sa.Integer(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("used_seconds", sa.Integer(), nullable=False),
        sa.Column("running_since", UtcDateTime(), nullable=True),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.Column("warned_at", UtcDateTime(), nullable=True),
        sa.Column("breached_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["work_item_id"], ["work_item.id"], name=op.f("fk_sla_clock_work_item_id_work_item")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_sla_clock_conversation_id_conversation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sla_clock")),
    )
    op.create_index(
        "uq_sla_clock_running", "sla_clock", ["conversation_id", "kind"], unique=True, sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )  # fmt: skip
    op.create_index("ix_sla_clock_next", "sla_clock", ["next_at"], sqlite_where=TO_NOTE, postgresql_where=TO_NOTE)
    op.create_index("ix_sla_clock_conversation", "sla_clock", ["conversation_id", "id"])
    # What waits for its first reply goes on waiting; targets that ran out already have been noted.
    op.execute(
        "INSERT INTO sla_clock(work_item_id, conversation_id, kind, target_seconds, started_at, used_seconds, "
        "running_since, due_at, next_at, breached_at) SELECT work_item.id, conversation_id, 'first_reply', "
        "queue.first_reply_seconds, enqueued_at, 0, enqueued_at, due_at, "
        "CASE WHEN breached_at IS NULL THEN due_at END, breached_at "
        f"FROM work_item JOIN queue ON queue.id = work_item.queue_id WHERE {LIVE} AND first_reply_at IS NULL"
    )
    op.execute(f"UPDATE work_item SET due_at = NULL WHERE {LIVE} AND first_reply_at IS NOT NULL")
    op.drop_index("ix_work_item_due", "work_item")
    with op.batch_alter_table("queue") as queue:
        queue.add_column(sa.Column("sla", Json, server_default="{}", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("queue") as queue:
        queue.drop_column("sla")
    op.create_index("ix_work_item_due", "work_item", ["due_at"], sqlite_where=DUE, postgresql_where=DUE)
    op.drop_table("sla_clock")
