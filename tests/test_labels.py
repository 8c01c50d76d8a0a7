"""Labels: rules and people say of which kinds work is, and a profile lets an agent have only so many of a kind."""

from __future__ import annotations

import pytest
from sqlmodel import select

from hub.desk import apply, export, read
from routing.commands import label
from routing.live import LiveFloor
from routing.overview import agent_lines, waiting_lines
from routing.pull import choices
from routing.reasons import why_waiting
from routing.whys import recomputed, stored_reasons
from routing.work import claim, close
from storage import Store
from storage.access import Conflict
from storage.desk import RoutingProfile, RoutingRule, touch_desk
from storage.people import Agent
from tests.desk import Desk as Hub
from tests.routing_desk import Desk


@pytest.fixture
def floor(store: Store) -> Desk:
    """Orders are labelled returns, and Amara, the only one who knows orders, may have two of them at once."""
    desk = Desk(store)
    with store.write() as tx:
        rule = tx.exec(select(RoutingRule).where(RoutingRule.name == "Order keywords")).one()
        rule.labels = ["returns"]
        profile = RoutingProfile(name="Careful", limits={"labels": {"returns": 2}})
        tx.add(profile)
        tx.flush()
        tx.get_one(Agent, desk.agents["Amara"]).profile_id = profile.id
        touch_desk(tx)
    return desk


def differences(kept: LiveFloor, desk: Desk) -> list[str]:
    with desk.store.read() as tx:
        return kept.differences(tx)


def test_nobody_gets_more_of_a_kind_than_the_profile_allows(floor: Desk) -> None:
    floor.signs_in("Amara")
    router = floor.router()
    orders = [floor.comes_in(text="my order") for _ in range(3)]
    other = floor.comes_in()
    router.run_once()
    assert [floor.owner(one) for one in (*orders, other)] == ["Amara", "Amara", None, "Amara"]
    with floor.store.read() as tx:
        told = why_waiting(tx, orders[2])
        (amara,) = [line for line in agent_lines(tx) if line.name == "Amara Obi"]
        assert [line.labels for line in waiting_lines(tx)] == [("returns",)]
    assert "1 agent in Shipping with order ≥ 2: it has as many with its labels as allowed." in told
    assert "It is labelled returns: of such work one has only so much at once." in told
    assert (amara.labels, amara.full) == ((("returns", 2),), ("returns",))

    with floor.store.write() as tx:
        close(tx, "system", orders[0], "resolve")
    router.run_once()
    assert (floor.owner(orders[2]), router.check_once()) == ("Amara", 0)


def test_the_limit_holds_by_hand_as_well(floor: Desk) -> None:
    orders = [floor.comes_in(text="my order") for _ in range(3)]
    for one in orders[:2]:
        with floor.store.write() as tx:
            claim(tx, floor.actor(tx, "Amara"), one)
    with floor.store.read() as tx:
        assert choices(tx, floor.agents["Amara"]) == []
    with pytest.raises(Conflict, match="as many of its kind as your profile allows"), floor.store.write() as tx:
        claim(tx, floor.actor(tx, "Amara"), orders[2])


def test_people_say_of_which_kind_work_is_and_the_router_hears_it(floor: Desk) -> None:
    floor.signs_in("Amara")
    router, kept = floor.router(), LiveFloor()
    mails = [floor.comes_in() for _ in range(2)]
    router.run_once()
    for one in mails:
        with floor.store.write() as tx:
            label(tx, floor.actor(tx, "Amara"), one, ["returns", "returns"], "they send it back")
            label(tx, floor.actor(tx, "Amara"), one, ["returns"])
    order = floor.comes_in(text="my order")
    assert (router.run_once(), router.check_once(), differences(kept, floor)) == (0, 0, [])
    with floor.store.write() as tx:
        label(tx, floor.actor(tx, "Ines"), order, [])
    assert (router.run_once(), floor.owner(order)) == (1, "Amara")
    labelled = floor.facts("ConversationLabelled")
    assert [fact.data["labels"] for fact in labelled] == [["returns"], ["returns"], []]
    assert labelled[0].data["agent_ids"] == [floor.agents["Amara"]]


def test_a_chat_that_rings_at_two_is_labelled_at_both(floor: Desk) -> None:
    with floor.store.write() as tx:
        tx.sql("UPDATE queue SET handout = '{\"offers\": 2}' WHERE name = 'Support'")
        touch_desk(tx)
    floor.signs_in("Amara", "Jonas")
    router, chat = floor.router(), floor.comes_in("chat")
    router.run_once()
    with floor.store.write() as tx:
        label(tx, floor.actor(tx, "Ines"), chat, ["returns"])
    with floor.store.read() as tx:
        again = recomputed(tx, chat)
    assert again["now"]["eligible"] == 2, "neither has it when the decision is made again"
    assert router.check_once() == 0


@pytest.mark.parametrize("labels", [["x" * 65], [" "], [str(number) for number in range(21)]])
def test_odd_labels_are_refused(floor: Desk, labels: list[str]) -> None:
    mail = floor.comes_in()
    with pytest.raises(Conflict, match="at most 20 labels"), floor.store.write() as tx:
        label(tx, floor.actor(tx, "Ines"), mail, labels)


def test_why_says_which_labels_a_rule_gave(floor: Desk) -> None:
    order = floor.comes_in(text="my order")
    with floor.store.read() as tx:
        path = stored_reasons(tx, order)["path"]
    assert path["told"][1] == "Queue Shipping, labelled returns."


def test_who_else_is_told_of_while_the_queue_is_closed(desk: Hub) -> None:
    closed = "{name: night, time_zone: UTC, hours: {mon-sun: 03:00-03:01}}"
    with desk.hub.store.write() as tx:
        apply(tx, desk.ines, read(
            f"calendars: [{closed}]\nqueues:\n- {{name: Shipping}}\n- {{name: Billing}}\n"
            "- {name: General, calendar: night, out_of_hours: hold, default: true}"
        ))  # fmt: skip
        tx.sql("UPDATE agent SET status = 'available' WHERE name = 'Jonas Weber'")
    desk.mail("Hello", "Good evening")
    number = desk.only_conversation().id or 0
    assert desk.route() == 0
    with desk.hub.store.read() as tx:
        waiting, again = stored_reasons(tx, number)["waiting"], recomputed(tx, number)
    assert (waiting["eligible"], waiting["rejected"]) == (0, {"closed": 3})
    assert again["changed"] == ["Nobody could take it now: all wait until the queue opens."]


def test_labels_of_rules_and_profiles_in_the_desks_file(desk: Hub) -> None:
    text = """
profiles: [{name: Careful, labels: {returns: 2}}]
rules: [{name: Returns, when: {field: item.text, op: has, value: return}, then: {queue: Shipping, labels: [returns]}}]
"""
    with desk.hub.store.write() as tx:
        assert "+ profile Careful" in map(str, apply(tx, desk.ines, read(text)))
    with desk.hub.store.write() as tx:
        assert apply(tx, desk.ines, read(text)) == []
        again = export(tx)
        assert apply(tx, desk.ines, read(again)) == []
    assert "labels:\n    returns: 2" in again and "    - returns" in again
    changed = text.replace("labels: [returns]", "labels: [returns, broken]")
    with desk.hub.store.write() as tx:
        assert [str(change) for change in apply(tx, desk.ines, read(changed))] == ["~ rule Returns: labels"]
