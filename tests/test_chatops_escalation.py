"""Targets that are missed ring somebody's bell in Slack: in the desk's channel, and at each supervisor alone."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import col, select

from hub.desk import apply
from hub.erasure import erase
from routing.router import Router
from sandbox.slack import SlackMood
from storage.access import SYSTEM
from storage.clock import utcnow
from storage.deliveries import Delivery
from tests.test_chatops import AMARA, DESK, NOTICES, Desk, desk, server

__all__ = ["desk", "server"]

LATE = timedelta(seconds=61)


def escalated(desk: Desk, *actions: str) -> None:
    """A text waits too long in a queue that wants this done about it."""
    shipping = {"name": "Shipping", "first_reply": "1m", "escalate": {"on_breach": list(actions)}}
    agents = [one | ({"role": "supervisor"} if one["name"] == "Amara Obi" else {}) for one in DESK["agents"]]
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"queues": [shipping, {"name": "Billing"}], "agents": agents})
    desk.text("Is anybody there?")
    desk.work()
    desk.hub.store.clock = lambda: utcnow() + LATE
    router = Router(desk.hub.store, "test")
    router.run_once()
    router.breach_once()


def said(desk: Desk, channel: str) -> list[str]:
    return [post.text for post in desk.slack.messages if post.channel == channel and "overdue*" in post.text]


def test_the_channel_and_every_supervisor_are_told_once(desk: Desk) -> None:
    escalated(desk, "slack", "supervisors")
    desk.work(LATE)
    desk.work(LATE)
    for channel in (NOTICES, AMARA):
        (text,) = said(desk, channel)
        assert text.startswith("*First reply overdue*: +46701740605, Shipping <http://")
    assert len(desk.notices) == 2, "the notice that was there is shown in its new state, the alert is beside it"


def test_a_line_that_breaks_after_an_alert_leaves_one(desk: Desk) -> None:
    escalated(desk, "slack")
    desk.slack.moods += [SlackMood(drop="after"), SlackMood(drop="after")]
    for seconds in (0, 20, 60, 300):
        desk.work(LATE + timedelta(seconds=seconds))
    assert len(said(desk, NOTICES)) == 1


def test_whose_it_was_is_erased_from_alerts(desk: Desk) -> None:
    escalated(desk, "slack", "supervisors")
    desk.work(LATE)
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE delivery SET state = 'failed' WHERE dedupe_key LIKE 'alert:%:%'")
    erase(desk.hub, SYSTEM, 1)
    with desk.hub.store.read() as tx:
        told = tx.exec(select(Delivery).where(col(Delivery.dedupe_key).startswith("alert:")))
        assert sorted((row.state, str(row.payload)) for row in told) == [("cancelled", "{}"), ("sent", "{}")]


def test_nobody_is_told_where_the_queue_says_nothing(desk: Desk) -> None:
    escalated(desk)
    desk.work(LATE)
    assert said(desk, NOTICES) == []


def test_a_step_of_a_ladder_rings_the_bell_too(desk: Desk) -> None:
    shipping = {"name": "Shipping", "ladder": [{"after": "1m", "notify": ["slack"]}]}
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"queues": [shipping, {"name": "Billing"}]})
    desk.text("Is anybody there?")
    desk.work()
    desk.hub.store.clock = lambda: utcnow() + LATE
    assert Router(desk.hub.store, "test").climb_once() == 1
    desk.work(LATE)
    desk.work(LATE)
    (text,) = [post.text for post in desk.slack.messages if post.text.startswith("*Nobody has it after 1 minute*")]
    assert "+46701740605, Shipping <http://" in text
