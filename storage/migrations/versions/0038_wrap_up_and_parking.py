"""What an agent wraps up, and what is parked while the customer has the word"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import UtcDateTime

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

INDEXES = {"wrap": ["agent_id", "wrap_until"], "park": ["park_at"]}


def upgrade() -> None:
    for column in ("wrap_until", "parked_at", "park_at"):
        op.add_column("assignment", sa.Column(column, UtcDateTime(), nullable=True))
    for name, columns in INDEXES.items():
        is_there = sa.text(f"{columns[-1]} IS NOT NULL")
        op.create_index(
            f"ix_assignment_{name}", "assignment", columns, sqlite_where=is_there, postgresql_where=is_there
        )


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(f"ix_assignment_{name}", "assignment")
    for column in ("park_at", "parked_at", "wrap_until"):
        op.drop_column("assignment", column)
