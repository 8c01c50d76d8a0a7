"""The words of SQLite's search index can be looked through"""

from __future__ import annotations

from alembic import op

from storage.search import create_search

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        create_search(op.get_bind())


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("message_search_words")
