"""The desk as one file: queues and their calendars, rules, people and all else; compared, applied and exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import yaml
from sqlmodel import SQLModel, col, select

from config.language import N_
from config.retold import stored
from hub.deskaccess import may_apply, must_know_roles, roles_in, roles_out, sign_in_in, sign_in_out
from hub.deskchange import Change
from hub.deskentries import (
    ActionEntry,
    AgentEntry,
    CalendarEntry,
    ChannelEntry,
    ProfileEntry,
    QueueEntry,
    RuleEntry,
    WebhookEntry,
)
from hub.deskfields import apply_contact_fields, contact_fields_out
from hub.deskfile import DeskError, check, read
from hub.deskhandout import handout_out, profile_out
from hub.deskladder import circle, limits_in, limits_out, queues_named, skills_named, step_in, step_out, steps_ask
from hub.deskmacros import apply_macros, macros_out
from hub.deskvalues import is_reference, span
from hub.deskwords import apply_replies, replies_out
from routing.fields import nearest
from routing.hours import must_open, read_calendar
from routing.promises import KINDS as PROMISED
from routing.retire import drop_skill, hold_all, move_out, retire_agent
from storage import Tx
from storage.access import SETTINGS, Actor
from storage.calendars import CalendarPlan
from storage.deliveries import WebhookEndpoint
from storage.desk import ChannelAccount, Queue, RoutingProfile, RoutingRule, Skill, touch_desk
from storage.facts import DeskChanged
from storage.people import Agent, AgentQueue, AgentSkill, admins_who_sign_in, one_change_of_admins

__all__ = ["Change", "DeskError", "apply", "export", "read"]


def apply(
    tx: Tx, actor: Actor, document: Mapping[str, Any], *, private: bool = False, told: str = ""
) -> list[Change]:  # fmt: skip
    """Make the database say what the file says.

    What a section leaves out is switched off, and its work goes back to waiting; rules, saved replies, macros and
    skills, which no history refers to, are removed. Sections that the file doesn't have stay as they are. Rolling
    the unit back makes this a dry run. Applying the same file twice changes nothing. `private` lets webhooks reach
    our own network; `told` is what the fact says of it. Raises DeskError and Forbidden.
    """
    actor.must(SETTINGS)
    file = check(document, private=private)
    one_change_of_admins(tx)
    admins = admins_who_sign_in(tx)
    leavers = _left_out(tx, Agent, "email", None if file.agents is None else [agent.email for agent in file.agents])
    closing = _left_out(tx, Queue, "name", None if file.queues is None else [queue.name for queue in file.queues])
    if file.queues is not None:  # a message on its way during an earlier apply may have landed in a closed queue
        closing += tx.exec(select(Queue).where(~col(Queue.active)).order_by(col(Queue.id)))
    hold_all(tx, [row.id for row in leavers], [row.id for row in closing])
    changes: list[Change] = []
    for agent in leavers:
        retire_agent(tx, actor, agent.id)
        changes.append(Change("-", f"agent {agent.email}"))
    for section, step in _STEPS.items():
        if (entries := getattr(file, section)) is not None:
            changes += step(tx, entries)
            tx.flush()
    if file.roles is not None:
        changes += roles_in(tx, file.roles, _ids(tx, Queue), actor.by)
    if file.sign_in is not None:
        changes += sign_in_in(tx, file.sign_in, actor.by)
    if file.roles is not None or file.agents is not None:
        tx.flush()
        must_know_roles(tx)
    if file.agents is not None and admins and not admins_who_sign_in(tx):
        raise DeskError(N_("agents leaves nobody who can sign in as an admin: keep the role of one who has a password"))
    if file.skills is not None or file.queues is not None:
        _must_not_miss_skills(tx)
    if file.calendars is not None:
        _must_not_miss_calendars(tx)
    may_apply(actor, changes)
    for queue in closing:
        changes += [] if queue.active else _move_out(tx, actor, queue)
    if changes:
        touch_desk(tx)
        tx.emit(DeskChanged(told or f"{len(changes)} changes by file", by=actor.by))
    return changes


def export(tx: Tx) -> str:
    """The desk as a file that `apply` takes. No secret can be read in it: references and what is sealed stay, and what
    the hub made is left out."""
    document = {name: section() for name, section in sections(tx).items()}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    hooks = _active(tx, WebhookEndpoint)
    if kept := [hook.name for hook in hooks if not is_reference(hook.secret)]:
        text += (
            f"# The hub made the secrets of these webhooks and keeps them: {', '.join(kept)}.\n"
            "# To apply this file to another hub, give each one a line such as `secret: env:CRM_WEBHOOK_SECRET`.\n"
        )
    return text


def sections(tx: Tx) -> dict[str, Callable[[], Any]]:
    """The desk as `apply` takes it, each section made when it is asked for."""
    queues = {queue.id: queue.name for queue in _active(tx, Queue)}
    skills = {skill.id: skill.name for skill in tx.exec(select(Skill).order_by(col(Skill.id)))}
    calendars = {calendar.id: calendar.name for calendar in _active(tx, CalendarPlan)}
    return {
        "calendars": lambda: [{"name": c.name, **c.plan} for c in _active(tx, CalendarPlan)],
        "queues": lambda: [
            {"name": q.name, **_promises_out(q), "offer": span(q.offer_seconds)}
            | ({"calendar": calendars[q.calendar_id]} if q.calendar_id in calendars else {})
            | _ways_out(q, queues)
            | handout_out(q)
            | ({"default": True} if q.is_default else {})
            for q in _active(tx, Queue)
        ],
        "skills": lambda: list(skills.values()),
        "profiles": lambda: [profile_out(row, queues) for row in _active(tx, RoutingProfile)],
        "roles": lambda: roles_out(tx, queues),
        "sign_in": lambda: sign_in_out(tx),
        "agents": lambda: [_agent_out(tx, agent, queues, skills) for agent in _active(tx, Agent)],
        "channels": lambda: [
            {"name": c.name, "kind": c.kind, "address": c.address, "settings": c.settings}
            for c in _active(tx, ChannelAccount)
        ],
        "contact_fields": lambda: contact_fields_out(tx),
        "rules": lambda: [
            rule_entry(r, queues)
            for r in tx.exec(select(RoutingRule).order_by(col(RoutingRule.position), col(RoutingRule.id)))
        ],
        "replies": lambda: replies_out(tx),
        "macros": lambda: macros_out(tx),
        "webhooks": lambda: [
            {"name": w.name, "url": w.url}
            | ({"secret": w.secret} if is_reference(w.secret) else {})
            | {"events": w.events}
            for w in _active(tx, WebhookEndpoint)
        ],
    }


def _calendars(tx: Tx, entries: list[CalendarEntry]) -> list[Change]:
    for entry in entries:
        try:
            must_open(read_calendar(entry.name, entry.plan), tx.now)
        except ValueError as error:
            raise DeskError(f"calendar {entry.name!r} {error}") from None
    wanted = {entry.name: {"plan": entry.plan, "active": True} for entry in entries}
    return _match(tx, CalendarPlan, "name", wanted, "calendar")


def _must_not_miss_calendars(tx: Tx) -> None:
    names = {calendar.id: calendar for calendar in tx.exec(select(CalendarPlan))}
    for queue in _active(tx, Queue):
        if queue.calendar_id is not None and not names[queue.calendar_id].active:
            name = names[queue.calendar_id].name
            raise DeskError(
                stored(
                    "calendars leaves out {name}, which queue {name2} keeps to", name=repr(name), name2=repr(queue.name)
                )
            )


def _queues(tx: Tx, entries: list[QueueEntry]) -> list[Change]:
    default = next((entry.name for entry in entries if entry.default), entries[0].name)
    calendars = _ids(tx, CalendarPlan)
    for entry in entries:
        _must_exist(f"queue {entry.name!r}", "calendar", [entry.calendar] if entry.calendar else [], calendars)
    wanted = {
        entry.name: {
            "first_reply_seconds": entry.first_reply_seconds,
            "sla": entry.other_targets,
            "offer_seconds": entry.offer,
            "calendar_id": calendars[entry.calendar] if entry.calendar else None,
            "handout": entry.handout,
            "is_default": entry.name == default,
            "active": True,
        }
        for entry in entries
    }
    changes = _match(tx, Queue, "name", wanted, "queue")
    tx.flush()
    return changes + _ways_between(tx, entries)


def _ways_between(tx: Tx, entries: list[QueueEntry]) -> list[Change]:
    """Where queues send work, once all of them are there."""
    ids, changes = _ids(tx, Queue), []
    rows = {row.name: row for row in _active(tx, Queue)}
    for entry in entries:
        place, closed = f"queue {entry.name!r}", entry.out_of_hours.overflow
        actions = {when: getattr(entry.escalate, when) for when in ("on_warning", "on_breach")}
        named = [action.queue for each in actions.values() for action in each if action.queue]
        full = entry.limits.overflow if entry.limits else None
        _must_exist(place, "queue", [*named, *filter(None, (closed, full)), *queues_named(entry.ladder)], ids)
        wanted = {
            "escalate": {when: [_action_in(action, ids) for action in each] for when, each in actions.items() if each},
            "hold_when_closed": entry.out_of_hours.hold,
            "closed_queue_id": ids[closed] if closed else None,
            "ladder": [step_in(step, ids) for step in entry.ladder],
            "limits": limits_in(entry.limits, ids),
        }
        row = rows[entry.name]
        differing = [field for field, value in wanted.items() if getattr(row, field) != value]
        for field in differing:
            setattr(row, field, wanted[field])
        tx.add(row)
        if differing:
            changes.append(Change("~", f"queue {entry.name}", ", ".join(differing)))
    if found := circle(entries):
        raise DeskError(
            f"queue {found[1][0]!r}: "
            + stored(
                "{found} goes in a circle: {known}; end it in a queue that keeps its work",
                found=found[0],
                known=" → ".join(found[1]),
            )
        )
    return changes


def _action_in(action: ActionEntry, ids: Mapping[str, int]) -> dict[str, Any]:
    return {"queue_id": ids[action.queue]} if action.queue else action.model_dump(exclude_defaults=True)


def _move_out(tx: Tx, actor: Actor, queue: Any) -> list[Change]:
    """The work of a queue that was switched off goes to the default queue."""
    target = tx.exec(select(Queue).where(col(Queue.active), col(Queue.is_default))).one()
    moved = move_out(tx, actor, queue.id, int(target.id or 0), target.name)
    return (
        [
            Change(
                "~",
                f"queue {target.name}",
                stored("takes {count} conversations of {queue}", count=moved, queue=queue.name),
            )
        ]
        if moved
        else []
    )


def _skills(tx: Tx, names: list[str]) -> list[Change]:
    changes = _match(tx, Skill, "name", {name: {} for name in names}, "skill")
    for skill in _left_out(tx, Skill, "name", names):
        drop_skill(tx, skill.id, skill.name)
        changes.append(Change("-", f"skill {skill.name}"))
    return changes


def _must_not_miss_skills(tx: Tx) -> None:
    known = _ids(tx, Skill)
    for rule in _active(tx, RoutingRule):
        _must_exist(f"rule {rule.name!r}", "skill", [*rule.skills, *steps_ask(rule.ladder)], known)
    for queue in _active(tx, Queue):
        _must_exist(f"queue {queue.name!r}", "skill", steps_ask(queue.ladder), known)


def _channels(tx: Tx, entries: list[ChannelEntry]) -> list[Change]:
    wanted = {entry.name: {**entry.model_dump(exclude={"name"}), "active": True} for entry in entries}
    return _match(tx, ChannelAccount, "name", wanted, "channel")


def rule_values(entry: RuleEntry, queues: Mapping[str, int], skills: Mapping[str, int]) -> dict[str, Any]:
    """The columns of a rule, but for its name and place. Raises DeskError for a queue or skill that is not there."""
    then = entry.then
    named = [*([then.queue] if then.queue else []), *queues_named(then.ladder)]
    _must_exist(f"rule {entry.name!r}", "queue", named, queues)
    _must_exist(f"rule {entry.name!r}", "skill", [*then.skills, *skills_named(then.ladder)], skills)
    return {
        "condition": entry.when,
        "queue_id": queues[then.queue] if then.queue else None,
        "skills": then.skills,
        "labels": then.labels,
        "priority": then.priority,
        "ladder": [step_in(step, queues) for step in then.ladder],
        "active": entry.enabled,
    }


def rule_entry(rule: RoutingRule, queues: Mapping[int | None, str]) -> dict[str, Any]:
    """A rule as the file has it; `queues` are the names of those in use."""
    then: dict[str, Any] = {"queue": queues[rule.queue_id]} if rule.queue_id in queues else {}
    then |= {"skills": rule.skills} if rule.skills else {}
    then |= {"labels": rule.labels} if rule.labels else {}
    then |= {"priority": rule.priority} if rule.priority else {}
    then |= {"ladder": [step_out(step, queues) for step in rule.ladder]} if rule.ladder else {}
    switched = {} if rule.active else {"enabled": False}
    return {"name": rule.name, **switched, "when": rule.condition, "then": then}


def _rules(tx: Tx, entries: list[RuleEntry]) -> list[Change]:
    queues, skills = _ids(tx, Queue), _ids(tx, Skill)
    wanted = {
        entry.name: {"position": position, **rule_values(entry, queues, skills)}
        for position, entry in enumerate(entries, 1)
    }
    changes = _match(tx, RoutingRule, "name", wanted, "rule")
    for gone in _left_out(tx, RoutingRule, "name", wanted):
        tx.delete(gone)
        changes.append(Change("-", f"rule {gone.name}"))
    return changes


def _webhooks(tx: Tx, entries: list[WebhookEntry]) -> list[Change]:
    known = {row.name for row in tx.exec(select(WebhookEndpoint))}
    for entry in entries:
        if entry.secret is None and entry.name not in known:
            raise DeskError(f"webhook {entry.name!r}: " + N_("secret is missing; write env:NAME or file:/path"))
    wanted = {
        entry.name: {**entry.model_dump(exclude={"name"}, exclude_none=True), "active": True} for entry in entries
    }
    return _match(tx, WebhookEndpoint, "name", wanted, "webhook")


def _profiles(tx: Tx, entries: list[ProfileEntry]) -> list[Change]:
    queues = _ids(tx, Queue)
    for entry in entries:
        _must_exist(f"profile {entry.name!r}", "queue", entry.queues, queues)
    wanted = {
        entry.name: {
            "limits": entry.limits,
            "serving": {str(queues[name]): how.model_dump() for name, how in entry.queues.items()},
            "active": True,
        }
        for entry in entries
    }
    return _match(tx, RoutingProfile, "name", wanted, "profile")


def _agents(tx: Tx, entries: list[AgentEntry]) -> list[Change]:
    profiles = _ids(tx, RoutingProfile)
    for entry in entries:
        _must_exist(f"agent {entry.name!r}", "profile", [entry.profile] if entry.profile else [], profiles)
    wanted = {
        entry.email: {
            "name": entry.name,
            "role": entry.role,
            "capacity": entry.capacity,
            "profile_id": profiles[entry.profile] if entry.profile else None,
            "active": True,
        }
        | entry.model_dump(include={"mail_notices", "signature"}, exclude_none=True)
        for entry in entries
    }
    changes = _match(tx, Agent, "email", wanted, "agent")
    tx.flush()
    queues, skills = _ids(tx, Queue), _ids(tx, Skill)
    for entry in entries:
        changes += _links(tx, entry, queues, skills)
    return changes


def _links(tx: Tx, entry: AgentEntry, queues: Mapping[str, int], skills: Mapping[str, int]) -> list[Change]:
    """An agent's queues and skill levels, replaced when they differ."""
    _must_exist(f"agent {entry.name!r}", "queue", entry.queues, queues)
    _must_exist(f"agent {entry.name!r}", "skill", entry.skills, skills)
    agent_id = tx.exec(select(Agent.id).where(Agent.email == entry.email)).one() or 0
    serves = {queues[name] for name in entry.queues}
    can = {skills[name]: level for name, level in entry.skills.items()}
    has = {row[0] for row in tx.sql("SELECT queue_id FROM agent_queue WHERE agent_id = ?", agent_id).fetchall()}
    knows = dict(tx.sql("SELECT skill_id, level FROM agent_skill WHERE agent_id = ?", agent_id).fetchall())
    changes = []
    if serves != has:
        tx.sql("DELETE FROM agent_queue WHERE agent_id = ?", agent_id)
        for number in serves:
            tx.sql("INSERT INTO agent_queue(agent_id, queue_id) VALUES(?, ?)", agent_id, number)
        changes.append(Change("~", f"agent {entry.email}", "queues"))
    if can != knows:
        tx.sql("DELETE FROM agent_skill WHERE agent_id = ?", agent_id)
        for number, level in can.items():
            tx.sql("INSERT INTO agent_skill(agent_id, skill_id, level) VALUES(?, ?, ?)", agent_id, number, level)
        changes.append(Change("~", f"agent {entry.email}", "skills"))
    return changes


def _must_exist(place: str, noun: str, names: Iterable[str], known: Mapping[str, int]) -> None:
    for name in names:
        if name not in known:
            raise DeskError(
                f"{place}: "
                + stored("there is no {noun} {name}; {near}", noun=noun, name=repr(name), near=nearest(name, known))
            )


def _match(tx: Tx, model: type[SQLModel], key: str, wanted: Mapping[str, Mapping[str, Any]], noun: str) -> list[Change]:
    """Create what is new, change what differs, switch off what is gone (where the table knows that)."""
    changes = []
    rows = {getattr(row, key): row for row in tx.exec(select(model))}
    for name, values in wanted.items():
        row = rows.get(name)
        if row is None:
            extra = {"created_at": tx.now} if "created_at" in model.model_fields else {}
            tx.add(model(**{key: name}, **values, **extra))
            changes.append(Change("+", f"{noun} {name}"))
            continue
        differing = [field for field, value in values.items() if getattr(row, field) != value]
        for field in differing:
            setattr(row, field, values[field])
        if differing:
            tx.add(row)
            changes.append(Change("~", f"{noun} {name}", ", ".join(differing)))
    for name, row in rows.items():
        if name not in wanted and model is not RoutingRule and getattr(row, "active", False):
            row.active = False
            tx.add(row)
            changes.append(Change("-", f"{noun} {name}"))
    return changes


def _left_out(tx: Tx, model: Any, key: str, names: Iterable[str] | None) -> list[Any]:
    """Rows in use that the file no longer has; none where it doesn't have the section."""
    if names is None:
        return []
    kept = set(names)
    in_use = "active" in model.model_fields and model is not RoutingRule  # a rule may be switched off and stay
    rows = _active(tx, model) if in_use else tx.exec(select(model).order_by(model.id))
    return [row for row in rows if getattr(row, key) not in kept]


def _active(tx: Tx, model: Any) -> list[Any]:
    return list(tx.exec(select(model).where(model.active).order_by(model.id)))


def _ids(tx: Tx, model: Any) -> dict[str, int]:
    rows = _active(tx, model) if "active" in model.model_fields else tx.exec(select(model))
    return {row.name: row.id for row in rows}


def _agent_out(
    tx: Tx, agent: Agent, queues: Mapping[int | None, str], skills: Mapping[int | None, str]
) -> dict[str, Any]:
    serves = tx.exec(
        select(AgentQueue.queue_id).where(AgentQueue.agent_id == agent.id).order_by(col(AgentQueue.queue_id))
    )
    levels = tx.exec(select(AgentSkill).where(AgentSkill.agent_id == agent.id).order_by(col(AgentSkill.skill_id)))
    return {
        "name": agent.name,
        "email": agent.email,
        "role": agent.role,
        "capacity": agent.capacity,
        "queues": [queues[number] for number in serves if number in queues],
        "skills": {skills[row.skill_id]: row.level for row in levels},
        **({"mail_notices": True} if agent.mail_notices else {}),
        **({"signature": agent.signature} if agent.signature else {}),
        **({"profile": tx.get_one(RoutingProfile, agent.profile_id).name} if agent.profile_id else {}),
    }


def _ways_out(queue: Queue, names: Mapping[int | None, str]) -> dict[str, Any]:
    def out(action: Mapping[str, Any]) -> Any:
        if "queue_id" in action:
            return {"queue": names.get(action["queue_id"], "")}
        return dict(action) if "priority" in action else next(iter(action))

    escalate = {when: [out(action) for action in actions] for when, actions in queue.escalate.items()}
    closed: Any = "hold" if queue.hold_when_closed else {"overflow": names.get(queue.closed_queue_id)}
    says = queue.hold_when_closed or queue.closed_queue_id in names
    waiting: dict[str, Any] = {"ladder": [step_out(step, names) for step in queue.ladder]} if queue.ladder else {}
    waiting |= {"limits": limits_out(queue.limits, names)} if queue.limits else {}
    return ({"escalate": escalate} if escalate else {}) | ({"out_of_hours": closed} if says else {}) | waiting


def _promises_out(queue: Queue) -> dict[str, Any]:
    def out(targets: Mapping[str, Any]) -> dict[str, Any]:
        return {name: span(seconds) for name, seconds in targets.items() if name in PROMISED}

    first = {"first_reply": span(queue.first_reply_seconds)}
    if not queue.sla:
        return first
    warn_at = {"warn_at": queue.sla["warn_at"]} if "warn_at" in queue.sla else {}
    own = {kind: out(targets) for kind, targets in queue.sla.get("channels", {}).items()}
    return {"sla": first | out(queue.sla) | ({"channels": own} if own else {}) | warn_at}


_STEPS: dict[str, Callable[[Tx, Any], list[Change]]] = {
    "calendars": _calendars,
    "queues": _queues,
    "skills": _skills,
    "profiles": _profiles,
    "agents": _agents,
    "channels": _channels,
    "contact_fields": apply_contact_fields,
    "rules": _rules,
    "replies": apply_replies,
    "macros": apply_macros,
    "webhooks": _webhooks,
}
