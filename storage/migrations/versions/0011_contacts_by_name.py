"""Find people by their whole name"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE contact SET name = substr(name, 1, 200) WHERE length(name) > 200")
    op.create_index("ix_contact_name", "contact", ["name"])


def downgrade() -> None:
    op.drop_index("ix_contact_name", "contact")
