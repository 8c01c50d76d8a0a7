"""The form of a change to try: the knobs that people turn most, over the desk's routing as desk.yaml has it.

The document is what counts; the knobs read from it and write into it, so that whatever else it says stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from config.language import _, words
from hub.deskfile import DeskError, read
from hub.deskvalues import span
from routing.demand import AGENT_ORDERS, BOOST, WORK_ORDERS
from routing.simulation.advice import DEFERRABLE, TAUGHT

SECTIONS = ("calendars", "queues", "skills", "profiles", "agents", "rules")  # what routing depends on
WAITS = ("email", "form")  # a form has one place for both
RELEASE = 60  # per cent, where nobody says otherwise
WORK = words(
    {
        "slack": "what waiting costs most",
        "deadline": "the nearest target",
        "ageing": "the oldest, priority as minutes",
        "strict": "the highest priority",
        "lifo": "the newest",
    }
)
AGENT = words(
    {
        "score": "who is best for all of the work",
        "longest_idle": "the longest idle",
        "least_load": "who has most room",
        "best_skill": "the most skilled",
        "round_robin": "each in turn",
    }
)
assert set(WORK) == set(WORK_ORDERS) and set(AGENT) == set(AGENT_ORDERS)


class _Plain(yaml.SafeDumper):
    """Writes the same value twice instead of referring to the first."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class QueueKnobs:
    """A queue's row; what is typed stands as text."""

    name: str
    work: str
    agent: str
    boost: str
    leave: str
    until: str


@dataclass(frozen=True, slots=True)
class Team:
    """Agents who share a profile ("" for none): how much each takes, "" where they differ."""

    profile: str
    number: int
    capacity: str
    channels: Mapping[str, str] = field(default_factory=dict)


def parsed(text: str) -> dict[str, Any]:
    """The document of a text. Raises DeskError."""
    return read(text) if text.strip() else {}


def written(document: Mapping[str, Any]) -> str:
    """The text of a document."""
    return yaml.dump(dict(document), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)


def routing_of(text: str) -> dict[str, Any]:
    """What of an exported desk routing depends on."""
    document = parsed(text)
    return {name: document[name] for name in SECTIONS if name in document}


def queues_of(document: Mapping[str, Any]) -> list[QueueKnobs]:
    """The rows of the queues."""
    rows = []
    for queue in document.get("queues", []):
        order, kept = queue.get("order", {}), _kept(queue)
        rows.append(
            QueueKnobs(
                queue["name"], order.get("work", "slack"), order.get("agent", "score"),
                str(queue.get("boost", span(int(BOOST)))), str(kept["leave"]) if kept else "",
                str(kept.get("until", RELEASE)) if kept else "",
            )
        )  # fmt: skip
    return rows


def teams_of(document: Mapping[str, Any], kinds: Iterable[str]) -> list[Team]:
    """The rows of the profiles, and of agents without one."""
    agents = document.get("agents", [])
    profiles = {profile["name"]: profile for profile in document.get("profiles", [])}
    teams = []
    for name in ["", *profiles]:
        members = [agent for agent in agents if agent.get("profile", "") == name]
        if not members and not name:
            continue
        capacities = {agent.get("capacity", 100) for agent in members}
        limits = profiles[name].get("channels", {}) if name else {}
        shown = {kind: str(limits.get(kind, "")) for kind in kinds} if name else {}
        teams.append(Team(name, len(members), str(capacities.pop()) if len(capacities) == 1 else "", shown))
    return teams


def turned(document: Mapping[str, Any], given: Mapping[str, str], kinds: Iterable[str]) -> dict[str, Any]:
    """The document after the knobs of a form. Raises DeskError for what is no number."""
    changed = dict(document)
    before = queues_of(document)
    changed["queues"] = [
        _queue(queue, row, {name: given.get(f"q{place}.{name}", "").strip() for name in QueueKnobs.__slots__})
        if f"q{place}.work" in given
        else queue
        for place, (queue, row) in enumerate(zip(document.get("queues", []), before, strict=True))
    ]
    if not changed["queues"]:
        del changed["queues"]
    for place, team in enumerate(teams_of(document, kinds)):
        capacity = given.get(f"t{place}.capacity", team.capacity).strip()
        if capacity and capacity != team.capacity:
            changed["agents"] = [
                {**agent, "capacity": _number(capacity, "capacity")}
                if agent.get("profile", "") == team.profile
                else agent
                for agent in changed["agents"]
            ]
        typed = {kind: given.get(f"t{place}.{kind}", shown).strip() for kind, shown in team.channels.items()}
        if typed != dict(team.channels):
            changed["profiles"] = [
                _limited(profile, typed) if profile["name"] == team.profile else profile
                for profile in changed["profiles"]
            ]
    return changed


def with_release(document: Mapping[str, Any], release: Mapping[str, Any]) -> dict[str, Any]:
    """With the room that was recommended, in every queue."""
    kept = {name: {"leave": release["leave"], "until": release["until"]} for name in release["channels"]}
    queues = []
    for queue in document.get("queues", []):
        rest = {name: one for name, one in queue.get("reserve", {}).items() if name not in DEFERRABLE}
        reserve = rest | (kept if release["until"] else {})
        queues.append({**_without(queue, "reserve"), **({"reserve": reserve} if reserve else {})})
    return {**document, "queues": queues}


def with_lesson(document: Mapping[str, Any], lesson: Mapping[str, Any], emails: Iterable[str]) -> dict[str, Any]:
    """With the skill that was recommended, for those agents."""
    pupils = set(emails)
    agents = []
    for agent in document.get("agents", []):
        if agent["email"] in pupils:
            has, serves = agent.get("skills", {}), agent.get("queues", [])
            knows = {name: max(level, TAUGHT, has.get(name, 0)) for name, level in lesson["skills"].items()}
            queues = serves if lesson["queue"] in serves else [*serves, lesson["queue"]]
            agent = {**agent, "queues": queues, "skills": {**has, **knows}}
        agents.append(agent)
    return {**document, "agents": agents}


def _queue(queue: Mapping[str, Any], row: QueueKnobs, typed: Mapping[str, str]) -> dict[str, Any]:
    """Only what somebody turned is written."""
    found = dict(queue)
    if (typed["work"], typed["agent"]) != (row.work, row.agent):
        found["order"] = {"work": typed["work"], "agent": typed["agent"]}
    if typed["boost"] != row.boost and typed["boost"]:
        found["boost"] = typed["boost"]
    if (typed["leave"], typed["until"]) != (row.leave, row.until):
        rest = {name: kept for name, kept in found.get("reserve", {}).items() if name not in WAITS}
        if typed["leave"]:
            one = {"leave": _number(typed["leave"], "room"), "until": _number(typed["until"] or str(RELEASE), "until")}
            rest |= {name: one for name in WAITS}
        found = _without(found, "reserve") | ({"reserve": rest} if rest else {})
    return found


def _limited(profile: Mapping[str, Any], typed: Mapping[str, str]) -> dict[str, Any]:
    others = {kind: limit for kind, limit in profile.get("channels", {}).items() if kind not in typed}
    limits = others | {kind: _number(limit, kind) for kind, limit in typed.items() if limit}
    return _without(profile, "channels") | ({"channels": limits} if limits else {})


def _kept(queue: Mapping[str, Any]) -> Mapping[str, Any] | None:
    reserve = queue.get("reserve", {})
    found: Mapping[str, Any] | None = next((reserve[name] for name in WAITS if name in reserve), None)
    return found


def _without(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != name}


def _number(typed: str, what: str) -> int:
    if not typed.isdecimal() or len(typed) > 6:
        raise DeskError(_("{what} must be a whole number, not {typed}", what=what, typed=repr(typed)))
    return int(typed)
