"""People who work here, as admins keep them: invited, changed, switched off and on, and never without an admin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import col, func, select

from channels.text import storable
from config.language import N_, _
from hub.accesslinks import INVITATION, SENDER, invite
from hub.hub import Hub
from hub.people import create_agent
from hub.refusals import FieldRefused
from routing.locks import hold_agents
from routing.retire import hold_all, retire_agent
from storage import Tx
from storage.access import ANSWER, PEOPLE, Actor, Conflict, NotFound, known_roles, permissions_of, terms_of
from storage.accountfacts import AgentChanged, AgentSwitched
from storage.deliveries import Delivery
from storage.desk import Queue, RoutingProfile, Skill, touch_desk
from storage.doors import END_LINKS, AccessLink, SecondStep
from storage.people import Agent, AgentQueue, AgentSkill, SignIn, admins_who_sign_in, end_sign_ins, one_change_of_admins

LEVELS = range(1, 6)
MOST_CAPACITY = 10_000
LAST_ADMIN = N_(
    "This is the last admin who can sign in: nobody could undo it. Make somebody else an admin first, who has a "
    "password."
)

TAKEN = N_("There is somebody with this address, perhaps switched off. See the list.")


@dataclass
class Person:
    """Somebody as the form has them. `capacity` is what was typed."""

    name: str = ""
    email: str = ""
    role: str = "agent"
    capacity: str = "100"
    queues: set[str] = field(default_factory=set)
    skills: dict[str, int] = field(default_factory=dict)
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """Somebody in the list, with what an admin wants to know of them."""

    agent: Agent
    queues: list[str]
    seen_at: datetime | None
    second_step: bool
    invited_until: datetime | None  # while they have not chosen a password yet
    problem: str  # why the mail with the link did not leave


def people(tx: Tx, actor: Actor) -> list[Listed]:
    """Everybody there is, those who are switched off last. Raises Forbidden."""
    actor.must(PEOPLE)
    names: dict[int, list[str]] = {}
    serving = select(AgentQueue.agent_id, Queue.name).join(Queue, col(Queue.id) == col(AgentQueue.queue_id))
    for agent_id, name in tx.exec(serving.where(col(Queue.active)).order_by(col(Queue.id))):
        names.setdefault(agent_id, []).append(name)
    seen = dict(tx.exec(select(SignIn.agent_id, func.max(SignIn.seen_at)).group_by(col(SignIn.agent_id))).all())
    steps = set(tx.exec(select(SecondStep.agent_id).where(col(SecondStep.confirmed_at).is_not(None))))
    links = {}
    for link in tx.exec(
        select(AccessLink)
        .where(AccessLink.kind == INVITATION, col(AccessLink.used_at).is_(None))
        .order_by(col(AccessLink.id))
    ):
        links[link.agent_id] = link
    told = {
        row.dedupe_key: row.error
        for row in tx.exec(select(Delivery).where(Delivery.sender == SENDER, col(Delivery.error) != ""))
        if row.state != "sent"
    }
    rows = tx.exec(select(Agent).order_by(col(Agent.active).desc(), col(Agent.name), col(Agent.id)))
    return [
        Listed(
            agent, names.get(agent.id or 0, []), seen.get(agent.id or 0), agent.id in steps,
            links[agent.id].expires_at if agent.id in links else None,
            told.get(f"{links[agent.id].id}", "") if agent.id in links else "",
        )
        for agent in rows
    ]  # fmt: skip


def person(tx: Tx, actor: Actor, agent_id: int) -> tuple[Agent, Person]:
    """Somebody and their form. Raises Forbidden and NotFound."""
    actor.must(PEOPLE)
    agent = _found(tx, agent_id)
    queues = select(Queue.name).join(AgentQueue, col(AgentQueue.queue_id) == col(Queue.id))
    skills = select(Skill.name, AgentSkill.level).join(AgentSkill, col(AgentSkill.skill_id) == col(Skill.id))
    return agent, Person(
        agent.name, agent.email, agent.role, str(agent.capacity),
        set(tx.exec(queues.where(AgentQueue.agent_id == agent_id))),
        dict(tx.exec(skills.where(AgentSkill.agent_id == agent_id)).all()),
        tx.exec(select(RoutingProfile.name).where(RoutingProfile.id == agent.profile_id)).first() or "",
    )  # fmt: skip


def add_person(hub: Hub, tx: Tx, actor: Actor, wanted: Person) -> tuple[Agent, str]:
    """Make an account and invite its owner. The link comes back where no mail channel can carry it.

    Raises Forbidden and FieldRefused.
    """
    actor.must(PEOPLE)
    capacity = _checked(tx, wanted, None)
    _may_give(tx, actor, wanted.role, wanted.queues)
    try:
        agent = create_agent(
            tx, name=storable(wanted.name), email=wanted.email, role=wanted.role, capacity=capacity,
            skills=wanted.skills, queues=sorted(wanted.queues), by=actor.by,
        )  # fmt: skip
    except Conflict:
        raise FieldRefused("email", _(TAKEN)) from None
    agent.profile_id = _profile(tx, wanted.profile)
    tx.add(agent)
    return agent, invite(hub, tx, agent, actor.by)


def change_person(tx: Tx, actor: Actor, agent_id: int, wanted: Person) -> list[str]:
    """Make somebody what the form says; what was changed. Raises Forbidden, NotFound, FieldRefused and Conflict."""
    one_change_of_admins(tx)
    agent, before = person(tx, actor, agent_id)
    capacity = _checked(tx, wanted, agent)
    actor.may_grant(permissions_of(tx, agent.role))
    _may_give(tx, actor, wanted.role, wanted.queues - before.queues)
    hold_agents(tx, [agent_id])
    if wanted.role != "admin":
        _must_leave_an_admin(tx, agent)
    values = {"name": storable(wanted.name).strip(), "email": wanted.email.strip().lower(), "role": wanted.role,
              "capacity": capacity, "profile_id": _profile(tx, wanted.profile)}  # fmt: skip
    what = [name for name, value in values.items() if getattr(agent, name) != value]
    for name in what:
        setattr(agent, name, values[name])
    what = [name.removesuffix("_id") for name in what]
    tx.add(agent)
    tx.flush()
    if "email" in what:  # what was sent to the address before is no longer theirs
        tx.sql(END_LINKS, tx.now, agent_id)
    if wanted.queues != before.queues:
        _relink(tx, "agent_queue", "queue", agent_id, dict.fromkeys(wanted.queues))
        what.append("queues")
    if wanted.skills != before.skills:
        _relink(tx, "agent_skill", "skill", agent_id, wanted.skills)
        what.append("skills")
    if what:
        touch_desk(tx)
        tx.emit(AgentChanged(agent_id, tuple(what), actor.by))
    return what


def _may_give(tx: Tx, actor: Actor, role: str, queues: set[str]) -> None:
    """Raises Forbidden unless the actor may and sees as much."""
    numbers = tx.exec(select(Queue.id).where(col(Queue.name).in_(queues)))
    actor.may_grant(permissions_of(tx, role), {*terms_of(tx, role)[1], *(number or 0 for number in numbers)})


def switch_person(tx: Tx, actor: Actor, agent_id: int, on: bool) -> None:
    """Switch an account off, whose work goes back to its queues and whose browsers are signed out, or on again.

    Raises Forbidden, NotFound and Conflict for the last admin and for oneself.
    """
    actor.must(PEOPLE)
    one_change_of_admins(tx)
    agent = _found(tx, agent_id)
    actor.may_grant(permissions_of(tx, agent.role))
    if agent.active == on:
        return
    if on:
        hold_agents(tx, [agent_id])
        tx.sql("UPDATE agent SET active = ? WHERE id = ?", True, agent_id)
    else:
        if agent_id == actor.agent_id:
            raise Conflict(_("You can't switch yourself off. Have another admin do it."))
        hold_all(tx, [agent_id], [])
        _must_leave_an_admin(tx, agent)
        retire_agent(tx, actor, agent_id)
    touch_desk(tx)
    tx.emit(AgentSwitched(agent_id, on, actor.by))


def invite_again(hub: Hub, tx: Tx, actor: Actor, agent_id: int) -> str:
    """Another link, as `add_person` makes it. Raises Forbidden, NotFound and Conflict."""
    actor.must(PEOPLE)
    agent = _found(tx, agent_id)
    actor.may_grant(permissions_of(tx, agent.role))
    if agent.password_hash or not agent.active:
        raise Conflict(
            _("They have chosen a password, or are switched off. A forgotten one is renewed at the sign-in.")
        )
    return invite(hub, tx, agent, actor.by)


def sign_out_person(tx: Tx, actor: Actor, agent_id: int) -> int:
    """Sign every browser of somebody out; how many those were. Raises Forbidden and NotFound."""
    actor.must(PEOPLE)
    actor.may_grant(permissions_of(tx, _found(tx, agent_id).role))
    return end_sign_ins(tx, agent_id, "revoked", actor.by)


def _must_leave_an_admin(tx: Tx, agent: Agent) -> None:
    is_one = agent.role == "admin" and agent.active
    if is_one and not set(admins_who_sign_in(tx)) - {agent.id}:
        raise Conflict(_(LAST_ADMIN))


def _found(tx: Tx, agent_id: int) -> Agent:
    agent = tx.get(Agent, agent_id)
    if agent is None:
        raise NotFound(_("There is no agent {agent_id}.", agent_id=agent_id))
    return agent


def _checked(tx: Tx, wanted: Person, agent: Agent | None) -> int:
    """The capacity as a number, when everything else can be taken as well. Raises FieldRefused."""
    if not storable(wanted.name).strip():
        raise FieldRefused("name", _("Customers see this name under answers: type one."))
    local, at, domain = wanted.email.strip().partition("@")
    if not (local and at and domain) or any(each.isspace() or not each.isprintable() for each in wanted.email.strip()):
        raise FieldRefused("email", _("Type a whole e-mail address, such as jonas@example.com."))
    if len(wanted.email) > 320:
        raise FieldRefused("email", _("This address is longer than mail allows."))
    if wanted.role not in (known := known_roles(tx)):
        raise FieldRefused("role", _("Choose one of {known}.", known=", ".join(known)))
    if wanted.queues and ANSWER not in permissions_of(tx, wanted.role):
        raise FieldRefused(
            "role",
            _(
                "{role} does not answer, so it can't serve queues: name those it may see under the role.",
                role=wanted.role,
            ),
        )
    same = tx.exec(select(Agent.id).where(Agent.email == wanted.email.strip().lower())).first()
    if same is not None and (agent is None or same != agent.id):
        raise FieldRefused("email", _(TAKEN))
    typed = wanted.capacity.strip()
    if not (typed.isascii() and typed.isdigit() and len(typed) < 7 and int(typed) <= MOST_CAPACITY):
        raise FieldRefused(
            "capacity", _("Type a number from 0 to {most_capacity}; 100 is usual.", most_capacity=MOST_CAPACITY)
        )
    return int(typed)


def _profile(tx: Tx, name: str) -> int | None:
    """Its number; None for none. Raises FieldRefused."""
    if not name:
        return None
    number = tx.exec(select(RoutingProfile.id).where(RoutingProfile.name == name, col(RoutingProfile.active))).first()
    if number is None:
        raise FieldRefused(
            "profile", _("There is no profile {name} any more. Choose one of those that are offered.", name=repr(name))
        )
    return number


def _relink(tx: Tx, table: str, noun: str, agent_id: int, wanted: Mapping[str, Any]) -> None:
    """Replace an agent's queues or skills. Raises NotFound for one that was taken away meanwhile."""
    tx.sql(f"DELETE FROM {table} WHERE agent_id = ?", agent_id)
    for name, level in wanted.items():
        row = tx.sql(f"SELECT id FROM {noun} WHERE name = ?", name).fetchone()
        if row is None:
            raise NotFound(_("There is no {noun} {name} any more.", noun=noun, name=repr(name)))
        if level is None:
            tx.sql(f"INSERT INTO {table}(agent_id, {noun}_id) VALUES(?, ?)", agent_id, row[0])
        else:
            tx.sql(f"INSERT INTO {table}(agent_id, {noun}_id, level) VALUES(?, ?, ?)", agent_id, row[0], level)
