"""Roles that a desk makes itself: a name, what it allows, and which queues it sees beside those its people serve."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlmodel import col, func, select

from channels.text import storable
from config.language import _
from hub.refusals import FieldRefused
from storage import Tx
from storage.access import ANSWER, PEOPLE, PERMISSIONS, ROLES, Actor, Conflict, NotFound, completed
from storage.accountfacts import RoleChanged
from storage.desk import Queue, touch_desk
from storage.people import Agent, AgentQueue, ApiToken, Role

MOST_NAME = 64


@dataclass
class RoleForm:
    """A role as it is typed; queues by name."""

    name: str = ""
    permissions: set[str] = field(default_factory=lambda: {ANSWER})
    queues: set[str] = field(default_factory=set)


def roles(tx: Tx, actor: Actor) -> list[tuple[Role, int]]:
    """The desk's own roles, each with how many people have it. Raises Forbidden."""
    actor.must(PEOPLE)
    count = dict(tx.exec(select(Agent.role, func.count()).where(col(Agent.active)).group_by(Agent.role)).all())
    return [(row, count.get(row.name, 0)) for row in tx.exec(select(Role).order_by(col(Role.name)))]


def role(tx: Tx, actor: Actor, role_id: int) -> tuple[Role, RoleForm]:
    """One and its form. Raises Forbidden and NotFound."""
    actor.must(PEOPLE)
    row = _found(tx, role_id)
    names = tx.exec(select(Queue.name).where(col(Queue.id).in_(row.queue_ids)))
    return row, RoleForm(row.name, set(row.permissions), set(names))


def save_role(tx: Tx, actor: Actor, role_id: int | None, wanted: RoleForm) -> str:
    """Make or change a role; its name as it is kept. Whoever has it may at once what it says.

    Raises Forbidden, also for what the actor may not do themselves, NotFound and FieldRefused.
    """
    actor.must(PEOPLE)
    row = Role(name="") if role_id is None else _found(tx, role_id)
    name = storable(wanted.name).strip()
    if not 0 < len(name) <= MOST_NAME:
        raise FieldRefused("name", _("Give it a name of at most {most_name} characters.", most_name=MOST_NAME))
    if name.lower() in ROLES:
        raise FieldRefused("name", _("{name} is built in. Choose another name.", name=name))
    same = tx.exec(select(Role.id).where(Role.name == name)).first()
    if same is not None and same != row.id:
        raise FieldRefused("name", _("There is a role with this name."))
    permissions = completed(wanted.permissions & PERMISSIONS.keys())
    if not permissions:
        raise FieldRefused("permissions", _("Choose at least one thing that it allows."))
    ids = dict(tx.exec(select(Queue.name, Queue.id).where(col(Queue.name).in_(wanted.queues))).all())
    seen = sorted(number or 0 for number in ids.values())
    actor.may_grant(permissions | frozenset(row.permissions), {*seen, *row.queue_ids})
    if ANSWER not in permissions and (who := _serving(tx, row.name)):
        raise FieldRefused(
            "permissions", _("{who} has this role and serves queues, so it must allow to answer.", who=who)
        )
    before, kept = row.name, (sorted(permissions), seen)
    if row.id is not None and (row.name, row.permissions, row.queue_ids) == (name, *kept):
        return name
    row.name, (row.permissions, row.queue_ids) = name, kept
    tx.add(row)
    tx.flush()
    if before and before != name:
        tx.sql("UPDATE agent SET role = ? WHERE role = ?", name, before)
        tx.sql("UPDATE api_token SET role = ? WHERE role = ?", name, before)
    touch_desk(tx)
    tx.emit(RoleChanged(name, "changed" if before else "made", actor.by))
    return name


def delete_role(tx: Tx, actor: Actor, role_id: int) -> None:
    """Away with a role that nobody has. Raises Forbidden, NotFound and Conflict."""
    actor.must(PEOPLE)
    row = _found(tx, role_id)
    actor.may_grant(frozenset(row.permissions))
    having = tx.exec(select(Agent.name).where(Agent.role == row.name)).first()
    having = having or tx.exec(
        select(ApiToken.name).where(ApiToken.role == row.name, col(ApiToken.revoked_at).is_(None))
    ).first()  # fmt: skip
    if having is not None:
        raise Conflict(_("{having} has this role: give them another one first.", having=having))
    tx.delete(row)
    touch_desk(tx)
    tx.emit(RoleChanged(row.name, "deleted", actor.by))


def _found(tx: Tx, role_id: int) -> Role:
    row = tx.get(Role, role_id)
    if row is None:
        raise NotFound(_("There is no role {role_id}.", role_id=role_id))
    return row


def _serving(tx: Tx, name: str) -> str:
    """Somebody with this role who serves a queue."""
    query = select(Agent.name).join(AgentQueue, col(AgentQueue.agent_id) == col(Agent.id)).where(Agent.role == name)
    return tx.exec(query).first() or ""
