"""Conversations that were divided, or merged into another one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversation", sa.Column("merged_into_id", BigId, nullable=True))
    op.add_column("conversation", sa.Column("divided", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "conversation_move",
        sa.Column("id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=5), nullable=False),
        sa.Column("from_id", BigId, nullable=False),
        sa.Column("to_id", BigId, nullable=False),
        sa.Column("moved", Json, nullable=False),
        sa.Column("before", Json, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("undone_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["from_id"], ["conversation.id"], name=op.f("fk_conversation_move_from_id_conversation")
        ),
        sa.ForeignKeyConstraint(["to_id"], ["conversation.id"], name=op.f("fk_conversation_move_to_id_conversation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_move")),
    )
    op.create_index("ix_conversation_move_from_id", "conversation_move", ["from_id"])
    op.create_index("ix_conversation_move_to_id", "conversation_move", ["to_id"])


def downgrade() -> None:
    op.drop_table("conversation_move")
    op.drop_column("conversation", "divided")
    op.drop_column("conversation", "merged_into_id")
