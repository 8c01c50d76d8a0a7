"""The engine decides what a plain search over everything decides, whatever happens in whatever order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from routing.demand import AGENT_ORDERS, WORK_ORDERS, Reserve, Terms, Waiting
from routing.engine import Engine
from routing.supply import Candidate, Limits, Serving
from tests.routing_scan import Scan

QUEUES, SKILLS, CHANNELS, AGENTS = (1, 2, 3), ("a", "b"), ("chat", "email"), (1, 2, 3, 4, 5)
WEIGHTS = {"chat": 30, "email": 20}
TARGETS = {"chat": 60.0, "email": 600.0}

terms = st.builds(
    Terms,
    id=st.just(0),
    work_order=st.sampled_from(WORK_ORDERS),
    agent_order=st.sampled_from(AGENT_ORDERS),
    reserve=st.one_of(st.just({}), st.just({"email": Reserve(30, 0.5)})),
    boost=st.sampled_from([0.0, 120.0]),
    max_wait=st.sampled_from([300.0, 1e9]),
    rings=st.sampled_from([1, 1, 1, 2]),
    paused=st.sampled_from([False] * 7 + [True]),
)
limits = st.builds(
    Limits,
    capacity=st.sampled_from([30, 60, 100]),
    channels=st.sampled_from([{}, {}, {"chat": 1}]),
    labels=st.sampled_from([{}, {"gold": 1}]),
    blocks=st.sampled_from([{}, {}, {"chat": frozenset({"email"})}]),
    pull=st.sampled_from([frozenset[str](), frozenset[str](), frozenset({"email"})]),
    rate=st.sampled_from([0, 0, 2]),
    window=st.just(120.0),
)
serving = st.builds(Serving, rank=st.sampled_from([1, 1, 2]), delay=st.sampled_from([0.0, 0.0, 45.0]))
people = st.builds(
    Candidate,
    id=st.sampled_from(AGENTS),
    status=st.sampled_from(["available"] * 4 + ["away"]),
    skills=st.dictionaries(st.sampled_from(SKILLS), st.integers(1, 5)),
    queues=st.dictionaries(st.sampled_from(QUEUES), serving, min_size=1),
    limits=limits,
    load=st.sampled_from([0, 0, 20, 50]),
    idle_since=st.floats(0, 5).map(round),
    rings=st.sampled_from([None, None, frozenset({"email"})]),
)
pieces = st.builds(
    lambda channel, **rest: Waiting(
        id=0, conversation_id=0, channel=channel, weight=WEIGHTS[channel], order_time=0, due=0,
        target=TARGETS[channel], **rest,
    ),
    channel=st.sampled_from(CHANNELS),
    queue_id=st.sampled_from(QUEUES),
    skills=st.dictionaries(st.sampled_from(SKILLS), st.integers(1, 5), max_size=1).map(lambda d: tuple(d.items())),
    priority=st.sampled_from([0, 0, 1, 5]),
    labels=st.sampled_from([(), (), ("gold",)]),
    groups=st.sampled_from([(), (), (3,)]),
    pinned=st.sampled_from([False] * 5 + [True]),
)  # fmt: skip


class Floor(RuleBasedStateMachine):
    """An engine and a plain search that are told the same; `at` is who has what."""

    @initialize(queues=st.tuples(terms, terms, terms))
    def opens(self, queues: tuple[Terms, ...]) -> None:
        told = [replace(one, id=number) for number, one in enumerate(queues, 1)]
        self.engine, self.scan = Engine(told, len(SKILLS)), Scan(told, len(SKILLS))
        self.now, self.number = 1000.0, 0
        self.given: dict[int, tuple[Waiting, tuple[int, ...]]] = {}
        self.known: dict[int, Waiting] = {}

    @rule(who=people)
    def an_agent_comes(self, who: Candidate) -> None:
        for each in (self.engine, self.scan):
            each.put_agent(who, self.now)
        self.given = {item_id: (item, agents) for item_id, (item, agents) in self.given.items() if who.id not in agents}

    @rule(number=st.sampled_from(AGENTS))
    def an_agent_leaves(self, number: int) -> None:
        for each in (self.engine, self.scan):
            each.drop_agent(number)

    @rule(
        work=st.lists(pieces, min_size=1, max_size=4),
        held=st.sampled_from([0, 0, 1, 2]),
        later=st.sampled_from([0, 0, 0, 20]),
        aged=st.sampled_from([0, 0, 50]),
    )
    def work_comes(self, work: list[Waiting], held: int, later: int, aged: int) -> None:
        for piece in work:
            self.number += 1
            started = self.now - aged
            kept = self.now + 30 if held else 0.0
            opens = self.now + later if later else 0.0
            item = replace(piece, id=self.number, order_time=started, due=started + piece.target)
            self.put(replace(item, prefer=held, prefer_until=kept, not_before=opens))

    def put(self, item: Waiting) -> None:
        self.known[item.id] = item
        for each in (self.engine, self.scan):
            each.put(item, self.now)

    @precondition(lambda self: self.given)
    @rule(number=st.integers(0, 20), declined=st.booleans())
    def an_agent_is_done_or_declines(self, number: int, declined: bool) -> None:
        item, agents = self.given.pop(sorted(self.given)[number % len(self.given)])
        for agent_id in agents:
            one = self.scan.agents.get(agent_id)
            if one is None or one.load < item.weight:
                continue
            opened = {**one.open, item.channel: max(0, one.open.get(item.channel, 0) - 1)}
            labelled = {**one.labelled, **{label: max(0, one.labelled.get(label, 0) - 1) for label in item.labels}}
            freed = replace(one, load=one.load - item.weight, open=opened, labelled=labelled, idle_since=self.now)
            for each in (self.engine, self.scan):
                each.put_agent(freed, self.now)
        if declined:
            self.put(replace(item, cooling={agent_id: self.now + 60 for agent_id in agents}))

    @rule(number=st.integers(0, 50))
    def a_customer_leaves(self, number: int) -> None:
        for each in (self.engine, self.scan):
            each.drop(number)

    @rule(seconds=st.sampled_from([0.0, 1.0, 10.0, 31.0, 70.0, 400.0]))
    def decide(self, seconds: float) -> None:
        # Time is told as it passes: whatever has a moment of its own is looked at in that moment.
        until = self.now + seconds
        while True:
            self.now = min(until, max(self.now, self.engine.next_at))
            made = self.engine.decide(self.now)
            assert [(one.item.id, one.agent_ids) for one in made] == self.scan.decide(self.now)
            for one in made:
                self.given[one.item.id] = one.item, one.agent_ids
                assert one.explanation["eligible"] >= len(one.agent_ids)
            if self.now == until:
                break
        self.nobody_idles()

    def nobody_idles(self) -> None:
        for item in self.scan.items.values():
            verdict = self.engine.judge(item, self.now)
            takers = self.scan.takers(item, self.now)
            assert (verdict.eligible, len(takers)) == (0, 0)
            serving = sum(self.scan.serving(one, item) is not None for one in self.scan.agents.values())
            assert sum(verdict.rejected.values()) == serving, "each agent has one reason"


@pytest.mark.parametrize("few", [0, 24])
def test_it_decides_like_a_plain_search_whatever_happens(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents are looked for in their order, or each of those who can is compared: here always the one or the other."""
    monkeypatch.setattr("routing.staff.SPARSE", 0)
    monkeypatch.setattr("routing.staff.FEW", few)
    run_state_machine_as_test(
        Floor,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            # A day of thirty steps can be read as it is; making it shorter takes minutes.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
