"""Mailbox names of every identity: SQLite plans a query on `kind = ?` anew each time when an index asks for one kind"""

from __future__ import annotations

from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None

MAILBOX = {  # what stands before @ or +, of mail addresses
    "postgresql": "(split_part(split_part(value, '@', 1), '+', 1))",
    "sqlite": "substr(value, 1, instr(replace(value, '+', '@'), '@') - 1)",
}


def upgrade() -> None:
    _index_mailboxes()


def downgrade() -> None:
    _index_mailboxes("WHERE kind = 'email'")


def _index_mailboxes(where: str = "") -> None:
    op.execute("DROP INDEX ix_identity_mailbox")
    op.execute(f"CREATE INDEX ix_identity_mailbox ON identity ({MAILBOX[op.get_bind().dialect.name]}) {where}")
