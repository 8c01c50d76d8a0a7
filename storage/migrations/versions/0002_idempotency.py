"""Idempotency keys of the API, and whose chat a message belongs to"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHAT = sa.text("channel = 'chat'")


def upgrade() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("by", sa.String(32), nullable=False),
        sa.Column("value", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("message_id", BigId, nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("by", "value", name=op.f("pk_idempotency_key")),
    )
    op.create_index("ix_message_chat", "message", ["identity_id", "id"], sqlite_where=CHAT, postgresql_where=CHAT)


def downgrade() -> None:
    op.drop_index("ix_message_chat", "message")
    op.drop_table("idempotency_key")
