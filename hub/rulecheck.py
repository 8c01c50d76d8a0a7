"""What looks wrong with a desk although it can be used: told when it is edited, with the nearest fix, never refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import col, select

from channels import KINDS
from config.language import N_
from config.retold import stored
from hub.deskvalues import span
from routing.conditions import Condition, Leaf, read_condition
from routing.fields import QUEUE_FIELD, nearest
from routing.ladder import Ladder, read_ladder
from routing.logic import always, implies, never
from storage import Tx
from storage.desk import Queue, RoutingRule, Skill, active_channels
from storage.people import Agent, AgentQueue, AgentSkill

MOST_COMPARED = 300  # rules whose conditions are compared with one another


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at. `what` is the rule or queue, `path` the place in its condition, if it has one."""

    what: str
    sentence: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.what}{f', {self.path}' if self.path else ''}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Staff:
    """Who serves which queue, with their skills' levels."""

    serving: Mapping[int, frozenset[int]]
    names: Mapping[int, str]
    levels: Mapping[int, Mapping[str, int]]

    def gap(self, queue_id: int, skills: Mapping[str, int], joined: Iterable[int] = ()) -> str:
        """Why nobody can take such work, with the agent who is nearest to it; empty when somebody can."""
        agents = self.serving.get(queue_id, frozenset()).union(*(self.serving.get(each, ()) for each in joined))
        if not agents:
            return N_("no agent serves it: give it to somebody, or the work waits for ever")
        if not skills:
            return ""
        missing = {
            agent: {name: level for name, level in skills.items() if self.levels.get(agent, {}).get(name, 0) < level}
            for agent in agents
        }
        best = min(missing, key=lambda agent: (len(missing[agent]), sum(missing[agent].values()), agent))
        if not missing[best]:
            return ""
        wanted = ", ".join(f"{name} ≥ {level}" for name, level in sorted(skills.items()))
        has = self.levels.get(best, {})
        falls_short = ", ".join(f"{name} {has.get(name, 0)}" for name in sorted(missing[best]))
        return stored(
            "nobody who serves it has {wanted}; the nearest is {agent} with {has}",
            wanted=wanted, agent=self.names[best], has=falls_short,
        )  # fmt: skip

    def climb(self, queue_id: int, skills: Mapping[str, int], ladder: Ladder) -> str:
        """Why nobody can take such work, at first or at any step of its ladder; empty when somebody can at once."""
        first = gap = self.gap(queue_id, skills)
        joined: list[int] = []
        for number, step in enumerate(ladder, 1):
            if not gap or step.queue_id is not None:
                break
            skills, joined = step.skills(skills), [*joined, *step.join]
            gap = self.gap(queue_id, skills, joined)
            if not gap:
                return stored(
                    "{gap}; it waits for step {number} of its ladder, after {span}",
                    gap=first, number=number, span=span(step.after),
                )  # fmt: skip
        else:
            if gap and ladder:
                return stored("its ladder never helps: even after the last step {gap}", gap=gap)
        return first


def look_over(tx: Tx) -> list[Finding]:
    """Everything worth a look on the desk as it is now: its queues, then its rules in their order."""
    staff = _staff(tx)
    queues = {queue.id or 0: queue for queue in tx.exec(select(Queue).where(col(Queue.active)).order_by(col(Queue.id)))}
    found: list[Finding] = []
    for number, queue in queues.items():
        ladder = _ladder(queue.ladder)
        if gap := staff.climb(number, {}, ladder):
            found.append(Finding(f"queue {queue.name}", gap))
        found += _about_ladder(f"queue {queue.name}", staff, number, ladder, queues)
    default = next((queue for queue in queues.values() if queue.is_default), None)
    rules = list(
        tx.exec(
            select(RoutingRule).where(col(RoutingRule.active)).order_by(col(RoutingRule.position), col(RoutingRule.id))
        )
    )
    conditions: list[Condition | None] = []
    for rule in rules:
        try:
            conditions.append(read_condition(rule.condition))
        except ValueError as error:
            conditions.append(None)
            found.append(Finding(f"rule {rule.name}", stored("it can't be used and is left out: {error}", error=error)))
    for place, (rule, condition) in enumerate(zip(rules, conditions, strict=True)):
        if condition is None:
            continue
        earlier = list(zip(rules, conditions, strict=True))[: min(place, MOST_COMPARED)]
        found += _about(tx, rule, condition, earlier, [queue.name for queue in queues.values()])
        target = queues.get(rule.queue_id or 0, default)
        if target is None:
            continue
        own = _ladder(rule.ladder)
        if rule.skills and (gap := staff.climb(target.id or 0, rule.skills, own or _ladder(target.ladder))):
            found.append(Finding(f"rule {rule.name}", stored("queue {name}: {gap}", name=target.name, gap=gap)))
        found += _about_ladder(f"rule {rule.name}", staff, target.id or 0, own, queues)
    return found


def _ladder(document: list[dict[str, Any]]) -> Ladder:
    try:
        return read_ladder(document)
    except (TypeError, ValueError):
        return ()  # the rule book says so in the log and goes without


def _about_ladder(
    what: str, staff: Staff, queue_id: int, ladder: Ladder, queues: Mapping[int, Queue]
) -> list[Finding]:  # fmt: skip
    """Steps that change nothing, or lead where nobody is."""
    found, joined = list[Finding](), {queue_id}
    for number, step in enumerate(ladder, 1):
        place = f"ladder[{number}]"
        if step.require and (gap := staff.gap(queue_id, step.require, joined | set(step.join))):
            found.append(Finding(what, gap, f"{place}.require"))
        for each in step.join:
            name = queues[each].name if each in queues else N_("a queue that is gone")
            if each in joined:
                found.append(Finding(what, stored("{name} is there already; leave it out", name=name), f"{place}.join"))
            elif not staff.serving.get(each):
                found.append(
                    Finding(what, stored("no agent serves {name}, so that nobody joins", name=name), f"{place}.join")
                )
        joined |= set(step.join)
        if step.queue_id is not None:
            if step.queue_id == queue_id:
                found.append(Finding(what, N_("it is in that queue already; leave it out"), f"{place}.overflow"))
            elif step.queue_id not in queues:
                found.append(Finding(what, N_("that queue is gone: the default queue takes it"), f"{place}.overflow"))
            queue_id, joined = step.queue_id, {step.queue_id}
    return found


def _about(
    tx: Tx, rule: RoutingRule, condition: Condition, earlier: Sequence[tuple[RoutingRule, Condition | None]],
    queues: Sequence[str],
) -> list[Finding]:  # fmt: skip
    what = f"rule {rule.name}"
    if (leaf := never(condition)) is not None:
        told = stored(
            "{field} {op} can't hold beside the rest, so that the rule never does", field=leaf.field, op=leaf.op
        )
        return [Finding(what, told, leaf.path)]
    found = [Finding(what, sentence, leaf.path) for leaf in condition.leaves if (sentence := _stray(tx, leaf, queues))]
    for other, over in earlier:
        if over is not None and implies(condition, over):
            why = N_("holds for everything") if always(over) else N_("holds whenever this one does")
            above = stored("move it above “{name}”", name=other.name)
            fix = N_("leave one of the two out") if implies(over, condition) else above
            return [
                *found,
                Finding(
                    what,
                    stored(
                        "it is never reached: the earlier rule “{name}” {why}; {fix}", name=other.name, why=why, fix=fix
                    ),
                ),
            ]
    return found


def _stray(tx: Tx, leaf: Leaf, queues: Sequence[str]) -> str:
    """What is odd about a comparison with names of this desk."""
    for name in (leaf.field, leaf.other):
        if (asked := QUEUE_FIELD.fullmatch(name)) and asked[1] not in queues:
            return stored(
                "there is no queue {name}, so that it never holds; {near}",
                name=repr(asked[1]), near=nearest(asked[1], queues),
            )  # fmt: skip
    if leaf.other or leaf.op not in ("eq", "ne", "in", "not_in"):
        return ""
    known: Sequence[str] = ()
    if leaf.field == "item.channel":
        known = [*KINDS, *(account.kind for account in active_channels(tx))]
    elif leaf.field == "item.channel_name":
        known = [account.name for account in active_channels(tx)]
    values = leaf.value if isinstance(leaf.value, list) else [leaf.value]
    strange = next((value for value in values if known and value not in known), None)
    if strange is None:
        return ""
    return stored(
        "this desk has no {field} {name}; {near}", field=leaf.field, name=repr(strange), near=nearest(strange, known)
    )


def _staff(tx: Tx) -> Staff:
    names = {number or 0: name for number, name in tx.exec(select(Agent.id, Agent.name).where(col(Agent.active)))}
    serving: dict[int, set[int]] = {}
    for link in tx.exec(select(AgentQueue)):
        if link.agent_id in names:
            serving.setdefault(link.queue_id, set()).add(link.agent_id)
    skills = {skill.id: skill.name for skill in tx.exec(select(Skill))}
    levels: dict[int, dict[str, int]] = {}
    for known in tx.exec(select(AgentSkill)):
        levels.setdefault(known.agent_id, {})[skills[known.skill_id]] = known.level
    return Staff({queue: frozenset(agents) for queue, agents in serving.items()}, names, levels)
