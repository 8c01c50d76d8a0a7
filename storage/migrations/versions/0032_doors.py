"""Second steps, recovery codes, links by mail, and an index for the audit log"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import BigId, UtcDateTime

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

AUDITED = (
    "name IN ('SignedIn','SignInsEnded','SignInStopped','PasswordChanged','PasswordResetAsked','SecondStepChanged',"
    "'RecoveryCodesMade','AgentInvited','AgentChanged','AgentSwitched','RoleChanged','TokenCreated','TokenRevoked',"
    "'SignInRulesChanged','DeskChanged','AgentDrained','AgentUndrained','QueuePaused','QueueResumed','ContactsMerged',"
    "'ContactsUnmerged','AddressAllowed','ReceiptsReplayed','ReceiptLeft')"
)


def upgrade() -> None:
    op.add_column("sign_in", sa.Column("how", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "second_step",
        sa.Column("agent_id", BigId, nullable=False),
        sa.Column("sealed", sa.String(), nullable=False),
        sa.Column("last_step", BigId, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_second_step_agent_id_agent")),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_second_step")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agent_id", BigId, nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_recovery_code_agent_id_agent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_code")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_recovery_code_code_hash")),
    )
    op.create_index("ix_recovery_code_agent_id", "recovery_code", ["agent_id"])
    op.create_table(
        "access_link",
        sa.Column("id", BigId, nullable=False),
        sa.Column("agent_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["agent_id"], ["agent.id"], name=op.f("fk_access_link_agent_id_agent")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_link")),
    )
    op.create_index("ix_access_link_agent_id", "access_link", ["agent_id"])
    op.create_table(
        "sign_in_rules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("second_step_required", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_rules")),
    )
    audited = sa.text(AUDITED)
    op.create_index("ix_fact_audited", "fact", ["id"], sqlite_where=audited, postgresql_where=audited)


def downgrade() -> None:
    op.drop_index("ix_fact_audited", "fact")
    for table in ("sign_in_rules", "access_link", "recovery_code", "second_step"):
        op.drop_table(table)
    op.drop_column("sign_in", "how")
