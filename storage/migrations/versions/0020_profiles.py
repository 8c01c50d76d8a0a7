"""How queues hand out their work, and profiles of agents"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json, UtcDateTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "routing_profile",
        sa.Column("id", BigId, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("limits", Json, nullable=False),
        sa.Column("serving", Json, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing_profile")),
        sa.UniqueConstraint("name", name=op.f("uq_routing_profile_name")),
    )
    with op.batch_alter_table("queue") as queue:
        queue.add_column(sa.Column("handout", Json, nullable=False, server_default="{}"))
    with op.batch_alter_table("agent") as agent:
        agent.add_column(sa.Column("profile_id", BigId, nullable=True))
        agent.add_column(sa.Column("last_offer_at", UtcDateTime(), nullable=True))
        agent.create_foreign_key(op.f("fk_agent_profile_id_routing_profile"), "routing_profile", ["profile_id"], ["id"])
    queued = sa.text("state = 'queued'")
    op.create_index(
        "ix_work_item_waiting",
        "work_item",
        ["queue_id", "order_time", "id"],
        sqlite_where=queued,
        postgresql_where=queued,
    )
    op.create_index("ix_offer_at", "offer", ["offered_at"])
    op.create_index("ix_cooldown_until", "cooldown", ["until"])


def downgrade() -> None:
    op.drop_index("ix_cooldown_until", "cooldown")
    op.drop_index("ix_offer_at", "offer")
    op.drop_index("ix_work_item_waiting", "work_item")
    with op.batch_alter_table("agent") as agent:
        agent.drop_constraint(op.f("fk_agent_profile_id_routing_profile"), type_="foreignkey")
        agent.drop_column("last_offer_at")
        agent.drop_column("profile_id")
    with op.batch_alter_table("queue") as queue:
        queue.drop_column("handout")
    op.drop_table("routing_profile")
