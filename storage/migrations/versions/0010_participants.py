"""Who else takes part in a conversation by mail"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "participant",
        sa.Column("conversation_id", BigId, nullable=False),
        sa.Column("address", sa.String(320), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("how", sa.String(8), nullable=False),
        sa.Column("contact_id", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_participant_conversation_id_conversation")
        ),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_participant_contact_id_contact")),
        sa.PrimaryKeyConstraint("conversation_id", "address", name=op.f("pk_participant")),
    )


def downgrade() -> None:
    op.drop_table("participant")
