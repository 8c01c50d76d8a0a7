"""What is known about where a mail really comes from"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import Json

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("message") as table:
        table.add_column(sa.Column("authenticity", Json, server_default="{}", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("message") as table:
        table.drop_column("authenticity")
