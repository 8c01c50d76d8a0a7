"""Routing rules: read, changed one by one, and tried on what came in lately. For administrators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from pydantic import Field

from api.errors import Refused
from api.routes import Part
from api.shapes import In, Out
from api.tokens import actor_here
from hub import rules as verbs
from hub.rules import RuleRefused, Trial
from hub.web import hub_here

part = Part("rules", "Routing rules")
MOST_TRIED = 1000
VERSION = "`version` of the list that the change was made from; 409 when somebody changed the desk since."


class RuleIn(In):
    """A rule as desk.yaml has it; /api/v1/schemas/rules.json describes `when`."""

    name: str = Field(min_length=1, max_length=200)
    enabled: bool = True
    when: dict[str, Any] = Field(description="The condition; {} holds for everything.")
    then: dict[str, Any] = Field(default_factory=dict, description="queue, skills, labels, priority and ladder.")


class RuleChange(In):
    """What a rule says from now on."""

    version: int = Field(ge=0, description=VERSION)
    rule: RuleIn


class NewRule(RuleChange):
    """A rule to add, before another one or as the last."""

    before: int | None = Field(None, ge=1, le=2**53)


class RuleOrder(In):
    """Every rule's id, once, in the wanted order."""

    version: int = Field(ge=0, description=VERSION)
    ids: list[int] = Field(max_length=10_000)


class RuleTrial(In):
    """A rule in the place it would get; `replaces` one, or stands `before` one, or comes last."""

    rule: RuleIn
    replaces: int | None = Field(None, ge=1, le=2**53)
    before: int | None = Field(None, ge=1, le=2**53)
    limit: int = Field(200, ge=1, le=MOST_TRIED)


class VersionQuery(In):
    """Which state of the desk the change was made from."""

    version: int = Field(ge=0, description=VERSION)


class Rule(Out):
    """The first rule whose condition holds decides."""

    id: int
    name: str
    enabled: bool
    when: dict[str, Any]
    then: dict[str, Any]


class RuleWarning(Out):
    """Something that looks wrong and is used all the same; `path` is a place in the condition."""

    rule: str
    path: str
    message: str


class RuleList(Out):
    """All rules in their order. Send `version` back with a change."""

    version: int
    rules: list[Rule]
    warnings: list[RuleWarning]


class Moved(Out):
    """How many pieces of work would go elsewhere."""

    from_queue: str
    to_queue: str
    count: int


class Tried(Out):
    """What the rule would have done with the newest `tried` pieces of work.

    `matched`: its condition holds. `decided`: it is the first that does. `earlier`: which rules come before it, and
    how often. `changed`: would be placed otherwise than by the rules as they are. `unknown` fields can't be told
    afterwards.
    """

    tried: int
    matched: int
    decided: int
    earlier: dict[str, int]
    changed: int
    moved: list[Moved]
    unknown: list[str]
    examples: list[int] = Field(description="Conversations that it decides.")


@part.get("/rules", gives=RuleList, refuses=(403,))
def list_rules() -> dict[str, Any]:
    """Every rule in its order, those that are off included."""
    return _all()


@part.post("/rules", body=NewRule, gives=RuleList, status=201, refuses=(403, 409))
def create_rule(asked: NewRule) -> dict[str, Any]:
    """Add a rule."""
    with hub_here().store.write() as tx, _told():
        verbs.add_rule(tx, actor_here(), asked.version, asked.rule.model_dump(), asked.before)
    return _all()


@part.get("/rules/<int:rule_id>", gives=Rule, refuses=(403,))
def get_rule(rule_id: int) -> dict[str, Any]:
    """One rule."""
    with hub_here().store.read() as tx:
        return {"enabled": True, **verbs.rule(tx, actor_here(), rule_id)}


@part.put("/rules/<int:rule_id>", body=RuleChange, gives=RuleList, refuses=(403, 409))
def replace_rule(rule_id: int, asked: RuleChange) -> dict[str, Any]:
    """A rule says something else from now on; it keeps its place."""
    with hub_here().store.write() as tx, _told():
        verbs.replace_rule(tx, actor_here(), asked.version, rule_id, asked.rule.model_dump())
    return _all()


@part.delete("/rules/<int:rule_id>", query=VersionQuery, gives=RuleList, refuses=(403, 409))
def delete_rule(rule_id: int, asked: VersionQuery) -> dict[str, Any]:
    """Delete a rule. To keep it and have it decide nothing, set `enabled` to false."""
    with hub_here().store.write() as tx:
        verbs.delete_rule(tx, actor_here(), asked.version, rule_id)
    return _all()


@part.put("/rules/order", body=RuleOrder, gives=RuleList, refuses=(403, 409))
def reorder_rules(asked: RuleOrder) -> dict[str, Any]:
    """Put the rules into another order."""
    with hub_here().store.write() as tx:
        verbs.reorder_rules(tx, actor_here(), asked.version, asked.ids)
    return _all()


@part.post("/rules/try", body=RuleTrial, gives=Tried, refuses=(403,))
def try_rule(asked: RuleTrial) -> dict[str, Any]:
    """What a rule would have done with what came in lately. Changes nothing."""
    with hub_here().store.read() as tx, _told():
        trial = verbs.try_rule(
            tx, actor_here(), asked.rule.model_dump(), replaces=asked.replaces, before=asked.before, limit=asked.limit
        )
    return _tried(trial)


@contextmanager
def _told() -> Iterator[None]:
    """A rule that can't be kept is refused at its field."""
    try:
        yield
    except RuleRefused as refused:
        place = f"rule.{refused.field}" if refused.field else "rule"
        raise Refused(422, "invalid", f"{place}: {refused.sentence}", {place: [refused.sentence]}) from None


def _all() -> dict[str, Any]:
    with hub_here().store.read() as tx:
        found = verbs.rules(tx, actor_here())
    warnings = [
        {"rule": each.what.removeprefix("rule "), "path": each.path, "message": each.sentence}
        for each in found.findings
    ]
    return {
        "version": found.version,
        "rules": [{"enabled": True, **rule} for rule in found.rules],
        "warnings": warnings,
    }


def _tried(trial: Trial) -> dict[str, Any]:
    moved = [{"from_queue": was, "to_queue": now, "count": count} for (was, now), count in trial.moved.items()]
    return {**asdict(trial), "moved": moved}
