"""Conversations that come faster than Slack takes messages: what is late is told together, what is urgent by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import col, select

from chatops import backlog
from routing.router import Router
from routing.work import assign
from sandbox.slack import SlackMood
from storage.access import SYSTEM
from storage.clock import utcnow
from storage.deliveries import Delivery
from storage.people import agent_by_email
from tests.test_chatops import Desk, desk, server

__all__ = ["desk", "server"]

A_WHILE = backlog.LATE + timedelta(seconds=30)


def flood(desk: Desk, number: int) -> list[int]:
    """So many conversations come while Slack asks to slow down; their notices are late when it takes them again."""
    desk.slack.moods.append(SlackMood(status=429, retry_after=int(A_WHILE.total_seconds()) - 20))
    found = [desk.text("Hello?", f"+4670174{each:04}") for each in range(number)]
    with desk.hub.store.read() as tx:
        start = tx.now
    while desk.followers.run_once():
        pass
    desk.hub.store.clock = lambda: start + A_WHILE
    return found


def skipped(desk: Desk) -> list[str]:
    with desk.hub.store.read() as tx:
        rows = tx.exec(select(Delivery).where(Delivery.sender == "slack").order_by(col(Delivery.id)))
        return [row.response["skipped"] for row in rows if "skipped" in (row.response or {})]


def test_when_there_is_too_much_it_is_told_in_one_message(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MANY", 5)
    flood(desk, 12)
    desk.slack.moods.clear()
    desk.work(A_WHILE)
    together = [post for post in desk.notices if "More conversations" in post.text]
    assert len(together) == 1 and "/inbox/unassigned" in together[0].text
    cards = len(desk.notices) - 1
    assert 0 < cards <= 5, "once so few wait that they can be shown"
    assert len(skipped(desk)) == 12 - cards


def test_what_is_late_because_slack_was_away_is_still_shown(desk: Desk) -> None:
    flood(desk, 4)
    desk.slack.moods.clear()
    desk.work(A_WHILE)
    assert len(desk.notices) == 4 and skipped(desk) == []


def test_what_somebody_has_by_then_needs_no_notice(desk: Desk) -> None:
    taken, waits = flood(desk, 2)
    desk.slack.moods.clear()
    with desk.hub.store.write() as tx:
        jonas = agent_by_email(tx, "jonas@example.com")
        assert jonas is not None
        assign(tx, SYSTEM, taken, jonas.id or 0)
    desk.work(A_WHILE)
    assert "somebody has it by now" in skipped(desk)
    assert [f"/c/{waits}" in str(post.blocks) for post in desk.notices] == [True]


def test_a_missed_target_is_told_however_late_and_whoever_has_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MANY", 1)
    taken, waits = flood(desk, 2)
    desk.slack.moods.clear()
    desk.work(A_WHILE)
    before = len(desk.notices)
    with desk.hub.store.write() as tx:
        jonas = agent_by_email(tx, "jonas@example.com")
        assert jonas is not None
        assign(tx, SYSTEM, taken, jonas.id or 0)
    start = utcnow()
    desk.hub.store.clock = lambda: start + timedelta(minutes=31)
    assert Router(desk.hub.store, "test").breach_once() == 2
    while desk.followers.run_once():
        pass
    desk.work(timedelta(minutes=31) + A_WHILE)
    told = [str(post.blocks) for post in desk.notices]
    assert all(any(f"/c/{number}" in each for each in told) for number in (taken, waits))
    assert len(desk.notices) <= before + 2


def test_a_missed_target_of_what_was_skipped_has_its_notice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MANY", 1)
    flood(desk, 3)
    desk.slack.moods.clear()
    desk.work(A_WHILE)
    before = len(desk.notices)
    monkeypatch.setattr(backlog, "MANY", 100)
    desk.hub.store.clock = lambda: utcnow() + timedelta(minutes=31)
    Router(desk.hub.store, "test").breach_once()
    desk.work(timedelta(minutes=31))
    late = [post for post in desk.notices if "overdue" in str(post.blocks)]
    assert len(late) == 3 and len(desk.notices) >= before
