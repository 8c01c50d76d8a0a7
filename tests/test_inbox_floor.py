"""Ines looks at the floor and intervenes: what it shows is true, what she does is done, and agents don't get there."""

from __future__ import annotations

from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser as Page

from routing import commands
from storage.conversations import Conversation
from storage.work import live_item
from tests.browser.room import Browser, words
from tests.browser.scene import available
from tests.desk import Desk


@pytest.fixture
def parcel(desk: Desk) -> int:
    """A mail that waits in Shipping."""
    return desk.mail("My parcel", "Where is my parcel?").conversation_id or 0


def does(ines: Browser, kind: str, number: int | None, what: str, *, hx: bool = True, **values: Any) -> Any:
    return ines.post(f"/inbox/floor/{kind}/{number}/do", hx=hx, do=what, **values)


def toast(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return words(Page(answer.text), ".toast > span")[0]


def owner(desk: Desk, number: int) -> int | None:
    with desk.hub.store.read() as tx:
        return tx.get_one(Conversation, number).assignee_id


def test_the_floor_says_what_waits_and_who_is_there(desk: Desk, ines: Browser, parcel: int) -> None:
    available(desk, desk.amara)
    desk.clock.forward(minutes=31)
    page = ines.page("/inbox/floor")
    assert words(page, ".sums-bar dd")[:3] == ["1", "0", "1"]
    shipping = next(line for line in words(page, ".q") if "Shipping" in line)
    assert "Oldest 31m" in shipping and "1 late" in shipping and "2 of 3 free" in shipping
    (waiting,) = words(page, ".w")
    assert "Mara Lindqvist" in waiting and "1m over" in waiting and "orders ≥ 2" in waiting
    amara = next(line for line in words(page, ".a") if "Amara" in line)
    assert "Available 31m" in amara and "0/100" in amara
    assert page.css_first("#v-floor[aria-current]") is not None


def test_nobody_pins_for_ever(desk: Desk, ines: Browser, parcel: int) -> None:
    for minutes in ("0", "1441", "9" * 18):
        asked = does(ines, "conversations", parcel, "pin", agent=desk.amara.agent_id, minutes=minutes, sheet="1")
        assert asked.status_code == 409 and "at most a day" in asked.text


@pytest.mark.parametrize("kind", ["conversations", "agents", "queues"])
def test_a_number_that_is_too_great_is_not_there(ines: Browser, kind: str) -> None:
    assert ines.get(f"/inbox/floor/{kind}/{10**20}").status_code == 404
    assert does(ines, kind, 10**20, "next", hx=False).status_code == 404


def test_an_agent_is_told_who_may(desk: Desk, jonas: Browser, parcel: int) -> None:
    assert jonas.page("/inbox/mine").css_first("#v-floor") is None
    asked = [
        jonas.get("/inbox/floor"),
        jonas.get(f"/inbox/floor/conversations/{parcel}"),
        does(jonas, "conversations", parcel, "next", hx=False),
        does(jonas, "agents", desk.amara.agent_id, "offline", hx=False),
        does(jonas, "queues", 2, "pause", hx=False, reason="tired"),
    ]
    for answer in asked:
        assert answer.status_code == 403
        assert "This needs the role supervisor or admin" in answer.text


def test_what_is_dropped_on_an_agent_is_theirs_and_can_be_taken_back(desk: Desk, ines: Browser, parcel: int) -> None:
    available(desk, desk.jonas)
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = 5 WHERE id = ?", desk.jonas.agent_id)
    ines.page("/inbox/floor")
    answer = does(ines, "conversations", parcel, "assign", agent=desk.jonas.agent_id)
    assert toast(answer) == "Jonas has it now, 15 over capacity."
    assert owner(desk, parcel) == desk.jonas.agent_id
    page = Page(answer.text)
    assert words(page, "#floor-none") == [] and not page.css(".w[data-id]")
    undo = page.css_first(".toast form")
    assert undo is not None
    again = {field.attributes["name"]: field.attributes["value"] for field in undo.css("input[name=do]")}
    assert toast(does(ines, "conversations", parcel, again["do"] or "")) == "Back in its queue."
    assert owner(desk, parcel) is None


def test_dropped_on_a_queue_it_moves_and_moves_back(desk: Desk, ines: Browser, parcel: int) -> None:
    with desk.hub.store.read() as tx:
        here = tx.get_one(Conversation, parcel).queue_id or 0
    ines.page("/inbox/floor")
    answer = does(ines, "conversations", parcel, "move", queue=here + 1)
    assert toast(answer) == "Moved to Billing."
    values = {field.attributes["name"]: field.attributes["value"] for field in Page(answer.text).css(".toast input")}
    assert (values["do"], values["queue"]) == ("move", str(here))


def test_the_sheet_of_a_conversation_pins_prioritises_and_takes(desk: Desk, ines: Browser, parcel: int) -> None:
    sheet = ines.page(f"/inbox/floor/conversations/{parcel}", hx=True)
    assert words(sheet, ".why li")[0].startswith("Waiting in Shipping")
    buttons = words(sheet, "button[name=do]")
    assert buttons == ["Assign", "Pin", "Move", "Set", "Set", "Next of all", "Take it"]
    assert toast(does(ines, "conversations", parcel, "priority", priority="7", reason="press")).endswith("priority.")
    assert toast(does(ines, "conversations", parcel, "label", labels="returns, broken")) == "It has other labels."
    pinned = does(ines, "conversations", parcel, "pin", agent=desk.amara.agent_id, reason="knows her")
    assert toast(pinned) == "Pinned: it goes to Amara."
    (line,) = words(Page(pinned.text), ".w")
    assert "Amara" in line and "7" in line and "returns" in line and "broken" in line
    assert toast(does(ines, "conversations", parcel, "unpin")) == "It waits in its turn."
    assert toast(does(ines, "conversations", parcel, "next")) == "Pinned: it goes to whoever is free next."
    assert toast(does(ines, "conversations", parcel, "take")) == "It is yours."
    assert owner(desk, parcel) == desk.ines.agent_id
    with desk.hub.store.read() as tx:
        assert (item := live_item(tx, parcel)) is not None and item.priority == 7 and item.pinned_at is None


def test_a_refusal_is_said_in_the_sheet_and_without_scripts_on_a_page(desk: Desk, ines: Browser, parcel: int) -> None:
    available(desk, desk.amara)
    desk.route()
    ines.page("/inbox/floor")
    refused = does(ines, "conversations", parcel, "take", sheet="1")
    assert refused.status_code == 409
    assert words(Page(refused.text), ".problem") == ["Say why: who had it wants to know."]
    page = does(ines, "conversations", parcel, "take", hx=False)
    assert page.status_code == 409 and "Say why" in page.text
    done = does(ines, "conversations", parcel, "take", hx=False, reason="a complaint")
    assert done.status_code == 303 and owner(desk, parcel) == desk.ines.agent_id


def test_the_sheet_of_an_agent_shows_what_they_have_and_switches_them(desk: Desk, ines: Browser, parcel: int) -> None:
    available(desk, desk.amara)
    desk.route()
    sheet = ines.page(f"/inbox/floor/agents/{desk.amara.agent_id}", hx=True)
    assert "Mara Lindqvist" in words(sheet, ".has li")[0]
    assert toast(does(ines, "agents", desk.amara.agent_id, "drain", reason="lunch")) == (
        "Amara finishes and gets nothing new."
    )
    assert "Finishing" in next(line for line in words(ines.page("/inbox/floor"), ".a") if "Amara" in line)
    assert toast(does(ines, "agents", desk.amara.agent_id, "undrain")) == "Work comes to Amara again."
    assert toast(does(ines, "agents", desk.amara.agent_id, "away")) == "Amara is away."
    assert owner(desk, parcel) == desk.amara.agent_id
    assert toast(does(ines, "agents", desk.amara.agent_id, "offline", give_back="on", reason="ill")) == (
        "Amara is offline."
    )
    assert owner(desk, parcel) is None


def test_a_queue_is_paused_and_goes_on(desk: Desk, ines: Browser, parcel: int) -> None:
    with desk.hub.store.read() as tx:
        queue = tx.get_one(Conversation, parcel).queue_id
    ines.page(f"/inbox/floor/queues/{queue}")
    assert "Say why" in does(ines, "queues", queue, "pause", sheet="1").text
    paused = does(ines, "queues", queue, "pause", reason="The shop is down")
    line = next(line for line in words(Page(paused.text), ".q") if "Shipping" in line)
    assert "Paused" in line and "The shop is down" in line
    assert toast(does(ines, "queues", queue, "resume")) == "Shipping goes on."


def test_one_queue_can_be_looked_at_alone(desk: Desk, ines: Browser, parcel: int) -> None:
    other = desk.mail("An invoice", "My invoice, please", sender="devon@northlight.example").conversation_id
    with desk.hub.store.read() as tx:
        billing = tx.get_one(Conversation, other).queue_id
    page = ines.page(f"/inbox/floor?only={billing}")
    assert [node.attributes["data-id"] for node in page.css(".w[data-id]")] == [str(other)]
    assert len(ines.page("/inbox/floor").css(".w[data-id]")) == 2


def test_a_command_that_does_not_exist_is_not_here(desk: Desk, ines: Browser, parcel: int) -> None:
    ines.page("/inbox/floor")
    for kind, number in (("conversations", parcel), ("agents", desk.amara.agent_id), ("queues", 2)):
        assert does(ines, kind, number, "explode").status_code == 404
    assert does(ines, "conversations", 99999, "next").status_code == 404
    assert ines.get("/inbox/floor/agents/99999").status_code == 404
    for wrong in ("", "high", "--5"):
        assert does(ines, "conversations", parcel, "priority", priority=wrong).status_code == 409


def test_what_ines_did_is_told_in_the_conversation(desk: Desk, ines: Browser, parcel: int) -> None:
    with desk.hub.store.write() as tx:
        commands.pin(tx, desk.ines, parcel, reason="the press")
    assert any("pinned it" in line and "the press" in line for line in words(ines.page(f"/inbox/c/{parcel}"), ".event"))
