"""Drafts for each channel, with their files and copies; saved replies of one agent"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, Json

revision = "0030"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("draft", sa.Column("copies", Json, nullable=False, server_default="{}"))
    op.add_column("draft", sa.Column("files", Json, nullable=False, server_default="[]"))
    op.add_column("draft", sa.Column("aside", Json, nullable=False, server_default="{}"))
    with op.batch_alter_table("saved_reply") as table:
        table.drop_constraint("uq_saved_reply_shortcut", type_="unique")
        table.add_column(sa.Column("title", sa.String(length=100), nullable=False, server_default=""))
        table.add_column(sa.Column("agent_id", BigId, nullable=True))
        table.create_foreign_key(op.f("fk_saved_reply_agent_id_agent"), "agent", ["agent_id"], ["id"])
    shared = sa.text("agent_id IS NULL")
    op.create_index(
        "ux_saved_reply_shared", "saved_reply", ["shortcut"], unique=True, sqlite_where=shared, postgresql_where=shared
    )
    op.create_index("ux_saved_reply_own", "saved_reply", ["agent_id", "shortcut"], unique=True)


def downgrade() -> None:
    op.execute("DELETE FROM saved_reply WHERE agent_id IS NOT NULL")
    op.drop_index("ux_saved_reply_own", "saved_reply")
    op.drop_index("ux_saved_reply_shared", "saved_reply")
    with op.batch_alter_table("saved_reply") as table:
        table.drop_constraint("fk_saved_reply_agent_id_agent", type_="foreignkey")
        table.drop_column("agent_id")
        table.drop_column("title")
        table.create_unique_constraint("uq_saved_reply_shortcut", ["shortcut"])
    for column in ("aside", "files", "copies"):
        op.drop_column("draft", column)
