"""The pure matching: who gets what, against a plain search that looks at everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from routing.engine import Candidate, Pool, Waiting, match

START = datetime(2026, 11, 24, 10, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def agent(
    id: int, idle: int = 0, room: int = 100, status: str = "available", queue: int = 1, **skills: int
) -> Candidate:
    return Candidate(id, status, room, at(idle), skills, frozenset([queue]))


def work(id: int, minute: int = 0, weight: int = 20, priority: int = 0, queue: int = 1, **skills: int) -> Waiting:
    return Waiting(id, id, queue, "email", weight, tuple(sorted(skills.items())), priority, at(minute))


def pairs(agents: list[Candidate], items: list[Waiting]) -> list[tuple[int, int]]:
    return [(decision.item.id, decision.agent_id) for decision in match(agents, items)]


def test_the_longest_idle_agent_is_first_and_then_goes_to_the_end() -> None:
    assert pairs([agent(1, idle=5), agent(2, idle=3)], [work(1), work(2), work(3)]) == [(1, 2), (2, 1), (3, 2)]


def test_priority_goes_before_age_and_age_before_number() -> None:
    items = [work(1, minute=2), work(2, minute=1), work(3, minute=1), work(4, minute=9, priority=1)]
    assert [item for item, _ in pairs([agent(1)], items)] == [4, 2, 3, 1]


def test_room_shrinks_within_a_batch() -> None:
    assert pairs([agent(1, room=50)], [work(1, weight=30), work(2, weight=30), work(3, weight=20)]) == [(1, 1), (3, 1)]


def test_a_skill_counts_from_its_level() -> None:
    assert pairs([agent(1, order=1), agent(2, idle=9, order=2)], [work(1, order=2)]) == [(1, 2)]


def test_the_explanation_counts_each_agent_once_with_the_first_reason() -> None:
    agents = [
        agent(1, order=3),
        agent(2),
        agent(3, status="away", order=3),
        agent(4, room=10, order=3),
        agent(5, queue=2, order=3),
        agent(6, order=3),
    ]
    item = Waiting(1, 1, 1, "email", 20, (("order", 2),), 0, START, cooling=frozenset([6]))
    (decision,) = match(agents, [item])
    assert decision.agent_id == 1
    assert decision.explanation["eligible"] == 1
    assert decision.explanation["rejected"] == {"skill": 1, "away": 1, "room": 1, "cooldown": 1}
    assert [one["agent_id"] for one in decision.explanation["candidates"]] == [1]


def test_what_cools_down_does_not_hold_up_the_next_of_its_kind() -> None:
    declined = Waiting(1, 1, 1, "email", 20, (), 0, START, cooling=frozenset([1]))
    assert pairs([agent(1)], [declined, work(2, minute=1)]) == [(2, 1)]


def test_a_limit_keeps_the_most_urgent() -> None:
    assert [d.item.id for d in match([agent(1)], [work(2), work(1), work(3)], limit=2)] == [1, 2]


candidates = st.builds(
    Candidate,
    id=st.integers(1, 4),
    status=st.sampled_from(["available", "available", "away", "offline"]),
    room=st.integers(0, 60),
    idle_since=st.integers(0, 3).map(at),
    skills=st.dictionaries(st.sampled_from("ab"), st.integers(1, 3)),
    queues=st.frozensets(st.integers(1, 2)),
)
waiting = st.builds(
    Waiting,
    id=st.integers(1, 12),
    conversation_id=st.just(0),
    queue_id=st.integers(1, 2),
    channel=st.just("email"),
    weight=st.sampled_from([20, 30]),
    skills=st.dictionaries(st.sampled_from("ab"), st.integers(1, 3), max_size=1).map(lambda d: tuple(d.items())),
    priority=st.integers(0, 2),
    order_time=st.integers(0, 3).map(at),
    cooling=st.frozensets(st.integers(1, 4), max_size=2),
)


def plain_search(agents: list[Candidate], items: list[Waiting]) -> list[tuple[int, int]]:
    """Again and again: the most urgent item that anybody can take, to the agent who waited longest."""
    room = {one.id: one.room for one in agents}
    line = [one.id for one in sorted(agents, key=lambda one: (one.idle_since, one.id))]
    by_id = {one.id: one for one in agents}
    left = list(items)
    found: list[tuple[int, int]] = []
    while True:
        possible = [
            (item, agent_id)
            for item in sorted(left, key=lambda one: (-one.priority, one.order_time, one.id))
            for agent_id in line
            if by_id[agent_id].status == "available"
            and item.queue_id in by_id[agent_id].queues
            and room[agent_id] >= item.weight
            and agent_id not in item.cooling
            and all(by_id[agent_id].skills.get(name, 0) >= level for name, level in item.skills)
        ]
        if not possible:
            return found
        item, agent_id = possible[0]
        found.append((item.id, agent_id))
        room[agent_id] -= item.weight
        line = [one for one in line if one != agent_id] + [agent_id]
        left.remove(item)


@given(
    st.lists(candidates, unique_by=lambda one: one.id), st.lists(waiting, unique_by=lambda one: one.id), st.randoms()
)
def test_it_decides_like_a_plain_search_in_whatever_order_it_is_told(
    agents: list[Candidate], items: list[Waiting], shuffler: Random
) -> None:
    expected = plain_search(agents, items)
    assert pairs(agents, items) == expected
    shuffler.shuffle(agents)
    shuffler.shuffle(items)
    assert pairs(agents, items) == expected


def test_a_verdict_on_a_queue_nobody_serves_is_empty() -> None:
    verdict = Pool([agent(1)]).judge(work(1, queue=7))
    assert not verdict.eligible and not verdict.rejected
