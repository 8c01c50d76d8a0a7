"""One piece of work may ring at several agents"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

OFFERED = sa.text("state = 'offered'")
BESIDE = (
    "state = 'offered' AND EXISTS (SELECT 1 FROM offer AS other WHERE other.work_item_id = offer.work_item_id "
    "AND other.state = 'offered' AND other.id < offer.id)"
)


def upgrade() -> None:
    op.drop_index("uq_offer_live", "offer")
    _unique(["work_item_id", "agent_id"])


def downgrade() -> None:
    op.execute(
        "UPDATE agent SET load = load - (SELECT coalesce(sum(weight), 0) FROM offer "
        f"WHERE offer.agent_id = agent.id AND {BESIDE})"
    )
    op.execute(f"UPDATE offer SET state = 'rescinded', ended_at = offered_at WHERE {BESIDE}")
    op.drop_index("uq_offer_live", "offer")
    _unique(["work_item_id"])


def _unique(columns: list[str]) -> None:
    op.create_index("uq_offer_live", "offer", columns, unique=True, sqlite_where=OFFERED, postgresql_where=OFFERED)
