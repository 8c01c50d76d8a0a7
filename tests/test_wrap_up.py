"""Wrapping up: who is done with a conversation keeps its room for a while, and says so or lets the time pass."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from selectolax.lexbor import LexborHTMLParser as Page

from hub.desk import DeskError, apply, export, read
from hub.lifecycle import reopen, resolve
from hub.replies import reply, undo
from routing.live import LiveFloor
from routing.overview import agent_lines
from routing.reasons import why_waiting
from routing.router import LEASE_SECONDS
from routing.work import assign, claim, close, set_status, take_next, transfer
from routing.wrapups import end_wrap_up
from storage import Store
from storage.access import Conflict, Forbidden
from storage.desk import Queue, RoutingProfile, touch_desk
from storage.people import Agent
from storage.work import wrap_ups
from tests.browser.room import Browser, words
from tests.clock import Clock
from tests.desk import Desk as Hub
from tests.routing_desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def floor(store: Store) -> Desk:
    """Jonas is there, with room for one mail; Support lets him wrap up for three minutes."""
    desk = Desk(store)
    with store.write() as tx:
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 20
        touch_desk(tx)
    says(desk, time=180)
    desk.signs_in("Jonas")
    return desk


def says(desk: Desk, **wrap_up: Any) -> None:
    with desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Support"]).handout = {"wrap_up": wrap_up}
        touch_desk(tx)


def resolved(desk: Desk, number: int) -> None:
    """By Jonas, who has it."""
    with desk.store.write() as tx:
        close(tx, f"agent:{desk.agents['Jonas']}", number, "resolve")


def told(desk: Desk, number: int) -> list[str]:
    with desk.store.read() as tx:
        return why_waiting(tx, number)


def test_the_room_stays_taken_until_the_time_is_over(floor: Desk, clock: Clock) -> None:
    first, second = floor.comes_in(), floor.comes_in()
    router = floor.router()
    router.run_once()
    resolved(floor, first)
    assert (router.run_once(), floor.agent("Jonas").load) == (0, 20)
    assert "Jonas Weber is wrapping up until 10:03 (UTC)." in told(floor, second)
    assert "2 agents in Support: 1 is offline, 1 is wrapping up." in told(floor, second)
    with floor.store.read() as tx:
        (jonas,) = [line for line in agent_lines(tx) if line.name == "Jonas Weber"]
    assert (jonas.wraps, jonas.wraps_until, jonas.number) == (1, clock.forward(seconds=180), 0)
    router.sweep()
    assert (router.run_once(), floor.owner(second), router.check_once()) == (1, "Jonas", 0)
    floor.is_sound()
    started, ended = floor.facts("WrapUpStarted", "WrapUpEnded")
    assert started.data["weight"] == 20 and (ended.data["why"], ended.data["by"]) == ("time", "system")


def test_the_agent_says_that_he_is_done(floor: Desk) -> None:
    first, second = floor.comes_in(), floor.comes_in()
    router = floor.router()
    router.run_once()
    resolved(floor, first)
    with pytest.raises(Conflict, match="you are wrapping up; say that you are done"), floor.store.write() as tx:
        claim(tx, floor.actor(tx, "Jonas"), second)
    with pytest.raises(Conflict, match="Nothing waits"), floor.store.write() as tx:
        take_next(tx, floor.actor(tx, "Jonas"))
    with pytest.raises(Conflict, match=r"20 of 20 in use.*Of that 20 is wrap-up"), floor.store.write() as tx:
        assign(tx, floor.actor(tx, "Amara"), second, floor.agents["Jonas"])
    with pytest.raises(Forbidden), floor.store.write() as tx:
        end_wrap_up(tx, floor.actor(tx, "Amara"), floor.agents["Jonas"])
    with floor.store.write() as tx:
        assert end_wrap_up(tx, floor.actor(tx, "Jonas"), floor.agents["Jonas"]) == 1
    with floor.store.write() as tx:
        assert end_wrap_up(tx, floor.actor(tx, "Ines"), floor.agents["Jonas"], "again") == 0
    assert (router.run_once(), floor.owner(second), router.check_once()) == (1, "Jonas", 0)
    assert [fact.data["why"] for fact in floor.facts("WrapUpEnded")] == ["hand"]


def test_a_part_is_kept_for_another_time_on_another_channel(floor: Desk, clock: Clock) -> None:
    says(floor, time=600, keep=30, channels={"email": 60, "sms": 0})
    with floor.store.write() as tx:
        tx.get_one(Agent, floor.agents["Jonas"]).capacity = 100
        touch_desk(tx)
    mail, text, chat = (floor.comes_in(channel) for channel in ("email", "sms", "chat"))
    for number in (mail, text, chat):
        with floor.store.write() as tx:
            claim(tx, floor.actor(tx, "Jonas"), number)
        resolved(floor, number)
    with floor.store.read() as tx:
        kept = [(one.weight, f"{one.wrap_until:%H:%M}") for one in wrap_ups(tx, floor.agents["Jonas"])]
    assert kept == [(6, "10:01"), (9, "10:10")] and floor.agent("Jonas").load == 15
    clock.forward(seconds=60)
    router = floor.router()
    router.lead()
    router.sweep()
    assert floor.agent("Jonas").load == 9
    floor.is_sound()


def test_a_channel_of_which_one_is_allowed_is_kept_as_well(floor: Desk, clock: Clock) -> None:
    with floor.store.write() as tx:
        profile = RoutingProfile(name="One", limits={"channels": {"email": 1}})
        tx.add(profile)
        tx.flush()
        jonas = tx.get_one(Agent, floor.agents["Jonas"])
        jonas.profile_id, jonas.capacity = profile.id, 100
        touch_desk(tx)
    first, second = floor.comes_in(), floor.comes_in()
    router = floor.router()
    router.run_once()
    resolved(floor, first)
    assert (router.run_once(), router.check_once()) == (0, 0)
    assert "Jonas Weber is wrapping up until 10:03 (UTC)." in told(floor, second)
    clock.forward(seconds=180)
    router.sweep()
    assert (router.run_once(), floor.owner(second)) == (1, "Jonas")


def test_what_is_handed_on_is_wrapped_up_where_the_queue_says_so(floor: Desk) -> None:
    for transfers in (False, True):
        says(floor, time=60, transfers=transfers)
        mail = floor.comes_in()
        with floor.store.write() as tx:
            claim(tx, floor.actor(tx, "Jonas"), mail)
            transfer(tx, floor.actor(tx, "Jonas"), mail, floor.queues["Billing"])
        assert floor.agent("Jonas").load == (20 if transfers else 0)
    mail = floor.comes_in()
    with floor.store.write() as tx:
        end_wrap_up(tx, floor.actor(tx, "Jonas"), floor.agents["Jonas"])
        claim(tx, floor.actor(tx, "Jonas"), mail)
        assign(tx, floor.actor(tx, "Ines"), mail, floor.agents["Amara"])
    assert floor.agent("Jonas").load == 0, "a supervisor took it away: there is nothing to write down"


def test_who_has_gone_wraps_nothing_up(floor: Desk) -> None:
    mail = floor.comes_in()
    with floor.store.write() as tx:
        claim(tx, floor.actor(tx, "Jonas"), mail)
        set_status(tx, floor.actor(tx, "Jonas"), floor.agents["Jonas"], "offline", give_back=False)
    resolved(floor, mail)
    assert floor.agent("Jonas").load == 0


def test_what_a_colleague_ends_is_not_wrapped_up(floor: Desk) -> None:
    mail = floor.comes_in()
    with floor.store.write() as tx:
        claim(tx, floor.actor(tx, "Jonas"), mail)
        close(tx, f"agent:{floor.agents['Amara']}", mail, "resolve")
    assert floor.agent("Jonas").load == 0


def test_another_leader_ends_what_the_first_one_left(floor: Desk, clock: Clock) -> None:
    first, second = floor.comes_in(), floor.comes_in()
    one, other = floor.router("node-1"), floor.router("node-2")
    one.run_once()
    resolved(floor, first)
    clock.forward(seconds=max(LEASE_SECONDS, 180) + 1)
    assert other.lead() is not None
    assert (other.run_once(), floor.owner(second)) == (0, None)
    other.sweep()
    assert (other.run_once(), floor.owner(second), other.check_once()) == (1, "Jonas", 0)


def test_a_customer_who_comes_back_meanwhile_finds_the_room(desk: Hub) -> None:
    said = "{name: General, default: true, wrap_up: 5m}"
    with desk.hub.store.write() as tx:
        apply(tx, desk.ines, read(f"queues: [{{name: Shipping}}, {{name: Billing}}, {said}]"))
        tx.sql("UPDATE agent SET capacity = 20, status = 'available' WHERE id = ?", desk.jonas.agent_id)
        touch_desk(tx)
    desk.mail("Hello", "Good morning")
    desk.route()
    number, kept = desk.only_conversation().id or 0, LiveFloor()
    with desk.hub.store.write() as tx:
        sent = reply(tx, desk.jonas, number, text="Done", tokens=desk.hub.tokens, then="resolve").id or 0
    assert desk.agent(desk.jonas).load == 20
    with desk.hub.store.write() as tx:
        undo(tx, desk.jonas, sent)
    assert desk.only_conversation().assignee_id == desk.jonas.agent_id, "the undo finds the room that is kept for it"
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, number)
    desk.mail("Re: Hello", "One more thing", answers=f"<{desk.messages(number)[0].external_id.strip('<>')}>")
    with desk.hub.store.read() as tx:
        assert kept.differences(tx) == []
    desk.route()
    assert desk.only_conversation().assignee_id == desk.jonas.agent_id
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, number)
        reopen(tx, desk.ines, number)
    assert desk.agent(desk.jonas).load == 0


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("wrap_up: {keep: 50}", "must have a time, or channels"),
        ("wrap_up: soon", "must be a span"),
        ("wrap_up: {time: 2m, kept: 50}", "unknown key 'kept'; did you mean 'keep'"),
        ("wrap_up: {time: 2m, channels: {mail: 1m}}", "'mail' is no kind of channel"),
        ("park: {keep: 50}", "must have an after, or channels"),
        ("park: {after: 2m, keep: 100}", "less than or equal to 99"),
    ],
)
def test_an_odd_entry_is_refused(desk: Hub, said: str, sentence: str) -> None:
    with pytest.raises(DeskError, match=sentence), desk.hub.store.write() as tx:
        apply(tx, desk.ines, read(f"queues: [{{name: A, {said}}}]"))


def test_the_desks_file_says_how_long(desk: Hub) -> None:
    text = """
queues:
  - name: General
    default: true
    wrap_up: {time: 2m, keep: 50, transfers: true, channels: {chat: 1m, sms: off}}
    park: {after: 10m, channels: {chat: off}}
  - {name: Shipping, wrap_up: 30s, park: 1h}
  - {name: Billing}
"""
    with desk.hub.store.write() as tx:
        assert [str(one) for one in apply(tx, desk.ines, read(text))] == [
            "~ queue General: handout", "~ queue Shipping: first_reply_seconds, handout"
        ]  # fmt: skip
    with desk.hub.store.write() as tx:
        assert apply(tx, desk.ines, read(text)) == []
        again = export(tx)
        assert apply(tx, desk.ines, read(again)) == []
    general, shipping, _ = yaml.safe_load(again)["queues"]
    kept = {"time": "2m", "keep": 50, "transfers": True, "channels": {"chat": "1m", "sms": "off"}}
    assert (general["wrap_up"], general["park"]) == (kept, {"after": "10m", "channels": {"chat": "off"}})
    assert (shipping["wrap_up"], shipping["park"]) == ({"time": "30s"}, {"after": "1h"})


def test_the_inbox_says_so_and_ends_it(desk: Hub, jonas: Browser, ines: Browser) -> None:
    with desk.hub.store.write() as tx:
        tx.sql('UPDATE queue SET handout = \'{"wrap_up": {"time": 180}}\'')
        touch_desk(tx)
    desk.mail("Hello", "Good morning")
    number = desk.only_conversation().id or 0
    jonas.post(f"/inbox/c/{number}/claim", hx=True)
    answer = jonas.post(f"/inbox/c/{number}/resolve", hx=True)
    assert words(Page(answer.text), ".wrap-line") == ["Wrapping up until 10:03 Done"]
    line = next(one for one in words(ines.page("/inbox/floor"), ".a") if "Jonas" in one)
    assert "Wraps up, 3m" in line
    ended = jonas.post("/inbox/wrap-up/end", hx=True)
    assert "your room is free again" in ended.text and "wrap-line" not in ended.text
    assert desk.agent(desk.jonas).load == 0
