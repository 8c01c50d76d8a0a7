"""Why this agent, and why nobody yet: plain sentences from what was stored and from how things stand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import col, select

from routing.agents import agent_names
from routing.floor import one_waiting, roster
from routing.ladder import following, in_force, span, told_step
from routing.live import Stand
from routing.rules import QueueTerms, rule_book, terms_now
from routing.staff import THERE
from routing.steps import standing_of
from storage.batches import placeholders
from storage.columns import moment
from storage.conversations import Conversation
from storage.desk import Queue
from storage.people import Agent, ApiToken
from storage.store import Tx
from storage.work import RINGS, Assignment, Offer, WorkItem, open_assignment

Explanation = list[str]  # sentences for people, the most telling first
FEW = 3  # people who are named one by one

_REJECTED = {
    "away": ("is away", "are away"),
    "offline": ("is offline", "are offline"),
    "draining": ("finishes work and gets nothing new", "finish work and get nothing new"),
    "skill": ("lacks the skill", "lack the skill"),
    "room": ("is full", "are full"),
    "wrap_up": ("is wrapping up", "are wrapping up"),
    "pull": ("takes such work by hand only", "take such work by hand only"),
    "channel": ("has as many of this channel as allowed", "have as many of this channel as allowed"),
    "label": ("has as many with its labels as allowed", "have as many with its labels as allowed"),
    "blocked": ("is busy with what must not be interrupted", "are busy with what must not be interrupted"),
    "rate": ("got enough in this hour", "got enough in this hour"),
    "reserve": ("keeps room for urgent work", "keep room for urgent work"),
    "delay": ("helps out later", "help out later"),
    "cooldown": ("passed on it just now", "passed on it just now"),
    "held": ("has to wait for whom it is kept for", "have to wait for whom it is kept for"),
    "paused": ("waits until the queue goes on", "wait until the queue goes on"),
    "closed": ("waits until the queue opens", "wait until the queue opens"),
}
_CHOSEN = {
    "score": "The best placed",
    "longest_idle": "Longest idle",
    "least_load": "The least busy",
    "best_skill": "The most skilled",
    "round_robin": "Next in turn",
}
_MOVED = {"transfer": "transferred it to", "overflow": "went to"}
_OPS = {
    "eq": "is",
    "ne": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "has": "has",
    "has_any": "has one of",
    "includes": "has exactly",
    "contains": "contains",
    "gt": "is above",
    "lt": "is below",
    "gte": "is at least",
    "lte": "is at most",
    "between": "is between",
    "prefix": "begins with",
    "matches": "matches",
}


def why_assigned(tx: Tx, conversation_id: int) -> Explanation:
    """Why its present or last owner got this conversation, then how it came into its queue."""
    item = _last_item(tx, conversation_id)
    if item is None:
        return ["It was never put into a queue."]
    owned = tx.exec(
        select(Assignment).where(Assignment.conversation_id == conversation_id).order_by(col(Assignment.id).desc())
    ).first()
    sentences = ["Nobody has had it yet."] if owned is None else _about_owner(tx, owned)
    return sentences + _about_path(tx, item)


def why_waiting(tx: Tx, conversation_id: int) -> Explanation:
    """What a conversation waits for, as things stand now; who has it when it does not wait."""
    item = _last_item(tx, conversation_id)
    conversation = tx.get(Conversation, conversation_id)
    if item is None or conversation is None:
        return ["It was never put into a queue."]
    if item.state == "assigned" and item.agent_id is not None:
        name = agent_names(tx, [item.agent_id])[item.agent_id]
        return [f"It does not wait: {name} has it.", *_about_parking(tx, conversation, name)]
    if item.state in ("closed", "cancelled"):
        return ["It does not wait: it is resolved."]
    if item.state == "offered" and item.agent_id is not None:
        return [_about_ring(tx, item)]
    if conversation.state == "snoozed":
        return ["It is snoozed: it is offered again when it wakes."]
    queue = tx.get_one(Queue, item.queue_id)
    began = item.order_time + timedelta(seconds=item.age_credit)
    waited = f"Waiting in {queue.name} for {_duration(tx.now - began)}."
    terms = terms_now(tx, item.queue_id)
    hours = _about_hours(terms, tx.now)
    if terms.holds(tx.now):
        return [*hours, waited, "Until then it is offered to nobody, but anybody may claim it."]
    about = [*_about_candidates(tx, item, queue), *_about_keeping(tx, item), *_about_ladder(tx, item)]
    return [*hours, waited, *_about_pin(tx, item), *about]


def _about_parking(tx: Tx, conversation: Conversation, name: str) -> list[str]:
    owned = open_assignment(tx, conversation.id or 0)
    if owned is None or owned.parked_at is None:
        return []
    until = "it wakes" if conversation.state == "snoozed" else "the customer answers"
    takes = f"{owned.weight} of {name}'s capacity" if owned.weight else f"nothing of {name}'s capacity"
    return [f"It has been parked for {_duration(tx.now - owned.parked_at)}: it takes {takes} until {until}."]


def _about_wrapping(tx: Tx, agent_ids: list[int], terms: QueueTerms) -> list[str]:
    """Who of those wraps up until when, whoever is free first before."""
    marks = placeholders(agent_ids)
    rows = tx.sql(
        "SELECT agent.name, min(assignment.wrap_until) FROM assignment JOIN agent ON agent.id = assignment.agent_id "
        f"WHERE assignment.wrap_until IS NOT NULL AND agent.id IN ({marks}) GROUP BY agent.id, agent.name "
        f"ORDER BY 2, 1 LIMIT {FEW}",
        *agent_ids,
    ).fetchall()  # fmt: skip
    zone = terms.calendar.zone
    moments = [(name, (moment(until) or tx.now).astimezone(zone)) for name, until in rows]
    return [f"{name} is wrapping up until {until:%H:%M} ({zone})." for name, until in moments]


def _about_pin(tx: Tx, item: WorkItem) -> list[str]:
    if item.pinned_at is None:
        return []
    if item.pin_agent_id is None or item.pin_until is None or item.pin_until <= tx.now:
        return ["It is pinned: it goes before everything else."]
    name = agent_names(tx, [item.pin_agent_id])[item.pin_agent_id]
    return [f"It is pinned to {name} for {_duration(item.pin_until - tx.now)} more, while {name} is there."]


def _about_hours(terms: QueueTerms, now: datetime) -> list[str]:
    if terms.calendar.is_open(now):
        return []
    opening = terms.calendar.next_opening(now)
    if opening is None:
        return [f"{terms.name} is closed."]
    zone = terms.calendar.zone
    local = opening.astimezone(zone)
    return [f"{terms.name} is closed: it opens on {local:%A}, {local.day} {local:%B} at {local:%H:%M} ({zone})."]


def _last_item(tx: Tx, conversation_id: int) -> WorkItem | None:
    query = select(WorkItem).where(WorkItem.conversation_id == conversation_id).order_by(col(WorkItem.id).desc())
    item = tx.exec(query).first()
    if item is not None and not tx.dirty:
        tx.refresh(item)
    return item


def _about_owner(tx: Tx, owned: Assignment) -> list[str]:
    name = agent_names(tx, [owned.agent_id])[owned.agent_id]
    over = f", {owned.over_capacity_by} over capacity" if owned.over_capacity_by else ""
    if owned.via == "claim":
        sooner = owned.explanation.get("sooner", 0)
        left = f" {sooner} that {'was' if sooner == 1 else 'were'} due sooner had to wait." if sooner else ""
        return [f"{name} claimed it.{left}"]
    if owned.via == "next":
        of = owned.explanation.get("of", 1)
        return [f"{name} asked for the next: it was the most urgent of {of} that {name} could take."]
    said = f": {owned.explanation['reason']}" if owned.explanation.get("reason") else ""
    if owned.via == "take_over":
        return [f"{name} took it over{over}{said or '.'}"]
    if owned.via in ("assign", "transfer"):
        verb = "assigned" if owned.via == "assign" else "handed"
        return [f"{_who(tx, owned.by)} {verb} it to {name}{over}{said or '.'}"]
    beside = f", the first of {number} at whom it rang" if (number := owned.explanation.get("rings")) else ""
    how = f"{name} accepted it{beside}." if owned.via == "offer" else f"Given to {name} automatically."
    last = [f"{name} had it last."] if owned.explanation.get("preferred") == owned.agent_id else []
    return [*last, _about_choice(owned.explanation), *_about_rejected(owned.explanation.get("rejected", {})), how]


def _about_choice(why: Mapping[str, Any]) -> str:
    skills = why.get("skills") or {}
    needed = f" with {_skills(skills)}" if skills else ""
    if why.get("eligible") == 1:
        return f"The only eligible agent{needed}."
    return f"{_CHOSEN.get(str(why.get('order')), 'Chosen')} of {why.get('eligible')} eligible agents{needed}."


def _about_rejected(rejected: Mapping[str, int]) -> list[str]:
    if not rejected:
        return []
    total = sum(rejected.values())
    return [f"{total} {'other was' if total == 1 else 'others were'} passed over: {_counts(rejected)}."]


def _about_path(tx: Tx, item: WorkItem) -> list[str]:
    sentences = []
    for step in item.trace:
        dropped = f" {', '.join(step['dropped'])} no longer required." if step.get("dropped") else ""
        if step["step"] == "rule":
            sentences.append(f"Rule “{step['rule']}” matched: {_leaves(step['leaves'])}.")
            labelled = f", labelled {' and '.join(step['labels'])}" if step.get("labels") else ""
            sentences.append(f"Queue {step['queue']}{labelled}.")
        elif step["step"] == "default":
            sentences.append(f"No rule matched, so it went to the default queue {step['queue']}.")
        elif step["step"] == "closed":
            sentences.append(f"{step['closed']} was closed, so it went to {step['queue']}.{dropped}")
        elif step["step"] == "unserved":
            sentences.append(f"Nobody can take it in {step['unserved']}, so it went to {step['queue']}.{dropped}")
        elif step["step"] == "full":
            sentences.append(f"{step['full']} was full, so it went to {step['queue']}.{dropped}")
        elif step["step"] == "disconnect":
            sentences.append(f"{step['agent']} had it and lost the connection, so it went back to its queue.")
        elif step["step"] in ("transfer", "overflow"):
            who = "It was not taken in time, so it" if step["step"] == "overflow" else _who(tx, step["by"])
            said = f": {step['reason']}" if step.get("reason") else "."
            sentences.append(f"{who} {_MOVED[step['step']]} {step['queue']}{said}{dropped}")
        elif step["step"] == "ladder":
            sentences.append(_about_step(step))
    return sentences


def _about_step(step: Mapping[str, Any]) -> str:
    """What was done when it had waited for so long."""
    parts, asked, skills = [], step["asked"], step["skills"]
    if skills != asked:
        parts.append(f"it needed {_skills(skills) or 'no skill'} instead of {_skills(asked) or 'none'}")
    parts += [f"{' and '.join(step['joined'])} joined"] if step["joined"] else []
    parts += [f"its priority rose by {step['priority']}"] if step["priority"] else []
    parts += [f"it counted as {span(step['age_credit'])} older"] if step["age_credit"] else []
    parts += [f"{' and '.join(step['notify'])} were told"] if step["notify"] else []
    return f"After {span(step['after'])} of waiting {', '.join(parts) or 'it was to go elsewhere'}."


def _about_ring(tx: Tx, item: WorkItem) -> str:
    offers = tx.exec(select(Offer).where(Offer.work_item_id == item.id, RINGS)).all()
    names = agent_names(tx, [offer.agent_id for offer in offers])
    left = max((offer.expires_at - tx.now for offer in offers), default=timedelta())
    first = " The first to accept has it." if len(offers) > 1 else ""
    return f"It rings at {' and '.join(sorted(names.values()))} for {_duration(max(timedelta(), left))} more.{first}"


def _about_keeping(tx: Tx, item: WorkItem) -> list[str]:
    if item.pinned_at is not None or item.prefer_id is None or item.prefer_until is None or item.prefer_until <= tx.now:
        return []
    agent = tx.get_one(Agent, item.prefer_id)
    left = _duration(item.prefer_until - tx.now)
    return [f"It is kept for {agent.name}, who had it last, for {left} more."] if agent.status in THERE else []


def _about_ladder(tx: Tx, item: WorkItem) -> list[str]:
    """Which step is in force, and what comes next and when."""
    book, one = rule_book(tx), standing_of(tx, int(item.id or 0))
    ladder = one.ladder(book)
    names = {queue.id: queue.name for queue in book.queues.values()}
    sentences = []
    if number := in_force(ladder, one.climb.reached):
        taken = ladder[number - 1]
        sentences.append(
            f"Step {number} of {len(ladder)} is in force, since it had waited {span(taken.after)}: "
            f"{', '.join(told_step(taken, names))}."
        )
    at, step = one.next_at(book), following(ladder, one.climb.reached)
    if at is not None and step is not None:
        left = _duration(max(timedelta(), at - tx.now))
        changes = ", ".join(told_step(step, names, item.skills)) or "nothing changes for it"
        sentences.append(f"Step {number + 1} of {len(ladder)} comes in {left}: {changes}.")
    return sentences


def _about_candidates(tx: Tx, item: WorkItem, queue: Queue) -> list[str]:
    stand, now = Stand.read(tx), tx.now.timestamp()
    book, engine = stand.book, stand.new_engine()
    for candidate in roster(tx, book):
        engine.put_agent(candidate, now)
    wanted = one_waiting(tx, book, int(item.id or 0))
    if wanted is None:
        return ["What it requires can't be read: claim it or transfer it by hand."]
    verdict = engine.judge(wanted, now)
    if verdict.eligible:
        ahead = f"{verdict.eligible} agent{'s' if verdict.eligible > 1 else ''} could take it"
        return [f"{ahead}: it is next, or what is more urgent goes first."]
    if "paused" in verdict.rejected:
        said = f" ({queue.paused_why})" if queue.paused_why else ""
        return [f"{queue.name} is paused{said}: its work waits until it goes on."]
    if not verdict.rejected:
        return [f"Nobody serves {queue.name}: add an agent to the queue or transfer the conversation."]
    serving = sum(verdict.rejected.values())
    skilled = serving - verdict.rejected.get("skill", 0)
    needed = f" with {_skills(item.skills)}" if item.skills else ""
    others = {reason: count for reason, count in verdict.rejected.items() if reason != "skill"}
    if not others:
        return [
            f"Nobody in {queue.name} has {_skills(item.skills)}: give somebody the skill or transfer the conversation."
        ]
    sentences = [f"{skilled} agent{'s' if skilled > 1 else ''} in {queue.name}{needed}: {_counts(others)}."]
    if "wrap_up" in others:
        sentences += _about_wrapping(tx, engine.those(wanted, "wrap_up", now), terms_now(tx, item.queue_id))
    if "label" in others:
        sentences.append(f"It is labelled {' and '.join(wanted.labels)}: of such work one has only so much at once.")
    if "cooldown" in others:
        left = timedelta(seconds=min(wanted.cooling.values()) - now)
        sentences.append(f"Who passed on it is asked again in {_duration(left)}.")
    return sentences


def _counts(rejected: Mapping[str, int]) -> str:
    total = sum(rejected.values())
    parts = []
    for reason, count in sorted(rejected.items()):
        one, many = _REJECTED.get(reason, (f"is {reason}", f"are {reason}"))
        subject = {1: "it" if total == 1 else "1"}.get(count, "all" if count == total else str(count))
        parts.append(f"{subject} {one if count == 1 else many}")
    return ", ".join(parts)


def _skills(skills: Mapping[str, int]) -> str:
    return " and ".join(f"{name} ≥ {level}" for name, level in sorted(skills.items()))


def told_decision(why: Mapping[str, Any]) -> Explanation:
    """A stored decision in words; nothing where the router did not decide."""
    return [_about_choice(why), *_about_rejected(why.get("rejected", {}))] if "eligible" in why else []


def told_ownership(tx: Tx, owned: Assignment) -> Explanation:
    """How somebody came to have it, in words."""
    return _about_owner(tx, owned)


def told_path(tx: Tx, item: WorkItem) -> Explanation:
    """How work came into its queue, in words."""
    return _about_path(tx, item)


def told_rejected(rejected: Mapping[str, int]) -> str:
    """Why agents were passed over, in words; "" for nobody."""
    return _counts(rejected) if rejected else ""


def told_op(op: str) -> str:
    """A comparison in words."""
    return "is known" if op == "exists" else _OPS[op]


def told_condition(condition: Mapping[str, Any]) -> str:
    """A condition in words: "channel is email and (text has lamp or contact tier is gold)"."""
    return _told(condition, outer=True) if condition else "it holds for everything"


def _told(node: Mapping[str, Any], *, outer: bool) -> str:
    if "field" in node:
        return _leaf({"value": True, **node})
    name, inside = next(iter(node.items()))
    parts = [_told(part, outer=False) for part in (inside if isinstance(inside, list) else [inside])]
    if name == "not":
        return f"none of ({'; '.join(parts)})" if len(parts) > 1 else f"not ({parts[0]})"
    told = (" and " if name == "all" else " or ").join(parts)
    return told if outer or len(parts) == 1 else f"({told})"


def _leaves(leaves: list[dict[str, Any]]) -> str:
    """What spoke for the rule: comparisons that held, and below a not those that did not."""
    parts = [_leaf(leaf) for leaf in leaves if leaf["held"] is not bool(leaf.get("negated"))]
    return ", ".join(parts) or "it holds for everything"


def _leaf(leaf: Mapping[str, Any]) -> str:
    value, missing = leaf["value"], leaf["op"] == "exists" and leaf["value"] is False
    if isinstance(value, Mapping):
        shown = _field(str(value["field"]))
    else:
        shown = ", ".join(map(_value, value)) if isinstance(value, list) else _value(value)
    denied = "not: " if leaf.get("negated") else ""
    told = "is not known" if missing else "is known" if leaf["op"] == "exists" else f"{_OPS[leaf['op']]} {shown}"
    if leaf["op"] == "between" and isinstance(value, list):
        told = f"is between {_value(value[0])} and {_value(value[1])}"
    zone = f" ({leaf['zone']})" if leaf.get("zone") else ""
    found = f" (it was {leaf['found']})" if _is_measured(leaf) else ""
    return f"{denied}{_field(leaf['field'])} {told}{zone}{found}"


def _is_measured(leaf: Mapping[str, Any]) -> bool:
    """Numbers change: the one that was compared is told."""
    return isinstance(leaf.get("found"), int | float) and not isinstance(leaf["found"], bool)


def _field(name: str) -> str:
    return name.removeprefix("item.").replace("_", " ").replace(".", " ")


def _value(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _who(tx: Tx, by: str) -> str:
    kind, _, number = by.partition(":")
    if kind == "agent":
        return agent_names(tx, [int(number)])[int(number)]
    if kind == "token":
        token = tx.get(ApiToken, int(number))
        return f"The program {token.name}" if token else f"Program {number}"
    return "The router"


def _duration(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    if seconds < 7200:
        return f"{seconds // 60} minutes"
    return f"{seconds // 3600} hours" if seconds < 172_800 else f"{seconds // 86_400} days"
