"""What is due to leave is found lane by lane, however much waits in one of them"""

from __future__ import annotations

from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_delivery_lane", "delivery", ["state", "sender", "target", "due_at", "id"])
    op.drop_index("ix_delivery_due", table_name="delivery")


def downgrade() -> None:
    op.create_index("ix_delivery_due", "delivery", ["state", "due_at", "id"])
    op.drop_index("ix_delivery_lane", table_name="delivery")
