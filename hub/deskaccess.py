"""Roles and the rules of signing in, as the desk's file has them, and who may apply which file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import col, select

from config.language import _
from config.retold import stored
from hub.deskchange import Change
from hub.deskentries import RoleEntry, SignInEntry
from hub.deskfile import DeskError
from routing.fields import nearest
from storage import Tx
from storage.access import ANSWER, EVERYTHING, Actor, Forbidden, completed, known_roles, permissions_of
from storage.accountfacts import RoleChanged, SignInRulesChanged
from storage.doors import second_step_required, sign_in_rules
from storage.people import Agent, AgentQueue, ApiToken, Role

# A channel's settings may name a file or a variable of this process, and its address is where their values are sent.
ADMINS_OWN = ("agent ", "role ", "sign_in", "channel ", "webhook ")


def roles_in(tx: Tx, entries: Sequence[RoleEntry], queues: Mapping[str, int], by: str) -> list[Change]:
    """Make the desk's own roles those of the file. Raises DeskError for a queue that is not there."""
    rows, changes = {row.name: row for row in tx.exec(select(Role))}, []
    for entry in entries:
        for name in entry.queues:
            if name not in queues:
                raise DeskError(
                    f"role {entry.name!r}: "
                    + stored(
                        "there is no {noun} {name}; {near}", noun="queue", name=repr(name), near=nearest(name, queues)
                    )
                )
        wanted = (sorted(completed(entry.permissions)), sorted(queues[name] for name in entry.queues))
        row = rows.pop(entry.name, None)
        if row is not None and (row.permissions, row.queue_ids) == wanted:
            continue
        changes.append(Change("~" if row else "+", f"role {entry.name}"))
        tx.emit(RoleChanged(entry.name, "changed" if row else "made", by))
        row = row or Role(name=entry.name)
        row.permissions, row.queue_ids = wanted
        tx.add(row)
    for name, gone in rows.items():
        tx.delete(gone)
        changes.append(Change("-", f"role {name}"))
        tx.emit(RoleChanged(name, "deleted", by))
    return changes


def roles_out(tx: Tx, queues: Mapping[int | None, str]) -> list[dict[str, Any]]:
    """The desk's own roles as `roles_in` takes them."""
    return [
        {"name": row.name, "permissions": row.permissions}
        | ({"queues": seen} if (seen := [queues[each] for each in row.queue_ids if each in queues]) else {})
        for row in tx.exec(select(Role).order_by(col(Role.id)))
    ]


def sign_in_in(tx: Tx, entry: SignInEntry, by: str) -> list[Change]:
    """What is asked of everybody who signs in."""
    rules, wanted = sign_in_rules(tx), entry.second_step == "required"
    if rules.second_step_required == wanted:
        return []
    rules.second_step_required = wanted
    tx.add(rules)
    tx.emit(SignInRulesChanged(wanted, by))
    return [Change("~", "sign_in", f"second_step {entry.second_step}")]


def sign_in_out(tx: Tx) -> dict[str, Any]:
    """The rules as `sign_in_in` takes them."""
    return {"second_step": "required" if second_step_required(tx) else "optional"}


def must_know_roles(tx: Tx) -> None:
    """Everybody's role is there, and who serves queues may answer. Raises DeskError."""
    known = known_roles(tx)
    serving = set(tx.exec(select(AgentQueue.agent_id)))
    for agent in tx.exec(select(Agent).where(col(Agent.active)).order_by(col(Agent.id))):
        if agent.role not in known:
            raise DeskError(
                f"agent {agent.email}: "
                + stored(
                    "{value} is no {noun}; {near}", value=repr(agent.role), noun="role", near=nearest(agent.role, known)
                )
            )
        if agent.id in serving and ANSWER not in permissions_of(tx, agent.role):
            raise DeskError(
                f"agent {agent.email}: "
                + stored(
                    "the role {role} does not answer, so it can't serve queues; name those that it may see under the "
                    "role",
                    role=repr(agent.role),
                )
            )
    for token in tx.exec(select(ApiToken).where(col(ApiToken.revoked_at).is_(None))):
        if token.role not in known:
            raise DeskError(
                stored(
                    "roles leaves out {role}, which the API token {name} has: revoke it first",
                    role=repr(token.role),
                    name=repr(token.name),
                )
            )


def may_apply(actor: Actor, changes: Sequence[Change]) -> None:
    """A file may make anybody anything and send anything anywhere: who does may do everything. Raises Forbidden."""
    about = next((change.what for change in changes if change.what.startswith(ADMINS_OWN)), "")
    if about and actor.permissions < EVERYTHING:
        raise Forbidden(
            _(
                "Only an admin applies a file that changes people, roles, signing in, channels or webhooks ({about}).",
                about=about,
            )
        )
