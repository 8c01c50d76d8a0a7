"""Rules one by one: listed, added, changed, moved, switched off, deleted, and tried on what came in lately.

Every change names the desk's version that its author saw: somebody else's change in between is never overwritten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, select

from config.language import _
from config.retold import stored
from hub.arrivals import past_arrivals
from hub.desk import rule_entry, rule_values
from hub.deskentries import RuleEntry
from hub.deskfile import DeskError, check
from hub.rulecheck import Finding, look_over
from routing.conditions import Condition, Fields, read_condition
from routing.lookups import is_looked_up, is_of_the_clock, value_at
from routing.rules import rule_book
from storage import Tx
from storage.access import LAB, SETTINGS, Actor, Conflict, NotFound
from storage.desk import Queue, RoutingRule, Skill, default_queue, desk_version, touch_desk_from
from storage.facts import DeskChanged

TRIED = 200  # pieces of work that a rule is tried on
EXAMPLES = 5
_PLACE = re.compile(r"rules\[1\]\.?(?P<field>[^\s:]*):? (?P<sentence>.*)", re.DOTALL)


class RuleRefused(Exception):
    """A rule that can't be kept: `field` is where (`when.any[1].field`, `then.queue`, `name`), and a sentence."""

    def __init__(self, field_name: str, sentence: str):
        super().__init__(f"{field_name}: {sentence}" if field_name else sentence)
        self.field, self.sentence = field_name, sentence


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules in their order as `desk.yaml` has them, by id, and what looks wrong with them."""

    version: int
    rules: list[dict[str, Any]]
    findings: list[Finding]


@dataclass
class Trial:
    """What rules would do with the newest `tried` pieces of work.

    `matched` is how often the rule in question holds, `decided` how often it is the first that does; `earlier` counts
    by name the earlier rules that come first. `moved` counts by (from, to) what would go into another queue than by
    the rules as they are, `changed` all that would be placed otherwise. `unknown` fields can't be told afterwards.
    """

    tried: int = 0
    matched: int = 0
    decided: int = 0
    earlier: dict[str, int] = field(default_factory=dict)
    changed: int = 0
    moved: dict[tuple[str, str], int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    examples: list[int] = field(default_factory=list)  # conversations


def rules(tx: Tx, actor: Actor) -> Rules:
    """For supervisors and admins."""
    actor.must(LAB)
    names = _queue_names(tx)
    listed = [{"id": row.id, **rule_entry(row, names)} for row in _rows(tx)]
    return Rules(desk_version(tx), listed, [each for each in look_over(tx) if each.what.startswith("rule ")])


def rule(tx: Tx, actor: Actor, rule_id: int) -> dict[str, Any]:
    """One rule as `desk.yaml` has it. Raises NotFound."""
    actor.must(LAB)
    return {"id": rule_id, **rule_entry(_row(tx, rule_id), _queue_names(tx))}


def add_rule(tx: Tx, actor: Actor, version: int, given: Any, before: int | None = None) -> int:
    """A new rule, before another one or as the last. Raises RuleRefused, Conflict, NotFound."""
    _begin(tx, actor, version)
    values = _values(tx, given)
    rows = _rows(tx)
    place = len(rows) if before is None else rows.index(_row(tx, before))
    row = RoutingRule(position=0, **values)
    tx.add(row)
    rows.insert(place, row)
    _number(tx, rows)
    tx.flush()
    tx.emit(DeskChanged(f"rule {row.name} added", by=actor.by))
    return row.id or 0


def replace_rule(tx: Tx, actor: Actor, version: int, rule_id: int, given: Any) -> None:
    """A rule says something else from now on; it keeps its place. Raises RuleRefused, Conflict, NotFound."""
    _begin(tx, actor, version)
    row = _row(tx, rule_id)
    differing = {name: value for name, value in _values(tx, given, rule_id).items() if getattr(row, name) != value}
    told = row.name
    for name, value in differing.items():
        setattr(row, name, value)
    tx.add(row)
    what = ", ".join(_WORDS.get(name, name) for name in differing) or "nothing"
    tx.emit(DeskChanged(f"rule {told} changed: {what}", by=actor.by))


def switch_rule(tx: Tx, actor: Actor, version: int, rule_id: int, on: bool) -> None:
    """Off, a rule stays in the list and decides nothing. Switching it to what it is changes nothing."""
    _begin(tx, actor, version)
    row = _row(tx, rule_id)
    if row.active is not on:
        row.active = on
        tx.add(row)
        tx.emit(DeskChanged(f"rule {row.name} switched {'on' if on else 'off'}", by=actor.by))


def delete_rule(tx: Tx, actor: Actor, version: int, rule_id: int) -> None:
    """Gone for good; explanations of what it decided keep its name. Raises Conflict, NotFound."""
    _begin(tx, actor, version)
    row = _row(tx, rule_id)
    tx.delete(row)
    tx.emit(DeskChanged(f"rule {row.name} deleted", by=actor.by))


def reorder_rules(tx: Tx, actor: Actor, version: int, ids: Sequence[int]) -> None:
    """All rules in another order. Raises Conflict unless every rule is named once."""
    _begin(tx, actor, version)
    by_id = {row.id: row for row in _rows(tx)}
    if sorted(ids) != sorted(number or 0 for number in by_id):
        raise Conflict(_("Name every rule once: somebody added or deleted one meanwhile, or one is missing."))
    moved = [by_id[number].name for number, row in zip(ids, _rows(tx), strict=True) if row.id != number]
    _number(tx, [by_id[number] for number in ids])
    if moved:
        tx.emit(DeskChanged(f"rules moved: {', '.join(moved)}"[:1000], by=actor.by))


def try_rule(
    tx: Tx, actor: Actor, given: Any, *, replaces: int | None = None, before: int | None = None, limit: int = TRIED
) -> Trial:
    """What a rule, switched on, would have done with what came in lately, in the place it has or would get.

    Changes nothing. Raises RuleRefused like saving it.
    """
    actor.must(LAB)
    rows = _rows(tx)
    candidate = RoutingRule(position=0, id=replaces, **(_values(tx, given, replaces) | {"active": True}))
    if replaces is not None:
        after = [candidate if row.id == replaces else row for row in rows]
    else:
        place = len(rows) if before is None else rows.index(_row(tx, before))
        after = [*rows[:place], candidate, *rows[place:]]
    return _compared(tx, rows, after, candidate, limit)


def try_without(tx: Tx, actor: Actor, rule_id: int, limit: int = TRIED) -> Trial:
    """What would have been otherwise without a rule, or with it where it is off."""
    actor.must(LAB)
    row, rows = _row(tx, rule_id), _rows(tx)
    if row.active:
        return _compared(tx, rows, [each for each in rows if each.id != rule_id], row, limit)
    on = RoutingRule(**{**row.model_dump(), "active": True})
    return _compared(tx, rows, [on if each.id == rule_id else each for each in rows], on, limit)


def try_order(tx: Tx, actor: Actor, ids: Sequence[int], limit: int = TRIED) -> Trial:
    """What would have been otherwise in another order. Raises NotFound."""
    actor.must(LAB)
    return _compared(tx, _rows(tx), [_row(tx, number) for number in ids], None, limit)


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    row: RoutingRule
    condition: Condition


def _compared(
    tx: Tx, present: Sequence[RoutingRule], wanted: Sequence[RoutingRule], about: RoutingRule | None, limit: int
) -> Trial:
    names = _queue_names(tx)
    default = default_queue(tx)
    old, new = _lines(present), _lines(wanted)
    asked = {name for line in (*old, *new) for name in line.condition.asks if is_looked_up(name)}
    clocks, queues = sorted(filter(is_of_the_clock, asked)), rule_book(tx).queues_by_name
    own = next((line for line in (*new, *old) if line.row is about), None)
    added = any(line is own for line in new)
    trial = Trial(unknown=sorted(asked - set(clocks)))
    earlier: Counter[str] = Counter()
    moved: Counter[tuple[str, str]] = Counter()
    for past in past_arrivals(tx, limit):
        values = past.arrival.values() | {name: value_at(name, past.item.enqueued_at, queues) for name in clocks}
        fields = Fields(values)
        before, after = _first(old, fields), _first(new, fields)
        trial.tried += 1
        if own is not None and own.condition.holds(fields):
            trial.matched += 1
            decider = after if added else before
            if decider is own:
                trial.decided += 1
                if len(trial.examples) < EXAMPLES:
                    trial.examples.append(past.item.conversation_id)
            elif decider is not None:
                earlier[decider.row.name] += 1
        was, is_now = (_outcome(line, names, default) for line in (before, after))
        trial.changed += was != is_now
        if was[0] != is_now[0]:
            moved[was[0], is_now[0]] += 1
    trial.earlier, trial.moved = dict(earlier.most_common()), dict(moved.most_common())
    return trial


def _lines(rows: Sequence[RoutingRule]) -> list[_Line]:
    """As the router reads them: those that are off or can't be read are left out."""
    lines = []
    for row in rows:
        if row.active:
            try:
                lines.append(_Line(row, read_condition(row.condition)))
            except ValueError:
                continue
    return lines


def _first(lines: Sequence[_Line], fields: Fields) -> _Line | None:
    return next((line for line in lines if line.condition.holds(fields)), None)


def _outcome(line: _Line | None, names: Mapping[int | None, str], default: Queue | None) -> tuple[str, str]:
    """The queue's name, and everything else that a rule decides."""
    fallback = default.name if default is not None else "no queue"
    if line is None:
        return fallback, ""
    then = rule_entry(line.row, names)["then"]
    return then.pop("queue", fallback), repr(sorted(then.items()))


def _begin(tx: Tx, actor: Actor, version: int) -> None:
    actor.must(SETTINGS)
    if not touch_desk_from(tx, version):
        raise Conflict(_("The desk was changed since this page was opened: look at the rules as they are now."))


def _values(tx: Tx, given: Any, rule_id: int | None = None) -> dict[str, Any]:
    """The columns of a rule as it was given. Raises RuleRefused."""
    entry = checked(given)
    taken = select(RoutingRule.id).where(RoutingRule.name == entry.name, RoutingRule.id != rule_id)
    if tx.exec(taken).first() is not None:
        raise RuleRefused(
            "name", stored("there is a rule {name} already: give this one another name", name=repr(entry.name))
        )
    try:
        queues = {name: number or 0 for number, name in _queue_names(tx).items()}
        skills = {skill.name: skill.id or 0 for skill in tx.exec(select(Skill))}
        return {"name": entry.name, **rule_values(entry, queues, skills)}
    except DeskError as error:
        noun = "then.skills" if "no skill" in str(error) else "then.queue"
        raise RuleRefused(noun, str(error).partition(": ")[2]) from None


def checked(given: Any) -> RuleEntry:
    """What was given as a rule, whatever the desk has. Raises RuleRefused."""
    try:
        (entry,) = check({"rules": [given]}).rules or []
    except DeskError as error:
        found = _PLACE.fullmatch(str(error))
        raise RuleRefused(*((found["field"], found["sentence"]) if found else ("", str(error)))) from None
    return entry


def _rows(tx: Tx) -> list[RoutingRule]:
    return list(tx.exec(select(RoutingRule).order_by(col(RoutingRule.position), col(RoutingRule.id))))


def _row(tx: Tx, rule_id: int) -> RoutingRule:
    row = tx.get(RoutingRule, rule_id)
    if row is None:
        raise NotFound(_("There is no rule {rule_id}.", rule_id=rule_id))
    return row


def _number(tx: Tx, rows: Sequence[RoutingRule]) -> None:
    for position, row in enumerate(rows, 1):
        if row.position != position:
            row.position = position
            tx.add(row)


def _queue_names(tx: Tx) -> dict[int | None, str]:
    return {queue.id: queue.name for queue in tx.exec(select(Queue).where(col(Queue.active)))}


_WORDS = {"queue_id": "queue", "active": "on or off"}
