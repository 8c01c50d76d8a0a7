"""What the leading router keeps in memory is what the database is; where it is not, that is found and mended."""

from __future__ import annotations

from functools import partial

import pytest

from routing.live import MANY, LiveFloor
from routing.router import CHECK_EVERY
from routing.work import claim, decline
from storage import Store
from storage.checks import last_check
from storage.desk import Queue, touch_desk
from storage.people import AgentQueue
from tests.clock import Clock
from tests.routing_desk import Desk


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def differences(floor: LiveFloor, desk: Desk) -> list[str]:
    with desk.store.read() as tx:
        return floor.differences(tx)


def test_a_change_that_left_no_fact_is_found_told_and_mended(
    desk: Desk, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    desk.signs_in("Jonas")
    router = desk.router()
    for _ in range(8):
        desk.comes_in()
    assert (router.run_once(), router.check_once()) == (5, 0)
    with desk.store.write() as tx:  # past everything that would tell of it
        tx.sql("UPDATE agent SET capacity = 140 WHERE id = ?", desk.agents["Jonas"])
    assert router.run_once() == 0, "nobody said that there is more room"
    assert router.check_once() == 1
    assert f"agent {desk.agents['Jonas']} is" in caplog.text and "reads everything anew" in caplog.text
    assert (router.run_once(), router.check_once()) == (2, 0)
    with desk.store.read() as tx:
        check = last_check(tx)
    assert check is not None and (check.differing, check.ever, check.differed_at) == (0, 1, clock())


def test_the_loop_checks_itself_every_minute(desk: Desk, clock: Clock) -> None:
    router = desk.router()
    router.run_once()
    router.sweep()
    with desk.store.read() as tx:
        assert last_check(tx) is None
    clock.forward(seconds=CHECK_EVERY.total_seconds())
    router.sweep()
    with desk.store.read() as tx:
        found = last_check(tx)
    assert found is not None and (found.at, found.differing) == (clock(), 0)


def test_what_others_do_is_followed(desk: Desk) -> None:
    desk.signs_in("Jonas")
    floor = LiveFloor()
    first, second, chat = desk.comes_in(), desk.comes_in(), desk.comes_in("chat")
    assert differences(floor, desk) == []
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Amara"), first)
    desk.signs_in("Tomás")
    with desk.store.read() as tx:
        engine = floor.follow(tx)
    assert sorted(item.conversation_id for item in engine.waiting.values()) == [second, chat]
    assert engine.agents[desk.agents["Amara"]].load == 20
    assert engine.agents[desk.agents["Tomás"]].status == "available"
    assert differences(floor, desk) == []


def test_a_change_of_the_desk_is_seen_at_once(desk: Desk) -> None:
    desk.signs_in("Tomás")
    router, mail = desk.router(), desk.comes_in()
    assert router.run_once() == 0
    with desk.store.write() as tx:
        tx.add(AgentQueue(agent_id=desk.agents["Tomás"], queue_id=desk.queues["Support"]))
        touch_desk(tx)
    assert (router.run_once(), desk.owner(mail)) == (1, "Tomás")
    with desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Support"]).handout = {"paused": True}
        touch_desk(tx)
    desk.comes_in()
    assert (router.run_once(), router.check_once()) == (0, 0)


def test_more_news_than_are_worth_reading_one_by_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.live.MANY", 10)
    assert MANY > 10
    desk.signs_in("Jonas")
    router = desk.router()
    router.run_once()
    mails = [desk.comes_in() for _ in range(12)]
    assert (router.run_once(), router.check_once()) == (5, 0)
    assert [desk.owner(mail) for mail in mails[:6]] == ["Jonas"] * 5 + [None]


def test_who_declined_is_asked_again_when_the_time_has_come(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    router, chat = desk.router(), desk.comes_in("chat")
    router.run_once()
    (offer,) = desk.rings_at("Jonas")
    with desk.store.write() as tx:
        decline(tx, desk.actor(tx, "Jonas"), offer.id or 0)
    assert (router.run_once(), router.check_once()) == (0, 0)
    clock.forward(seconds=61)
    assert (router.run_once(), router.check_once()) == (1, 0)
    assert [offer.conversation_id for offer in desk.rings_at("Jonas")] == [chat]


def test_decisions_that_were_beaten_are_made_again_from_what_is_there(desk: Desk) -> None:
    desk.signs_in("Jonas", "Amara")
    router = desk.router()
    epoch = router.lead()
    first, second = desk.comes_in(), desk.comes_in()
    decisions = router.decide()
    assert epoch and len(decisions) == 2
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Ines"), first)
    made = desk.store.submit(partial(router.write, epoch=epoch, decisions=decisions))
    assert (made, desk.owner(first)) == (1, "Ines")
    assert desk.owner(second) is not None
    third = desk.comes_in()
    assert (router.run_once(), router.check_once()) == (1, 0)
    assert desk.owner(third) is not None
    desk.is_sound()


def test_what_was_never_written_is_decided_again(desk: Desk) -> None:
    desk.signs_in("Jonas")
    router, mail = desk.router(), desk.comes_in()
    router.lead()
    assert len(router.decide()) == 1  # and whoever was to write it is gone
    assert (router.run_once(), desk.owner(mail)) == (1, "Jonas")
    assert router.check_once() == 0


def test_what_is_snoozed_between_decision_and_write_stays_so(desk: Desk) -> None:
    desk.signs_in("Jonas")
    router, mail = desk.router(), desk.comes_in()
    epoch, decisions = router.lead(), router.decide()
    with desk.store.write() as tx:
        tx.sql("UPDATE conversation SET state = 'snoozed' WHERE id = ?", mail)
    assert epoch and desk.store.submit(partial(router.write, epoch=epoch, decisions=decisions)) == 0
    assert desk.owner(mail) is None
