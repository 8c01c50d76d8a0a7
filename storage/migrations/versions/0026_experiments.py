"""Experiments of the policy lab"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agent_id", BigId, nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("wanted", Json, nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("desk", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("result", Json, nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_experiment_agent_id_agent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiment")),
    )
    pending = sa.text("state IN ('waiting','running')")
    op.create_index("ix_experiment_pending", "experiment", ["id"], sqlite_where=pending, postgresql_where=pending)
    op.create_index("ix_experiment_created_at", "experiment", ["created_at"])


def downgrade() -> None:
    op.drop_table("experiment")
