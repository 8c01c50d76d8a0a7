"""Why this agent, and why nobody yet: plain sentences from what was stored and from how things stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import col, select

from config.language import _, month, n_, weekday, words
from routing.agents import agent_names
from routing.conditionwords import told_leaves
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

_IS = words(
    {
        "away": "is away",
        "offline": "is offline",
        "draining": "finishes work and gets nothing new",
        "skill": "lacks the skill",
        "room": "is full",
        "wrap_up": "is wrapping up",
        "pull": "takes such work by hand only",
        "channel": "has as many of this channel as allowed",
        "label": "has as many with its labels as allowed",
        "blocked": "is busy with what must not be interrupted",
        "rate": "got enough in this hour",
        "reserve": "keeps room for urgent work",
        "delay": "helps out later",
        "cooldown": "passed on it just now",
        "held": "has to wait for whom it is kept for",
        "paused": "waits until the queue goes on",
        "closed": "waits until the queue opens",
    }
)
_ARE = words(
    {
        "away": "are away",
        "offline": "are offline",
        "draining": "finish work and get nothing new",
        "skill": "lack the skill",
        "room": "are full",
        "wrap_up": "are wrapping up",
        "pull": "take such work by hand only",
        "channel": "have as many of this channel as allowed",
        "label": "have as many with its labels as allowed",
        "blocked": "are busy with what must not be interrupted",
        "rate": "got enough in this hour",
        "reserve": "keep room for urgent work",
        "delay": "help out later",
        "cooldown": "passed on it just now",
        "held": "have to wait for whom it is kept for",
        "paused": "wait until the queue goes on",
        "closed": "wait until the queue opens",
    }
)


def why_assigned(tx: Tx, conversation_id: int) -> Explanation:
    """Why its present or last owner got this conversation, then how it came into its queue."""
    item = _last_item(tx, conversation_id)
    if item is None:
        return [_("It was never put into a queue.")]
    owned = tx.exec(
        select(Assignment).where(Assignment.conversation_id == conversation_id).order_by(col(Assignment.id).desc())
    ).first()
    sentences = [_("Nobody has had it yet.")] if owned is None else _about_owner(tx, owned)
    return sentences + _about_path(tx, item)


def why_waiting(tx: Tx, conversation_id: int) -> Explanation:
    """What a conversation waits for, as things stand now; who has it when it does not wait."""
    item = _last_item(tx, conversation_id)
    conversation = tx.get(Conversation, conversation_id)
    if item is None or conversation is None:
        return [_("It was never put into a queue.")]
    if item.state == "assigned" and item.agent_id is not None:
        name = agent_names(tx, [item.agent_id])[item.agent_id]
        return [_("It does not wait: {agent} has it.", agent=name), *_about_parking(tx, conversation, name)]
    if item.state in ("closed", "cancelled"):
        return [_("It does not wait: it is resolved.")]
    if item.state == "offered" and item.agent_id is not None:
        return [_about_ring(tx, item)]
    if conversation.state == "snoozed":
        return [_("It is snoozed: it is offered again when it wakes.")]
    queue = tx.get_one(Queue, item.queue_id)
    began = item.order_time + timedelta(seconds=item.age_credit)
    waited = _("Waiting in {queue} for {time}.", queue=queue.name, time=_duration(tx.now - began))
    terms = terms_now(tx, item.queue_id)
    hours = _about_hours(terms, tx.now)
    if terms.holds(tx.now):
        return [*hours, waited, _("Until then it is offered to nobody, but anybody may claim it.")]
    about = [*_about_candidates(tx, item, queue), *_about_keeping(tx, item), *_about_ladder(tx, item)]
    return [*hours, waited, *_about_pin(tx, item), *about]


def _about_parking(tx: Tx, conversation: Conversation, name: str) -> list[str]:
    owned = open_assignment(tx, conversation.id or 0)
    if owned is None or owned.parked_at is None:
        return []
    values = {"time": _duration(tx.now - owned.parked_at), "weight": owned.weight or _("nothing"), "agent": name}
    if conversation.state == "snoozed":
        told = _("It has been parked for {time}: it takes {weight} of {agent}'s capacity until it wakes.", **values)
    else:
        told = _(
            "It has been parked for {time}: it takes {weight} of {agent}'s capacity until the customer answers.",
            **values,
        )
    return [told]


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
    return [
        _("{agent} is wrapping up until {time} ({zone}).", agent=name, time=f"{until:%H:%M}", zone=zone)
        for name, until in moments
    ]


def _about_pin(tx: Tx, item: WorkItem) -> list[str]:
    if item.pinned_at is None:
        return []
    if item.pin_agent_id is None or item.pin_until is None or item.pin_until <= tx.now:
        return [_("It is pinned: it goes before everything else.")]
    name = agent_names(tx, [item.pin_agent_id])[item.pin_agent_id]
    left = _duration(item.pin_until - tx.now)
    return [_("It is pinned to {agent} for {time} more, while {agent} is there.", agent=name, time=left)]


def _about_hours(terms: QueueTerms, now: datetime) -> list[str]:
    if terms.calendar.is_open(now):
        return []
    opening = terms.calendar.next_opening(now)
    if opening is None:
        return [_("{queue} is closed.", queue=terms.name)]
    zone = terms.calendar.zone
    local = opening.astimezone(zone)
    values = {"weekday": weekday(local), "day": local.day, "month": month(local), "time": f"{local:%H:%M}"}
    told = _("{queue} is closed: it opens on {weekday}, {day} {month} at {time} ({zone}).", queue=terms.name, zone=zone,
             **values)  # fmt: skip
    return [told]


def _last_item(tx: Tx, conversation_id: int) -> WorkItem | None:
    query = select(WorkItem).where(WorkItem.conversation_id == conversation_id).order_by(col(WorkItem.id).desc())
    return tx.exec(query.limit(1).execution_options(populate_existing=not tx.dirty)).first()


def _about_owner(tx: Tx, owned: Assignment) -> list[str]:
    name = agent_names(tx, [owned.agent_id])[owned.agent_id]
    if owned.via == "claim":
        sooner = owned.explanation.get("sooner", 0)
        claimed = _("{agent} claimed it.", agent=name)
        if not sooner:
            return [claimed]
        waited = n_("{count} that was due sooner had to wait.", "{count} that were due sooner had to wait.", sooner)
        return [f"{claimed} {waited}"]
    if owned.via == "next":
        of = owned.explanation.get("of", 1)
        return [
            _("{agent} asked for the next: it was the most urgent of {of} that {agent} could take.", agent=name, of=of)
        ]
    if owned.via in ("take_over", "assign", "transfer"):
        return [_by_hand(tx, owned, name)]
    if owned.via != "offer":
        how = _("Given to {agent} automatically.", agent=name)
    elif number := owned.explanation.get("rings"):
        how = _("{agent} accepted it, the first of {number} at whom it rang.", agent=name, number=number)
    else:
        how = _("{agent} accepted it.", agent=name)
    last = [_("{agent} had it last.", agent=name)] if owned.explanation.get("preferred") == owned.agent_id else []
    return [*last, _about_choice(owned.explanation), *_about_rejected(owned.explanation.get("rejected", {})), how]


def _by_hand(tx: Tx, owned: Assignment, name: str) -> str:
    over, said = owned.over_capacity_by, owned.explanation.get("reason")
    if owned.via == "take_over":
        told = _("{agent} took it over", agent=name)
    elif owned.via == "assign":
        told = _("{who} assigned it to {agent}", who=_who(tx, owned.by), agent=name)
    else:
        told = _("{who} handed it to {agent}", who=_who(tx, owned.by), agent=name)
    if over:
        told = _("{what}, {over} over capacity", what=told, over=over)
    return f"{told}: {said}" if said else f"{told}."


def _about_choice(why: Mapping[str, Any]) -> str:
    of, skills = why.get("eligible"), why.get("skills") or {}
    if of == 1:
        needed = _skills(skills)
        return _("The only eligible agent with {skills}.", skills=needed) if skills else _("The only eligible agent.")
    if skills:
        of = _("{number} eligible agents with {skills}", number=of, skills=_skills(skills))
    else:
        of = _("{number} eligible agents", number=of)
    match why.get("order"):
        case "score":
            return _("The best placed of {agents}.", agents=of)
        case "longest_idle":
            return _("Longest idle of {agents}.", agents=of)
        case "least_load":
            return _("The least busy of {agents}.", agents=of)
        case "best_skill":
            return _("The most skilled of {agents}.", agents=of)
        case "round_robin":
            return _("Next in turn of {agents}.", agents=of)
    return _("Chosen of {agents}.", agents=of)


def _about_rejected(rejected: Mapping[str, int]) -> list[str]:
    if not rejected:
        return []
    total, reasons = sum(rejected.values()), _counts(rejected)
    told = n_("{count} other was passed over: {reasons}.", "{count} others were passed over: {reasons}.", total,
              reasons=reasons)  # fmt: skip
    return [told]


def _about_path(tx: Tx, item: WorkItem) -> list[str]:
    sentences = []
    for step in item.trace:
        dropped = ", ".join(step.get("dropped") or ())
        free = " " + _("{skills} no longer required.", skills=dropped) if dropped else ""
        queue = step.get("queue", "")
        if step["step"] == "rule":
            sentences.append(_("Rule “{rule}” matched: {why}.", rule=step["rule"], why=told_leaves(step["leaves"])))
            labels = _and(step.get("labels") or ())
            told = _("Queue {queue}, labelled {labels}.", queue=queue, labels=labels)
            sentences.append(told if labels else _("Queue {queue}.", queue=queue))
        elif step["step"] == "default":
            sentences.append(_("No rule matched, so it went to the default queue {queue}.", queue=queue))
        elif step["step"] == "closed":
            sentences.append(
                _("{closed} was closed, so it went to {queue}.", closed=step["closed"], queue=queue) + free
            )
        elif step["step"] == "unserved":
            told = _("Nobody can take it in {unserved}, so it went to {queue}.", unserved=step["unserved"], queue=queue)
            sentences.append(told + free)
        elif step["step"] == "full":
            sentences.append(_("{full} was full, so it went to {queue}.", full=step["full"], queue=queue) + free)
        elif step["step"] == "disconnect":
            told = _("{agent} had it and lost the connection, so it went back to its queue.", agent=step["agent"])
            sentences.append(told)
        elif step["step"] in ("transfer", "overflow"):
            if step["step"] == "overflow":
                told = _("It was not taken in time, so it went to {queue}", queue=queue)
            else:
                told = _("{who} transferred it to {queue}", who=_who(tx, step["by"]), queue=queue)
            sentences.append(told + (f": {step['reason']}" if step.get("reason") else ".") + free)
        elif step["step"] == "ladder":
            sentences.append(_about_step(step))
    return sentences


def _about_step(step: Mapping[str, Any]) -> str:
    """What was done when it had waited for so long."""
    parts, asked, skills = [], step["asked"], step["skills"]
    if skills != asked:
        now, then = _skills(skills) or _("no skill"), _skills(asked) or _("none")
        parts.append(_("it needed {now} instead of {then}", now=now, then=then))
    parts += [_("{queues} joined", queues=_and(step["joined"]))] if step["joined"] else []
    parts += [_("its priority rose by {priority}", priority=step["priority"])] if step["priority"] else []
    parts += [_("it counted as {time} older", time=span(step["age_credit"]))] if step["age_credit"] else []
    parts += [_("{who} were told", who=_and(step["notify"]))] if step["notify"] else []
    done = ", ".join(parts) or _("it was to go elsewhere")
    return _("After {time} of waiting {done}.", time=span(step["after"]), done=done)


def _and(names: Iterable[str]) -> str:
    return _(" and ").join(names)


def _about_ring(tx: Tx, item: WorkItem) -> str:
    offers = tx.exec(select(Offer).where(Offer.work_item_id == item.id, RINGS)).all()
    names = agent_names(tx, [offer.agent_id for offer in offers])
    left = max((offer.expires_at - tx.now for offer in offers), default=timedelta())
    who = _and(sorted(names.values()))
    told = _("It rings at {agents} for {time} more.", agents=who, time=_duration(max(timedelta(), left)))
    return f"{told} {_('The first to accept has it.')}" if len(offers) > 1 else told


def _about_keeping(tx: Tx, item: WorkItem) -> list[str]:
    if item.pinned_at is not None or item.prefer_id is None or item.prefer_until is None or item.prefer_until <= tx.now:
        return []
    agent = tx.get_one(Agent, item.prefer_id)
    left = _duration(item.prefer_until - tx.now)
    kept = _("It is kept for {agent}, who had it last, for {time} more.", agent=agent.name, time=left)
    return [kept] if agent.status in THERE else []


def _about_ladder(tx: Tx, item: WorkItem) -> list[str]:
    """Which step is in force, and what comes next and when."""
    book, one = rule_book(tx), standing_of(tx, int(item.id or 0))
    ladder = one.ladder(book)
    names = {queue.id: queue.name for queue in book.queues.values()}
    sentences = []
    if number := in_force(ladder, one.climb.reached):
        taken = ladder[number - 1]
        sentences.append(
            _(
                "Step {number} of {of} is in force, since it had waited {time}: {does}.",
                number=number, of=len(ladder), time=span(taken.after), does=", ".join(told_step(taken, names)),
            )
        )  # fmt: skip
    at, step = one.next_at(book), following(ladder, one.climb.reached)
    if at is not None and step is not None:
        left = _duration(max(timedelta(), at - tx.now))
        changes = ", ".join(told_step(step, names, item.skills)) or _("nothing changes for it")
        sentences.append(
            _(
                "Step {number} of {of} comes in {time}: {does}.",
                number=number + 1,
                of=len(ladder),
                time=left,
                does=changes,
            )
        )
    return sentences


def _about_candidates(tx: Tx, item: WorkItem, queue: Queue) -> list[str]:
    stand, now = Stand.read(tx), tx.now.timestamp()
    book, engine = stand.book, stand.new_engine()
    for candidate in roster(tx, book):
        engine.put_agent(candidate, now)
    wanted = one_waiting(tx, book, int(item.id or 0))
    if wanted is None:
        return [_("What it requires can't be read: claim it or transfer it by hand.")]
    verdict = engine.judge(wanted, now)
    if verdict.eligible:
        ahead = n_(
            "{count} agent could take it: it is next, or what is more urgent goes first.",
            "{count} agents could take it: it is next, or what is more urgent goes first.", verdict.eligible,
        )  # fmt: skip
        return [ahead]
    if "paused" in verdict.rejected:
        if queue.paused_why:
            return [
                _("{queue} is paused ({why}): its work waits until it goes on.", queue=queue.name, why=queue.paused_why)
            ]
        return [_("{queue} is paused: its work waits until it goes on.", queue=queue.name)]
    if not verdict.rejected:
        told = _("Nobody serves {queue}: add an agent to the queue or transfer the conversation.", queue=queue.name)
        return [told]
    serving = sum(verdict.rejected.values())
    skilled = serving - verdict.rejected.get("skill", 0)
    others = {reason: count for reason, count in verdict.rejected.items() if reason != "skill"}
    if not others:
        told = _(
            "Nobody in {queue} has {skills}: give somebody the skill or transfer the conversation.",
            queue=queue.name, skills=_skills(item.skills),
        )  # fmt: skip
        return [told]
    told = n_("{count} agent in {queue}", "{count} agents in {queue}", skilled, queue=queue.name)
    if item.skills:
        told = _("{agents} with {skills}", agents=told, skills=_skills(item.skills))
    sentences = [f"{told}: {_counts(others)}."]
    if "wrap_up" in others:
        sentences += _about_wrapping(tx, engine.those(wanted, "wrap_up", now), terms_now(tx, item.queue_id))
    if "label" in others:
        labels = _and(wanted.labels)
        sentences.append(_("It is labelled {labels}: of such work one has only so much at once.", labels=labels))
    if "cooldown" in others:
        left = timedelta(seconds=min(wanted.cooling.values()) - now)
        sentences.append(_("Who passed on it is asked again in {time}.", time=_duration(left)))
    return sentences


def _counts(rejected: Mapping[str, int]) -> str:
    total = sum(rejected.values())
    parts = []
    for reason, count in sorted(rejected.items()):
        if count == total == 1:
            parts.append(_("it {is_so}", is_so=_IS.get(reason, f"is {reason}")))
        elif count == 1:
            parts.append(f"1 {_IS.get(reason, f'is {reason}')}")
        else:
            subject = _("all") if count == total else str(count)
            parts.append(f"{subject} {_ARE.get(reason, f'are {reason}')}")
    return ", ".join(parts)


def _skills(skills: Mapping[str, int]) -> str:
    return _and(f"{name} ≥ {level}" for name, level in sorted(skills.items()))


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


def _who(tx: Tx, by: str) -> str:
    kind, __, number = by.partition(":")
    if kind == "agent":
        return agent_names(tx, [int(number)])[int(number)]
    if kind == "token":
        token = tx.get(ApiToken, int(number))
        return _("The program {name}", name=token.name) if token else _("Program {number}", number=number)
    return _("The router")


def _duration(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    if seconds < 120:
        return n_("{count} second", "{count} seconds", seconds)
    if seconds < 7200:
        return n_("{count} minute", "{count} minutes", seconds // 60)
    if seconds < 172_800:
        return n_("{count} hour", "{count} hours", seconds // 3600)
    return n_("{count} day", "{count} days", seconds // 86_400)
