"""A suppression may end by itself"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("suppression") as table:
        table.add_column(sa.Column("until", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("suppression") as table:
        table.drop_column("until")
