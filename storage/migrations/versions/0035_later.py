"""Replies that wait for a moment"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "later_reply",
        sa.Column("message_id", BigId, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("unless_they_write", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_later_reply_message_id_message")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_later_reply")),
    )
    op.create_index("ix_later_reply_at", "later_reply", ["at"])


def downgrade() -> None:
    op.drop_table("later_reply")
