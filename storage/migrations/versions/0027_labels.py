"""Labels of work, of which an agent may have only so many at once"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import Json

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("routing_rule", "work_item"):
        op.add_column(table, sa.Column("labels", Json, server_default="[]", nullable=False))


def downgrade() -> None:
    for table in ("work_item", "routing_rule"):
        op.drop_column(table, "labels")
