"""Every reason that was stored can be read, and a decision made again says what has changed since."""

from __future__ import annotations

import pytest

from routing.whys import recomputed, stored_reasons
from routing.work import assign, claim, decline, set_status
from storage import Store
from storage.people import AgentSkill
from tests.clock import Clock
from tests.desk import Desk as Furnished
from tests.doors import compose, served
from tests.routing_desk import Desk
from tests.test_api import Program, refused


@pytest.fixture
def routing_desk(store: Store) -> Desk:
    return Desk(store)


def reasons(desk: Desk, number: int) -> dict[str, object]:
    with desk.store.read() as tx:
        return stored_reasons(tx, number)


def again(desk: Desk, number: int) -> dict[str, object]:
    with desk.store.read() as tx:
        return recomputed(tx, number)


def test_each_offer_and_each_owner_is_told(routing_desk: Desk, clock: Clock) -> None:
    desk = routing_desk
    desk.signs_in("Jonas", "Amara")
    chat = desk.comes_in("chat")
    desk.router().run_once()
    (first,) = desk.rings_at("Jonas")
    with desk.store.write() as tx:
        decline(tx, desk.actor(tx, "Jonas"), first.id or 0)
    clock.forward(seconds=1)
    desk.router().run_once()
    with desk.store.write() as tx:
        assign(tx, desk.actor(tx, "Ines"), chat, desk.agents["Amara"], "as agreed")
    found = reasons(desk, chat)
    offers, owners = found["offers"], found["assignments"]
    assert isinstance(offers, list) and isinstance(owners, list)
    assert [(one["agent"]["name"], one["state"]) for one in offers] == [
        ("Jonas Weber", "declined"), ("Amara Obi", "rescinded"),
    ]  # fmt: skip
    assert offers[0]["told"] == ["The best placed of 2 eligible agents."]
    assert offers[0]["explanation"]["candidates"][0]["agent_id"] == desk.agents["Jonas"]
    assert offers[1]["told"] == ["The only eligible agent.", "1 other was passed over: it passed on it just now."]
    assert owners[0]["told"] == ["Ines assigned it to Amara Obi: as agreed"] and owners[0]["via"] == "assign"
    assert found["path"] == {
        "steps": [{"step": "default", "rules": 2, "queue_id": desk.queues["Support"], "queue": "Support"}],
        "told": ["No rule matched, so it went to the default queue Support."],
    }


def test_what_waits_says_for_what_as_data_and_in_words(routing_desk: Desk) -> None:
    desk = routing_desk
    desk.signs_in("Jonas")
    parcel = desk.comes_in(text="my parcel")
    waiting = reasons(desk, parcel)["waiting"]
    assert isinstance(waiting, dict)
    assert (waiting["state"], waiting["skills"], waiting["eligible"]) == ("queued", {"order": 2}, 0)
    assert waiting["rejected"] == {"skill": 1, "offline": 1}
    assert waiting["told"][0].startswith("Waiting in Shipping")


def test_the_same_floor_decides_the_same(routing_desk: Desk) -> None:
    desk = routing_desk
    desk.signs_in("Jonas", "Amara")
    mail = desk.comes_in()
    desk.router().run_once()
    found = again(desk, mail)
    assert found["changed"] == ["It would go to Jonas Weber again."], "what he has of it does not count against him"
    assert isinstance(found["now"], dict) and isinstance(found["then"], dict)
    assert found["now"]["agent_id"] == found["then"]["agent_id"] == desk.agents["Jonas"]
    assert desk.owner(mail) == "Jonas", "nothing is changed by asking"


def test_what_is_different_is_said(routing_desk: Desk) -> None:
    desk = routing_desk
    desk.signs_in("Jonas", "Amara")
    mail = desk.comes_in()
    desk.router().run_once()
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    assert again(desk, mail)["changed"] == [
        "It would go to Amara Obi now, and not to Jonas Weber.",
        "2 could take it then, 1 could now.",
        "Passed over then: nobody. Now: it is away.",
    ]
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Amara"), desk.agents["Amara"], "offline")
    assert again(desk, mail)["changed"] == ["Nobody could take it now: 1 is away, 1 is offline."]


def test_a_skill_that_somebody_learned_since_counts(routing_desk: Desk) -> None:
    desk = routing_desk
    desk.signs_in("Jonas", "Amara")
    parcel = desk.comes_in(text="my parcel")
    desk.router().run_once()
    with desk.store.write() as tx:
        skill = tx.sql("SELECT id FROM skill WHERE name = 'order'").fetchone()[0]
        tx.add(AgentSkill(agent_id=desk.agents["Jonas"], skill_id=skill, level=5))
    assert "1 could take it then, 2 could now." in str(again(desk, parcel)["changed"])


def test_what_the_router_never_decided_is_decided_for_once(routing_desk: Desk) -> None:
    desk = routing_desk
    desk.signs_in("Jonas")
    mail = desk.comes_in()
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), mail)
    assert again(desk, mail)["changed"] == ["The router never decided on it. Now it would go to Jonas Weber."]
    assert again(desk, 9999)["changed"] == ["It was never put into a queue."]


def test_a_program_reads_and_recomputes(desk: Furnished) -> None:
    number = desk.mail("My parcel", "Where is my parcel?").conversation_id
    with served(compose(desk.hub)) as server:
        program = Program(desk, server)
        why = program.get(f"/conversations/{number}/why")
        assert why["path"]["steps"][0]["rule"] == "Order keywords" and why["waiting"]["state"] == "queued"
        now = program.get(f"/conversations/{number}/why/now")
        assert now["then"] is None and now["now"] is None and now["rejected"]["offline"] == 2
        assert now["changed"][0].startswith("Nobody could take it now")
        tomas = Program(desk, server, "agent", desk.tomas)
        for path in ("why", "why/now"):
            refused(tomas.ask("GET", f"/conversations/{number}/{path}"), 404, "not_found")
