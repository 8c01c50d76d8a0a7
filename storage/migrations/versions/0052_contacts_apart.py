"""Contacts of whom somebody has said that they are not the same person"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contact_apart",
        sa.Column("id", BigId, nullable=False),
        sa.Column("one_id", BigId, nullable=False),
        sa.Column("other_id", BigId, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["one_id"], ["contact.id"], name=op.f("fk_contact_apart_one_id_contact")),
        sa.ForeignKeyConstraint(["other_id"], ["contact.id"], name=op.f("fk_contact_apart_other_id_contact")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_apart")),
        sa.UniqueConstraint("one_id", "other_id", name=op.f("uq_contact_apart_one_id_other_id")),
    )
    op.create_index("ix_contact_apart_other_id", "contact_apart", ["other_id"])


def downgrade() -> None:
    op.drop_table("contact_apart")
