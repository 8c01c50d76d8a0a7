"""What each agent wants to be told, and how; what is gathered for them while they are away"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notice_choices",
        sa.Column("agent_id", BigId, nullable=False),
        sa.Column("choices", Json, nullable=False),
        sa.Column("away_minutes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_notice_choices_agent_id_agent")),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_notice_choices")),
    )
    op.create_table(
        "digest",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agent_id", BigId, nullable=False),
        sa.Column("away", sa.Boolean(), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_digest_agent_id_agent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_digest")),
    )
    op.create_index("ix_digest_of", "digest", ["agent_id", "taken_at"])
    op.create_table(
        "digest_line",
        sa.Column("id", BigId, nullable=False),
        sa.Column("digest_id", BigId, nullable=False),
        sa.Column("conversation_id", BigId, nullable=False),
        sa.Column("message_id", BigId, nullable=True),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_digest_line_conversation_id_conversation")
        ),
        sa.ForeignKeyConstraint(["digest_id"], ["digest.id"], name=op.f("fk_digest_line_digest_id_digest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_digest_line")),
    )
    op.create_index(op.f("ix_digest_line_digest_id"), "digest_line", ["digest_id"])


def downgrade() -> None:
    op.drop_table("digest_line")
    op.drop_table("digest")
    op.drop_table("notice_choices")
