"""Who gets what: a pure index of agents and waiting work that decides. No clock, no database, no chance.

A change of an agent or of an item is told (`put_agent`, `put`, `drop`); `decide` then makes every match that has
become possible, and each says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import inf
from typing import Any

from routing.demand import Kind, Terms, Waiting
from routing.index import Line, Place
from routing.orders import Key, speed, urgency
from routing.staff import Staff
from routing.supply import Candidate, Slot

SHOWN = 3  # candidates and competing work kept in an explanation

Rival = tuple[tuple[float, ...], Line, Waiting]  # work that an agent could have, with its score for him


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many of those who serve the queue could take an item now, and why the others can't.

    `rejected` counts each under the first reason: skill, those of `routing.supply.objection`, cooldown, delay, held,
    and for everybody "paused" or "closed".
    """

    eligible: int
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Decision:
    """This item goes to these agents, the best first; more than one only where the queue rings at several at once.

    `at` is when it was made, `explanation` a JSON document for the offer and the assignment.
    """

    item: Waiting
    agent_ids: tuple[int, ...]
    explanation: dict[str, Any]
    at: float


class Engine:
    """The agents and the waiting work of queues that share agents.

    `terms` are those of every queue, `skills` the number of skills that the desk knows. Nothing here asks for the
    time: whoever calls says what time it is, and must not go back.
    """

    def __init__(self, terms: Iterable[Terms], skills: int = 0):
        self.terms = {one.id: one for one in terms}
        self._staff = Staff({one.agent_order for one in self.terms.values()}, len(self.terms), skills)
        self._mixed = len({one.work_order for one in self.terms.values()}) > 1
        self._lines: dict[Kind, Line] = {}
        self._by_number: list[Line] = []
        self._of: dict[int, Line] = {}  # where an item stands
        self._occupied = 0  # bits of lines in which something waits
        self._held: dict[int, set[int]] = {}  # items that wait for their preferred agent, by him
        self._freed: set[int] = set()
        self._changed: set[int] = set()
        self._timers: list[tuple[float, int]] = []  # when time alone may make something of an item

    # --- what is told -----------------------------------------------------------------------------------------------

    def put_agent(self, candidate: Candidate, now: float) -> None:
        """Tell of an agent who is new or has changed."""
        differs, moved, has_more_room = self._staff.put(candidate, now)
        if differs:
            place = self._staff.places[candidate.id]
            for line in self._by_number:
                self._qualify(line, now)
                place.lines |= (line.agents >> place.bit & 1) << line.bit
        if moved or differs:
            self._changed |= self._held.get(candidate.id, set())
        if differs or has_more_room:
            self._freed.add(candidate.id)

    def drop_agent(self, agent_id: int) -> None:
        """Forget an agent. Forgetting a stranger changes nothing."""
        if self._staff.drop(agent_id):
            for line in self._by_number:
                self._qualify(line, 0.0)
            self._freed.discard(agent_id)
            self._changed |= self._held.get(agent_id, set())

    def put(self, item: Waiting, now: float) -> None:
        """Tell of work that waits, new or changed. Work of an unknown queue waits until the queue is known."""
        self.drop(item.id)
        line = self._line(item.kind, now)
        line.add(item, now)
        self._of[item.id] = line
        self._occupied |= 1 << line.bit
        self._changed.add(item.id)
        if item.prefer and item.prefer_until > now:
            self._held.setdefault(item.prefer, set()).add(item.id)
        joining = (item.order_time + delay for delay in line.delays)
        for at in {item.not_before, item.prefer_until, line.released_at(item), *item.cooling.values(), *joining}:
            if at > now:
                heappush(self._timers, (at, item.id))

    def drop(self, item_id: int) -> None:
        """Work that no longer waits. Dropping what does not wait changes nothing."""
        line = self._of.pop(item_id, None)
        if line is None:
            return
        item = line.entries[item_id]
        line.remove(item_id)
        if not line.entries:
            self._occupied &= ~(1 << line.bit)
        if item.prefer:
            self._held.get(item.prefer, set()).discard(item_id)
        self._changed.discard(item_id)

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def agents(self) -> dict[int, Candidate]:
        """Everybody by number, as he stands with what was decided since he was told of."""
        return {agent_id: place.as_known() for agent_id, place in self._staff.places.items()}

    @property
    def waiting(self) -> dict[int, Waiting]:
        """All work that waits, by number."""
        return {item_id: line.entries[item_id] for item_id, line in self._of.items()}

    def waits(self, item: Waiting) -> bool:
        """Whether this very work waits, unchanged."""
        line = self._of.get(item.id)
        return line is not None and line.entries[item.id] == item

    # --- what is decided --------------------------------------------------------------------------------------------

    @property
    def next_at(self) -> float:
        """When time alone makes something possible; infinity when nothing waits for time."""
        return min(self._timers[0][0] if self._timers else inf, self._staff.next_at)

    def decide(self, now: float, limit: int | None = None) -> list[Decision]:
        """Every match that is possible now, at most `limit`; the rest is found by the next call.

        An agent who became free asks for the most urgent work, and of all who could take that the best one gets it;
        then work that is new finds its agent. Afterwards no agent has room for work that he may take.
        """
        self._wake(now)
        made: list[Decision] = []
        for agent_id in sorted(self._freed):
            place = self._staff.places.get(agent_id)
            while place is not None and (found := self._best_work(place, now)):
                if limit is not None and len(made) >= limit:
                    return made
                line, item, rivals = found
                takers = self._staff.takers(line, item, now)
                made.append(self._give(line, item, takers, now, "freed", rivals))
            self._freed.discard(agent_id)
        # While some is given away, what nobody can take now does not find anybody either: it need not stand in turn.
        changed = [self._of[number].entries[number] for number in self._changed]
        able = [item for item in changed if self._staff.takers(self._of[item.id], item, now)]
        self._changed = {item.id for item in able}
        for item in sorted(able, key=self._in_turn(now)):
            line = self._of[item.id]
            if takers := self._staff.takers(line, item, now):
                if limit is not None and len(made) >= limit:
                    return made
                made.append(self._give(line, item, takers, now, "arrived", ()))
            self._changed.discard(item.id)
        self._freed = set()  # not emptied: a set that was big once takes long to go through
        return made

    def judge(self, item: Waiting, now: float) -> Verdict:
        """How everybody who serves the item's queue stands to it now."""
        line = self._line(item.kind, now)
        takers = self._staff.takers(line, item, now)
        return Verdict(takers.bit_count(), self._staff.rejected(line, item, takers, now))

    def those(self, item: Waiting, why: str, now: float) -> list[int]:
        """Who serves the item's queue with the skills, and can't take it for this reason of `routing.supply`."""
        line = self._line(item.kind, now)
        bits = line.agents & line.gate_for(item, now).bits.get(why, 0)
        return sorted(place.now.id for place in self._staff.each(bits))

    def ranking(self, agent_id: int, now: float, most: int = 50) -> list[Waiting]:
        """The first of every line that this agent may take from by hand, what he would be given first before."""
        heads = self._heads(self._staff.places[agent_id], now, by_hand=True)
        return [item for _, _, item in sorted(heads, key=lambda rival: rival[0], reverse=True)[:most]]

    # --- lines ------------------------------------------------------------------------------------------------------

    def _line(self, kind: Kind, now: float) -> Line:
        line = self._lines.get(kind)
        if line is None:
            terms = self.terms.get(kind.queue_id) or Terms(kind.queue_id, agent_order=self._staff.orders[0])
            reserve = None if kind.pinned else terms.reserve.get(kind.channel)
            late = self._staff.gate(Slot(kind.channel, kind.weight, kind.labels))
            soon = self._staff.gate(replace(late.slot, leave=reserve.leave)) if reserve else late
            line = self._lines[kind] = Line(kind, terms, len(self._by_number), soon, late)
            self._by_number.append(line)
            self._qualify(line, now)
            for place in self._staff.each(line.agents):
                place.lines |= 1 << line.bit
        return line

    def _qualify(self, line: Line, now: float) -> None:
        for delay in self._staff.qualify(line):
            for item in line.entries.values():
                heappush(self._timers, (max(now, item.order_time + delay), item.id))

    def _wake(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            item_id = heappop(self._timers)[1]
            if item_id in self._of:
                self._of[item_id].rejoin(item_id, now)
                self._changed.add(item_id)
        self._freed.update(self._staff.wake(now))

    def _in_turn(self, now: float) -> Callable[[Waiting], tuple[float, ...]]:
        def turn(item: Waiting) -> tuple[float, ...]:
            line = self._of[item.id]
            cost = urgency(line.kind, item.due, line.raised, now) if self._mixed else 0.0
            return (-line.precedence(item, now), -cost, *(-part for part in line.score(item, now)), item.id)

        return turn

    # --- what an agent gets -----------------------------------------------------------------------------------------

    def _best_work(self, place: Place, now: float) -> tuple[Line, Waiting, list[Rival]] | None:
        """The most urgent work that this agent can take now, and what else it was compared with."""
        heads = list(self._heads(place, now))
        if not heads:
            return None
        heads.sort(key=_by_score, reverse=True)
        best = self._across_orders(heads, place, now) if self._mixed else heads[0]
        others = [one for one in heads[: SHOWN + 1] if one is not best]
        return best[1], best[2], others[:SHOWN]

    def _heads(self, place: Place, now: float, by_hand: bool = False) -> Iterator[Rival]:
        """Of every line that he may take from, what he would be asked for first."""
        if not by_hand and "" not in place.why:
            return
        bits = place.lines & self._occupied
        while bits:
            low = bits & -bits
            bits ^= low
            line = self._by_number[low.bit_length() - 1]
            if not by_hand and (line.terms.stopped or place.why[line.late.number]):
                continue
            item = self._first_for(line, place, now)
            if item is None or (not by_hand and place.why[line.gate_for(item, now).number]):
                continue
            serving = place.serving(line.kind)
            if serving.delay and item.order_time + serving.delay > now:
                continue
            first, second = line.score(item, now)
            if line.terms.work_order == "slack":
                first *= speed(place.level_in(line.skill))
            yield (line.precedence(item, now), float(-serving.rank), first, second, float(-item.id)), line, item

    def _first_for(self, line: Line, place: Place, now: float) -> Waiting | None:
        """The first of a line that this agent may be asked for."""
        best = line.first()
        for item in line.apart.values():
            kept = item.prefer_until > now and item.prefer != place.now.id and self._staff.waits_for(line, item)
            if kept or item.is_barred(place.now.id, now):
                continue
            if best is None or line.place_of(item) < line.place_of(best):
                best = item
        return best

    def _across_orders(self, heads: list[Rival], place: Place, now: float) -> Rival:
        """Numbers of different orders can't be compared: the first of each are, by what their waiting costs."""
        firsts: dict[str, Rival] = {}
        for rival in heads:
            order = rival[1].terms.work_order
            if order not in firsts or rival[0] > firsts[order][0]:
                firsts[order] = rival

        def cost(rival: Rival) -> tuple[float, ...]:
            score, line, item = rival
            waiting = urgency(line.kind, item.due, line.raised, now) * speed(place.level_in(line.skill))
            return (score[0], score[1], waiting, score[4])

        return max(firsts.values(), key=cost)

    def _give(self, line: Line, item: Waiting, takers: int, now: float, why: str, rivals: Iterable[Rival]) -> Decision:
        """Give an item to the best of those who can take it."""
        ranked = self._staff.ranked(line, item, takers, now)
        chosen = [ranked[0][1]]
        if line.terms.rings > 1 and chosen[0].now.is_asked(item.channel):
            chosen = [place for _, place in ranked if place.now.is_asked(item.channel)][: line.terms.rings]
        explanation = {
            "why": why,
            "order": line.terms.agent_order,
            "work_order": line.terms.work_order,
            "queue_id": item.queue_id,
            "skills": dict(item.skills),
            "weight": item.weight,
            "waited": round(now - item.order_time, 3),
            "due_in": round(item.due - now, 3),
            "eligible": takers.bit_count(),
            "rejected": self._staff.rejected(line, item, takers, now),
            "candidates": [_shown(line, key, place, now) for key, place in ranked[:SHOWN]],
            "rivals": [
                {"conversation_id": other.conversation_id, "queue_id": other.queue_id, "score": round(score[2], 9)}
                for score, _, other in rivals
            ],
        }
        if not item.pinned and item.prefer_until > now and any(place.now.id == item.prefer for place in chosen):
            explanation["preferred"] = item.prefer
        if len(chosen) > 1:
            explanation["rings"] = len(chosen)
        self.drop(item.id)
        for place in chosen:
            self._staff.take(place, item, now)
        return Decision(item, tuple(place.now.id for place in chosen), explanation, now)


def _shown(line: Line, key: Key, place: Place, now: float) -> dict[str, Any]:
    return {
        "agent_id": place.now.id,
        "score": round(key[0], 6),
        "load": place.load,
        "capacity": place.now.limits.capacity,
        "level": place.level_in(line.skill),
        "idle": round(now - place.idle_since, 3) if place.idle_since else None,
    }


def _by_score(rival: Rival) -> tuple[float, ...]:
    return rival[0]
