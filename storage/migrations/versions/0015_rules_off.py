"""A rule that is not active is one that was switched off and can be switched on again: those left out of a file go"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM routing_rule WHERE NOT active")


def downgrade() -> None:
    """Nothing reads rules that a file left out."""
