"""Blind copies, the pace of accounts, who wants no more mail to many"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.add_column(sa.Column("bcc", Json, server_default=sa.text("'[]'"), nullable=False))
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.add_column(sa.Column("paced", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "pacing",
        sa.Column("key", sa.String(length=320), nullable=False),
        sa.Column("free_at", UtcDateTime(), nullable=False),
        sa.Column("queue_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pacing")),
    )
    op.create_table(
        "unsubscription",
        sa.Column("identity_id", BigId, nullable=False),
        sa.Column("channel_id", BigId, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["identity.id"], name=op.f("fk_unsubscription_identity_id_identity")),
        sa.ForeignKeyConstraint(["channel_id"], ["channel.id"], name=op.f("fk_unsubscription_channel_id_channel")),
        sa.PrimaryKeyConstraint("identity_id", "channel_id", name=op.f("pk_unsubscription")),
    )


def downgrade() -> None:
    op.drop_table("unsubscription")
    op.drop_table("pacing")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_column("paced")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_column("bcc")
