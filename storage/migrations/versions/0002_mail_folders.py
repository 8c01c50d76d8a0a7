"""What is known about each mail of a folder, and how reading it goes; numbers of mails are unsigned.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("mail_cursor", schema=None) as batch_op:
        batch_op.alter_column("uidvalidity", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)
        batch_op.alter_column("uid", existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)
        batch_op.add_column(sa.Column("looked_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("reconciled_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("behind", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("problem", sa.String(), server_default="", nullable=False))

    op.create_table(
        "mail_seen",
        sa.Column("channel_id", BigId, nullable=False),
        sa.Column("folder", sa.String(255), nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("receipt_id", BigId, nullable=True),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["channel_id"], ["channel.id"], name=op.f("fk_mail_seen_channel_id_channel")),
        sa.PrimaryKeyConstraint("channel_id", "folder", "uidvalidity", "uid", name=op.f("pk_mail_seen")),
    )
    with op.batch_alter_table("mail_seen", schema=None) as batch_op:
        batch_op.create_index(
            "ix_mail_seen_open",
            ["channel_id", "folder", "state"],
            unique=False,
            sqlite_where=sa.text("state IN ('unsettled','missing')"),
            postgresql_where=sa.text("state IN ('unsettled','missing')"),
        )


def downgrade() -> None:
    op.drop_table("mail_seen")
    with op.batch_alter_table("mail_cursor", schema=None) as batch_op:
        for name in ("problem", "behind", "reconciled_at", "looked_at"):
            batch_op.drop_column(name)
        batch_op.alter_column("uid", existing_type=sa.BigInteger(), type_=sa.Integer(), existing_nullable=False)
        batch_op.alter_column("uidvalidity", existing_type=sa.BigInteger(), type_=sa.Integer(), existing_nullable=False)
