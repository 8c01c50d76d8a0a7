"""A TaskRouter workflow as the rules of a desk file, and what of it did not go over, each with its reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from hub.deskfile import DeskError, check
from hub.deskvalues import LONGEST_SPAN, span
from hub.taskrouter.conditions import NotTranslated, Translation
from hub.taskrouter.expressions import ExpressionError, parse
from hub.taskrouter.workers import NotSkills, skills_of
from routing.conditions import ConditionError

MOST_PRIORITY = 1000
MOST_NAME = 64


class WorkflowError(ValueError):
    """The file is no workflow, or no list of queues. The sentence says what was expected."""


@dataclass
class Imported:
    """`rules` as desk.yaml takes them, `left_out` says what could not be translated and `taken` what was assumed."""

    rules: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """A desk file with the rules, and the rest as comments."""
        body = yaml.safe_dump({"rules": self.rules}, sort_keys=False, allow_unicode=True, width=110)
        notes = [("Not translated", self.left_out), ("Taken for", self.taken)]
        return body + "".join(
            f"\n# {title}:\n" + "".join(f"# - {' '.join(line.split())}\n" for line in lines)
            for title, lines in notes
            if lines
        )


@dataclass(frozen=True, slots=True)
class _Queue:
    """A TaskQueue: the name of ours and whom it rings."""

    name: str
    workers: str = ""


def import_workflow(text: str, queues: str = "", fields: Mapping[str, str] | None = None) -> Imported:
    """Translate the JSON of a workflow: its configuration alone, or the resource as the API gives it.

    `queues` is JSON that names TaskQueues: {"WQ…": "Shipping"}, or the list of them as the API gives it, with whose
    target workers the required skills are found. `fields` names our field for a task attribute. Raises WorkflowError.
    """
    routing, timeout = _routing(text)
    known = _queues(queues)
    done = Imported()
    translation = Translation(dict(fields or {}))
    filters = routing.get("filters", [])
    if not isinstance(filters, list):
        raise WorkflowError("task_routing.filters must be a list")
    for place, each in enumerate(filters, 1):
        if not isinstance(each, Mapping):
            raise WorkflowError(f"filter {place} must be an object")
        name = _distinct(each.get("filter_friendly_name") or f"Filter {place}", done.rules)
        done.rules.append(_rule(name, each, known, translation, done))
    default = routing.get("default_filter")
    fallback = default if isinstance(default, Mapping) and default.get("queue") else None
    for rule, each in zip(done.rules, filters, strict=True):
        if ladder := _ladder(rule["name"], each.get("targets", []), rule["then"], fallback, known, done):
            rule["then"]["ladder"] = ladder
    if any("ladder" in rule["then"] for rule in done.rules):
        done.taken.append("timeouts of targets: steps of ladders, which count while the queue's calendar is open")
    if isinstance(default, Mapping) and default.get("queue"):
        name = _distinct("Everything else", done.rules)
        then = _then(name, default, known, done)
        done.rules.append({"name": name, "when": {}, "then": then})
    else:
        done.left_out.append(
            "There is no default filter: TaskRouter fails such a task, here the default queue takes it"
        )
    if timeout:
        done.left_out.append(
            f"task_reservation_timeout {timeout}: how long a queue rings is set in each queue (offer: {timeout}s)"
        )
    done.taken += [f"attribute {name}: {field_name}" for name, field_name in sorted(translation.used.items())]
    try:
        check({"rules": done.rules})
    except DeskError as error:  # every rule was checked alone; what is left is the file as a whole
        raise WorkflowError(str(error)) from None
    return done


def _rule(
    name: str, given: Mapping[str, Any], queues: Mapping[str, _Queue], translation: Translation, done: Imported
) -> dict[str, Any]:
    targets = given.get("targets", [])
    if not isinstance(targets, list) or not all(isinstance(target, Mapping) for target in targets):
        raise WorkflowError(f"{name}: targets must be a list of objects")
    expression = given.get("expression")
    try:
        if not isinstance(expression, str):
            raise ExpressionError("it has no expression")
        when, enabled = translation.condition(parse(expression)), True
    except (ExpressionError, NotTranslated, ConditionError) as error:
        done.left_out.append(f"{name}: {error} (in {str(expression)[:200]!r}); the rule is there and switched off")
        when, enabled = {}, False
    if not targets:
        done.left_out.append(f"{name}: it has no target; the default queue takes what it matches")
    then = _then(name, targets[0], queues, done) if targets else {}
    for place, target in enumerate(targets, 1):
        for key, why in _NO_PLACE.items():
            if target.get(key) not in (None, ""):
                done.left_out.append(f"{name}, target {place}: {key} {target[key]!r}: {why}")
    return {"name": name} | ({} if enabled else {"enabled": False}) | {"when": when, "then": then}


_NO_PLACE = {
    "skip_if": "work waits until the target's time is over, whoever is there",
    "order_by": "the queue's own order of agents decides",
    "known_worker_sid": "who had the person last is preferred by the queue, not named by a rule",
    "known_worker_friendly_name": "who had the person last is preferred by the queue, not named by a rule",
}


def _then(name: str, target: Mapping[str, Any], queues: Mapping[str, _Queue], done: Imported) -> dict[str, Any]:
    then: dict[str, Any] = {}
    if sid := str(target.get("queue") or ""):
        queue = queues.get(sid)
        if queue is None:
            done.left_out.append(f"{name}: queue {sid} has no name here; give one with --queues")
        then["queue"] = (queue.name if queue else sid)[:MOST_NAME]
    skills: dict[str, int] = {}
    for source, text in (("queue", queues[sid].workers if sid in queues else ""), ("target", target.get("expression"))):
        if not text:
            continue
        try:
            for skill, level in skills_of(parse(str(text))).items():
                skills[skill] = max(level, skills.get(skill, 0))
        except (ExpressionError, NotSkills) as error:
            done.left_out.append(f"{name}: workers of its {source} by {str(text)[:200]!r}: {error}")
    if skills:
        then["skills"] = skills
    if (priority := _whole(target.get("priority"))) is not None and priority:
        then["priority"] = min(priority, MOST_PRIORITY)
        if priority > MOST_PRIORITY:
            done.left_out.append(f"{name}: priority {priority} became {MOST_PRIORITY}, the highest there is")
    return then


def _ladder(
    name: str, targets: list[Mapping[str, Any]], first: Mapping[str, Any], fallback: Mapping[str, Any] | None,
    queues: Mapping[str, _Queue], done: Imported,
) -> list[dict[str, Any]]:  # fmt: skip
    """The later targets as steps: each comes when the timeouts of those before it are over."""
    steps: list[dict[str, Any]] = []
    now, waited = dict(first), 0
    for place, target in enumerate(targets, 1):
        timeout = _whole(target.get("timeout"))
        following = targets[place] if place < len(targets) else fallback
        if timeout is None:
            if place < len(targets):
                done.left_out.append(f"{name}: target {place} has no timeout and is never left; {_NEVER}")
            break
        if following is None:
            done.left_out.append(
                f"{name}: after {waited + timeout}s TaskRouter fails the task, here it goes on waiting in its queue"
            )
            break
        label = f"{name}, target {place + 1}" if place < len(targets) else name
        then, waited = _then(label, following, queues, done), min(max(waited + timeout, waited + 1), LONGEST_SPAN)
        step: dict[str, Any] = {"after": span(waited)}
        if then.get("queue", now.get("queue")) != now.get("queue"):
            step["overflow"] = then["queue"]
        if then.get("skills", {}) != now.get("skills", {}):
            step["require"] = then.get("skills", {})
        rise = then.get("priority", 0) - now.get("priority", 0)
        if rise > 0:
            step["priority"] = rise
        elif rise < 0:
            done.left_out.append(f"{label}: its priority is lower than before: what waits longer is not put back here")
            then["priority"] = now.get("priority", 0)
        if len(step) > 1:
            steps.append(step)
        now = {**now, **then, "skills": then.get("skills", {})}
    return steps


_NEVER = "those after it are never reached"


def _routing(text: str) -> tuple[Mapping[str, Any], int | None]:
    document = _json(text, "the workflow")
    timeout = None
    if isinstance(document, Mapping) and "configuration" in document:
        timeout = _whole(document.get("task_reservation_timeout"))
        inside = document["configuration"]
        document = _json(inside, "its configuration") if isinstance(inside, str) else inside
    routing = document.get("task_routing") if isinstance(document, Mapping) else None
    if not isinstance(routing, Mapping):
        raise WorkflowError("this is no workflow: it has no task_routing")
    return routing, timeout


def _queues(text: str) -> dict[str, _Queue]:
    if not text.strip():
        return {}
    document = _json(text, "the list of queues")
    if isinstance(document, Mapping) and "task_queues" in document:
        document = document["task_queues"]
    if isinstance(document, list):
        return {
            str(each["sid"]): _Queue(str(each["friendly_name"]).strip(), str(each.get("target_workers") or ""))
            for each in document
            if isinstance(each, Mapping) and each.get("sid") and each.get("friendly_name")
        }
    if isinstance(document, Mapping) and all(isinstance(name, str) for name in document.values()):
        return {sid: _Queue(name.strip()) for sid, name in document.items()}
    raise WorkflowError('queues are named by {"WQ…": "name"} or by the list that the API gives')


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"{what} is not valid JSON: {str(error)[:200]}") from None


def _whole(value: Any) -> int | None:
    """Numbers come as text as often as not."""
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return None


def _distinct(name: Any, rules: list[dict[str, Any]]) -> str:
    taken = {rule["name"] for rule in rules}
    base = " ".join(str(name).split())[:MOST_NAME] or "Filter"
    found, number = base, 2
    while found in taken:
        end = f" {number}"
        found, number = base[: MOST_NAME - len(end)] + end, number + 1
    return found
