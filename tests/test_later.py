"""Replies for later: they leave at their moment, or wait where the customer wrote, and answer nothing before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser as Page

from hub.later import leave_due
from hub.replies import reply, undo
from storage.access import Conflict
from storage.conversations import Conversation, Message
from storage.later import LaterReply
from tests.browser.room import Browser, words
from tests.browser.scene import available
from tests.clock import Clock
from tests.desk import Desk
from tests.test_inbox_actions import arrived, chosen, seen, send

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")
TOMORROW = timedelta(hours=22)


def schedule(desk: Desk, number: int, **values: Any) -> int:
    with desk.hub.store.write() as tx:
        message = reply(
            tx, desk.jonas, number, text="It left.", tokens=desk.hub.tokens, send_at=tx.now + TOMORROW, **values
        )
        return message.id or 0


def due(desk: Desk) -> int:
    return desk.hub.store.submit(leave_due)


def conversation(desk: Desk, number: int) -> Conversation:
    with desk.hub.store.read() as tx:
        return tx.get_one(Conversation, number)


def deliveries(desk: Desk) -> int:
    with desk.hub.store.read() as tx:
        return int(tx.sql("SELECT count(*) FROM delivery WHERE sender = 'channel'").fetchone()[0])


def facts(desk: Desk, name: str) -> int:
    with desk.hub.store.read() as tx:
        return int(tx.sql("SELECT count(*) FROM fact WHERE name = ?", name).fetchone()[0])


def test_it_leaves_at_its_moment_and_is_an_answer_from_then_on(desk: Desk, clock: Clock) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    message = schedule(desk, number)
    before = conversation(desk, number)
    assert before.waiting_since is not None and before.preview == "Where is my lamp?"
    assert (due(desk), deliveries(desk)) == (0, 0)
    clock.forward(hours=22)
    assert (due(desk), due(desk), deliveries(desk)) == (1, 0, 1)
    after = conversation(desk, number)
    assert (after.waiting_since, after.preview, after.last_message_id) == (None, "It left.", message)
    assert facts(desk, "ReplyScheduled") == facts(desk, "ReplyQueued") == facts(desk, "FirstReplySent") == 1
    with desk.hub.store.read() as tx:
        assert tx.get(LaterReply, message) is None


def test_one_that_minds_is_a_draft_again_when_they_wrote_before(desk: Desk, clock: Clock, jonas: Browser) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    minds = schedule(desk, number, unless_they_write=True)
    other = schedule(desk, number)
    clock.forward(hours=2)
    desk.text("Found it!")
    page = jonas.page(f"/inbox/c/{number}")
    assert words(page, f"#s-{minds} > span") == ["Will not go out by itself: they have written since"]
    clock.forward(hours=22)
    assert due(desk) == 2
    with desk.hub.store.read() as tx:
        assert (tx.get_one(Message, minds).state, tx.get_one(Message, other).state) == ("draft", "queued")
    page = jonas.page(f"/inbox/c/{number}")
    assert words(page, "#reply") == ["It left."]
    assert any("was not sent, because they wrote before" in one for one in words(page, ".event"))
    assert conversation(desk, number).waiting_since is not None, "what they wrote since is not answered"


def test_it_is_taken_back_or_sent_at_once(desk: Desk, clock: Clock, jonas: Browser) -> None:
    number = arrived(desk, jonas)
    message = schedule(desk, number)
    waiting = conversation(desk, number).waiting_since
    with desk.hub.store.write() as tx:
        undo(tx, desk.jonas, message)
    assert conversation(desk, number).waiting_since == waiting
    second = schedule(desk, number)
    assert jonas.post(f"/inbox/m/{second}/now", hx=True).status_code == 200
    assert deliveries(desk) == 1
    assert jonas.post(f"/inbox/m/{second}/now", hx=True).status_code == 409
    clock.forward(days=2)
    assert due(desk) == 0
    with desk.hub.store.write() as tx, pytest.raises(Conflict, match="coming year"):
        reply(tx, desk.jonas, number, text="x", tokens=desk.hub.tokens, send_at=datetime(2020, 1, 1, tzinfo=UTC))


def test_jonas_sends_it_on_friday_unless_she_writes(desk: Desk, clock: Clock, jonas: Browser) -> None:
    number = arrived(desk, jonas)
    jonas.client.set_cookie("zone", "Europe/Berlin")
    held = send(jonas, number, "Any news?", later="when", when="someday")
    assert held.status_code == 409 and "is no time we know" in words(Page(held.text), ".guard span")[0]
    done = Page(send(jonas, number, "Any news?", later="when", when="fri 14:30", unless="1").text)
    assert "goes out" in words(done, ".toast > span")[0]
    last = desk.messages(number)[-1]
    assert last.send_after == datetime(2026, 11, 27, 13, 30, tzinfo=UTC)
    assert words(done, f"#s-{last.id} button") == ["Take back", "Send now"]
    assert "unless they write before" in words(done, f"#s-{last.id} > span")[0]
    assert words(jonas.page(f"/inbox/c/{number}"), "#reply") == [""]
    assert send(jonas, number, "Morning", later="tomorrow").status_code == 200
    assert desk.messages(number)[-1].send_after == datetime(2026, 11, 25, 7, 0, tzinfo=UTC)


def test_the_button_remembers_what_was_done_last(desk: Desk, jonas: Browser) -> None:
    number = arrived(desk, jonas)
    page = jonas.page(f"/inbox/c/{number}")
    assert words(page, ".send > button")[0].startswith("Send Ctrl")
    send(jonas, number, "On its way", then="resolve")
    again = arrived(desk, jonas, "Thanks!")
    assert words(jonas.page(f"/inbox/c/{again}"), ".send > button")[0].startswith("Send and resolve")
    send(jonas, again, "You are welcome", then="snooze")
    assert conversation(desk, again).state == "snoozed"
    last = arrived(desk, jonas, "One more thing")
    assert words(jonas.page(f"/inbox/c/{last}"), ".send > button")[0].startswith("Send and snooze")
    assert desk.agent(desk.jonas).preferences["then"] == "snooze"


def test_a_reply_is_held_when_amara_answered_meanwhile(desk: Desk, jonas: Browser) -> None:
    available(desk, desk.amara)
    number = arrived(desk, jonas)
    page = jonas.page(f"/inbox/c/{number}")
    with desk.hub.store.write() as tx:
        theirs = reply(tx, desk.amara, number, text="It is on its way", tokens=desk.hub.tokens).id
    fields: dict[str, Any] = {"kind": "reply", "reply": "We are searching", "choice": chosen(page), "seen": seen(page)}
    held = jonas.post(f"/inbox/c/{number}/send", hx=True, **fields)
    assert held.status_code == 409
    shown = Page(held.text)
    assert words(shown, ".guard span")[0] == "Amara Obi answered meanwhile. Read it, then send."
    assert words(shown, ".msg.out .text") == ["It is on its way"]
    anyway = shown.css_first("button[name=anyway]")
    assert anyway is not None and anyway.attributes["value"] == str(theirs)
    assert jonas.post(f"/inbox/c/{number}/send", hx=True, anyway=str(theirs), **fields).status_code == 200
    again = jonas.page(f"/inbox/c/{number}")
    assert send(jonas, number, "And one more", seen=seen(again)).status_code == 200, "own answers hold nothing"


def test_what_sleeps_sends_its_reply_in_its_sleep(desk: Desk, clock: Clock) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    with desk.hub.store.write() as tx:
        message = reply(
            tx, desk.ines, number, text="Later", tokens=desk.hub.tokens, send_at=tx.now + TOMORROW, then="snooze"
        )
        assert message.send_after == tx.now + TOMORROW
    assert conversation(desk, number).state == "snoozed"
    clock.forward(days=1)
    assert due(desk) == 1
    assert conversation(desk, number).state == "snoozed", "an answer of ours wakes nothing"
