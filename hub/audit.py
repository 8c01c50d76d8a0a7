"""The audit log: who did what to accounts, settings and other people's work, from the facts themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import col, or_, select

from config.language import _
from storage import Tx
from storage.access import AUDIT, Actor
from storage.factrows import AUDITED, FactRow
from storage.people import Agent, ApiToken

TOPICS = {
    "sign-in": (
        "SignedIn", "SignInsEnded", "SignInStopped", "PasswordChanged", "PasswordResetAsked", "SecondStepChanged",
        "RecoveryCodesMade", "SignInRulesChanged",
    ),
    "people": ("AgentInvited", "AgentChanged", "AgentSwitched", "RoleChanged"),
    "tokens": ("TokenCreated", "TokenRevoked"),
    "settings": ("DeskChanged",),
    "work": ("AgentDrained", "AgentUndrained", "QueuePaused", "QueueResumed"),
    "data": ("ContactsMerged", "ContactsUnmerged", "ContactsParted", "AddressAllowed", "ReceiptsReplayed",
             "ReceiptLeft", "ContactBlocked", "ContactExported", "ContactErased"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; what is left out does not narrow. `about` is an agent: what they did or had done to them."""

    about: int | None = None
    topic: str = ""
    since: datetime | None = None
    until: datetime | None = None


def audit(tx: Tx, actor: Actor, wanted: AuditFilter, *, before: int | None = None, limit: int = 50) -> list[FactRow]:
    """Entries, newest first. Raises Forbidden."""
    actor.must(AUDIT)
    query = select(FactRow).where(text(AUDITED))
    if wanted.about is not None:
        mine = col(FactRow.data)["agent_id"].as_integer() == wanted.about
        query = query.where(or_(mine, col(FactRow.data)["by"].as_string() == f"agent:{wanted.about}"))
    if wanted.topic in TOPICS:
        query = query.where(col(FactRow.name).in_(TOPICS[wanted.topic]))
    if wanted.since is not None:
        query = query.where(col(FactRow.at) >= wanted.since)
    if wanted.until is not None:
        query = query.where(col(FactRow.at) < wanted.until)
    if before is not None:
        query = query.where(col(FactRow.id) < before)
    return list(tx.exec(query.order_by(col(FactRow.id).desc()).limit(limit)))


def names_of_actors(tx: Tx) -> dict[str, str]:
    """Everybody whose hand a fact may name, as people call them."""
    names = {"system": _("The hub"), "customer": _("A customer"), "operator": _("The command line")}
    names |= {f"agent:{number}": name for number, name in tx.exec(select(Agent.id, Agent.name))}
    return names | {
        f"token:{number}": _("API token {name}", name=name)
        for number, name in tx.exec(select(ApiToken.id, ApiToken.name))
    }
