"""Roles that a desk makes itself"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "desk_role",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("permissions", Json, nullable=False),
        sa.Column("queue_ids", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_role")),
        sa.UniqueConstraint("name", name=op.f("uq_desk_role_name")),
    )


def downgrade() -> None:
    op.drop_table("desk_role")
