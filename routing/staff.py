"""The agents of an engine: who is there, who may take which work, who can take it now, and who is asked first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf
from typing import Any

from routing.demand import Waiting
from routing.index import Gate, Line, Place
from routing.orders import Key, base_key, best_gain, judged_key
from routing.supply import Candidate, Slot, objection

FEW = 24  # agents that are compared one by one, whatever that takes
SPARSE = 4  # measured: how much longer it takes to compare an agent than to pass over one
TOP_LEVEL = 5
THERE = ("available", "away")


class Staff:
    """Agents by what they serve, what they can do and what they have room for.

    `orders` are the agent orders in use, `queues` and `skills` how many of either there are: someone who knows much
    of it is spared for what only he can do.
    """

    def __init__(self, orders: set[str], queues: int, skills: int):
        self.orders = sorted(orders) or ["score"]
        self.places: dict[int, Place] = {}
        self._queues, self._skills = max(1, queues), max(1, skills)
        self._by_bit: list[Place | None] = []
        self._gates: dict[Slot, Gate] = {}
        self._serving: dict[int, int] = {}  # bits of the agents who serve a queue
        self._delayed: dict[int, dict[float, int]] = {}  # bits of those who come in after so many seconds
        self._skilled: dict[tuple[str, int], int] = {}  # bits of those who have at least this level
        self._resting: list[tuple[float, int]] = []  # when an agent over his rate may be asked again

    # --- coming, changing, going ----------------------------------------------------------------------------------

    def put(self, candidate: Candidate, now: float) -> tuple[bool, bool, bool]:
        """Tell of an agent. Answers whether what he may take has changed, whether he came or went, and whether he has
        room for something that he had none for.
        """
        place, closed = self.places.get(candidate.id), list[int]()
        if place is None:
            place = self.places[candidate.id] = Place(candidate, len(self._by_bit))
            self._by_bit.append(place)
            differs = moved = True
        else:
            before = place.now
            closed = [number for number, why in enumerate(place.why) if why]
            place.read(candidate)
            differs = (before.skills, before.queues) != (candidate.skills, candidate.queues)
            moved = before.status != candidate.status
            if differs:
                self._strike(place)
        if differs:
            self._enlist(place)
        self._cap(place, now)
        self._move(place)
        return differs, moved, any(not place.why[number] for number in closed)

    def drop(self, agent_id: int) -> bool:
        """Forget an agent; False when he is a stranger."""
        place = self.places.pop(agent_id, None)
        if place is None:
            return False
        self._hide(place)
        self._strike(place)
        self._by_bit[place.bit] = None
        return True

    def take(self, place: Place, item: Waiting, now: float) -> None:
        """Count an item as his."""
        place.load += item.weight
        place.opened[item.channel] = place.opened.get(item.channel, 0) + 1
        for label in item.labels:
            place.labelled[label] = place.labelled.get(label, 0) + 1
        place.idle_since = place.last_at = now
        if place.now.limits.rate:
            place.recent.append(now)
            self._cap(place, now)
        self._move(place)

    def waits_for(self, line: Line, item: Waiting) -> bool:
        """Whether the agent for whom an item is kept may take it and is there: for a moment, who is away is taken to
        come back. What is pinned waits for longer, and only for somebody who is available.
        """
        place = self.places.get(item.prefer)
        if place is None or not line.agents >> place.bit & 1:
            return False
        return place.now.status in (THERE[:1] if item.pinned else THERE)

    @property
    def next_at(self) -> float:
        """When somebody's rate lets him be asked again."""
        return self._resting[0][0] if self._resting else inf

    def wake(self, now: float) -> list[int]:
        """The agents whose rate lets them be asked again."""
        woken = []
        while self._resting and self._resting[0][0] <= now:
            agent_id = heappop(self._resting)[1]
            if (place := self.places.get(agent_id)) is not None:
                self._cap(place, now)
                self._move(place)
                woken.append(agent_id)
        return woken

    def _enlist(self, place: Place) -> None:
        one, mark = place.now, 1 << place.bit
        place.breadth = (len(one.skills) / self._skills + len(one.queues) / self._queues) / 2
        for queue_id, serving in one.queues.items():
            self._serving[queue_id] = self._serving.get(queue_id, 0) | mark
            if serving.delay:
                delayed = self._delayed.setdefault(queue_id, {})
                delayed[serving.delay] = delayed.get(serving.delay, 0) | mark
        for name, level in one.skills.items():
            for enough in range(1, level + 1):
                self._skilled[name, enough] = self._skilled.get((name, enough), 0) | mark

    def _strike(self, place: Place) -> None:
        left = ~(1 << place.bit)
        known: list[dict[Any, int]] = [self._serving, self._skilled, *self._delayed.values()]
        for bits in known:
            for key in bits:
                bits[key] &= left
        place.lines = 0

    def _cap(self, place: Place, now: float) -> None:
        """Count what came within the window; over the rate nothing comes until the oldest of it has left."""
        limits = place.now.limits
        if not limits.rate:
            return
        place.recent = sorted(at for at in place.recent if at > now - limits.window)
        place.capped = len(place.recent) >= limits.rate
        if place.capped:
            heappush(self._resting, (place.recent[-limits.rate] + limits.window, place.now.id))

    # --- who may ----------------------------------------------------------------------------------------------------

    def qualify(self, line: Line) -> frozenset[float]:
        """Work out who may take a line's work. Answers the delays with which some of them come in that are new."""
        members, delays = 0, dict[float, int]()
        for queue_id in line.queues:
            serving = self._serving.get(queue_id, 0) & ~members
            for delay, bits in self._delayed.get(queue_id, {}).items():
                delays[delay] = delays.get(delay, 0) | bits & serving
            members |= serving
        line.agents = members
        for name, level in line.kind.skills:
            line.agents &= self._skilled.get((name, level), 0)
        new = frozenset(delays.keys() - line.delays.keys())
        line.delays, line.levels = delays, self._levels(line)
        return new

    def _levels(self, line: Line) -> dict[int, int]:
        skill, left, found = line.skill, line.agents, {}
        for level in range(TOP_LEVEL, 0, -1):
            if some := left & self._skilled.get((skill, level), 0):
                found[level] = some
                left &= ~some
        return {**found, 0: left} if left or not found else found

    # --- who can now ------------------------------------------------------------------------------------------------

    def gate(self, slot: Slot) -> Gate:
        """The gate for this sort of room."""
        gate = self._gates.get(slot)
        if gate is None:
            gate = self._gates[slot] = Gate(slot, len(self._gates), self.orders)
            for place in self.places.values():
                place.why.append(why := _against(gate, place))
                gate.bits[why] = gate.bits.get(why, 0) | 1 << place.bit
                if not why:
                    gate.enter(place.keys)
        return gate

    def takers(self, line: Line, item: Waiting, now: float) -> int:
        """Bits of the agents who can take it now."""
        if line.terms.stopped or item.not_before > now:
            return 0
        takers = line.agents & line.gate_for(item, now).bits[""]
        if not takers:
            return 0
        for agent_id, until in item.cooling.items():
            if until > now and agent_id in self.places:
                takers &= ~(1 << self.places[agent_id].bit)
        if item.prefer_until > now and self.waits_for(line, item):
            takers &= 1 << self.places[item.prefer].bit
        for delay, late in line.delays.items():
            if item.order_time + delay > now:
                takers &= ~late
        return takers

    def rejected(self, line: Line, item: Waiting, takers: int, now: float) -> dict[str, int]:
        """Of those who serve the queue and are no takers, how many have which reason first."""
        members = 0
        for queue_id in line.queues:
            members |= self._serving.get(queue_id, 0)
        if not members:
            return {}
        if line.terms.stopped or item.not_before > now:
            return {"paused" if line.terms.paused else "closed": members.bit_count()}
        counts = {"skill": (members & ~line.agents).bit_count()}
        gate = line.gate_for(item, now)
        for why, bits in gate.bits.items():
            counts[why] = (line.agents & bits).bit_count()
        if counts.pop("") > takers.bit_count():
            for place in self.each(line.agents & gate.bits[""] & ~takers):
                reason = _set_apart(line, item, place, now)
                counts[reason] = counts.get(reason, 0) + 1
        return {why: count for why, count in counts.items() if count}

    def _move(self, place: Place) -> None:
        """Stand an agent where searches find him now."""
        share, mark, before = place.share, 1 << place.bit, place.keys
        place.keys = {
            order: base_key(order, place.now.id, share, place.breadth, place.idle_since, place.last_at)
            for order in self.orders
        }
        for gate in self._gates.values():
            was = place.why[gate.number] if before else None
            why = _against(gate, place)
            if was is None:
                place.why.append(why)
            elif was == "":
                gate.leave(before)
            if why == "":
                gate.enter(place.keys)
            if why != was:
                place.why[gate.number] = why
                gate.bits[why] = gate.bits.get(why, 0) | mark
                if was is not None:
                    gate.bits[was] ^= mark

    def _hide(self, place: Place) -> None:
        for gate, why in zip(self._gates.values(), place.why, strict=True):
            gate.bits[why] ^= 1 << place.bit
            if not why:
                gate.leave(place.keys)

    # --- who first --------------------------------------------------------------------------------------------------

    def ranked(self, line: Line, item: Waiting, takers: int, now: float) -> list[tuple[Key, Place]]:
        """The first choices among those who can, best first: all that it rings at, and a few more to show."""
        order = line.terms.agent_order
        if order != "best_skill":
            return self._search(line, item, takers, max(best_gain(order, level) for level in line.levels), now)
        found: list[tuple[Key, Place]] = []
        for level in sorted(line.levels, reverse=True):
            asked = sum(_counts(line, item, place) for _, place in found)
            if asked < line.terms.rings and (some := takers & line.levels[level]):
                found += self._search(line, item, some, best_gain(order, level), now)
        return found

    def _search(self, line: Line, item: Waiting, takers: int, gain: float, now: float) -> list[tuple[Key, Place]]:
        """`gain` is the most by which the level of anybody among the takers can move him forward."""
        order, rings = line.terms.agent_order, line.terms.rings
        ranks, few = line.gate_for(item, now).ranks[order], takers.bit_count()
        # The rarer they are, the further apart they stand: then it takes less time to compare each.
        if few <= FEW or few * few <= SPARSE * len(ranks):
            return self._compared(line, takers)
        seen, asked = list[tuple[Key, Place]](), list[Key]()
        for base in ranks:
            if len(asked) >= rings and (base[0] - gain, base[1], base[2]) > asked[rings - 1]:
                break  # nobody further back can come before those who were found
            place = self.places[base[2]]
            if takers >> place.bit & 1:
                key = judged_key(order, base, place.level_in(line.skill))
                insort(seen, (key, place), key=_by_key)
                if _counts(line, item, place):
                    insort(asked, key)
        return seen

    def _compared(self, line: Line, takers: int) -> list[tuple[Key, Place]]:
        """Each of those who can, best first."""
        order, found = line.terms.agent_order, list[tuple[Key, Place]]()
        for level, bits in line.levels.items():
            if some := takers & bits:
                gain = best_gain(order, level)
                for place in self.each(some):
                    first, second, number = place.keys[order]
                    found.append(((first - gain, second, number), place))
        found.sort()  # by the keys alone: each has its agent's number
        return found

    def each(self, bits: int) -> Iterator[Place]:
        """The agents behind bits."""
        while bits:
            number = bits.bit_length() - 1
            bits ^= 1 << number
            place = self._by_bit[number]
            if place is not None:
                yield place


def _against(gate: Gate, place: Place) -> str:
    return objection(place.now, gate.slot, place.load, place.opened, place.labelled, place.capped)


def _counts(line: Line, item: Waiting, place: Place) -> bool:
    """Whether he is one of those at whom it rings: of several at once, whoever is asked before it is his."""
    return line.terms.rings == 1 or place.now.is_asked(item.channel)


def _by_key(judged: tuple[Key, Place]) -> Key:
    return judged[0]


def _set_apart(line: Line, item: Waiting, place: Place, now: float) -> str:
    if item.is_barred(place.now.id, now):
        return "cooldown"
    return "delay" if item.order_time + place.serving(line.kind).delay > now else "held"
