"""Who says that two people are not the same stands in the audit log"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

BEFORE = (
    "name IN ('SignedIn','SignInsEnded','SignInStopped','PasswordChanged','PasswordResetAsked','SecondStepChanged',"
    "'RecoveryCodesMade','AgentInvited','AgentChanged','AgentSwitched','RoleChanged','TokenCreated','TokenRevoked',"
    "'SignInRulesChanged','DeskChanged','AgentDrained','AgentUndrained','QueuePaused','QueueResumed','ContactsMerged',"
    "'ContactsUnmerged','AddressAllowed','ReceiptsReplayed','ReceiptLeft','ContactBlocked','ContactExported',"
    "'ContactErased')"
)
AUDITED = BEFORE[:-1] + ",'ContactsParted')"


def upgrade() -> None:
    _index_facts(AUDITED)


def downgrade() -> None:
    _index_facts(BEFORE)


def _index_facts(words: str) -> None:
    op.drop_index("ix_fact_audited", "fact")
    op.create_index("ix_fact_audited", "fact", ["id"], sqlite_where=sa.text(words), postgresql_where=sa.text(words))
