"""What reading a mail finds out: its harmless HTML, its signature, its language.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.add_column(sa.Column("safe_html", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("safe_version", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("signature_at", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("language", sa.String(8), server_default="", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("message", schema=None) as batch_op:
        for name in ("language", "signature_at", "safe_version", "safe_html"):
            batch_op.drop_column(name)
