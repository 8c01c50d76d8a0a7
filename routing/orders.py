"""Which work first, and which agent first: the numbers that are compared, and nothing else.

The slack order is the generalised cµ rule (van Mieghem 1995; Mandelbaum and Stolyar 2004): what waits costs more the
nearer its target is, counts for as much as its channel does, and goes to whoever is quick at it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from routing.demand import Kind

COST: Mapping[str, float] = {"voice": 1.0, "chat": 1.0, "sms": 0.7, "whatsapp": 0.7, "slack": 0.7}
COST_OF_OTHERS = 0.5
PATIENT = frozenset({"email", "form"})  # customers don't leave: being late goes on getting worse
TOO_LATE = 1.2  # targets of waiting after which those who leave have left: no use in hurrying any more
FLOOR = 0.05  # what just arrived is worth something, too
SPEED: Mapping[int, float] = {1: 0.65, 2: 0.75, 3: 0.85, 4: 0.95, 5: 1.0}  # by level of the skill that is judged
BREADTH = 0.42  # of the load of one conversation: how far someone who can do everything is spared
CONVERSATIONS = 3.0  # that a full agent has, about

Key = tuple[float, float, int]  # of an agent; the smaller goes first, the number settles ties


def speed(level: int) -> float:
    """How fast a level works beside the highest. Without a skill that is judged everybody is equally fast."""
    return SPEED.get(level, 1.0) if level else 1.0


def boost(priority: int, most: float) -> float:
    """Seconds of age that a priority is worth: minutes, up to the queue's bound."""
    return min(priority * 60.0, most)


def urgency(kind: Kind, due: float, raised: float, now: float) -> float:
    """What waiting costs now, for an agent of full speed."""
    late = 1.0 - (due - raised - now) / kind.target
    late = 0.0 if late < 0.0 else late
    if late > TOO_LATE and kind.channel not in PATIENT:
        late = TOO_LATE
    return COST.get(kind.channel, COST_OF_OTHERS) * (FLOOR + late) / math.sqrt(kind.target)


def line_key(order: str, order_time: float, due: float) -> float:
    """Where an item stands among those of its kind; the smaller is first, whatever the time."""
    if order == "lifo":
        return -order_time
    return due if order in ("slack", "deadline") else order_time


def head_score(order: str, kind: Kind, order_time: float, due: float, raised: float, now: float) -> tuple[float, float]:
    """How the first of a kind compares with the first of others in the same order; the greater goes first."""
    if order == "slack":
        return (urgency(kind, due, raised, now), raised - due)
    if order == "strict":
        return (kind.priority, -order_time)
    if order == "ageing":
        return (kind.priority * 60.0 - order_time, -order_time)
    if order == "deadline":
        return (raised - due, -order_time)
    return (order_time, 0.0)


def base_key(order: str, agent_id: int, share: float, breadth: float, idle_since: float, last_at: float) -> Key:
    """Where an agent stands whatever the work is. `share` is the part of his capacity in use, `breadth` from 0 to 1
    how much of all there is to do he can do."""
    if order == "score":
        return (CONVERSATIONS * share + BREADTH * breadth, idle_since, agent_id)
    if order == "longest_idle":
        return (1.0 if share else 0.0, idle_since, agent_id)
    if order == "round_robin":
        return (last_at, 0.0, agent_id)
    return (share, idle_since, agent_id)  # least_load, and best_skill among equals


def judged_key(order: str, base: Key, level: int) -> Key:
    """Where the agent stands for work that judges him by a skill of this level."""
    if order == "score":
        return (base[0] - speed(level), base[1], base[2])
    if order == "best_skill":
        return (base[0] - 10.0 * level, base[1], base[2])
    return base


def best_gain(order: str, level: int) -> float:
    """The most by which a level moves an agent forward: where a search in order of base keys may stop."""
    return speed(level) if order == "score" else 10.0 * level if order == "best_skill" else 0.0
