"""What changes while work waits, on a real desk: levels, groups, age, other queues, and who is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col, select

from hub.lifecycle import snooze, wake
from routing.calendars import ALWAYS, Calendar
from routing.ladder import Climb, following, in_force, read_ladder, told_step
from routing.router import Router
from routing.work import assign, claim, release, set_status, transfer, why_assigned, why_waiting
from storage import Store
from storage.calendars import CalendarPlan
from storage.desk import Queue, RoutingRule, touch_desk
from storage.people import Agent, AgentSkill
from tests.clock import Clock
from tests.routing_desk import Desk


@pytest.fixture
def desk(store: Store) -> Desk:
    """Jonas, who knows nothing of orders, is there; Amara, who does, is not."""
    desk = Desk(store)
    desk.signs_in("Jonas")
    return desk


def ladder_of(desk: Desk, queue: str, *steps: dict[str, Any], **values: Any) -> None:
    with desk.store.write() as tx:
        row = tx.get_one(Queue, desk.queues[queue])
        row.ladder = list(steps)
        for name, value in values.items():
            setattr(row, name, value)
        tx.add(row)
        touch_desk(tx)


def rule_ladder(desk: Desk, *steps: dict[str, Any]) -> None:
    with desk.store.write() as tx:
        row = tx.exec(select(RoutingRule).where(col(RoutingRule.name) == "Order keywords")).one()
        row.ladder = list(steps)
        tx.add(row)
        touch_desk(tx)


def passes(router: Router) -> None:
    """What a router does once a second."""
    router.expire_once()
    while router.climb_once():
        pass
    router.run_once()


def waits(desk: Desk, conversation_id: int) -> str:
    with desk.store.read() as tx:
        return " ".join(why_waiting(tx, conversation_id))


def why(desk: Desk, conversation_id: int) -> str:
    with desk.store.read() as tx:
        return " ".join(why_assigned(tx, conversation_id))


def queue_of(desk: Desk, conversation_id: int) -> str:
    number = desk.item(conversation_id).queue_id
    return next(name for name, known in desk.queues.items() if known == number)


def test_levels_relax_at_their_time_and_somebody_gets_it(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 45, "relax": {"order": 1}}, {"after": 120, "relax": {"order": 0}})
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    passes(router)
    assert "Step 1 of 2 comes in 45 seconds: order ≥ 1 will do." in waits(desk, parcel)
    clock.forward(seconds=44)
    passes(router)
    assert desk.item(parcel).skills == {"order": 2}
    clock.forward(seconds=1)
    passes(router)
    assert desk.item(parcel).skills == {"order": 1}
    told = waits(desk, parcel)
    assert "Step 1 of 2 is in force, since it had waited 45 seconds: order ≥ 1 will do." in told
    assert "Step 2 of 2 comes in 75 seconds: order is no longer required." in told
    clock.forward(seconds=75)
    passes(router)
    assert desk.owner(parcel) == "Jonas"
    assert "After 2 minutes of waiting it needed no skill instead of order ≥ 1." in why(desk, parcel)
    assert [row.data["actions"] for row in desk.facts("LadderStepTaken")] == [["relaxed"], ["relaxed"]]
    desk.is_sound()


def test_what_sleeps_takes_its_steps_when_it_wakes(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 45, "relax": {"order": 0}, "notify": ["supervisors"]})
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    with desk.store.write() as tx:
        snooze(tx, desk.actor(tx, "Ines"), parcel, clock() + timedelta(hours=1))
    clock.forward(minutes=59)
    passes(router)
    assert (desk.item(parcel).skills, desk.facts("LadderStepTaken")) == ({"order": 2}, [])
    with desk.store.write() as tx:
        wake(tx, desk.actor(tx, "Ines"), parcel)
    passes(router)
    assert desk.owner(parcel) == "Jonas"
    assert len(desk.facts("LadderStepTaken")) == 1


def test_others_join_and_later_it_leaves_for_another_queue(desk: Desk, clock: Clock) -> None:
    ladder_of(
        desk, "Billing",
        {"after": 60, "join": [desk.queues["Support"]], "age_credit": 300},
        {"after": 600, "queue_id": desk.queues["Support"], "notify": ["supervisors", "slack"], "priority": 5},
    )  # fmt: skip
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    bill = desk.comes_in()
    with desk.store.write() as tx:
        transfer(tx, desk.actor(tx, "Ines"), bill, desk.queues["Billing"])
    router, began = desk.router(), desk.item(bill).order_time
    clock.forward(seconds=61)
    passes(router)
    item = desk.item(bill)
    assert (item.joined, item.age_credit, item.order_time) == (
        [desk.queues["Support"]], 300, began - timedelta(seconds=300),
    )  # fmt: skip
    assert "Waiting in Billing for 61 seconds." in waits(desk, bill), "its age is a credit, nobody waited so long"
    assert "Support may take it as well, it counts as 5 minutes older" in waits(desk, bill)
    desk.signs_in("Jonas")
    router.run_once()
    assert desk.owner(bill) == "Jonas", "he serves Support only"

    other = desk.comes_in()
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "offline")
        transfer(tx, desk.actor(tx, "Ines"), other, desk.queues["Billing"])
    clock.forward(seconds=600)
    passes(router)
    assert (queue_of(desk, other), desk.item(other).priority, desk.item(other).joined) == ("Support", 5, [])
    assert desk.facts("LadderStepTaken")[-1].data["actions"] == ["priority", "supervisors", "slack", "queue"]
    assert "It was not taken in time, so it went to Support." in why(desk, other)
    assert desk.item(other).step_at is None


def test_a_ladder_counts_open_hours(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        plan = CalendarPlan(name="office", plan={"time_zone": "UTC", "hours": {"mon-fri": "09:00-17:00"}})
        tx.add(plan)
        tx.flush()
        number = plan.id
    ladder_of(desk, "Shipping", {"after": 3600, "relax": {"order": 0}}, calendar_id=number)
    clock.moment = datetime(2026, 11, 27, 16, 30, tzinfo=UTC)  # Friday, half an hour before the end
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    assert desk.item(parcel).step_at == datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
    clock.moment = datetime(2026, 11, 30, 9, 29, 59, tzinfo=UTC)
    passes(router)
    assert desk.owner(parcel) is None
    clock.forward(seconds=1)
    passes(router)
    assert desk.owner(parcel) == "Jonas"


def test_it_stands_still_while_somebody_has_it_and_goes_on_after(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 60, "relax": {"order": 1}}, {"after": 120, "relax": {"order": 0}})
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    clock.forward(seconds=70)
    passes(router)
    with desk.store.write() as tx:
        assign(tx, desk.actor(tx, "Ines"), parcel, desk.agents["Jonas"])
    assert desk.item(parcel).step_at is None
    clock.forward(hours=2)
    passes(router)
    with desk.store.write() as tx:
        release(tx, desk.actor(tx, "Jonas"), parcel)
    assert desk.item(parcel).step_at == clock() + timedelta(seconds=50)
    clock.forward(seconds=50)
    passes(router)
    assert desk.item(parcel).skills == {}


def test_what_was_due_while_nobody_looked_is_made_up_for_in_order(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 60, "queue_id": desk.queues["Billing"]})
    ladder_of(desk, "Billing", {"after": 60, "priority": 3}, {"after": 90, "queue_id": desk.queues["Support"]})
    parcel = desk.comes_in(text="My parcel")
    clock.forward(seconds=140)
    assert desk.router().climb_once() == 1
    item = desk.item(parcel)
    assert (queue_of(desk, parcel), item.priority) == ("Billing", 3)
    assert item.step_at == clock() + timedelta(seconds=10), "150 seconds after it came, however late we looked"
    assert [step["step"] for step in item.trace] == ["rule", "ladder", "overflow", "ladder"]
    clock.forward(seconds=10)
    passes(desk.router())
    assert desk.owner(parcel) == "Jonas"
    desk.is_sound()


def test_ladders_that_lead_back_end_in_the_default_queue(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 60, "queue_id": desk.queues["Billing"]})
    ladder_of(desk, "Billing", {"after": 60, "queue_id": desk.queues["Shipping"]})
    ladder_of(desk, "Support", {"after": 60, "queue_id": desk.queues["Billing"]})
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    seen = []
    for _ in range(6):
        clock.forward(seconds=60)
        passes(router)
        seen.append(queue_of(desk, parcel))
    assert seen == ["Billing", "Support", "Support", "Support", "Support", "Support"]
    desk.signs_in("Jonas")
    passes(router)
    assert desk.owner(parcel) == "Jonas"


def test_a_queue_that_is_gone_leads_to_the_default_one(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 60, "queue_id": desk.queues["Billing"], "require": {}})
    with desk.store.write() as tx:
        tx.get_one(Queue, desk.queues["Billing"]).active = False
        touch_desk(tx)
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    clock.forward(seconds=60)
    passes(router)
    assert (queue_of(desk, parcel), desk.owner(parcel)) == ("Support", "Jonas")


def test_what_rings_stops_ringing_when_it_leaves(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Support", {"after": 40, "priority": 1}, {"after": 50, "queue_id": desk.queues["Billing"]})
    router = desk.router()
    clock.forward(seconds=1)
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    chat = desk.comes_in("chat")
    clock.forward(seconds=35)
    desk.signs_in("Jonas")
    passes(router)
    assert len(desk.rings_at("Jonas")) == 1
    clock.forward(seconds=5)
    passes(router)
    assert (len(desk.rings_at("Jonas")), desk.item(chat).priority) == (1, 1), "what does not move it lets it ring"
    clock.forward(seconds=10)
    passes(router)
    assert (desk.rings_at("Jonas"), queue_of(desk, chat), desk.agent("Jonas").load) == ([], "Billing", 0)
    desk.is_sound()


def test_a_changed_ladder_counts_for_what_waits_already(desk: Desk, clock: Clock) -> None:
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    passes(router)
    clock.forward(seconds=90)
    ladder_of(desk, "Shipping", {"after": 60, "priority": 2}, {"after": 100, "relax": {"order": 0}})
    passes(router)
    assert desk.item(parcel).priority == 2
    ladder_of(desk, "Shipping", {"after": 60, "priority": 2}, {"after": 300, "relax": {"order": 0}})
    clock.forward(seconds=60)
    passes(router)
    assert (desk.owner(parcel), desk.item(parcel).priority) == (None, 2), "what was done is not done again"
    ladder_of(desk, "Shipping")
    passes(router)
    assert desk.item(parcel).step_at is None


def test_what_somebody_took_between_two_ladders_has_no_step_left(desk: Desk, clock: Clock) -> None:
    step = {"after": 600, "queue_id": desk.queues["Billing"]}
    ladder_of(desk, "Support", step)
    mail = desk.comes_in()
    ladder_of(desk, "Support")
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), mail)
    ladder_of(desk, "Support", step)
    clock.forward(minutes=11)
    passes(desk.router())
    assert (queue_of(desk, mail), desk.owner(mail)) == ("Support", "Jonas")


def test_a_rules_own_ladder_leads_through_queues(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Billing", {"after": 1, "priority": 100})
    rule_ladder(
        desk,
        {"after": 30, "queue_id": desk.queues["Billing"], "require": {}},
        {"after": 90, "queue_id": desk.queues["Shipping"], "require": {"order": 4}},
        {"after": 100, "queue_id": desk.queues["Support"], "require": {}},
    )
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    seen = []
    for seconds in (30, 59, 1, 10):
        clock.forward(seconds=seconds)
        passes(router)
        seen.append((queue_of(desk, parcel), desk.item(parcel).skills, desk.item(parcel).priority))
    assert seen == [
        ("Billing", {}, 0), ("Billing", {}, 0), ("Shipping", {"order": 4}, 0), ("Support", {}, 0),
    ]  # fmt: skip
    assert "Step 3 of 3 is in force" in waits(desk, parcel)
    with desk.store.write() as tx:
        transfer(tx, desk.actor(tx, "Ines"), parcel, desk.queues["Billing"])
    clock.forward(seconds=1)
    passes(router)
    assert desk.item(parcel).priority == 100, "who moves it by hand leaves the rule's ladder behind"


def test_two_routers_take_a_step_once(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 60, "priority": 2, "notify": ["slack"]})
    parcel, (first, second) = desk.comes_in(text="My parcel"), (desk.router("node-1"), desk.router("node-2"))
    clock.forward(seconds=61)
    assert (first.climb_once(), second.climb_once(), first.climb_once()) == (1, 0, 0)
    assert desk.item(parcel).priority == 2
    assert len(desk.facts("LadderStepTaken")) == 1


def test_what_is_assigned_by_hand_and_resolved_has_no_steps_left(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Shipping", {"after": 60, "priority": 2})
    parcel = desk.comes_in(text="My parcel")
    with desk.store.write() as tx:
        assign(tx, desk.actor(tx, "Ines"), parcel, desk.agents["Jonas"])
    clock.forward(hours=1)
    assert desk.router().climb_once() == 0


def test_the_skilled_agent_is_asked_as_soon_as_the_level_allows(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        known = tx.exec(select(AgentSkill).where(col(AgentSkill.agent_id) == desk.agents["Amara"])).one()
        known.level = 1
        touch_desk(tx)
    desk.signs_in("Amara")
    ladder_of(desk, "Shipping", {"after": 30, "relax": {"order": 1}})
    router, parcel = desk.router(), desk.comes_in(text="My parcel")
    passes(router)
    assert desk.owner(parcel) is None
    clock.forward(seconds=30)
    passes(router)
    assert desk.owner(parcel) == "Amara"


OFFICE = Calendar("office", UTC, [[(540, 720), (780, 1020)]] * 5 + [[], []])
MONDAY = datetime(2026, 11, 23, 8, tzinfo=UTC)


@given(
    st.lists(st.integers(1, 40_000), min_size=1, max_size=5, unique=True).map(sorted),
    st.lists(st.integers(1, 30_000), max_size=6),
    st.sampled_from([ALWAYS, OFFICE]),
)
def test_rests_and_late_looks_change_no_steps_moment(afters: list[int], looks: list[int], calendar: Calendar) -> None:
    """Looked at seldom or often, the same steps are taken at the same moments of waiting."""
    ladder = read_ladder([{"after": after, "priority": 1} for after in afters])
    climb, now, taken = Climb(0, MONDAY, 0), MONDAY, list[datetime]()
    for seconds in looks:
        now += timedelta(seconds=seconds)
        while (at := climb.next_at(ladder, calendar)) is not None and at <= now:
            step = following(ladder, climb.reached)
            assert step is not None
            climb = Climb(step.after, at, step.after)
            taken.append(at)
    due = [calendar.add(MONDAY, after) for after in afters]
    assert taken == [at for at in due if at <= now]
    assert in_force(ladder, climb.reached) == len(taken)
    rested = climb.resting(calendar, now)
    assert rested.next_at(ladder, calendar) is None
    assert abs(rested.used - calendar.elapsed(MONDAY, now)) < 1


def test_a_step_is_told_in_words() -> None:
    (step,) = read_ladder([
        {"after": 60, "relax": {"es": 2, "billing": 0}, "join": [1, 2], "age_credit": 90, "notify": ["slack"]}
    ])  # fmt: skip
    names = {1: "Tier 2", 2: "Night"}
    assert ", ".join(told_step(step, names)) == (
        "billing is no longer required, es ≥ 2 will do, Tier 2 and Night may take it as well, "
        "it counts as 90 seconds older, Slack is told"
    )
    assert told_step(step, names, {"es": 2})[0] == "Tier 2 and Night may take it as well"
    (step,) = read_ladder([{"after": 60, "require": {}, "queue_id": 9, "notify": ["supervisors"]}])
    assert told_step(step, {}) == ["it needs no skill", "it goes to the default queue", "supervisors are told"]


def test_nothing_is_known_of_a_damaged_ladder_and_work_goes_on(desk: Desk) -> None:
    ladder_of(desk, "Support", {"afer": 60})
    mail = desk.comes_in()
    passes(desk.router())
    assert desk.owner(mail) == "Jonas"


@pytest.mark.parametrize(
    ("limits", "place"),
    [({"size": 2}, ["Shipping", "Shipping", "Support"]), ({"wait": 60}, ["Shipping", "Support", "Support"])],
)
def test_a_full_queue_hands_what_comes_to_another(
    desk: Desk, clock: Clock, limits: dict[str, Any], place: list[str]
) -> None:
    ladder_of(desk, "Shipping", limits=limits)
    seen = []
    for _ in range(3):
        seen.append(desk.comes_in(text="My parcel"))
        clock.forward(seconds=60)
    assert [queue_of(desk, one) for one in seen] == place
    assert "Shipping was full, so it went to Support." in why(desk, seen[2])
    assert desk.facts("ConversationQueued")[-1].data["why"] == "Shipping is full"


def test_full_queues_that_name_each_other_end_in_the_default_one(desk: Desk) -> None:
    ladder_of(desk, "Shipping", limits={"size": 1, "queue_id": desk.queues["Billing"]})
    ladder_of(desk, "Billing", limits={"size": 1, "queue_id": desk.queues["Shipping"]})
    ladder_of(desk, "Support", limits={"size": 1})
    with desk.store.write() as tx:
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 0
    parcels = [desk.comes_in(text="My parcel") for _ in range(5)]
    assert [queue_of(desk, one) for one in parcels] == ["Shipping", "Billing", "Support", "Support", "Support"]


def test_a_step_passes_a_full_queue_over(desk: Desk, clock: Clock) -> None:
    ladder_of(desk, "Billing", limits={"size": 1, "queue_id": desk.queues["Support"]})
    ladder_of(desk, "Shipping", {"after": 60, "queue_id": desk.queues["Billing"]})
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    first, second = desk.comes_in(text="My parcel"), desk.comes_in(text="My parcel")
    clock.forward(seconds=60)
    passes(desk.router())
    assert [queue_of(desk, one) for one in (first, second)] == ["Billing", "Support"]


def test_what_nobody_can_ever_take_goes_to_the_default_queue(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        tx.sql("DELETE FROM agent_queue WHERE queue_id = ?", desk.queues["Shipping"])
        touch_desk(tx)
    parcel = desk.comes_in(text="My parcel")
    assert (queue_of(desk, parcel), desk.item(parcel).skills) == ("Support", {"order": 2}), "Amara can, there"
    assert "Nobody can take it in Shipping, so it went to Support." in why(desk, parcel)
    with desk.store.write() as tx:
        tx.sql("DELETE FROM agent_skill")
        touch_desk(tx)
    other = desk.comes_in(text="My parcel")
    passes(desk.router())
    assert desk.owner(other) == "Jonas"
    assert "so it went to Support. order no longer required." in why(desk, other)


def test_a_paused_queue_and_one_whose_ladder_helps_keep_their_work(desk: Desk) -> None:
    with desk.store.write() as tx:
        tx.sql("DELETE FROM agent_queue WHERE queue_id = ?", desk.queues["Shipping"])
    ladder_of(desk, "Shipping", {"after": 60, "join": [desk.queues["Support"]]})
    assert queue_of(desk, desk.comes_in(text="My parcel")) == "Shipping"
    ladder_of(desk, "Shipping", handout={"paused": True})
    assert queue_of(desk, desk.comes_in(text="My parcel")) == "Shipping"
    ladder_of(desk, "Shipping", handout={})
    assert queue_of(desk, desk.comes_in(text="My parcel")) == "Support"
