"""Agents take work by hand: the next best or one of their choice, within their skills and limits, and it says why."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from hub.desk import read
from hub.deskfile import DeskError
from routing import commands
from routing.presence import drain
from routing.pull import choices
from routing.work import claim, set_status, take_next, why_assigned
from storage import Store
from storage.access import SYSTEM, Conflict, Forbidden
from storage.desk import RoutingProfile, touch_desk
from storage.people import Agent
from storage.work import open_assignment
from tests.clock import Clock
from tests.routing_desk import Desk


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def profile(desk: Desk, name: str, **limits: Any) -> None:
    with desk.store.write() as tx:
        row = RoutingProfile(name=f"of {name}", limits=limits, serving={})
        tx.add(row)
        tx.flush()
        tx.get_one(Agent, desk.agents[name]).profile_id = row.id
        touch_desk(tx)


def next_for(desk: Desk, name: str) -> int:
    with desk.store.write() as tx:
        return take_next(tx, desk.actor(tx, name)).conversation_id


def offered_to(desk: Desk, name: str) -> list[int]:
    with desk.store.read() as tx:
        return [item.conversation_id for item in choices(tx, desk.agents[name])]


def claims(desk: Desk, name: str, conversation_id: int) -> None:
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, name), conversation_id)


def test_the_next_is_what_the_router_would_give_and_says_what_else_there_was(desk: Desk, clock: Clock) -> None:
    profile(desk, "Jonas", pull=["email", "sms"])
    desk.signs_in("Jonas")
    first = desk.comes_in()
    clock.forward(minutes=5)
    text = desk.comes_in("sms")
    assert desk.router().run_once() == 0, "his mail and texts are taken by hand"
    assert offered_to(desk, "Jonas") == [first, text]
    assert next_for(desk, "Jonas") == first
    with desk.store.read() as tx:
        owned = open_assignment(tx, first)
        assert owned is not None and owned.via == "next"
        why = owned.explanation
        assert (why["place"], why["of"], why["waited"]) == (1, 2, 300.0)
        assert [one["conversation_id"] for one in why["rivals"]] == [text]
        assert why_assigned(tx, first)[0] == (
            "Jonas Weber asked for the next: it was the most urgent of 2 that Jonas Weber could take."
        )
    assert next_for(desk, "Jonas") == text
    with pytest.raises(Conflict, match="Nothing waits that you can take now"):
        next_for(desk, "Jonas")
    desk.is_sound()


def test_skills_are_required_by_hand_as_well(desk: Desk) -> None:
    parcel = desk.comes_in(text="my parcel")
    assert offered_to(desk, "Jonas") == [] and offered_to(desk, "Amara") == [parcel]
    with pytest.raises(Conflict, match="requires order ≥ 2, which you don't have"):
        claims(desk, "Jonas", parcel)
    assert next_for(desk, "Amara") == parcel


def test_a_supervisor_may_take_what_asks_for_more_than_they_know(desk: Desk) -> None:
    parcel = desk.comes_in(text="my parcel")
    claims(desk, "Ines", parcel)
    assert desk.owner(parcel) == "Ines"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"channels": {"email": 1}}, "as many of this channel as your profile allows"),
        ({"blocks": {"email": ["email"]}}, "must not be interrupted"),
        ({"rate": 1, "window": 3600}, "as much in this time"),
    ],
)
def test_limits_hold_by_hand_as_well(desk: Desk, limits: dict[str, Any], told: str) -> None:
    profile(desk, "Jonas", **limits)
    desk.signs_in("Jonas")
    first, second = desk.comes_in(), desk.comes_in()
    desk.router().run_once()
    assert desk.owner(first) == "Jonas"
    assert offered_to(desk, "Jonas") == []
    with pytest.raises(Conflict, match=told):
        claims(desk, "Jonas", second)


def test_two_nexts_at_once_stay_within_the_profile(desk: Desk) -> None:
    profile(desk, "Jonas", channels={"email": 1}, pull=["email"])
    desk.signs_in("Jonas")
    mails = [desk.comes_in() for _ in range(4)]
    together = Barrier(4)

    def press(_: int) -> bool:
        together.wait(30)
        try:
            return bool(next_for(desk, "Jonas"))
        except Conflict:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(press, range(4))) == 1
    assert [desk.owner(mail) for mail in mails].count("Jonas") == 1
    desk.is_sound()


def test_who_is_full_is_offered_nothing(desk: Desk) -> None:
    with desk.store.write() as tx:
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 19
    desk.comes_in()
    assert offered_to(desk, "Jonas") == []
    with pytest.raises(Conflict, match="Nothing waits"):
        next_for(desk, "Jonas")


def test_a_profile_says_for_each_channel_who_chooses(desk: Desk) -> None:
    """Chats come by themselves only, mail by hand only, texts either way."""
    profile(desk, "Jonas", pull=["email"], push=["chat"], rings=[])
    desk.signs_in("Jonas")
    mail, chat, text = desk.comes_in(), desk.comes_in("chat"), desk.comes_in("sms")
    assert offered_to(desk, "Jonas") == [mail, text] or offered_to(desk, "Jonas") == [text, mail]
    with pytest.raises(Conflict, match="Chat comes to you by itself"):
        claims(desk, "Jonas", chat)
    desk.router().run_once()
    assert (desk.owner(mail), desk.owner(chat), desk.owner(text)) == (None, "Jonas", "Jonas")
    claims(desk, "Jonas", mail)


def test_a_channel_in_both_is_refused_in_the_file() -> None:
    with pytest.raises(DeskError, match="email in pull and in push"):
        read("queues: [{name: A}]\nprofiles: [{name: P, pull: [email], push: [email]}]")


def test_a_free_choice_says_how_many_were_due_sooner(desk: Desk, clock: Clock) -> None:
    for _ in range(3):
        desk.comes_in()
        clock.forward(minutes=1)
    last = desk.comes_in()
    claims(desk, "Jonas", last)
    with desk.store.read() as tx:
        owned = open_assignment(tx, last)
        assert owned is not None and owned.explanation["sooner"] == 3
        assert why_assigned(tx, last)[0] == "Jonas Weber claimed it. 3 that were due sooner had to wait."


def test_what_is_pinned_comes_first_and_what_is_kept_for_somebody_else_does_not(desk: Desk, clock: Clock) -> None:
    desk.comes_in()
    clock.forward(minutes=20)
    pinned, kept = desk.comes_in(), desk.comes_in()
    with desk.store.write() as tx:
        ines = desk.actor(tx, "Ines")
        commands.pin(tx, ines, pinned)
        commands.pin(tx, ines, kept, desk.agents["Amara"])
    assert kept not in offered_to(desk, "Jonas")
    assert next_for(desk, "Jonas") == pinned


def test_nothing_is_taken_from_a_paused_queue_or_by_who_finishes(desk: Desk) -> None:
    desk.comes_in()
    with desk.store.write() as tx:
        commands.pause(tx, desk.actor(tx, "Ines"), desk.queues["Support"], "The shop is down")
    assert offered_to(desk, "Jonas") == []
    with desk.store.write() as tx:
        commands.resume(tx, desk.actor(tx, "Ines"), desk.queues["Support"])
        drain(tx, desk.actor(tx, "Ines"), desk.agents["Jonas"])
    assert offered_to(desk, "Jonas") == []
    with pytest.raises(Conflict, match="get nothing new"):
        next_for(desk, "Jonas")


def test_away_or_offline_one_may_still_ask(desk: Desk) -> None:
    mail = desk.comes_in()
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    assert next_for(desk, "Jonas") == mail


def test_a_program_has_no_next(desk: Desk) -> None:
    with pytest.raises(Forbidden, match="Only an agent"), desk.store.write() as tx:
        take_next(tx, SYSTEM)


def test_the_newest_first_queue_offers_its_newest(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        tx.sql("UPDATE queue SET handout = ? WHERE id = ?", {"work": "lifo"}, desk.queues["Support"])
        touch_desk(tx)
    numbers = []
    for _ in range(8):
        numbers.append(desk.comes_in())
        clock.forward(minutes=1)
    assert next_for(desk, "Jonas") == numbers[-1]
