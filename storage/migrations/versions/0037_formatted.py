"""Drafts with formatting"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("draft", sa.Column("html", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("draft", "html")
