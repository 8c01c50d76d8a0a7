"""The plain search: what the engine's index must decide, found by looking at everything each time.

Shares the engine's formulas (`routing.orders`) and its words, none of its structures. Also the baseline of
`bench/routing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from routing.demand import Kind, Terms, Waiting
from routing.orders import base_key, boost, head_score, judged_key, line_key, speed, urgency
from routing.supply import Candidate, Serving, Slot, objection


class Scan:
    """Every agent and every item in two dictionaries."""

    def __init__(self, terms: Iterable[Terms], skills: int = 0):
        self.terms = {one.id: one for one in terms}
        self.skills = max(1, skills)
        self.agents: dict[int, Candidate] = {}
        self.items: dict[int, Waiting] = {}
        self.freed: set[int] = set()
        self.capped: set[int] = set()

    def put_agent(self, candidate: Candidate, now: float) -> None:
        self.agents[candidate.id] = candidate
        self.freed.add(candidate.id)

    def drop_agent(self, agent_id: int) -> None:
        self.agents.pop(agent_id, None)
        self.freed.discard(agent_id)

    def put(self, item: Waiting, now: float) -> None:
        self.items[item.id] = item

    def drop(self, item_id: int) -> None:
        self.items.pop(item_id, None)

    def decide(self, now: float) -> list[tuple[int, tuple[int, ...]]]:
        made = []
        self.freed |= {number for number in self.capped if number in self.agents and not self.is_capped(number, now)}
        for agent_id in sorted(self.freed):
            while (item := self.best_work(agent_id, now)) is not None:
                made.append(self.give(item, now))
        self.freed.clear()
        for item in sorted(self.items.values(), key=lambda one: self.turn(one, now)):
            if self.takers(item, now):
                made.append(self.give(item, now))
        self.capped = {number for number in self.agents if self.is_capped(number, now)}
        return made

    # --- who could take what --------------------------------------------------------------------------------------

    def is_capped(self, agent_id: int, now: float) -> bool:
        one = self.agents[agent_id]
        recent = [at for at in one.recent if at > now - one.limits.window]
        return 0 < one.limits.rate <= len(recent)

    def serving(self, one: Candidate, item: Waiting) -> Serving | None:
        for queue_id in (item.queue_id, *item.groups):
            if queue_id in one.queues:
                return one.queues[queue_id]
        return None

    def waits_for(self, item: Waiting) -> bool:
        known = self.agents.get(item.prefer)
        if known is None or self.serving(known, item) is None or not known.has(item.skills):
            return False
        return known.status == "available" or (known.status == "away" and not item.pinned)

    def slot(self, item: Waiting, now: float) -> Slot:
        reserve = None if item.pinned else self.terms[item.queue_id].reserve.get(item.channel)
        waits = reserve is not None and item.due - item.target * (1 - reserve.until) > now
        return Slot(item.channel, item.weight, item.labels, reserve.leave if reserve and waits else 0)

    def can(self, one: Candidate, item: Waiting, now: float) -> bool:
        serving = self.serving(one, item)
        if serving is None or not one.has(item.skills) or self.terms[item.queue_id].paused:
            return False
        if item.not_before > now or item.cooling.get(one.id, 0) > now or item.order_time + serving.delay > now:
            return False
        if item.prefer_until > now and item.prefer != one.id and self.waits_for(item):
            return False
        slot, capped = self.slot(item, now), self.is_capped(one.id, now)
        return not objection(one, slot, one.load, one.open, one.labelled, capped)

    def takers(self, item: Waiting, now: float) -> list[Candidate]:
        return [one for one in self.agents.values() if self.can(one, item, now)]

    # --- the two choices ------------------------------------------------------------------------------------------

    def best_work(self, agent_id: int, now: float) -> Waiting | None:
        one = self.agents[agent_id]
        possible = [item for item in self.items.values() if self.can(one, item, now)]
        # Of one kind only the first counts, by age alone; nothing that is set apart stands before its time.
        firsts: dict[Kind, tuple[tuple[float, int], Waiting]] = {}
        for item in possible:
            order = self.terms[item.queue_id].work_order
            key = (line_key(order, item.order_time, item.due), item.id)
            if item.kind not in firsts or key < firsts[item.kind][0]:
                firsts[item.kind] = key, item
        heads = [item for _, item in firsts.values()]
        if not heads:
            return None
        if len({terms.work_order for terms in self.terms.values()}) > 1:
            by_order: dict[str, Waiting] = {}
            for item in heads:
                order = self.terms[item.queue_id].work_order
                if order not in by_order or self.score(one, item, now) > self.score(one, by_order[order], now):
                    by_order[order] = item
            return max(by_order.values(), key=lambda item: self.cost(one, item, now))
        return max(heads, key=lambda item: self.score(one, item, now))

    def precedence(self, item: Waiting, now: float) -> float:
        return 2 if item.pinned else item.order_time + self.terms[item.queue_id].max_wait <= now

    def score(self, one: Candidate, item: Waiting, now: float) -> tuple[float, ...]:
        terms, serving = self.terms[item.queue_id], self.serving(one, item) or Serving()
        raised = boost(item.priority, terms.boost)
        first, second = head_score(terms.work_order, item.kind, item.order_time, item.due, raised, now)
        if terms.work_order == "slack":
            first *= speed(one.skills.get(item.kind.scored_skill, 0))
        return (self.precedence(item, now), -serving.rank, first, second, -item.id)

    def cost(self, one: Candidate, item: Waiting, now: float) -> tuple[float, ...]:
        score, raised = self.score(one, item, now), boost(item.priority, self.terms[item.queue_id].boost)
        waiting = urgency(item.kind, item.due, raised, now) * speed(one.skills.get(item.kind.scored_skill, 0))
        return (score[0], score[1], waiting, score[4])

    def turn(self, item: Waiting, now: float) -> tuple[float, ...]:
        terms = self.terms[item.queue_id]
        raised = boost(item.priority, terms.boost)
        mixed = len({terms.work_order for terms in self.terms.values()}) > 1
        cost = urgency(item.kind, item.due, raised, now) if mixed else 0.0
        parts = head_score(terms.work_order, item.kind, item.order_time, item.due, raised, now)
        return (-self.precedence(item, now), -cost, *(-part for part in parts), item.id)

    def key(self, one: Candidate, item: Waiting) -> tuple[float, float, int]:
        order = self.terms[item.queue_id].agent_order
        breadth = (len(one.skills) / self.skills + len(one.queues) / len(self.terms)) / 2
        share = one.load / (one.limits.capacity or 1)
        base = base_key(order, one.id, share, breadth, one.idle_since, one.last_at)
        return judged_key(order, base, one.skills.get(item.kind.scored_skill, 0))

    def give(self, item: Waiting, now: float) -> tuple[int, tuple[int, ...]]:
        ranked = sorted(self.takers(item, now), key=lambda one: self.key(one, item))
        rings = self.terms[item.queue_id].rings
        asked = [one.id for one in ranked if one.is_asked(item.channel)]
        chosen = asked[:rings] if rings > 1 and ranked[0].is_asked(item.channel) else [ranked[0].id]
        del self.items[item.id]
        for agent_id in chosen:
            one = self.agents[agent_id]
            labelled = {**one.labelled, **{label: one.labelled.get(label, 0) + 1 for label in item.labels}}
            self.agents[agent_id] = replace(
                one, load=one.load + item.weight, idle_since=now, last_at=now, labelled=labelled,
                open={**one.open, item.channel: one.open.get(item.channel, 0) + 1}, recent=(*one.recent, now),
            )  # fmt: skip
        return item.id, tuple(chosen)
