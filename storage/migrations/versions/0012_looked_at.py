"""A person may have looked at what can't be read and left it as it is"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("receipt") as receipt:
        receipt.add_column(sa.Column("looked_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("receipt") as receipt:
        receipt.drop_column("looked_at")
