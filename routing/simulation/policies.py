"""Ways to hand out work that a simulation compares: ours, those of other products, and the bound of all of them.

Each is told to the production engine by its orders and by what it makes of the desk's priorities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from routing.demand import Reserve, Terms
from routing.engine import Engine
from routing.simulation.traffic import Contact
from routing.staff import TOP_LEVEL
from routing.supply import Candidate, Serving

RANKS: Mapping[str, int] = {"voice": 2, "chat": 2, "sms": 1, "whatsapp": 1, "slack": 1}  # whose customers wait least


def as_told(contact: Contact) -> int:
    """The desk's own priority, with what ladders have added; others know none."""
    return contact.priority + contact.raised


def valued_first(contact: Contact) -> int:
    """Nothing but whether somebody is preferred."""
    return 1 if contact.priority > 0 else 0


def channel_first(contact: Contact) -> int:
    """The channels in which people wait before the others, whoever is preferred one step higher."""
    return RANKS.get(contact.channel, 0) + valued_first(contact)


def nobody_first(contact: Contact) -> int:
    """Everybody is equal."""
    return 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to hand out work.

    `changes` are the terms that it sets in every queue; what it doesn't set stays as the desk has it. With `every`
    work is given out only so often. `pooled` lets everybody do everything, which nobody has: a bound.
    """

    name: str
    changes: Mapping[str, object] = field(default_factory=dict)
    priority: Callable[[Contact], int] = as_told
    every: float = 0.0
    pooled: bool = False

    def engine(self, terms: Iterable[Terms], skills: int) -> Engine:
        """The production engine, told to decide like this."""
        return Engine((replace(one, **self.changes) for one in terms), skills)  # type: ignore[arg-type]

    def staff(self, crew: Iterable[Candidate]) -> list[Candidate]:
        """Who is there."""
        people = list(crew)
        if not self.pooled:
            return people
        skills = {name: TOP_LEVEL for one in people for name in one.skills}
        queues = {number: Serving() for one in people for number in one.queues}
        return [replace(one, skills=skills, queues=queues) for one in people]


def _peer(work: str, agent: str) -> dict[str, object]:
    return {"work_order": work, "agent_order": agent, "reserve": {}, "boost": 0.0, "max_wait": inf}


def reserved(leave: int, until: float = 0.6) -> dict[str, object]:
    """Our own orders, with this much of an agent kept free of e-mail and forms at first."""
    keeps = Reserve(leave, until)
    return {"work_order": "slack", "agent_order": "score", "reserve": {"email": keeps, "form": keeps}}


TASKROUTER = Policy("TaskRouter default", _peer("strict", "longest_idle"), valued_first)
ROUND_ROBIN = Policy("Round robin", _peer("strict", "round_robin"), nobody_first)
ROUND_ROBIN_30 = replace(ROUND_ROBIN, name="Round robin every 30 s", every=30.0)
ROUND_ROBIN_300 = replace(ROUND_ROBIN, name="Round robin every 5 min", every=300.0)
SPARE = Policy("Strict priority, most room", _peer("strict", "least_load"), channel_first)
BEST_SKILL = Policy("Strict priority, best skill", _peer("strict", "best_skill"), channel_first)
PEERS = (TASKROUTER, ROUND_ROBIN, ROUND_ROBIN_30, ROUND_ROBIN_300, SPARE, BEST_SKILL)
