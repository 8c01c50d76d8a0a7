"""A conversation that is opened again, and a known customer's new one, goes to who had it last, for a while."""

from __future__ import annotations

from typing import Any

import pytest

from routing.work import Arrival, assign, close, decline, enqueue, set_status, why_assigned, why_waiting
from storage import Store
from storage.conversations import Conversation
from storage.desk import Queue, touch_desk
from storage.people import Agent
from tests.clock import Clock
from tests.routing_desk import Desk


@pytest.fixture
def desk(store: Store) -> Desk:
    """Jonas and Amara are there. Jonas had Mara's conversation and resolved it."""
    desk = Desk(store)
    desk.signs_in("Jonas", "Amara")
    return desk


def queue_says(desk: Desk, **last_agent: Any) -> None:
    with desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Support"]).handout = {"last_agent": last_agent}
        touch_desk(tx)


def had(desk: Desk, name: str, channel: str = "email") -> int:
    """A conversation that this agent had and resolved."""
    number = desk.comes_in(channel)
    with desk.store.write() as tx:
        assign(tx, desk.actor(tx, "Ines"), number, desk.agents[name])
        close(tx, "system", number, "resolve")
    return number


def again(desk: Desk, number: int, channel: str = "email") -> None:
    with desk.store.write() as tx:
        tx.get_one(Conversation, number).state = "open"
        arrival = Arrival(number, desk.contact_id, channel, "", "", "Hello again", {}, more={"item.reopened": True})
        enqueue(tx, arrival)


def filled(desk: Desk, name: str, capacity: int = 0) -> None:
    with desk.store.write() as tx:
        tx.get_one(Agent, desk.agents[name]).capacity = capacity


def says(desk: Desk, name: str, status: str) -> None:
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, name), desk.agents[name], status)


def waits(desk: Desk, number: int) -> str:
    with desk.store.read() as tx:
        return " ".join(why_waiting(tx, number))


@pytest.mark.parametrize("name", ["Jonas", "Amara"])
def test_who_had_it_gets_it_again(desk: Desk, name: str) -> None:
    number = had(desk, name)
    again(desk, number)
    desk.router().run_once()
    assert desk.owner(number) == name
    with desk.store.read() as tx:
        told = " ".join(why_assigned(tx, number))
    assert f"{'Jonas Weber' if name == 'Jonas' else 'Amara Obi'} had it last." in told
    assert "it has to wait for whom it is kept for" in told
    desk.is_sound()


def test_it_waits_for_somebody_who_is_full_but_not_for_long(desk: Desk, clock: Clock) -> None:
    number = had(desk, "Jonas")
    filled(desk, "Jonas")
    again(desk, number)
    router = desk.router()
    router.run_once()
    assert desk.owner(number) is None
    assert "It is kept for Jonas Weber, who had it last, for 60 seconds more." in waits(desk, number)
    assert desk.owner(other := desk.comes_in()) is None
    router.run_once()
    assert desk.owner(other) == "Amara", "what is kept for somebody keeps nobody else waiting"
    clock.forward(seconds=60)
    router.run_once()
    assert desk.owner(number) == "Amara"


def test_somebody_who_will_be_back_soon_is_waited_for(desk: Desk, clock: Clock) -> None:
    number = had(desk, "Jonas")
    says(desk, "Jonas", "away")
    clock.forward(minutes=5)
    again(desk, number)
    router = desk.router()
    router.run_once()
    assert desk.owner(number) is None
    clock.forward(seconds=30)
    says(desk, "Jonas", "available")
    router.run_once()
    assert desk.owner(number) == "Jonas"


@pytest.mark.parametrize(
    "reason", ["away for long", "offline", "another queue", "no agent any more", "long ago", "off"]
)
def test_nobody_is_waited_for_in_vain(desk: Desk, clock: Clock, reason: str) -> None:
    number = had(desk, "Jonas")
    if reason == "off":
        queue_says(desk, wait=0)
        filled(desk, "Jonas")
    elif reason == "long ago":
        filled(desk, "Jonas")
        clock.forward(days=4)
    elif reason in ("offline", "away for long"):
        says(desk, "Jonas", reason.split()[0])
        clock.forward(minutes=16)
    else:
        with desk.store.write() as tx:
            if reason == "another queue":
                tx.sql("DELETE FROM agent_queue WHERE agent_id = ?", desk.agents["Jonas"])
            else:
                tx.get_one(Agent, desk.agents["Jonas"]).active = False
            touch_desk(tx)
    again(desk, number)
    desk.router().run_once()
    assert desk.owner(number) == "Amara"


def test_who_goes_offline_meanwhile_is_not_waited_for_any_longer(desk: Desk) -> None:
    number = had(desk, "Jonas")
    filled(desk, "Jonas")
    again(desk, number)
    router = desk.router()
    router.run_once()
    says(desk, "Jonas", "offline")
    router.run_once()
    assert desk.owner(number) == "Amara"


def test_who_declines_has_had_the_choice(desk: Desk) -> None:
    number = had(desk, "Jonas", "chat")
    again(desk, number, "chat")
    router = desk.router()
    router.run_once()
    with desk.store.write() as tx:
        decline(tx, desk.actor(tx, "Jonas"), desk.rings_at("Jonas")[0].id or 0)
    router.run_once()
    assert [offer.conversation_id for offer in desk.rings_at("Amara")] == [number]


@pytest.mark.parametrize("new", [True, False])
def test_a_new_conversation_of_somebody_known_goes_there_where_the_queue_wants_it(desk: Desk, new: bool) -> None:
    with desk.store.write() as tx:
        tx.sql("UPDATE contact SET person_id = id")
    had(desk, "Jonas")
    queue_says(desk, wait=30, within=3600, new=new)
    filled(desk, "Jonas")
    number = desk.comes_in()
    desk.router().run_once()
    assert (desk.owner(number) is None) is new
    filled(desk, "Jonas", 100)
    desk.router().run_once()
    assert desk.owner(number) == ("Jonas" if new else "Amara")


def test_work_that_needs_what_he_can_not_do_is_not_kept(desk: Desk) -> None:
    number = had(desk, "Jonas")
    with desk.store.write() as tx:
        tx.get_one(Conversation, number).state = "open"
        arrival = Arrival(number, desk.contact_id, "email", "", "", "My order", {}, more={"item.reopened": True})
        enqueue(tx, arrival)
    assert desk.item(number).prefer_id is None
    desk.router().run_once()
    assert desk.owner(number) == "Amara"
