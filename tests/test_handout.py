"""How work is handed out by a queue's terms and an agent's profile, on a real desk."""

from __future__ import annotations

from typing import Any

import pytest

from routing import parking, wrapups
from routing.floor import COOLING, OPEN, QUEUED, RECENT
from routing.rules import rule_book
from routing.work import claim, close, decline, set_status, why_waiting
from storage import Store
from storage.desk import Queue, RoutingProfile, touch_desk
from storage.people import Agent
from tests.clock import Clock
from tests.routing_desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def desk(store: Store) -> Desk:
    """Jonas alone is there."""
    desk = Desk(store)
    desk.signs_in("Jonas")
    return desk


def support_says(desk: Desk, **handout: Any) -> None:
    with desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Support"]).handout = handout
        touch_desk(tx)


def jonas_is(desk: Desk, serving: dict[str, Any] | None = None, **limits: Any) -> None:
    with desk.store.write() as tx:
        profile = RoutingProfile(name="Front line", limits=limits, serving=serving or {})
        tx.add(profile)
        tx.flush()
        tx.get_one(Agent, desk.agents["Jonas"]).profile_id = profile.id
        touch_desk(tx)


def waits(desk: Desk, conversation_id: int) -> str:
    with desk.store.read() as tx:
        return " ".join(why_waiting(tx, conversation_id))


def owners(desk: Desk, *conversation_ids: int) -> list[str | None]:
    desk.router().run_once()
    return [desk.owner(one) for one in conversation_ids]


def test_mail_leaves_room_for_a_chat_until_its_time_is_running_out(desk: Desk, clock: Clock) -> None:
    support_says(desk, reserve={"email": {"leave": 30, "until": 50}})
    mails = [desk.comes_in() for _ in range(4)]
    assert owners(desk, *mails) == ["Jonas", "Jonas", "Jonas", None], "80 of 100 would be in use, and 30 stay free"
    assert "1 keeps room for urgent work" in waits(desk, mails[3])
    chat = desk.comes_in("chat")
    desk.router().run_once()
    assert [offer.conversation_id for offer in desk.rings_at("Jonas")] == [chat]
    with desk.store.write() as tx:
        close(tx, "system", chat, "resolve")
    clock.forward(minutes=29)
    assert owners(desk, mails[3]) == [None]
    clock.forward(minutes=2)
    assert owners(desk, mails[3]) == ["Jonas"], "half of its hour is over"
    desk.is_sound()


def test_a_channel_has_a_limit_of_its_own(desk: Desk) -> None:
    jonas_is(desk, channels={"email": 1})
    first, second, text = desk.comes_in(), desk.comes_in(), desk.comes_in("sms")
    assert owners(desk, first, second, text) == ["Jonas", None, "Jonas"]
    assert "has as many of this channel as allowed" in waits(desk, second)


def test_a_chat_that_is_open_lets_no_mail_in_between(desk: Desk) -> None:
    jonas_is(desk, blocks={"chat": ["email"]}, rings=[])
    chat = desk.comes_in("chat")
    assert owners(desk, chat) == ["Jonas"], "nothing rings with this profile"
    assert owners(desk, desk.comes_in(), desk.comes_in("sms")) == [None, "Jonas"]


def test_mail_can_ring_and_be_taken_by_hand_only(desk: Desk) -> None:
    jonas_is(desk, rings=["email"], pull=["sms"])
    mail, text = desk.comes_in(), desk.comes_in("sms")
    assert owners(desk, mail, text) == [None, None]
    assert [offer.conversation_id for offer in desk.rings_at("Jonas")] == [mail]
    assert "takes such work by hand only" in waits(desk, text)
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), text)
    assert desk.owner(text) == "Jonas"


def test_nobody_gets_more_in_an_hour_than_his_rate(desk: Desk, clock: Clock) -> None:
    jonas_is(desk, rate=2, window=3600)
    first, second, third = (desk.comes_in() for _ in range(3))
    assert owners(desk, first, second, third) == ["Jonas", "Jonas", None]
    assert "got enough" in waits(desk, third)
    clock.forward(minutes=61)
    assert owners(desk, third) == ["Jonas"]


def test_who_helps_out_comes_in_later(desk: Desk, clock: Clock) -> None:
    jonas_is(desk, serving={str(desk.queues["Support"]): {"rank": 2, "delay": 120}})
    mail = desk.comes_in()
    assert owners(desk, mail) == [None]
    assert "helps out later" in waits(desk, mail)
    clock.forward(seconds=121)
    assert owners(desk, mail) == ["Jonas"]


def test_a_queue_that_is_paused_keeps_its_work(desk: Desk) -> None:
    support_says(desk, paused=True)
    mail = desk.comes_in()
    assert owners(desk, mail) == [None]
    assert "Support is paused" in waits(desk, mail)
    support_says(desk)
    assert owners(desk, mail) == ["Jonas"]


def test_the_newest_may_go_first(desk: Desk, clock: Clock) -> None:
    support_says(desk, work="lifo")
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 20
    older = desk.comes_in()
    clock.forward(minutes=1)
    newer = desk.comes_in()
    desk.signs_in("Jonas")
    assert owners(desk, older, newer) == [None, "Jonas"]


def test_the_queue_says_how_long_a_decline_counts_and_how_often_one_may_miss(desk: Desk, clock: Clock) -> None:
    support_says(desk, cooldown=300, missed_limit=1)
    chat, router = desk.comes_in("chat"), desk.router()
    router.run_once()
    with desk.store.write() as tx:
        decline(tx, desk.actor(tx, "Jonas"), desk.rings_at("Jonas")[0].id or 0)
    clock.forward(seconds=299)
    router.run_once()
    assert desk.rings_at("Jonas") == []
    clock.forward(seconds=2)
    router.run_once()
    assert [offer.conversation_id for offer in desk.rings_at("Jonas")] == [chat]
    clock.forward(seconds=31)
    router.expire_once()
    assert desk.agent("Jonas").status == "away"


def test_what_a_pass_costs_does_not_grow_with_what_is_over(desk: Desk) -> None:
    if not desk.store.embedded:
        return  # PostgreSQL chooses by its statistics
    one = f"{QUEUED} AND work_item.conversation_id IN (?, ?)"
    some = {"ringing": " AND offer.agent_id IN (?, ?)", "owned": " AND assignment.agent_id IN (?, ?)"}
    indexes = {
        OPEN.format(ringing="", owned=""): "uq_assignment_open",
        OPEN.format(**some): "ix_assignment_wrap",
        wrapups.OVER: "ix_assignment_wrap",
        wrapups.OF_CONVERSATION: "ix_assignment_wrap",
        parking.DUE: "ix_assignment_park",
        QUEUED: "uq_work_item_live",
        one: "uq_work_item_live",
        COOLING: "ix_cooldown_until",
        RECENT: "ix_offer_at",
    }
    with desk.store.read() as tx:
        for query, index in indexes.items():
            plan = [row[3] for row in tx.sql(f"EXPLAIN QUERY PLAN {query}", *[1] * query.count("?")).fetchall()]
            assert any(index in step for step in plan), plan
            assert not any(step.startswith(("SCAN conversation", "SCAN cooldown", "SCAN offer")) for step in plan), plan
            assert "SCAN assignment" not in plan and "SCAN assignment USING INDEX ix_assignment_agent" not in plan, plan


def test_rules_that_never_came_to_be_are_not_kept(desk: Desk) -> None:
    def queue_names() -> set[str]:
        with desk.store.read() as tx:
            return {queue.name for queue in rule_book(tx).queues.values()}

    before = queue_names()
    with pytest.raises(ZeroDivisionError), desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Support"]).name = "Never"
        touch_desk(tx)
        assert "Never" in {queue.name for queue in rule_book(tx).queues.values()}
        raise ZeroDivisionError
    with desk.store.write() as tx:
        touch_desk(tx)  # the version that the other one would have had
    assert queue_names() == before
