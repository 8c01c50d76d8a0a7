"""What the engine keeps at hand: agents in their places, the gates they can pass, and lines of waiting work.

A set of agents or of lines is the bits of a whole number, so that "who of these can take one more" is one `&`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from dataclasses import replace
from heapq import heapify, heappop, heappush
from math import inf

from routing.demand import Kind, Reserve, Terms, Waiting
from routing.orders import Key, boost, head_score, line_key
from routing.supply import Candidate, Serving, Slot

STALE = 64  # removed items that a line may carry before they are swept out


class Place:
    """An agent in the index: what is known of him, with what was given to him since."""

    __slots__ = (
        "bit", "breadth", "capped", "idle_since", "keys", "labelled", "last_at", "lines", "load", "now", "opened",
        "recent", "why",
    )  # fmt: skip

    def __init__(self, now: Candidate, bit: int):
        self.bit = bit
        self.lines = 0  # bits of the lines whose work he may take
        self.breadth = 0.0
        self.why: list[str] = []  # what he has against each gate, by its number; "" is nothing
        self.keys: dict[str, Key] = {}
        self.read(now)

    def read(self, now: Candidate) -> None:
        """Take over what is known of him by now."""
        self.now = now
        self.load = now.load
        self.opened = dict(now.open)
        self.labelled = dict(now.labelled)
        self.idle_since, self.last_at = now.idle_since, now.last_at
        self.recent = list(now.recent)
        self.capped = False

    def as_known(self) -> Candidate:
        """What is known of him, with what was given to him since."""
        return replace(
            self.now, load=self.load, open=self.opened, labelled=self.labelled, idle_since=self.idle_since,
            last_at=self.last_at, recent=tuple(self.recent),
        )  # fmt: skip

    def serving(self, kind: Kind) -> Serving:
        """How he serves this work, by his own queue or a group that has joined."""
        for queue_id in (kind.queue_id, *kind.groups):
            if queue_id in self.now.queues:
                return self.now.queues[queue_id]
        return Serving()

    @property
    def share(self) -> float:
        """The part of his capacity in use."""
        return self.load / (self.now.limits.capacity or 1)

    def level_in(self, skill: str) -> int:
        """His level in the skill by which work judges; 0 when it asks for none."""
        return self.now.skills.get(skill, 0)


class Gate:
    """One sort of room that work asks for: who has it, who has not and why not, and in which order they are asked."""

    __slots__ = ("bits", "number", "ranks", "slot")

    def __init__(self, slot: Slot, number: int, orders: Iterable[str]):
        self.slot, self.number = slot, number
        self.bits: dict[str, int] = {"": 0}  # agents by their objection
        self.ranks: dict[str, list[Key]] = {order: [] for order in orders}  # of those without one

    def enter(self, keys: Mapping[str, Key]) -> None:
        """Somebody may be asked from now on."""
        for order, ranks in self.ranks.items():
            insort(ranks, keys[order])

    def leave(self, keys: Mapping[str, Key]) -> None:
        """Whoever stood there is asked no more, or stands elsewhere from now on."""
        for order, ranks in self.ranks.items():
            del ranks[bisect_left(ranks, keys[order])]


class Line:
    """Waiting work of one kind in its order. What is set apart for a while (declined, held, closed) stands beside."""

    __slots__ = (
        "agents", "apart", "bit", "delays", "entries", "heap", "keys", "kind", "late", "levels", "queues", "raised",
        "reserve", "skill", "soon", "terms",
    )  # fmt: skip

    def __init__(self, kind: Kind, terms: Terms, bit: int, soon: Gate, late: Gate):
        self.kind, self.terms, self.bit = kind, terms, bit
        self.soon, self.late = soon, late  # the room it asks for at first, and once it may take what is kept free
        self.heap: list[tuple[float, int]] = []
        self.entries: dict[int, Waiting] = {}
        self.apart: dict[int, Waiting] = {}
        self.keys: dict[int, float] = {}
        self.queues = (kind.queue_id, *kind.groups)  # whose agents may take it
        self.agents = 0  # bits of those who also have the skills
        self.levels: dict[int, int] = {}  # bits of those agents by level of the scored skill
        self.delays: dict[float, int] = {}  # bits of those agents who come in only then
        self.skill = kind.scored_skill
        self.raised = boost(kind.priority, terms.boost)
        self.reserve: Reserve | None = None if kind.pinned else terms.reserve.get(kind.channel)

    def add(self, item: Waiting, now: float) -> None:
        """Let an item wait here."""
        self.entries[item.id] = item
        if item.holds_until(now):
            self.apart[item.id] = item
        else:
            self._stand(item)

    def _stand(self, item: Waiting) -> None:
        key = line_key(self.terms.work_order, item.order_time, item.due)
        self.keys[item.id] = key
        heappush(self.heap, (key, item.id))

    def rejoin(self, item_id: int, now: float) -> None:
        """Put an item back among the others once nothing sets it apart any more."""
        item = self.apart.get(item_id)
        if item is not None and not item.holds_until(now):
            del self.apart[item_id]
            self._stand(item)

    def remove(self, item_id: int) -> None:
        """Take an item out, wherever it stands."""
        del self.entries[item_id]
        self.apart.pop(item_id, None)
        self.keys.pop(item_id, None)
        if len(self.heap) > STALE and len(self.heap) > 2 * len(self.keys):
            self.heap = [(key, number) for number, key in self.keys.items()]
            heapify(self.heap)

    def first(self) -> Waiting | None:
        """The first of those that nothing sets apart."""
        while self.heap:
            key, item_id = self.heap[0]
            if self.keys.get(item_id) == key:
                return self.entries[item_id]
            heappop(self.heap)
        return None

    def place_of(self, item: Waiting) -> tuple[float, int]:
        """What the line is ordered by; the smaller is first."""
        return (line_key(self.terms.work_order, item.order_time, item.due), item.id)

    def released_at(self, item: Waiting) -> float:
        """From when on it may take the room that is kept for urgent work."""
        return -inf if self.reserve is None else item.due - item.target * (1.0 - self.reserve.until)

    def gate_for(self, item: Waiting, now: float) -> Gate:
        """The room it asks for now."""
        return self.late if self.reserve is None or self.released_at(item) <= now else self.soon

    def precedence(self, item: Waiting, now: float) -> float:
        """Before scores are compared: what is pinned goes first, then what has waited longer than anybody should."""
        return 2.0 if self.kind.pinned else float(item.order_time + self.terms.max_wait <= now)

    def score(self, item: Waiting, now: float) -> tuple[float, float]:
        """How it compares with the first of other lines in the same order; the greater goes first."""
        return head_score(self.terms.work_order, self.kind, item.order_time, item.due, self.raised, now)
