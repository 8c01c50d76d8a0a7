"""Tokens that OAuth providers granted to channels, sealed.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "channel_token",
        sa.Column("channel_id", BigId, nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("refreshed_at", UtcDateTime(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["channel_id"], ["channel.id"], name=op.f("fk_channel_token_channel_id_channel")),
        sa.PrimaryKeyConstraint("channel_id", name=op.f("pk_channel_token")),
    )


def downgrade() -> None:
    op.drop_table("channel_token")
