"""What happens when a target is missed, and to what comes while a queue is closed"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("queue") as queue:
        queue.add_column(sa.Column("escalate", Json, server_default="{}", nullable=False))
        queue.add_column(sa.Column("hold_when_closed", sa.Boolean(), server_default=sa.false(), nullable=False))
        queue.add_column(sa.Column("closed_queue_id", BigId, nullable=True))
        queue.create_foreign_key(op.f("fk_queue_closed_queue_id_queue"), "queue", ["closed_queue_id"], ["id"])
    with op.batch_alter_table("conversation") as conversation:
        conversation.add_column(sa.Column("escalated_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("conversation") as conversation:
        conversation.drop_column("escalated_at")
    with op.batch_alter_table("queue") as queue:
        queue.drop_constraint(op.f("fk_queue_closed_queue_id_queue"), type_="foreignkey")
        queue.drop_column("closed_queue_id")
        queue.drop_column("hold_when_closed")
        queue.drop_column("escalate")
