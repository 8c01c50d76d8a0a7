"""What leaves by itself is counted"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "automatic_send",
        sa.Column("id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("conversation_id", BigId, nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("held", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_automatic_send_conversation_id_conversation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_automatic_send")),
    )
    op.create_index("ix_automatic_send_address", "automatic_send", ["address", "at"])
    op.create_index("ix_automatic_send_conversation", "automatic_send", ["conversation_id", "at"])
    op.create_index("ix_automatic_send_at", "automatic_send", ["at"])


def downgrade() -> None:
    op.drop_table("automatic_send")
