"""Contacts that are blocked or erased, what merges changed, and mailboxes of the same name"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import Json, UtcDateTime

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

BEFORE = (
    "name IN ('SignedIn','SignInsEnded','SignInStopped','PasswordChanged','PasswordResetAsked','SecondStepChanged',"
    "'RecoveryCodesMade','AgentInvited','AgentChanged','AgentSwitched','RoleChanged','TokenCreated','TokenRevoked',"
    "'SignInRulesChanged','DeskChanged','AgentDrained','AgentUndrained','QueuePaused','QueueResumed','ContactsMerged',"
    "'ContactsUnmerged','AddressAllowed','ReceiptsReplayed','ReceiptLeft')"
)
AUDITED = BEFORE[:-1] + ",'ContactBlocked','ContactExported','ContactErased')"
MAILBOX = {  # what stands before @ or +, of mail addresses
    "postgresql": "(split_part(split_part(value, '@', 1), '+', 1))",
    "sqlite": "substr(value, 1, instr(replace(value, '+', '@'), '@') - 1)",
}


def upgrade() -> None:
    op.add_column("contact", sa.Column("blocked_at", UtcDateTime(), nullable=True))
    op.add_column("contact", sa.Column("erased_at", UtcDateTime(), nullable=True))
    op.add_column("merge", sa.Column("changed", Json, server_default="{}", nullable=False))
    mailbox = MAILBOX[op.get_bind().dialect.name]
    op.execute(f"CREATE INDEX ix_identity_mailbox ON identity ({mailbox}) WHERE kind = 'email'")
    _index_facts(AUDITED)


def downgrade() -> None:
    _index_facts(BEFORE)
    op.execute("DROP INDEX ix_identity_mailbox")
    op.drop_column("merge", "changed")
    op.drop_column("contact", "erased_at")
    op.drop_column("contact", "blocked_at")


def _index_facts(words: str) -> None:
    op.drop_index("ix_fact_audited", "fact")
    op.create_index("ix_fact_audited", "fact", ["id"], sqlite_where=sa.text(words), postgresql_where=sa.text(words))
