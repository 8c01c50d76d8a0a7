"""The floor's sums are those of a plain count, and quick when ten thousand wait."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from routing import commands
from routing.overview import MOST, agent_lines, queue_lines, waiting_lines
from routing.presence import drain
from routing.work import claim
from storage import Store
from storage.conversations import Conversation
from storage.desk import Queue, touch_desk
from tests.clock import Clock
from tests.routing_desk import Desk


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def sums(desk: Desk, name: str = "Support") -> tuple[int, int, int]:
    with desk.store.read() as tx:
        return next((line.waiting, line.soon, line.late) for line in queue_lines(tx) if line.name == name)


def test_work_becomes_due_soon_and_then_late(desk: Desk, clock: Clock) -> None:
    """Support answers within an hour; the last fifth of it is soon."""
    desk.comes_in()
    assert sums(desk) == (1, 0, 0)
    clock.forward(minutes=49)
    assert sums(desk) == (1, 1, 0)
    clock.forward(minutes=12)
    assert sums(desk) == (1, 0, 1)


def test_a_channel_with_a_target_of_its_own_is_soon_by_that(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Support"]).sla = {"channels": {"chat": {"first_reply": 100}}, "warn_at": 50}
        touch_desk(tx)
    desk.comes_in("chat")
    desk.comes_in()
    clock.forward(seconds=60)
    assert sums(desk) == (2, 1, 0)


def test_what_is_snoozed_waits_for_nobody(desk: Desk, clock: Clock) -> None:
    asleep = desk.comes_in()
    clock.forward(minutes=10)
    awake = desk.comes_in()
    clock.forward(minutes=55)
    with desk.store.write() as tx:
        tx.get_one(Conversation, asleep).state = "snoozed"
    with desk.store.read() as tx:
        line = next(line for line in queue_lines(tx) if line.name == "Support")
        assert (line.waiting, line.soon, line.late) == (1, 1, 0)
        assert line.oldest == tx.now - timedelta(minutes=55)
        assert [one.conversation_id for one in waiting_lines(tx)] == [awake]


def test_who_is_there_can_take_more_or_is_full(desk: Desk) -> None:
    desk.signs_in("Jonas", "Amara")
    with desk.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = 10 WHERE id = ?", desk.agents["Amara"])
    with desk.store.read() as tx:
        line = next(line for line in queue_lines(tx) if line.name == "Support")
    assert (line.members, line.there, line.free) == (2, 2, 1)
    with desk.store.write() as tx:
        drain(tx, desk.actor(tx, "Ines"), desk.agents["Jonas"])
    with desk.store.read() as tx:
        line = next(line for line in queue_lines(tx) if line.name == "Support")
        assert (line.members, line.there, line.free) == (2, 1, 0)
        assert [(agent.name, agent.drained) for agent in agent_lines(tx)] == [
            ("Amara Obi", False), ("Jonas Weber", True), ("Tomás", False),
        ]  # fmt: skip


def test_an_agent_s_line_counts_what_they_have_by_channel(desk: Desk) -> None:
    desk.signs_in("Jonas")
    with desk.store.write() as tx:
        jonas = desk.actor(tx, "Jonas")
        for channel in ("email", "email", "sms"):
            claim(tx, jonas, desk.arrive(tx, channel))
    desk.comes_in("chat")
    desk.router().run_once()
    with desk.store.read() as tx:
        (line,) = (one for one in agent_lines(tx) if one.name == "Jonas Weber")
    assert (line.has, line.number, line.rings, line.load) == ((("email", 2), ("sms", 1)), 3, 1, 95)


def test_what_is_pinned_is_listed_first_then_what_is_due(desk: Desk, clock: Clock) -> None:
    first = desk.comes_in()
    clock.forward(minutes=1)
    second, third = desk.comes_in(), desk.comes_in("sms")
    with desk.store.write() as tx:
        tx.sql("UPDATE work_item SET due_at = NULL WHERE conversation_id = ?", first)
        commands.pin(tx, desk.actor(tx, "Ines"), third)
    with desk.store.read() as tx:
        assert [one.conversation_id for one in waiting_lines(tx)] == [third, second, first]
        assert [one.conversation_id for one in waiting_lines(tx, most=2)] == [third, second]


def test_ten_thousand_that_wait_are_summed_by_an_index(desk: Desk) -> None:
    crowd(desk, waiting=10_000, agents=200)
    best = 1.0
    for _ in range(5):
        with desk.store.read() as tx:
            queue_lines(tx)  # the desk is read once
            began = time.perf_counter()
            lines, agents, listed = queue_lines(tx), agent_lines(tx), waiting_lines(tx)
            best = min(best, time.perf_counter() - began)
    assert sum(line.waiting for line in lines) == 10_000 and len(agents) >= 200 and len(listed) == MOST
    assert best < 0.2, f"{best * 1000:.1f} ms: an index is missing"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_database_that_counted_its_tables_while_they_were_empty_sums_them_too(desk: Desk) -> None:
    crowd(desk, waiting=10_000, agents=20, counted_empty=True)
    with desk.store.read() as tx:  # which is given eight seconds
        assert sum(line.waiting for line in queue_lines(tx)) == 10_000
        assert len(agent_lines(tx)) >= 20 and len(waiting_lines(tx)) == MOST


def crowd(desk: Desk, waiting: int, agents: int, *, counted_empty: bool = False) -> None:
    """So much work and so many people, written past the verbs; counted before they are committed, if wished."""
    queues = list(desk.queues.values())
    with desk.store.write() as tx:
        for number in range(agents):
            agent_id = desk.add_agent(
                tx, f"Agent {number:03}", f"agent{number}@example.com", queues=("Support", "Billing")
            )
            tx.sql("UPDATE agent SET status = 'available', status_since = ? WHERE id = ?", tx.now, agent_id)
        for number in range(waiting):
            at = tx.now - timedelta(seconds=number)
            row = tx.sql(
                "INSERT INTO conversation(contact_id, subject, state, channel, queue_id, priority, last_at, "
                "last_message_id, last_inbound_id, preview, message_count, created_at) "
                "VALUES(?, 'Hello', 'open', 'email', ?, 0, ?, 0, 0, '', 1, ?) RETURNING id",
                desk.contact_id, queues[number % 3], at, at,
            ).fetchone()  # fmt: skip
            tx.sql(
                "INSERT INTO work_item(conversation_id, queue_id, channel, weight, skills, priority, state, "
                "enqueued_at, order_time, due_at, trace, version) "
                "VALUES(?, ?, 'email', 20, '{}', 0, 'queued', ?, ?, ?, '[]', 0)",
                row[0], queues[number % 3], at, at, at + timedelta(hours=1),
            )  # fmt: skip
        touch_desk(tx)
        if counted_empty:
            with desk.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
                other.exec_driver_sql("ANALYZE work_item, conversation, agent, agent_queue")
