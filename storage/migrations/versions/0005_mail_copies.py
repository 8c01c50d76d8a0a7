"""Mail that came several times, known by what its sender wrote.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mail_copy",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("receipt_id", BigId, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_mail_copy")),
    )


def downgrade() -> None:
    op.drop_table("mail_copy")
