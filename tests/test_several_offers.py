"""A chat that rings at several agents at once: the first to accept has it, the others are free again."""

from __future__ import annotations

import threading

import pytest

from routing.whys import recomputed
from routing.work import accept, claim, close, decline, set_status, transfer, why_assigned, why_waiting
from storage import Store
from storage.access import Conflict
from storage.desk import Queue, RoutingProfile, touch_desk
from storage.people import Agent
from storage.work import Offer
from tests.clock import Clock
from tests.routing_desk import Desk


@pytest.fixture
def desk(store: Store) -> Desk:
    """Support rings at two at once; Jonas and Amara are there."""
    desk = Desk(store)
    desk.signs_in("Jonas", "Amara")
    with desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Support"]).handout = {"offers": 2}
        touch_desk(tx)
    return desk


def ringing(desk: Desk) -> int:
    """A chat that rings at both."""
    chat = desk.comes_in("chat")
    desk.router().run_once()
    assert {name: len(desk.rings_at(name)) for name in ("Jonas", "Amara")} == {"Jonas": 1, "Amara": 1}
    desk.is_sound()
    return chat


def takes(desk: Desk, name: str, offer: Offer) -> None:
    with desk.store.write() as tx:
        accept(tx, desk.actor(tx, name), offer.id or 0)


def states(desk: Desk) -> list[tuple[int, str]]:
    return [(row.data["agent_id"], row.data["state"]) for row in desk.facts("OfferEnded")]


def test_the_first_to_accept_has_it_and_the_other_may_get_the_next(desk: Desk) -> None:
    chat = ringing(desk)
    with desk.store.read() as tx:
        assert why_waiting(tx, chat) == [
            "It rings at Amara Obi and Jonas Weber for 30 seconds more. The first to accept has it."
        ]
    jonas, amara = desk.rings_at("Jonas")[0], desk.rings_at("Amara")[0]
    takes(desk, "Amara", amara)
    assert (desk.owner(chat), desk.agent("Jonas").load, desk.agent("Amara").load) == ("Amara", 0, 30)
    assert states(desk) == [(desk.agents["Amara"], "accepted"), (desk.agents["Jonas"], "rescinded")]
    with pytest.raises(Conflict, match="Amara Obi has it already"):
        takes(desk, "Jonas", jonas)
    with desk.store.read() as tx:
        assert "Amara Obi accepted it, the first of 2 at whom it rang." in why_assigned(tx, chat)
    other = ringing(desk)
    takes(desk, "Jonas", desk.rings_at("Jonas")[0])
    assert desk.owner(other) == "Jonas"
    desk.is_sound()


def test_a_decision_that_is_made_again_takes_nobody_to_have_what_rings(desk: Desk) -> None:
    with desk.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = 30")
        touch_desk(tx)
    chat = ringing(desk)
    with desk.store.read() as tx:
        found = recomputed(tx, chat)
    assert found["then"]["eligible"] == found["now"]["eligible"] == 2


def test_it_rings_on_at_one_when_the_other_declines_and_goes_back_after_both(desk: Desk, clock: Clock) -> None:
    chat = ringing(desk)
    with desk.store.write() as tx:
        decline(tx, desk.actor(tx, "Jonas"), desk.rings_at("Jonas")[0].id or 0)
    item = desk.item(chat)
    assert (item.state, item.agent_id) == ("offered", desk.agents["Amara"])
    desk.is_sound()
    clock.forward(seconds=31)
    desk.router().expire_once()
    assert (desk.item(chat).state, desk.agent("Amara").missed_offers, desk.agent("Jonas").missed_offers) == (
        "queued", 1, 0,
    )  # fmt: skip
    desk.is_sound()


def test_when_nobody_answers_both_have_missed_it_once(desk: Desk, clock: Clock) -> None:
    chat = ringing(desk)
    clock.forward(seconds=31)
    assert desk.router().expire_once() == 2
    assert desk.item(chat).state == "queued"
    assert [desk.agent(name).missed_offers for name in ("Jonas", "Amara")] == [1, 1]
    desk.is_sound()


def test_who_goes_away_leaves_it_to_the_other(desk: Desk) -> None:
    chat = ringing(desk)
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Amara"), desk.agents["Amara"], "offline")
    assert (desk.item(chat).state, desk.agent("Amara").load) == ("offered", 0)
    desk.is_sound()
    takes(desk, "Jonas", desk.rings_at("Jonas")[0])
    assert desk.owner(chat) == "Jonas"
    desk.is_sound()


@pytest.mark.parametrize("how", ["claim", "transfer", "close"])
def test_whatever_else_becomes_of_it_ends_both(desk: Desk, how: str) -> None:
    chat = ringing(desk)
    with desk.store.write() as tx:
        if how == "claim":
            claim(tx, desk.actor(tx, "Jonas"), chat)
        elif how == "transfer":
            transfer(tx, desk.actor(tx, "Ines"), chat, desk.queues["Billing"])
        else:
            close(tx, "system", chat, "resolve")
    assert desk.rings_at("Jonas") == desk.rings_at("Amara") == []
    assert (desk.agent("Amara").load, desk.owner(chat)) == (0, "Jonas" if how == "claim" else None)
    desk.is_sound()


def test_of_two_who_accept_at_the_same_moment_one_has_it(desk: Desk) -> None:
    for _ in range(5):
        chat = ringing(desk)
        offers = {name: desk.rings_at(name)[0] for name in ("Jonas", "Amara")}
        start, told = threading.Barrier(2), list[str]()

        def press(name: str, offers: dict[str, Offer] = offers, start: threading.Barrier = start,
                  told: list[str] = told) -> None:  # fmt: skip
            start.wait()
            try:
                takes(desk, name, offers[name])
            except Conflict as refused:
                told.append(str(refused))

        pressing = [threading.Thread(target=press, args=(name,)) for name in offers]
        for each in pressing:
            each.start()
        for each in pressing:
            each.join()
        winner = desk.owner(chat)
        assert winner in offers and len(told) == 1 and "has it already" in told[0]
        desk.is_sound()
        with desk.store.write() as tx:
            close(tx, "system", chat, "resolve")


def test_who_takes_chats_unasked_is_not_asked_beside_others(desk: Desk) -> None:
    with desk.store.write() as tx:
        profile = RoutingProfile(name="Unasked", limits={"rings": []})
        tx.add(profile)
        tx.flush()
        for name in ("Jonas", "Amara"):
            tx.get_one(Agent, desk.agents[name]).profile_id = profile.id
        touch_desk(tx)
    chat = desk.comes_in("chat")
    desk.router().run_once()
    assert desk.owner(chat) is not None
    assert desk.rings_at("Jonas") == desk.rings_at("Amara") == []
    desk.is_sound()
