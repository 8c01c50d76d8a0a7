"""The router: leads by a lease, writes only what still holds, and wakes up when something changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import pytest

from routing.agents import take_load
from routing.engine import Decision
from routing.locks import hold, hold_agents
from routing.moves import ring
from routing.router import LEASE_SECONDS, Deposed, Router
from routing.work import accept, assign, claim, close, decline, release, set_status
from storage import Store
from storage.access import Conflict, Forbidden, NotFound
from storage.conversations import Conversation
from storage.work import live_item
from tests.clock import Clock
from tests.routing_desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@contextmanager
def running(*routers: Router) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=router.loop, args=(stop,)) for router in routers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for router in routers:
            router.store.bell.ring()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def at_once(*actions: Callable[[], object]) -> list[object]:
    """Run the actions in as many threads, let go together; what each returned or raised."""
    barrier = threading.Barrier(len(actions))
    results: list[object] = [None] * len(actions)

    def run(number: int, action: Callable[[], object]) -> None:
        barrier.wait(10)
        try:
            results[number] = action()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(n, action)) for n, action in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def claims(desk: Desk, agent_id: int, conversation_id: int) -> int:
    with desk.store.write() as tx:
        name = next(name for name, known in desk.agents.items() if known == agent_id)
        return claim(tx, desk.actor(tx, name), conversation_id).id or 0


def test_eight_agents_claim_one_conversation_and_one_gets_it(desk: Desk) -> None:
    with desk.store.write() as tx:
        for number in range(8):
            key = f"Agent{number}"
            desk.agents[key] = desk.add_agent(tx, key, f"{key}@example.com", queues=("Support",))
    mail = desk.comes_in()
    crowd = [desk.agents[f"Agent{number}"] for number in range(8)]
    results = at_once(*(partial(claims, desk, agent_id, mail) for agent_id in crowd))
    assert sum(isinstance(result, int) for result in results) == 1
    assert all("has it already" in str(result) for result in results if not isinstance(result, int))
    assert len(desk.facts("ConversationAssigned")) == 1
    desk.is_sound()


def test_one_offer_accepted_eight_times_at_once_is_one_assignment(desk: Desk) -> None:
    desk.signs_in("Jonas")
    desk.comes_in("chat")
    desk.router().run_once()
    (offer,) = desk.rings_at("Jonas")

    def accepts() -> int:
        with desk.store.write() as tx:
            return accept(tx, desk.actor(tx, "Jonas"), offer.id or 0).id or 0

    assert len(set(at_once(*[accepts] * 8))) == 1
    assert len(desk.facts("ConversationAssigned")) == 1
    desk.is_sound()


def test_accept_decline_claim_and_close_at_once_leave_one_outcome(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    router = desk.router()
    for _ in range(5):
        chat = desk.comes_in("chat")
        router.run_once()
        (offer,) = desk.rings_at("Jonas")

        def act(verb: Callable[..., object], who: str, target: int) -> None:
            with desk.store.write() as tx:
                verb(tx, desk.actor(tx, who), target)

        def resolve(target: int) -> None:
            with desk.store.write() as tx:
                tx.get_one(Conversation, target).state = "resolved"
                close(tx, "system", target, "resolve")

        results = at_once(
            partial(act, accept, "Jonas", offer.id or 0),
            partial(act, decline, "Jonas", offer.id or 0),
            partial(act, claim, "Amara", chat),
            partial(resolve, chat),
        )
        assert all(result is None or isinstance(result, Conflict) for result in results), results
        desk.is_sound()
        with desk.store.write() as tx:
            close(tx, "system", chat, "resolve")
        assert desk.agent("Jonas").load == desk.agent("Amara").load == 0


def test_full_agents_are_not_filled_further_by_claims_at_once(desk: Desk) -> None:
    mails = [desk.comes_in() for _ in range(8)]
    results = at_once(*(partial(claims, desk, desk.agents["Jonas"], mail) for mail in mails))
    assert sum(isinstance(result, int) for result in results) == 5
    assert desk.agent("Jonas").load == 100
    desk.is_sound()


def test_what_changed_since_the_decision_is_skipped_and_leaves_nothing(desk: Desk) -> None:
    desk.signs_in("Jonas")
    first, second = desk.comes_in(), desk.comes_in()
    router = desk.router()
    epoch = router.lead()
    assert epoch
    decisions = router.decide()
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Amara"), first)
    assert desk.store.submit(partial(router.write, epoch=epoch, decisions=decisions)) == 1
    assert (desk.owner(first), desk.owner(second)) == ("Amara", "Jonas")
    desk.is_sound()


def test_batches_are_decided_one_on_top_of_the_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.router.BATCH", 1)
    monkeypatch.setattr("routing.router.CHAIN", 3)
    desk.signs_in("Jonas", "Amara")
    mails = [desk.comes_in() for _ in range(7)]
    router, looks = desk.router(), list[int]()
    decide = router.decide

    def counted() -> list[Decision]:
        found = decide()
        looks.append(len(found))
        return found

    monkeypatch.setattr(router, "decide", counted)
    assert router.run_once() == 7
    assert looks == [1, 1, 1, 0], "two of three are decided without a look"
    assert all(desk.owner(mail) for mail in mails) and len(desk.facts("ConversationAssigned")) == 7
    assert router.check_once() == 0
    desk.is_sound()


def test_what_was_decided_on_top_of_a_batch_that_did_not_hold_is_decided_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routing.router.BATCH", 2)
    desk.signs_in("Jonas", "Amara")
    mails = [desk.comes_in() for _ in range(6)]
    router, said = desk.router(), list[str]()

    def meanwhile(name: str) -> None:
        said.append(name)
        if said.count("router.decided") == 1 and name == "router.decided":
            with desk.store.write() as tx:
                claim(tx, desk.actor(tx, "Amara"), mails[0])

    monkeypatch.setattr("routing.router.step", meanwhile)
    assert router.run_once() == 5
    assert desk.owner(mails[0]) == "Amara" and all(desk.owner(mail) for mail in mails)
    assert len(desk.facts("ConversationAssigned")) == 6
    assert router.check_once() == 0
    desk.is_sound()


def test_an_agent_who_left_since_the_decision_gets_nothing(desk: Desk) -> None:
    desk.signs_in("Jonas")
    mail = desk.comes_in()
    router = desk.router()
    epoch, version = router.lead(), desk.item(mail).version
    decisions = router.decide()
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    assert epoch and desk.store.submit(partial(router.write, epoch=epoch, decisions=decisions)) == 0
    assert (desk.item(mail).state, desk.item(mail).version) == ("queued", version)
    desk.is_sound()


def test_a_router_that_lost_its_lease_writes_nothing(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    mail = desk.comes_in()
    old, new = desk.router("node-1"), desk.router("node-2")
    epoch = old.lead()
    decisions = old.decide()
    assert epoch and new.run_once() == 0, "somebody else leads"
    clock.forward(seconds=LEASE_SECONDS + 1)
    assert (new.lead() or 0) > epoch
    with pytest.raises(Deposed):
        desk.store.submit(partial(old.write, epoch=epoch, decisions=decisions))
    assert desk.owner(mail) is None and not desk.facts("ConversationAssigned")
    assert new.run_once() == 1 and old.run_once() == 0
    desk.is_sound()


def test_a_router_that_resigns_is_followed_at_once(desk: Desk) -> None:
    desk.signs_in("Jonas")
    desk.comes_in()
    old, new = desk.router("node-1"), desk.router("node-2")
    old.lead()
    old.resign()
    assert new.run_once() == 1


def test_two_routers_at_once_give_each_conversation_to_one_agent(desk: Desk, database_url: str, clock: Clock) -> None:
    with desk.store.write() as tx:
        for number in range(4):
            key = f"Agent{number}"
            desk.agents[key] = desk.add_agent(tx, key, f"{key}@example.com", queues=("Support",))
    desk.signs_in("Jonas", *(f"Agent{number}" for number in range(4)))
    # One process owns an SQLite database; two routers on it are what a mistake in start-up would make.
    other = desk.store if desk.store.embedded else Store(database_url, clock)
    with running(Router(desk.store, "node-1"), Router(other, "node-2")):
        mails = [desk.comes_in() for _ in range(25)]
        wait_until(lambda: all(desk.owner(mail) for mail in mails))
    if other is not desk.store:
        other.close()
    assert len(desk.facts("ConversationAssigned")) == 25
    desk.is_sound()


def test_work_finds_its_agent_without_waiting_for_the_sweep(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.router.SWEEP_SECONDS", 3600.0)
    desk.signs_in("Jonas")
    with running(desk.router()):
        for _ in range(3):
            mail = desk.comes_in()
            wait_until(partial(desk.owner, mail))


def test_the_loop_takes_back_what_rang_too_long(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    desk.comes_in("chat")
    with running(desk.router()):
        wait_until(lambda: len(desk.rings_at("Jonas")) == 1)
        clock.forward(seconds=31)
        wait_until(lambda: not desk.rings_at("Jonas"))
    assert desk.facts("OfferEnded")[-1].data["state"] == "expired"
    desk.is_sound()


def test_the_loop_survives_a_database_that_fails(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.signs_in("Jonas")
    with running(desk.router()):
        with desk.store.write() as tx:
            tx.sql("ALTER TABLE cooldown RENAME TO cooldown_gone")
        with desk.store.write() as tx:
            mail = desk.arrive(tx)
        wait_until(lambda: "a router pass failed" in caplog.text)
        with desk.store.write() as tx:
            tx.sql("ALTER TABLE cooldown_gone RENAME TO cooldown")
        wait_until(lambda: desk.owner(mail) == "Jonas")
    desk.is_sound()


def wait_for_locks(store: Store, count: int, or_when: Callable[[], bool] = lambda: False) -> None:
    """Until as many units wait for what others have locked."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

    def waiting() -> bool:
        with store.read() as tx:
            return bool(tx.sql(sql).fetchone()[0] == count) or or_when()

    wait_until(waiting)


def test_a_chat_begins_to_ring_at_who_goes_away_while_somebody_else_wants_it(desk: Desk) -> None:
    """On PostgreSQL: whoever waited for the chat with the agent's row in hand would stop both of them."""
    if desk.store.embedded:
        return  # one unit at a time
    desk.signs_in("Jonas")
    chat, jonas = desk.comes_in("chat"), desk.agents["Jonas"]
    had_the_chat = threading.Event()

    def goes_away() -> None:
        with desk.store.write() as tx:
            set_status(tx, desk.actor(tx, "Jonas"), jonas, "away")

    def wants_it() -> None:
        with desk.store.write() as tx:
            hold(tx, [chat])
            had_the_chat.set()
            # Who goes away wants it as well, or on a busy machine has had it before.
            wait_for_locks(desk.store, 1, or_when=lambda: not threads[0].is_alive())
            hold_agents(tx, [jonas])

    failed: list[Exception] = []

    def kept(action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=kept, args=(action,)) for action in (goes_away, wants_it)]
    with desk.store.write() as tx:
        hold(tx, [chat])
        item = live_item(tx, chat)
        assert item is not None and take_load(tx, jonas, item.weight)
        tx.sql(
            "UPDATE work_item SET state = 'offered', agent_id = ?, version = version + 1 WHERE id = ?", jonas, item.id
        )
        ring(tx, item.id or 0, chat, jonas, item.weight, tx.now + timedelta(seconds=30), {})
        for started, thread in enumerate(threads, 1):
            thread.start()
            wait_for_locks(desk.store, started)
    assert had_the_chat.wait(10)
    for thread in threads:
        thread.join(20)
    assert failed == []
    assert (desk.rings_at("Jonas"), desk.item(chat).state, desk.agent("Jonas").status) == ([], "queued", "away")
    desk.is_sound()


def test_everybody_at_once_keeps_every_promise(desk: Desk) -> None:
    desk.signs_in("Jonas", "Amara")
    conversations = [desk.comes_in("chat" if n % 3 == 0 else "email") for n in range(12)]
    broken: list[Exception] = []

    def busy(who: str, seed: int) -> None:
        agent_id = desk.agents[who]
        for step in range(30):
            target = conversations[(seed * 5 + step * 7) % len(conversations)]
            try:
                with desk.store.write() as tx:
                    actor = desk.actor(tx, who)
                    match (step + seed) % 6:
                        case 0 | 3:
                            claim(tx, actor, target)
                        case 1:
                            release(tx, actor, target)
                        case 2:
                            other = desk.agents["Amara" if who == "Jonas" else "Jonas"]
                            assign(tx, actor, target, other)
                        case 4:
                            ringing = tx.sql(
                                "SELECT id FROM offer WHERE agent_id = ? AND state = 'offered'", agent_id
                            ).fetchone()
                            if ringing:
                                (accept if step % 2 else decline)(tx, actor, ringing[0])
                        case 5:
                            set_status(tx, actor, agent_id, ("away", "available", "offline", "available")[step % 4])
            except (Conflict, Forbidden, NotFound):
                pass
            except Exception as error:
                broken.append(error)

    with running(desk.router()):
        at_once(*(partial(busy, who, seed) for seed, who in enumerate(("Jonas", "Amara", "Jonas", "Amara"))))
    assert not broken
    assert len(desk.facts("ConversationAssigned")) > 10
    desk.is_sound()
