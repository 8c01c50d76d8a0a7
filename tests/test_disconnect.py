"""Agents whose browser is gone: who can't wait for them goes to somebody else; who comes back in time lost nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import yaml
from flask import Flask

from hub.desk import DeskError, apply, export, read
from hub.pump import Pump
from routing.disconnect import come_back, note_seen
from routing.overview import agent_lines
from routing.reasons import why_assigned
from routing.router import Router
from routing.work import accept, answered, claim, set_status
from storage import Store
from storage.access import Actor
from storage.conversations import Conversation
from storage.desk import touch_desk
from storage.people import Agent, AgentPresence
from storage.work import live_item, open_assignment
from tests.browser.room import Browser, words
from tests.clock import Clock
from tests.desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def router(desk: Desk) -> Router:
    """It has led for a while, and Jonas and Amara are at their browsers."""
    found = Router(desk.hub.store, "test")
    found.lead()
    desk.clock.forward(seconds=600)
    for actor in (desk.jonas, desk.amara):
        with desk.hub.store.write() as tx:
            set_status(tx, actor, actor.agent_id or 0, "available")
            note_seen(tx, [actor.agent_id or 0])
    return found


def seen(desk: Desk, *actors: Actor) -> None:
    with desk.hub.store.write() as tx:
        note_seen(tx, [actor.agent_id or 0 for actor in actors])


def taken(desk: Desk, number: int | None, actor: Actor) -> int:
    with desk.hub.store.write() as tx:
        claim(tx, actor, number or 0)
    return number or 0


def passes(desk: Desk, router: Router, seconds: int, *at_their_browsers: Actor) -> None:
    """Time passes; who is there is noted every ten seconds, and the router sweeps and matches."""
    for _ in range(seconds // 10):
        desk.clock.forward(seconds=10)
        seen(desk, *at_their_browsers)
        router.sweep()
        router.run_once()
    assert router.check_once() == 0


def owner(desk: Desk, number: int) -> int | None:
    with desk.hub.store.read() as tx:
        owned = open_assignment(tx, number)
        return None if owned is None else owned.agent_id


def test_a_chat_goes_to_somebody_else_with_its_age_and_a_mail_waits(desk: Desk, router: Router) -> None:
    chat = taken(desk, desk.chat("Where is my parcel?").conversation_id, desk.jonas)
    mail = taken(desk, desk.mail("Hello", "A question").conversation_id, desk.jonas)
    with desk.hub.store.read() as tx:
        aged = live_item(tx, chat)
    passes(desk, router, 50, desk.amara)
    assert (owner(desk, chat), desk.agent(desk.jonas).status) == (desk.jonas.agent_id, "available")
    passes(desk, router, 10, desk.amara)
    jonas = desk.agent(desk.jonas)
    assert (jonas.status, jonas.status_why) == ("away", "connection lost")
    assert owner(desk, mail) == desk.jonas.agent_id, "a mail can wait"
    with desk.hub.store.write() as tx:
        item = live_item(tx, chat)
        assert aged is not None and item is not None and item.order_time == aged.order_time
        assert (item.state, item.agent_id) == ("offered", desk.amara.agent_id)
        offer = tx.sql("SELECT id FROM offer WHERE state = 'offered'").fetchone()[0]
        accept(tx, desk.amara, offer)
        assert "Jonas Weber had it and lost the connection, so it went back to its queue." in why_assigned(tx, chat)
        (line,) = [one for one in agent_lines(tx) if one.name == "Jonas Weber"]
    assert (line.status, line.why) == ("away", "connection lost")
    passes(desk, router, 600, desk.amara)
    assert owner(desk, mail) == desk.jonas.agent_id


def test_who_comes_back_in_time_has_lost_nothing(desk: Desk, router: Router) -> None:
    chat = taken(desk, desk.chat("Where is my parcel?").conversation_id, desk.jonas)
    passes(desk, router, 50, desk.amara)
    passes(desk, router, 60, desk.amara, desk.jonas)
    assert (owner(desk, chat), desk.agent(desk.jonas).status) == (desk.jonas.agent_id, "available")
    with desk.hub.store.read() as tx:
        changes = "SELECT count(*) FROM fact WHERE name = 'AgentStatusChanged'"
        assert tx.sql(changes).fetchone()[0] == 2, "both came, nobody went"


def test_who_comes_back_later_is_available_again(desk: Desk, router: Router) -> None:
    passes(desk, router, 60, desk.amara)
    assert desk.agent(desk.jonas).status == "away"
    with desk.hub.store.write() as tx:
        come_back(tx, desk.jonas.agent_id or 0)
    assert (desk.agent(desk.jonas).status, desk.agent(desk.jonas).status_why) == ("available", "connected again")
    with desk.hub.store.write() as tx:
        set_status(tx, desk.jonas, desk.jonas.agent_id or 0, "away", "lunch")
        come_back(tx, desk.jonas.agent_id or 0)
    assert desk.agent(desk.jonas).status == "away", "that was his own word"


def test_a_customer_who_writes_to_somebody_who_is_gone_is_not_left_alone(desk: Desk, router: Router) -> None:
    chat = taken(desk, desk.chat("Where is my parcel?").conversation_id, desk.jonas)
    with desk.hub.store.write() as tx:
        tx.get_one(Conversation, chat).waiting_since = None
        tx.flush()
        answered(tx, chat, desk.jonas.agent_id)
    passes(desk, router, 300, desk.amara)
    assert owner(desk, chat) == desk.jonas.agent_id, "nobody waits for him"
    desk.chat("Are you there?")
    passes(desk, router, 10, desk.amara)
    assert owner(desk, chat) is None
    with desk.hub.store.read() as tx:
        assert (item := live_item(tx, chat)) is not None and item.agent_id == desk.amara.agent_id


def test_who_works_without_a_browser_is_never_lost(desk: Desk, router: Router) -> None:
    passes(desk, router, 60, desk.amara)
    with desk.hub.store.write() as tx:  # by Slack or the API, after his browser was closed
        set_status(tx, desk.ines, desk.jonas.agent_id or 0, "available")
    chat = taken(desk, desk.chat("Where is my parcel?").conversation_id, desk.jonas)
    passes(desk, router, 600, desk.amara)
    assert (owner(desk, chat), desk.agent(desk.jonas).status) == (desk.jonas.agent_id, "available")


def test_an_outage_of_ours_is_nobodys_fault(desk: Desk, router: Router) -> None:
    chat = taken(desk, desk.chat("Where is my parcel?").conversation_id, desk.jonas)
    desk.clock.forward(seconds=3600)
    again = Router(desk.hub.store, "after the outage")
    again.lead()
    again.sweep()
    desk.clock.forward(seconds=50)
    again.lead()
    again.sweep()
    assert (owner(desk, chat), desk.agent(desk.jonas).status) == (desk.jonas.agent_id, "available")
    desk.clock.forward(seconds=10)
    again.lead()
    again.sweep()
    assert (owner(desk, chat), desk.agent(desk.jonas).status) == (None, "away")


def test_a_profile_says_how_long_on_which_channel(desk: Desk, router: Router, clock: Clock) -> None:
    text = """
profiles:
  - {name: Patient, disconnect: {chat: off, sms: 2m}}
  - {name: Never, disconnect: off}
"""
    with desk.hub.store.write() as tx:
        apply(tx, desk.ines, read(text))
        again = export(tx)
        assert apply(tx, desk.ines, read(again)) == []
        for name, actor in (("Patient", desk.jonas), ("Never", desk.amara)):
            tx.sql(
                "UPDATE agent SET profile_id = (SELECT id FROM routing_profile WHERE name = ?) WHERE id = ?",
                name, actor.agent_id,
            )  # fmt: skip
        touch_desk(tx)
    assert [one["disconnect"] for one in yaml.safe_load(again)["profiles"]] == [
        {"chat": "off", "sms": "2m"}, {"chat": "off"}
    ]  # fmt: skip
    chat = taken(desk, desk.chat("Where is my parcel?").conversation_id, desk.jonas)
    sms = taken(desk, desk.text("My parcel?").conversation_id, desk.jonas)
    passes(desk, router, 110)
    assert desk.agent(desk.jonas).status == "available"
    passes(desk, router, 10)
    assert (desk.agent(desk.jonas).status, desk.agent(desk.amara).status) == ("away", "available")
    assert owner(desk, chat) == desk.jonas.agent_id and owner(desk, sms) != desk.jonas.agent_id


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("{chat: 10s}", "must be at least 30s"),
        ("{chats: 60s}", "did you mean 'chat'"),
        ("soon", "must be a mapping|must be 'off'"),
    ],
)
def test_an_odd_grace_is_refused(desk: Desk, said: str, sentence: str) -> None:
    with pytest.raises(DeskError, match=sentence), desk.hub.store.write() as tx:
        apply(tx, desk.ines, read(f"profiles: [{{name: A, disconnect: {said}}}]"))


@pytest.fixture
def pump(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pump]:
    monkeypatch.setattr("hub.pump.BEAT_SECONDS", 0.05)
    running = Pump(store)
    yield running
    running.stop()


def test_an_open_stream_is_a_sign_of_life_until_it_ends(store: Store, pump: Pump, clock: Clock) -> None:
    with store.write() as tx:
        jonas = Agent(name="Jonas Weber", email="jonas@desk.example", status="available", created_at=tx.now)
        tx.add(jonas)
        tx.flush()
        number = jonas.id or 0

    def at() -> object:
        with store.read() as tx:
            row = tx.get(AgentPresence, number)
            return None if row is None else row.seen_at

    def becomes(wanted: object) -> bool:
        until = time.monotonic() + 10
        while at() != wanted and time.monotonic() < until:
            threading.Event().wait(0.02)
        return at() == wanted

    with Flask("test").test_request_context("/stream") as context:
        frames = pump.response(context.request, lambda _: b"", agent_id=number).response
    stream = iter(frames)
    assert b"open" in next(stream) and pump.agents == {number}
    assert becomes(clock())
    clock.forward(seconds=30)
    assert becomes(clock())
    stream.close()  # type: ignore[attr-defined]
    assert pump.agents == set()


def test_the_inbox_says_who_lost_the_connection(desk: Desk, router: Router, jonas: Browser, ines: Browser) -> None:
    stream = jonas.get("/inbox/stream")
    next(stream.response)  # type: ignore[call-overload]
    chat = taken(desk, desk.chat("Where is my parcel?").conversation_id, desk.jonas)
    desk.clock.forward(seconds=60)
    seen(desk, desk.amara, desk.ines)
    router.lead()
    router.sweep()
    line = next(one for one in words(ines.page("/inbox/floor"), ".a") if "Jonas" in one)
    assert "connection lost" in line
    assert "Jonas Weber lost the connection" in " ".join(words(ines.page(f"/inbox/c/{chat}"), ".event"))
    assert "Away: connection lost" in words(jonas.page("/inbox/mine"), ".me-words small")[0]
    next(jonas.get("/inbox/stream").response)  # type: ignore[call-overload]
    assert desk.agent(desk.jonas).status == "available"
