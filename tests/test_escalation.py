"""What a queue wants done when a promise is nearly broken or is, and while it is closed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlmodel import select

from hub.desk import DeskError, apply, export, read
from hub.replies import reply
from inbox.counts import counts
from inbox.session import Viewer
from routing.router import Router
from routing.work import claim, set_status, why_assigned, why_waiting
from storage.access import SYSTEM, Actor
from storage.desk import Queue, touch_desk
from storage.facts import FactRow
from storage.people import Agent
from storage.work import WorkItem, live_item
from tests.desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")

QUEUES = """
calendars:
  - {name: office, time_zone: Europe/Berlin, hours: {mon-fri: 09:00-17:00}}
queues:
  - name: Shipping
    sla: {first_reply: 30m}
    escalate:
      on_warning: [{priority: 10}]
      on_breach: [supervisors, slack, {priority: 5}, {queue: General}]
  - {name: General, first_reply: 4h, default: true}
  - {name: Billing, first_reply: 4h}
"""


def applied(desk: Desk, text: str) -> list[str]:
    with desk.hub.store.write() as tx:
        return [str(change) for change in apply(tx, SYSTEM, read(text))]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def queue_of(desk: Desk) -> str:
    return str(item(desk)[1])


def item(desk: Desk) -> tuple[WorkItem, str]:
    with desk.hub.store.read() as tx:
        found = live_item(tx, desk.only_conversation().id or 0)
        assert found is not None
        return found, tx.get_one(Queue, found.queue_id).name


def escalations(desk: Desk) -> list[list[str]]:
    router = Router(desk.hub.store, "test")
    while router.breach_once():
        pass
    with desk.hub.store.read() as tx:
        return [row.data["actions"] for row in tx.exec(select(FactRow).where(FactRow.name == "ConversationEscalated"))]


def escalated(desk: Desk, actor: Actor) -> int | None:
    """The number beside the supervisors' list; None where there is no such list."""
    with desk.hub.store.read() as tx:
        viewer = Viewer(tx.get_one(Agent, actor.agent_id), actor, UTC)
        return counts(tx, viewer).views.get("escalated")


def test_a_warning_goes_before_others_and_a_breach_is_somebody_elses(desk: Desk) -> None:
    applied(desk, QUEUES)
    desk.mail("lamp", "My order")
    desk.clock.forward(minutes=25)
    assert escalations(desk) == [["priority"]]
    assert (item(desk)[0].priority, desk.only_conversation().priority, queue_of(desk)) == (10, 10, "Shipping")
    assert (escalated(desk, desk.ines), escalated(desk, desk.jonas)) == (0, None)

    desk.clock.forward(minutes=5)
    assert escalations(desk)[1:] == [["supervisors", "slack", "priority", "queue"]]
    assert (item(desk)[0].priority, queue_of(desk)) == (15, "General")
    assert escalated(desk, desk.ines) == 1
    with desk.hub.store.read() as tx:
        assert "The router transferred it to General." in " ".join(why_assigned(tx, desk.only_conversation().id or 0))

    with desk.hub.store.write() as tx:
        number = desk.only_conversation().id or 0
        reply(tx, desk.jonas, number, text="We look into it.", tokens=desk.hub.tokens)
    assert escalated(desk, desk.ines) == 0
    desk.clock.forward(days=3)
    assert len(escalations(desk)) == 2


def test_what_somebody_has_is_not_taken_away(desk: Desk) -> None:
    applied(desk, QUEUES)
    desk.mail("lamp", "My order")
    with desk.hub.store.write() as tx:
        claim(tx, desk.jonas, desk.only_conversation().id or 0)
    desk.clock.forward(minutes=30)
    assert escalations(desk) == [["supervisors", "slack", "priority"]]
    assert (queue_of(desk), item(desk)[0].agent_id) == ("Shipping", desk.jonas.agent_id)


def test_what_rings_stops_ringing_when_it_is_moved(desk: Desk) -> None:
    applied(desk, QUEUES)
    with desk.hub.store.write() as tx:
        set_status(tx, desk.jonas, int(desk.jonas.agent_id or 0), "available")
    desk.clock.forward(seconds=1)
    desk.mail("lamp", "My order")
    desk.clock.forward(minutes=29, seconds=50)
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE work_item SET channel = 'chat'")
        touch_desk(tx)
    Router(desk.hub.store, "test").run_once()
    assert item(desk)[0].state == "offered"
    desk.clock.forward(seconds=10)
    escalations(desk)
    assert (item(desk)[0].state, queue_of(desk), desk.agent(desk.jonas).load) == ("queued", "General", 0)


def test_a_closed_queue_can_keep_its_work_for_the_opening(desk: Desk) -> None:
    applied(desk, QUEUES.replace("sla:", "calendar: office\n    out_of_hours: hold\n    sla:"))
    with desk.hub.store.write() as tx:
        set_status(tx, desk.jonas, int(desk.jonas.agent_id or 0), "available")
    desk.clock.moment = at("2026-11-27T20:00")  # Friday evening
    desk.mail("lamp", "My order")
    assert desk.route() == 0
    with desk.hub.store.read() as tx:
        told = why_waiting(tx, desk.only_conversation().id or 0)
    assert told[0] == "Shipping is closed: it opens on Monday, 30 November at 09:00 (Europe/Berlin)."
    assert told[-1] == "Until then it is offered to nobody, but anybody may claim it."
    desk.clock.moment = at("2026-11-30T07:59")
    assert desk.route() == 0
    desk.clock.moment = at("2026-11-30T08:00")
    assert desk.route() == 1
    assert item(desk)[0].agent_id == desk.jonas.agent_id


def test_a_closed_queue_can_hand_what_comes_to_another_one(desk: Desk) -> None:
    overflow = "calendar: office\n    out_of_hours: {overflow: Billing}\n    sla:"
    applied(desk, QUEUES.replace("sla:", overflow))
    desk.clock.moment = at("2026-11-27T20:00")
    desk.mail("lamp", "My order")
    assert queue_of(desk) == "Billing"
    with desk.hub.store.read() as tx:
        told = why_assigned(tx, desk.only_conversation().id or 0)
        assert "Shipping was closed, so it went to Billing. orders no longer required." in told
    desk.clock.moment = at("2026-11-30T09:00")
    taken = desk.mail("lamp", "My other order", sender="other@example.com")
    with desk.hub.store.read() as tx:
        found = live_item(tx, taken.conversation_id or 0)
        assert found is not None and tx.get_one(Queue, found.queue_id).name == "Shipping"


def test_escalation_is_given_out_as_it_was_written(desk: Desk) -> None:
    text = QUEUES.replace("sla:", "calendar: office\n    out_of_hours: {overflow: Billing}\n    sla:")
    applied(desk, text.replace("Billing, first", "Billing, out_of_hours: hold, first"))
    with desk.hub.store.read() as tx:
        out = export(tx)
    assert applied(desk, out) == []
    queues = {queue["name"]: queue for queue in read(out)["queues"]}
    assert queues["Shipping"]["escalate"]["on_breach"] == [
        "supervisors",
        "slack",
        {"priority": 5},
        {"queue": "General"},
    ]
    assert queues["Shipping"]["out_of_hours"] == {"overflow": "Billing"}
    assert queues["Billing"]["out_of_hours"] == "hold"


@pytest.mark.parametrize(
    ("queues", "sentence"),
    [
        ("{name: A, escalate: {on_breach: [shout]}}", r"queues\[1\].escalate.on_breach\[1\] must be"),
        ("{name: A, escalate: {on_breach: [{priority: 0}]}}", "greater than or equal to 1"),
        ("{name: A, escalate: {on_breach: [{prio: 5}]}}", "unknown key 'prio'; did you mean 'priority'"),
        ("{name: A, escalate: {on_breach: [{priority: 5, queue: A}]}}", "must be one of slack, supervisors"),
        ("{name: A, escalate: {on_late: [slack]}}", "unknown key 'on_late'"),
        ("{name: A, escalate: {on_breach: [{queue: B}]}}", "there is no queue 'B'; known are A"),
        ("{name: A, out_of_hours: {overflow: B}}", "there is no queue 'B'"),
        ("{name: A, out_of_hours: closed}", r"queues\[1\].out_of_hours must be"),
        ("{name: A, out_of_hours: {overflow: A}}", "goes in a circle"),
        ("{name: A, out_of_hours: {overflow: B}}, {name: B, out_of_hours: {overflow: A}}", "goes in a circle: A → B"),
    ],
)
def test_ways_that_lead_nowhere_are_refused(desk: Desk, queues: str, sentence: str) -> None:
    with pytest.raises(DeskError, match=sentence), desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read(f"queues: [{queues}]\nrules: []"))
