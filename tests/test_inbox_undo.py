"""Taken back from the toast: handing over, moving; and written moments, and unread again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from selectolax.lexbor import LexborHTMLParser as Page

from tests.browser.room import Browser, attr, words
from tests.browser.scene import available
from tests.desk import Desk
from tests.test_inbox_actions import arrived, conversation

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


def test_what_was_handed_over_or_moved_comes_back(jonas: Browser, desk: Desk) -> None:
    available(desk, desk.jonas, desk.amara)
    number = arrived(desk, jonas)
    jonas.post(f"/inbox/c/{number}/claim", hx=True)
    before = conversation(desk, number)
    handed = jonas.post(f"/inbox/c/{number}/assign", hx=True, agent=str(desk.amara.agent_id))
    assert conversation(desk, number).assignee_id == desk.amara.agent_id
    back = attr(Page(handed.text), ".toast input[name=back]", "value")
    assert jonas.post("/inbox/macros/undo", hx=True, back=back).status_code == 200
    assert conversation(desk, number).assignee_id == desk.jonas.agent_id

    with desk.hub.store.read() as tx:
        billing = tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0]
    moved = jonas.post(f"/inbox/c/{number}/transfer", hx=True, queue=str(billing))
    assert jonas.get(f"/inbox/c/{number}").status_code == 404
    jonas.at = "/inbox/mine"  # where the page says it is now
    back = attr(Page(moved.text), ".toast input[name=back]", "value")
    undone = jonas.post("/inbox/macros/undo", hx=True, back=back)
    assert undone.headers["HX-Push-Url"].startswith(f"/inbox/c/{number}")
    after = conversation(desk, number)
    assert (after.queue_id, after.assignee_id) == (before.queue_id, desk.jonas.agent_id)


def test_a_moment_is_written_for_a_snooze(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    refused = jonas.post(f"/inbox/c/{number}/snooze", hx=True, until="when", when="someday")
    assert refused.status_code == 409 and "is no time we know" in refused.text
    assert jonas.post(f"/inbox/c/{number}/snooze", hx=True, until="when", when="fri 14:30").status_code == 200
    assert conversation(desk, number).snoozed_until == datetime(2026, 11, 27, 14, 30, tzinfo=UTC)


def test_what_was_read_is_unread_again(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    jonas.post(f"/inbox/c/{number}/read", hx=True, message="999999")
    assert len(jonas.page("/inbox/all").css(".row.unread")) == 0
    closed = jonas.post(f"/inbox/c/{number}/unread", hx=True)
    assert "Choose a conversation" in closed.text and words(Page(closed.text), ".toast > span") == ["Unread again."]
    assert len(jonas.page("/inbox/all").css(".row.unread")) == 1
