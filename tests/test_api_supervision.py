"""Programs supervise as people do: by the same commands, with the same rights and reasons."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.room import Browser, words
from tests.browser.scene import available
from tests.desk import Desk
from tests.doors import Client, compose, served
from tests.test_api import Program, refused


@pytest.fixture
def server(desk: Desk) -> Iterator[Client]:
    with served(compose(desk.hub)) as client:
        yield client


@pytest.fixture
def wall(desk: Desk, server: Client) -> Program:
    """What runs on the wall of the room: a supervisor's token that belongs to Ines."""
    return Program(desk, server, "supervisor", desk.ines)


def test_every_command_is_there_and_shows_in_the_conversation(desk: Desk, wall: Program, ines: Browser) -> None:
    available(desk, desk.jonas)
    number = desk.mail("Hello", "A question").conversation_id or 0
    jonas, elsewhere = desk.jonas.agent_id, (desk.conversations()[0].queue_id or 0) + 1
    at = f"/conversations/{number}"
    assert wall.post(f"{at}/priority", {"priority": 9, "reason": "press"}).json()["priority"] == 9
    assert wall.post(f"{at}/pin", {"agent_id": jonas, "minutes": 5, "reason": "knows her"}).status_code == 200
    assert wall.post(f"{at}/unpin", {}).status_code == 200
    assert wall.post(f"{at}/labels", {"labels": ["returns"], "reason": "broken"}).json()["labels"] == ["returns"]
    assigned = wall.post(f"{at}/assign", {"agent_id": jonas, "reason": "as agreed"}).json()
    assert assigned["assignee"]["id"] == jonas and assigned["why_assigned"][0].endswith("to Jonas Weber: as agreed")
    assert wall.post(f"{at}/take-over", {"reason": "a complaint"}).json()["assignee"]["id"] == desk.ines.agent_id
    assert wall.post(f"{at}/transfer", {"queue_id": elsewhere, "reason": "an invoice"}).status_code == 200
    lines = " | ".join(words(ines.page(f"/inbox/c/{number}"), ".event"))
    for line in (
        "You gave it priority 9 instead of 0: press",
        "You pinned it to Jonas Weber until",
        "You took the pin out",
        "You labelled it returns: broken",
        "You assigned it to Jonas Weber: as agreed",
        "You took it over: a complaint",
        "an invoice",
    ):
        assert line.removeprefix("You ") in lines, lines


def test_agents_and_queues_are_switched_with_a_reason(desk: Desk, wall: Program) -> None:
    available(desk, desk.jonas)
    jonas = desk.jonas.agent_id
    drained = wall.post(f"/agents/{jonas}/drain", {"reason": "end of shift"}).json()
    assert drained["drained_at"] and drained["status"] == "available"
    assert wall.post(f"/agents/{jonas}/undrain", {}).json()["drained_at"] is None
    away = wall.post(f"/agents/{jonas}/status", {"status": "away", "give_back": True, "reason": "ill"}).json()
    assert away["status"] == "away"
    ended = wall.post(f"/agents/{jonas}/wrap-up/end", {"reason": "he forgot"}).json()
    assert (ended["parked"], ended["wraps_until"], ended["status_why"]) == (0, None, "ill")
    paused = wall.post("/queues/2/pause", {"reason": "The shop is down"}).json()
    assert (paused["paused"], paused["paused_why"]) == (True, "The shop is down")
    assert wall.post("/queues/2/resume", {}).json()["paused"] is False
    kinds = [event["type"] for event in wall.get("/events", limit=200)["events"]]
    for kind in ("agent.drained", "agent.undrained", "agent_status.changed", "queue.paused", "queue.resumed"):
        assert kind in kinds


def test_an_agents_token_is_refused_with_the_role_it_would_need(desk: Desk, server: Client) -> None:
    program = Program(desk, server, "agent", desk.jonas)
    number = desk.mail("Hello", "A question").conversation_id
    asked = [
        (f"/conversations/{number}/take-over", {"reason": "mine"}),
        (f"/conversations/{number}/priority", {"priority": 1}),
        (f"/conversations/{number}/pin", {}),
        (f"/agents/{desk.amara.agent_id}/drain", {}),
        (f"/agents/{desk.amara.agent_id}/status", {"status": "offline"}),
        ("/queues/2/pause", {"reason": "tired"}),
    ]
    for path, body in asked:
        assert "supervisor or admin" in refused(program.post(path, body), 403, "forbidden")
    own = program.post(f"/agents/{desk.jonas.agent_id}/status", {"status": "available"})
    assert own.json()["status"] == "available", "one's own status is one's own"


def test_what_is_left_out_or_unknown_is_said(desk: Desk, wall: Program) -> None:
    number = desk.mail("Hello", "A question").conversation_id
    refused(wall.post("/queues/2/pause", {}), 422, "invalid")
    refused(wall.post(f"/conversations/{number}/priority", {"priority": 2000}), 422, "invalid")
    refused(wall.post("/agents/9999/drain", {}), 404, "not_found")
    refused(wall.post("/queues/9999/resume", {}), 404, "not_found")


def test_an_agents_program_takes_the_next_and_sees_its_choices(desk: Desk, server: Client) -> None:
    program = Program(desk, server, "agent", desk.jonas)
    number = desk.mail("My parcel", "Where is my parcel?").conversation_id
    invoice = desk.mail("An invoice", "My invoice", sender="devon@northlight.example").conversation_id
    assert [row["id"] for row in program.get("/conversations/choices")["conversations"]] == [number]
    taken = program.post("/conversations/next").json()
    assert (taken["id"], taken["assignee"]["id"]) == (number, desk.jonas.agent_id)
    with desk.hub.store.write() as tx:
        own = tx.sql("SELECT queue_id FROM agent_queue WHERE agent_id = ?", desk.jonas.agent_id).fetchone()[0]
        joined = "UPDATE work_item SET joined = ?, skills = '{}' WHERE conversation_id = ?"
        tx.sql(joined, [own], invoice)
    assert program.get("/conversations/choices")["conversations"] == [], "what joined is shown once it is theirs"
    assert program.post("/conversations/next").json()["id"] == invoice
    assert "Nothing waits" in refused(program.post("/conversations/next"), 409, "conflict")
