"""The desk as one file: channels, queues, skills, rules, agents and replies, compared, applied and exported."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from sqlmodel import SQLModel, col, select

from channels import KINDS
from routing.rules import validate
from storage import Tx
from storage.access import ROLES, Actor
from storage.deliveries import WebhookEndpoint
from storage.desk import ChannelAccount, Queue, RoutingRule, SavedReply, Skill, touch_desk
from storage.facts import DeskChanged
from storage.people import Agent, AgentQueue, AgentSkill

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SECTIONS = {
    "queues": {"name", "first_reply", "offer", "default"},
    "skills": set[str](),
    "agents": {"name", "email", "role", "capacity", "queues", "skills"},
    "channels": {"name", "kind", "address", "settings"},
    "rules": {"name", "when", "then"},
    "replies": {"shortcut", "text"},
    "webhooks": {"name", "url", "secret", "events"},
}
SECRETS = ("password", "token", "secret", "key")


class DeskError(Exception):
    """The file can't be applied. The sentence names the place and says what to write there."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the file and the database. `mark` is + (new), ~ (changed) or - (switched off)."""

    mark: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.what}{': ' + self.detail if self.detail else ''}"


def read(text: str) -> dict[str, Any]:
    """Parse and validate a desk file. Raises DeskError."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DeskError(f"this is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise DeskError(f"the file must be a mapping with {', '.join(SECTIONS)}")
    for section, items in document.items():
        if section not in SECTIONS:
            raise DeskError(f"unknown section {section!r}; known are {', '.join(SECTIONS)}")
        if not isinstance(items, list):
            raise DeskError(f"{section} must be a list")
        for number, item in enumerate(items, 1):
            _check_item(section, number, item)
    return document


def apply(tx: Tx, actor: Actor, document: Mapping[str, Any]) -> list[Change]:
    """Make the database say what the file says; what a section leaves out is switched off, never deleted.

    Sections that the file doesn't have stay as they are. Rolling the unit back makes this a dry run. Applying the
    same file twice changes nothing. Raises DeskError.
    """
    actor.must_be("admin")
    changes: list[Change] = []
    for section, step in _STEPS.items():
        if section in document:
            changes += step(tx, document[section])
            tx.flush()
    if changes:
        touch_desk(tx)
        tx.emit(DeskChanged(f"{len(changes)} changes by file", by=actor.by))
    return changes


def export(tx: Tx) -> str:
    """The desk as a file that `apply` takes. Secrets are references already and stay so."""
    queues = {queue.id: queue for queue in tx.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id)))}
    skills = {skill.id: skill.name for skill in tx.exec(select(Skill).order_by(col(Skill.id)))}
    document = {
        "queues": [
            {"name": q.name, "first_reply": _span(q.first_reply_seconds), "offer": _span(q.offer_seconds)}
            | ({"default": True} if q.is_default else {})
            for q in queues.values()
        ],
        "skills": list(skills.values()),
        "agents": [_agent_out(tx, agent, queues, skills) for agent in _active(tx, Agent)],
        "channels": [
            {"name": c.name, "kind": c.kind, "address": c.address, "settings": c.settings}
            for c in _active(tx, ChannelAccount)
        ],
        "rules": [
            {"name": r.name, "when": r.condition, "then": _then_out(r, queues)}
            for r in tx.exec(select(RoutingRule).where(col(RoutingRule.active)).order_by(col(RoutingRule.position)))
        ],
        "replies": [{"shortcut": r.shortcut, "text": r.text} for r in tx.exec(select(SavedReply))],
        "webhooks": [
            {"name": w.name, "url": w.url, "secret": w.secret, "events": w.events} for w in _active(tx, WebhookEndpoint)
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _check_item(section: str, number: int, item: Any) -> None:
    place = f"{section}[{number}]"
    if section == "skills":
        if not isinstance(item, str) or not item:
            raise DeskError(f"{place} must be a skill's name")
        return
    if not isinstance(item, dict):
        raise DeskError(f"{place} must be a mapping")
    if unknown := set(item) - SECTIONS[section]:
        raise DeskError(
            f"{place}: unknown key {sorted(unknown)[0]!r}; known are {', '.join(sorted(SECTIONS[section]))}"
        )
    wanted = {"agents": ("name", "email"), "channels": ("name", "kind"), "rules": ("name", "when", "then")}
    wanted |= {"replies": ("shortcut", "text"), "webhooks": ("name", "url", "secret"), "queues": ("name",)}
    for name in wanted[section]:
        if not item.get(name):
            raise DeskError(f"{place}: {name} is missing")
    if section == "channels":
        _check_channel(place, item)
    if section == "rules":
        try:
            validate(item["when"])
        except ValueError as error:
            raise DeskError(f"{place} ({item['name']}): {error}") from None
    if section == "agents" and item.get("role", "agent") not in ROLES:
        raise DeskError(f"{place}: role must be one of {', '.join(ROLES)}")
    if section == "queues":
        for name in ("first_reply", "offer"):
            _seconds(item.get(name, "1s"), f"{place}: {name}")


def _check_channel(place: str, item: Mapping[str, Any]) -> None:
    if item["kind"] not in KINDS:
        raise DeskError(f"{place}: unknown kind {item['kind']!r}; known are {', '.join(KINDS)}")
    for name, value in (item.get("settings") or {}).items():
        plain = isinstance(value, str) and value and not value.startswith(("env:", "file:"))
        if plain and any(name == word or name.endswith(f"_{word}") for word in SECRETS):
            raise DeskError(f"{place}: {name} is a secret; write env:NAME or file:/path instead of the value")


def _seconds(value: Any, place: str) -> int:
    """ "30m" or a number of seconds."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = re.fullmatch(r"(\d+)\s*([smhd])", str(value).strip())
    if not found or int(found.group(1)) == 0:
        raise DeskError(f"{place} must be a span such as 30s, 15m, 4h or 2d, not {value!r}")
    return int(found.group(1)) * UNITS[found.group(2)]


def _span(seconds: int) -> str:
    for unit in ("d", "h", "m"):
        if seconds % UNITS[unit] == 0:
            return f"{seconds // UNITS[unit]}{unit}"
    return f"{seconds}s"


def _queues(tx: Tx, items: list[dict[str, Any]]) -> list[Change]:
    wanted = {
        item["name"]: {
            "first_reply_seconds": _seconds(item.get("first_reply", "4h"), "first_reply"),
            "offer_seconds": _seconds(item.get("offer", "30s"), "offer"),
            "is_default": bool(item.get("default", False)),
            "active": True,
        }
        for item in items
    }
    if wanted and not any(values["is_default"] for values in wanted.values()):
        next(iter(wanted.values()))["is_default"] = True
    return _match(tx, Queue, "name", wanted, "queue")


def _skills(tx: Tx, items: list[str]) -> list[Change]:
    return _match(tx, Skill, "name", {name: {} for name in items}, "skill")


def _channels(tx: Tx, items: list[dict[str, Any]]) -> list[Change]:
    wanted = {
        item["name"]: {
            "kind": item["kind"],
            "address": item.get("address", ""),
            "settings": item.get("settings") or {},
            "active": True,
        }
        for item in items
    }
    return _match(tx, ChannelAccount, "name", wanted, "channel")


def _rules(tx: Tx, items: list[dict[str, Any]]) -> list[Change]:
    queues = {queue.name: queue.id for queue in _active(tx, Queue)}
    wanted = {}
    for position, item in enumerate(items, 1):
        then = item["then"]
        if then.get("queue") is not None and then["queue"] not in queues:
            raise DeskError(f"rule {item['name']!r}: there is no queue {then['queue']!r}")
        wanted[item["name"]] = {
            "position": position,
            "condition": item["when"],
            "queue_id": queues.get(then.get("queue")),
            "skills": then.get("skills") or {},
            "priority": then.get("priority", 0),
            "active": True,
        }
    return _match(tx, RoutingRule, "name", wanted, "rule")


def _replies(tx: Tx, items: list[dict[str, Any]]) -> list[Change]:
    return _match(tx, SavedReply, "shortcut", {i["shortcut"]: {"text": i["text"]} for i in items}, "saved reply")


def _webhooks(tx: Tx, items: list[dict[str, Any]]) -> list[Change]:
    wanted = {
        i["name"]: {"url": i["url"], "secret": i["secret"], "events": i.get("events") or [], "active": True}
        for i in items
    }
    return _match(tx, WebhookEndpoint, "name", wanted, "webhook")


def _agents(tx: Tx, items: list[dict[str, Any]]) -> list[Change]:
    wanted = {
        item["email"].strip().lower(): {
            "name": item["name"],
            "role": item.get("role", "agent"),
            "capacity": item.get("capacity", 100),
            "active": True,
        }
        for item in items
    }
    changes = _match(tx, Agent, "email", wanted, "agent")
    tx.flush()
    queues = {queue.name: queue.id for queue in _active(tx, Queue)}
    skills = {skill.name: skill.id for skill in tx.exec(select(Skill))}
    for item in items:
        changes += _links(tx, item, queues, skills)
    return changes


def _links(
    tx: Tx, item: Mapping[str, Any], queues: Mapping[str, int | None], skills: Mapping[str, int | None]
) -> list[Change]:
    """An agent's queues and skill levels, replaced when they differ."""
    agent = tx.exec(select(Agent).where(Agent.email == item["email"].strip().lower())).one()
    for name in item.get("queues") or []:
        if name not in queues:
            raise DeskError(f"agent {item['name']!r}: there is no queue {name!r}")
    for name in item.get("skills") or {}:
        if name not in skills:
            raise DeskError(f"agent {item['name']!r}: there is no skill {name!r}")
    serves = {queues[name] for name in item.get("queues") or []}
    can = {skills[name]: int(level) for name, level in (item.get("skills") or {}).items()}
    has = set(tx.exec(select(AgentQueue.queue_id).where(AgentQueue.agent_id == agent.id)))
    knows = {row.skill_id: row.level for row in tx.exec(select(AgentSkill).where(AgentSkill.agent_id == agent.id))}
    changes = []
    if serves != has:
        tx.sql("DELETE FROM agent_queue WHERE agent_id = ?", agent.id)
        tx.add_all(AgentQueue(agent_id=agent.id or 0, queue_id=number or 0) for number in serves)
        changes.append(Change("~", f"agent {agent.email}", "queues"))
    if can != knows:
        tx.sql("DELETE FROM agent_skill WHERE agent_id = ?", agent.id)
        tx.add_all(AgentSkill(agent_id=agent.id or 0, skill_id=n or 0, level=level) for n, level in can.items())
        changes.append(Change("~", f"agent {agent.email}", "skills"))
    tx.expunge_all() if not changes else tx.flush()
    return changes


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
        if name not in wanted and getattr(row, "active", False):
            row.active = False
            tx.add(row)
            changes.append(Change("-", f"{noun} {name}"))
    return changes


def _active(tx: Tx, model: Any) -> list[Any]:
    return list(tx.exec(select(model).where(model.active).order_by(model.id)))


def _agent_out(
    tx: Tx, agent: Agent, queues: Mapping[int | None, Queue], skills: Mapping[int | None, str]
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
        "queues": [queues[number].name for number in serves if number in queues],
        "skills": {skills[row.skill_id]: row.level for row in levels},
    }


def _then_out(rule: RoutingRule, queues: Mapping[int | None, Queue]) -> dict[str, Any]:
    then: dict[str, Any] = {"queue": queues[rule.queue_id].name} if rule.queue_id in queues else {}
    return (
        then | ({"skills": rule.skills} if rule.skills else {}) | ({"priority": rule.priority} if rule.priority else {})
    )


_STEPS: dict[str, Callable[[Tx, Any], list[Change]]] = {
    "queues": _queues,
    "skills": _skills,
    "agents": _agents,
    "channels": _channels,
    "rules": _rules,
    "replies": _replies,
    "webhooks": _webhooks,
}
