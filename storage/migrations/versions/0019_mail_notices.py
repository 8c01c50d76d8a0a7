"""Agents may be told by mail, and answer by mail, with a signature of their own"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("agent", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mail_notices", sa.Boolean(), server_default=sa.text("false"), nullable=False))
        batch_op.add_column(sa.Column("signature", sa.String(), server_default="", nullable=False))
    op.create_table(
        "mail_notice",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agent_id", BigId, nullable=False),
        sa.Column("conversation_id", BigId, nullable=False),
        sa.Column("reason", sa.String(length=10), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("shown_to", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_mail_notice_agent_id_agent")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_mail_notice_conversation_id_conversation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_notice")),
    )
    op.create_index("ix_mail_notice_of", "mail_notice", ["agent_id", "conversation_id", "id"])


def downgrade() -> None:
    op.drop_table("mail_notice")
    with op.batch_alter_table("agent", schema=None) as batch_op:
        batch_op.drop_column("signature")
        batch_op.drop_column("mail_notices")
