"""Whatever people, customers and the router do in whatever order: nothing is owned twice, overloaded or forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import event
from sqlmodel import select

from routing import parking
from routing.climb import mistimed
from routing.commands import label
from routing.disconnect import come_back
from routing.live import LiveFloor
from routing.parking import follow_parking
from routing.work import (
    Arrival,
    accept,
    answered,
    assign,
    claim,
    close,
    decline,
    enqueue,
    release,
    set_status,
    transfer,
)
from routing.wrapups import end_wrap_up
from storage import Store, Tx
from storage.access import Conflict, Forbidden, NotFound
from storage.conversations import Conversation
from storage.desk import Queue, RoutingProfile, RoutingRule, touch_desk
from storage.facts import ConversationResolved, ConversationSnoozed, ConversationWoken
from storage.people import Agent
from tests.clock import Clock
from tests.routing_desk import Desk
from tests.routing_watch import watched

PEOPLE = st.sampled_from(["Jonas", "Amara", "Tomás", "Ines"])
AGENTS = st.sampled_from(["Jonas", "Amara", "Tomás"])
ANY = st.integers(0, 100)

IDLE_BESIDE_WORK = """
WITH had AS (
    SELECT work_item_id, agent_id FROM offer WHERE state = 'offered' UNION ALL
    SELECT work_item_id, agent_id FROM assignment
    WHERE (ended_at IS NULL AND parked_at IS NULL) OR wrap_until IS NOT NULL
)
SELECT item.id, agent.id FROM work_item AS item
JOIN conversation ON conversation.id = item.conversation_id AND conversation.state = 'open'
JOIN agent_queue ON agent_queue.queue_id = item.queue_id
JOIN agent ON agent.id = agent_queue.agent_id AND agent.active AND agent.status = 'available'
WHERE item.state = 'queued' AND agent.load + item.weight <= agent.capacity
AND (item.prefer_until IS NULL OR item.prefer_until <= ?)
AND NOT EXISTS (SELECT 1 FROM cooldown WHERE work_item_id = item.id AND agent_id = agent.id AND until > ?)
AND NOT EXISTS (
    SELECT 1 FROM json_each(item.labels) AS label JOIN routing_profile ON routing_profile.id = agent.profile_id
    JOIN json_each(routing_profile.limits, '$.labels') AS most ON most.key = label.value
    WHERE most.value <= (
        SELECT count(*) FROM had JOIN work_item AS other ON other.id = had.work_item_id, json_each(other.labels) AS one
        WHERE had.agent_id = agent.id AND one.value = label.value))
AND NOT EXISTS (
    SELECT 1 FROM json_each(item.skills) AS needed WHERE needed.value > coalesce(
        (SELECT level FROM agent_skill JOIN skill ON skill.id = skill_id
         WHERE agent_id = agent.id AND skill.name = needed.key), 0))
"""


def random_desk(store: Store) -> Desk:
    """A desk with a ladder and parking in Shipping, chats that ring at two in Support, wrapping up in both, and Amara,
    who may have two orders.
    """
    desk = Desk(store)
    with store.write() as tx:
        tx.get_one(Queue, desk.queues["Shipping"]).ladder = [
            {"after": 30, "relax": {"order": 0}, "join": [desk.queues["Billing"]], "age_credit": 60},
            {"after": 300, "queue_id": desk.queues["Support"], "priority": 2},
        ]
        tx.get_one(Queue, desk.queues["Support"]).handout = {
            "offers": 2, "wrap_up": {"time": 60, "keep": 50, "channels": {"email": 600}, "transfers": True},
        }  # fmt: skip
        tx.get_one(Queue, desk.queues["Shipping"]).handout = {
            "wrap_up": {"time": 20},
            "park": {"after": 40, "keep": 25},
        }
        tx.exec(select(RoutingRule).where(RoutingRule.name == "Order keywords")).one().labels = ["order"]
        careful = RoutingProfile(name="Careful", limits={"labels": {"order": 2}})
        tx.add(careful)
        tx.flush()
        tx.get_one(Agent, desk.agents["Amara"]).profile_id = careful.id
        touch_desk(tx)
    return desk


class Floor(RuleBasedStateMachine):
    """A contact centre's floor on SQLite; subclassed by the test with a place for its file."""

    template: Path
    folder: Path
    number = 0

    def __init__(self) -> None:
        super().__init__()
        self.open()
        self.kept = LiveFloor()
        self.conversations: list[int] = []
        self.desk.signs_in("Jonas", "Amara")

    def open(self) -> None:
        """A floor of its own for each day."""
        Floor.number += 1
        path = self.folder / f"{Floor.number}.db"
        shutil.copy(self.template, path)
        self.clock = Clock()
        self.watching = watched(str(path))
        self.missed = self.watching.__enter__()
        self.store = Store(f"sqlite:///{path}", self.clock)
        # Nothing here has to survive a power cut, and thousands of commits have to be quick.
        event.listen(self.store.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        self.desk = random_desk(self.store)
        self.router = self.desk.router()

    def teardown(self) -> None:
        self.watching.__exit__(None, None, None)
        self.store.close()

    def someone_tries(self, verb: Callable[..., Any], who: str, *arguments: Any) -> None:
        """A refusal is an answer; its unit leaves nothing."""
        try:
            with self.store.write() as tx:
                verb(tx, self.desk.actor(tx, who), *arguments)
        except (Conflict, Forbidden, NotFound):
            pass

    def one(self, number: int) -> int:
        recent = self.conversations[-4:]  # a few, so that things happen to the same ones
        return recent[number % len(recent)]

    @rule(
        channel=st.sampled_from(["email", "sms", "chat", "chat"]),
        text=st.sampled_from(["Hello", "my order"]),
        vip=st.booleans(),
        matched=st.booleans(),
    )
    def a_customer_writes(self, channel: str, text: str, vip: bool, matched: bool) -> None:
        attributes = {"tier": "gold"} if vip else {}
        self.conversations.append(self.desk.comes_in(channel, text, **attributes))
        if matched:
            self.the_router_runs()

    @rule(who=AGENTS, status=st.sampled_from(["available", "available", "away", "offline"]))
    def somebody_comes_or_goes(self, who: str, status: str) -> None:
        self.someone_tries(set_status, who, self.desk.agents[who], status)

    @rule(who=AGENTS, yes=st.booleans())
    def somebody_answers_the_ring(self, who: str, yes: bool) -> None:
        for offer in self.desk.rings_at(who)[:1]:
            self.someone_tries(accept if yes else decline, who, offer.id)

    @precondition(lambda self: self.conversations)
    @rule(who=PEOPLE, number=ANY)
    def somebody_claims(self, who: str, number: int) -> None:
        self.someone_tries(claim, who, self.one(number))

    @precondition(lambda self: self.conversations)
    @rule(who=PEOPLE, number=ANY, colleague=AGENTS)
    def somebody_assigns(self, who: str, number: int, colleague: str) -> None:
        self.someone_tries(assign, who, self.one(number), self.desk.agents[colleague])

    @precondition(lambda self: self.conversations)
    @rule(who=PEOPLE, number=ANY, queue=st.sampled_from(["Support", "Shipping", "Billing"]))
    def somebody_transfers(self, who: str, number: int, queue: str) -> None:
        self.someone_tries(transfer, who, self.one(number), self.desk.queues[queue])

    @precondition(lambda self: self.conversations)
    @rule(who=PEOPLE, number=ANY)
    def somebody_releases(self, who: str, number: int) -> None:
        self.someone_tries(release, who, self.one(number))

    @precondition(lambda self: self.conversations)
    @rule(who=PEOPLE, number=ANY, labels=st.sampled_from([[], ["order"], ["order", "return"]]))
    def somebody_labels(self, who: str, number: int, labels: list[str]) -> None:
        self.someone_tries(label, who, self.one(number), labels)

    @precondition(lambda self: self.conversations)
    @rule(number=ANY)
    def somebody_answers(self, number: int) -> None:
        with self.store.write() as tx:
            tx.get_one(Conversation, self.one(number)).waiting_since = None
            tx.flush()
            answered(tx, self.one(number), self.desk.agents["Jonas"])

    @precondition(lambda self: self.conversations)
    @rule(number=ANY)
    def the_customer_writes_again(self, number: int) -> None:
        with self.store.write() as tx:
            conversation = tx.get_one(Conversation, self.one(number))
            if conversation.state != "resolved":
                conversation.waiting_since = conversation.waiting_since or tx.now
                self._opened(tx, conversation)

    @precondition(lambda self: self.conversations)
    @rule(number=ANY)
    def it_sleeps(self, number: int) -> None:
        with self.store.write() as tx:
            conversation = tx.get_one(Conversation, self.one(number))
            if conversation.state == "open":
                conversation.state = "snoozed"
                tx.emit(ConversationSnoozed(self.one(number), "", "system"))
                tx.flush()
                follow_parking(tx, self.one(number))

    @precondition(lambda self: self.conversations)
    @rule(number=ANY)
    def it_wakes(self, number: int) -> None:
        with self.store.write() as tx:
            conversation = tx.get_one(Conversation, self.one(number))
            if conversation.state == "snoozed":
                self._opened(tx, conversation)

    def _opened(self, tx: Tx, conversation: Conversation) -> None:
        if conversation.state == "snoozed":
            conversation.state = "open"
            tx.emit(ConversationWoken(conversation.id or 0, "woken"))
        tx.flush()
        follow_parking(tx, conversation.id or 0)

    @rule(who=AGENTS)
    def a_browser_is_there(self, who: str) -> None:
        with self.store.write() as tx:
            come_back(tx, self.desk.agents[who])

    @rule(who=PEOPLE, whose=AGENTS)
    def somebody_has_done_with_it(self, who: str, whose: str) -> None:
        self.someone_tries(end_wrap_up, who, self.desk.agents[whose])

    @precondition(lambda self: self.conversations)
    @rule(number=ANY)
    def somebody_resolves(self, number: int) -> None:
        with self.store.write() as tx:
            owner = tx.get_one(Conversation, self.one(number)).assignee_id
            close(tx, f"agent:{owner}", self.one(number), "resolve")
            tx.get_one(Conversation, self.one(number)).state = "resolved"
            tx.emit(ConversationResolved(self.one(number), "system"))

    @rule(seconds=st.sampled_from([1, 20, 40, 70, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.forward(seconds=seconds)
        self.router.expire_once()
        self.router.breach_once()
        self.router.climb_once()
        assert self.router.climb_once() == 0, "what is due is taken at once"
        self.router.wrap_up_once()
        self.router.park_once()
        self.router.let_go_once()
        assert self.router.let_go_once() == 0, "who is gone is gone"
        with self.store.read() as tx:
            left = tx.sql("SELECT count(*) FROM assignment WHERE wrap_until <= ? OR park_at <= ?", tx.now, tx.now)
            assert left.fetchone()[0] == 0, "what has had its time ends, and what rests is parked"

    @rule()
    def the_router_runs(self) -> None:
        self.router.run_once()
        assert self.router.run_once() == 0, "one pass decides everything that can be decided"
        self._nobody_is_idle_beside_work_for_them()

    @invariant()
    def every_promise_is_kept(self) -> None:
        self.desk.is_sound()

    @invariant()
    def the_index_is_what_the_database_is(self) -> None:
        with self.store.read() as tx:
            assert self.kept.differences(tx) == []
        assert self.missed == [], "whatever the router must know leaves a fact"

    @invariant()
    def the_next_step_of_a_ladder_is_written_down(self) -> None:
        with self.store.read() as tx:
            assert mistimed(tx) == []
            late = tx.sql("SELECT id FROM work_item WHERE step_at IS NOT NULL AND state NOT IN ('queued','offered')")
            assert late.fetchall() == []

    @invariant()
    def parking_is_looked_at_when_there_is_something_to_see(self) -> None:
        with self.store.read() as tx:
            assert parking.mistimed(tx) == []
            odd = tx.sql("SELECT id FROM assignment WHERE ended_at IS NOT NULL AND park_at IS NOT NULL")
            assert odd.fetchall() == []

    @precondition(lambda self: self.conversations)
    @rule(number=ANY)
    def a_customer_comes_back(self, number: int) -> None:
        conversation_id = self.one(number)
        with self.store.write() as tx:
            conversation = tx.get_one(Conversation, conversation_id)
            if conversation.state != "resolved":
                return
            conversation.state, conversation.waiting_since = "open", tx.now
            tx.flush()
            again = {"item.reopened": True}
            enqueue(tx, Arrival(conversation_id, self.desk.contact_id, "chat", "", "", "Me again", {}, more=again))

    def _nobody_is_idle_beside_work_for_them(self) -> None:
        """Asked of the tables, not of the engine; the only holds are a cooldown, that it is kept for its last agent,
        and a profile that allows no more of its kind."""
        with self.store.read() as tx:
            idle = tx.sql(IDLE_BESIDE_WORK, tx.now, tx.now).fetchall()
        assert idle == []


def test_a_random_day_on_the_floor(sqlite_template: Path, tmp_path: Path) -> None:
    floor = type("Floor", (Floor,), {"template": sqlite_template, "folder": tmp_path})
    run_state_machine_as_test(
        floor,
        settings=settings(
            max_examples=12,
            stateful_step_count=40,
            deadline=None,
            # A day of forty steps can be read as it is; making it shorter takes minutes.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
