"""Readers of facts: each at its own place, of what it is for, and no two processes at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hub import Hub
from hub.followers import LEASE_SECONDS, Follower, Followers
from hub.pump import Happened, latest_fact
from storage import Tx
from storage.facts import Fact
from tests.desk import Desk


def test_a_follower_that_fails_holds_up_no_other(desk: Desk) -> None:
    followed: list[int] = []

    def broken(hub: Hub, tx: Tx, facts: object) -> None:
        raise ValueError("a fact I can't read")

    def sound(hub: Hub, tx: Tx, facts: Sequence[Happened]) -> None:
        followed.extend(fact.id for fact in facts)

    def everything(hub: Hub, tx: Tx) -> list[str]:
        return list(Fact.kinds)

    readers = Followers(desk.hub, {"broken": Follower(everything, broken), "sound": Follower(everything, sound)}, "a")
    readers.run_once()
    desk.text("hello")
    readers.run_once()
    assert followed


def test_a_follower_reads_what_it_wants_and_what_passed_unread_never_comes_back(desk: Desk) -> None:
    wanted = ["ConversationOpened"]
    followed: list[str] = []

    def follow(hub: Hub, tx: Tx, facts: Sequence[Happened]) -> None:
        followed.extend(fact.name for fact in facts)

    readers = Followers(desk.hub, {"some": Follower(lambda hub, tx: wanted, follow)}, "test")
    readers.run_once()
    desk.text("hello", sender="+4915100000001")
    readers.run_once()
    wanted.clear()
    desk.text("hello", sender="+4915100000002")
    readers.run_once()
    wanted.append("ConversationOpened")
    desk.text("hello", sender="+4915100000003")
    readers.run_once()
    assert followed == ["ConversationOpened"] * 2


def test_many_facts_are_read_in_batches_and_none_is_left_out(desk: Desk) -> None:
    followed: list[int] = []
    takes = Follower(lambda hub, tx: ["MessageReceived"], lambda hub, tx, facts: followed.extend(f.id for f in facts))
    readers = Followers(desk.hub, {"all": takes}, "test")
    readers.run_once()
    with desk.hub.store.write() as tx:
        first = latest_fact(tx)
        for number in range(450):
            name = "MessageReceived" if number % 2 else "ConversationOpened"
            tx.sql("INSERT INTO fact(name, at, data) VALUES(?, ?, '{}')", name, tx.now)
    assert [readers.run_once() for _ in range(3)] == [200, 25, 0]
    assert followed == list(range(first + 2, first + 451, 2))


def test_nobody_asks_for_the_lease_of_a_follower_that_another_process_leads(desk: Desk) -> None:
    followed: Counter[str] = Counter()

    def node(name: str) -> Followers:
        def follow(hub: Hub, tx: Tx, facts: Sequence[Happened]) -> None:
            followed[name] += 1

        return Followers(desk.hub, {"all": Follower(lambda hub, tx: ["MessageReceived"], follow)}, name)

    here, there = node("here"), node("there")
    here.run_once()
    desk.text("hello")
    rung = desk.hub.store.bell.rung
    there.run_once()
    assert desk.hub.store.bell.rung == rung  # nothing was committed
    here.run_once()
    desk.text("hello again")
    desk.clock.forward(seconds=LEASE_SECONDS + 1)
    there.run_once()
    assert followed == {"here": 1, "there": 1}
