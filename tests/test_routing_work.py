"""People and work: offers, claims, hand-overs, statuses, and the sentences that explain them."""

from __future__ import annotations

import pytest

from routing.moves import end_offers
from routing.work import (
    Arrival,
    accept,
    answered,
    assign,
    claim,
    close,
    decline,
    enqueue,
    release,
    set_status,
    transfer,
    why_assigned,
    why_waiting,
)
from storage import Store
from storage.access import SYSTEM, Actor, Conflict, Forbidden, NotFound
from storage.conversations import Conversation
from storage.desk import touch_desk
from storage.facts import ConversationSnoozed
from storage.people import Agent
from storage.work import Assignment, open_assignment
from tests.clock import Clock
from tests.routing_desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def test_a_mail_spares_whoever_knows_more_and_then_goes_to_the_less_busy(desk: Desk, clock: Clock) -> None:
    """Amara has been idle longer, but she alone can answer questions about orders."""
    desk.signs_in("Amara")
    clock.forward(minutes=5)
    desk.signs_in("Jonas")
    mail = desk.comes_in()
    assert desk.router().run_once() == 1
    assert desk.owner(mail) == "Jonas"
    assert desk.agent("Jonas").load == 20
    second = desk.comes_in()
    desk.router().run_once()
    assert desk.owner(second) == "Amara"
    desk.is_sound()


def test_of_two_alike_it_goes_to_whoever_has_been_idle_longest(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        desk.agents["Nils"] = desk.add_agent(tx, "Nils", "nils@example.com", queues=("Support", "Shipping"))
        touch_desk(tx)
    desk.signs_in("Nils")
    clock.forward(minutes=5)
    desk.signs_in("Jonas")
    mail = desk.comes_in()
    desk.router().run_once()
    assert desk.owner(mail) == "Nils"


def test_words_about_an_order_need_somebody_who_knows_orders(desk: Desk) -> None:
    desk.signs_in("Jonas", "Amara")
    parcel = desk.comes_in("sms", "Where is my PARCEL?")
    desk.router().run_once()
    assert desk.owner(parcel) == "Amara"
    with desk.store.read() as tx:
        sentences = why_assigned(tx, parcel)
    assert sentences == [
        "The only eligible agent with order ≥ 2.",
        "1 other was passed over: it lacks the skill.",
        "Given to Amara Obi automatically.",
        "Rule “Order keywords” matched: text has one of order, parcel.",
        "Queue Shipping.",
    ]


def test_a_chat_rings_and_is_accepted_once(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    chat = desk.comes_in("chat")
    desk.router().run_once()
    (offer,) = desk.rings_at("Jonas")
    assert desk.owner(chat) is None and desk.agent("Jonas").load == 30
    with desk.store.read() as tx:
        assert why_waiting(tx, chat) == ["It rings at Jonas Weber for 30 seconds more."]
    clock.forward(seconds=29)
    for _ in range(2):
        with desk.store.write() as tx:
            accept(tx, desk.actor(tx, "Jonas"), offer.id or 0)
    assert desk.owner(chat) == "Jonas" and desk.agent("Jonas").load == 30
    assert len(desk.facts("ConversationAssigned")) == 1
    desk.is_sound()


def test_an_offer_of_somebody_else_can_not_be_accepted(desk: Desk) -> None:
    desk.signs_in("Jonas")
    desk.comes_in("chat")
    desk.router().run_once()
    (offer,) = desk.rings_at("Jonas")
    with pytest.raises(NotFound), desk.store.write() as tx:
        accept(tx, desk.actor(tx, "Amara"), offer.id or 0)


def test_a_declined_chat_rings_at_the_next_one_and_keeps_its_age(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    chat = desk.comes_in("chat")
    router = desk.router()
    router.run_once()
    (offer,) = desk.rings_at("Jonas")
    arrived = desk.item(chat).order_time
    clock.forward(seconds=10)
    with desk.store.write() as tx:
        decline(tx, desk.actor(tx, "Jonas"), offer.id or 0)
        decline(tx, desk.actor(tx, "Jonas"), offer.id or 0)
    assert router.run_once() == 0, "Jonas is not asked again at once"
    with desk.store.read() as tx:
        assert "Who passed on it is asked again in 60 seconds." in why_waiting(tx, chat)
    desk.signs_in("Amara")
    assert router.run_once() == 1 and len(desk.rings_at("Amara")) == 1
    assert desk.item(chat).order_time == arrived and desk.agent("Jonas").load == 0
    desk.is_sound()


def test_three_missed_offers_make_an_agent_away(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    chat, router = desk.comes_in("chat"), desk.router()
    for missed in (1, 2, 3):
        assert router.run_once() == 1
        clock.forward(seconds=29)
        assert router.expire_once() == 0
        clock.forward(seconds=1)
        assert router.expire_once() == 1
        assert desk.agent("Jonas").missed_offers == missed
        clock.forward(seconds=61)
    assert desk.agent("Jonas").status == "away"
    assert desk.facts("AgentStatusChanged")[-1].data["why"] == "missed offers"
    assert router.run_once() == 0
    with desk.store.read() as tx:
        assert why_waiting(tx, chat)[0] == "Waiting in Support for 4 minutes."
        assert why_waiting(tx, chat)[1] == "2 agents in Support: 1 is away, 1 is offline."
    desk.is_sound()


def test_a_late_accept_is_refused_with_a_way_out(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    chat = desk.comes_in("chat")
    desk.router().run_once()
    (offer,) = desk.rings_at("Jonas")
    clock.forward(seconds=30)
    with pytest.raises(Conflict, match="claim it"), desk.store.write() as tx:
        accept(tx, desk.actor(tx, "Jonas"), offer.id or 0)
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), chat)
    assert desk.owner(chat) == "Jonas"
    desk.is_sound()


def test_a_claim_takes_a_ringing_chat_away_and_says_so_to_the_next(desk: Desk) -> None:
    desk.signs_in("Jonas")
    chat = desk.comes_in("chat")
    desk.router().run_once()
    (offer,) = desk.rings_at("Jonas")
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Amara"), chat)
    assert desk.owner(chat) == "Amara" and desk.agent("Jonas").load == 0
    with pytest.raises(Conflict, match="Amara Obi has it already"), desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), chat)
    with pytest.raises(Conflict, match="Amara Obi has it already"), desk.store.write() as tx:
        accept(tx, desk.actor(tx, "Jonas"), offer.id or 0)
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Amara"), chat)  # a double click
        assert why_assigned(tx, chat)[0] == "Amara Obi claimed it."
    desk.is_sound()


def test_claiming_without_room_is_refused_and_changes_nothing(desk: Desk) -> None:
    with desk.store.write() as tx:
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 30
        touch_desk(tx)
    first, ringing = desk.comes_in(), desk.comes_in("chat")
    desk.signs_in("Amara")
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), first)
    desk.router().run_once()
    assert len(desk.rings_at("Amara")) == 1
    with desk.store.write() as tx, pytest.raises(Conflict, match="You have no room: 20 of 30 in use"):
        claim(tx, desk.actor(tx, "Jonas"), ringing)
    assert len(desk.rings_at("Amara")) == 1, "a refusal caught inside the unit must leave the ring alone"
    desk.is_sound()


def test_other_teams_can_not_even_see_it(desk: Desk) -> None:
    mail = desk.comes_in()
    with desk.store.write() as tx:
        tomas = desk.actor(tx, "Tomás")
        for verb in (claim, release):
            with pytest.raises(NotFound):
                verb(tx, tomas, mail)
        with pytest.raises(NotFound):
            assign(tx, tomas, mail, desk.agents["Tomás"])
        with pytest.raises(NotFound):
            transfer(tx, tomas, mail, desk.queues["Billing"])


def test_a_resolved_conversation_can_not_be_claimed(desk: Desk) -> None:
    mail = desk.comes_in()
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), mail)
        close(tx, "agent:1", mail, "resolve")
        close(tx, "agent:1", mail, "resolve")
        with pytest.raises(Conflict, match="resolved"):
            claim(tx, desk.actor(tx, "Amara"), mail)
        assert why_waiting(tx, mail) == ["It does not wait: it is resolved."]
    assert desk.agent("Jonas").load == 0
    assert [fact.data["why"] for fact in desk.facts("ConversationReleased")] == ["resolve"]
    desk.is_sound()


def test_an_admin_may_exceed_capacity_and_it_is_recorded(desk: Desk) -> None:
    with desk.store.write() as tx:
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 30
        touch_desk(tx)
        first, second = desk.arrive(tx), desk.arrive(tx)
        assign(tx, desk.actor(tx, "Ines"), first, desk.agents["Jonas"])
        with pytest.raises(Conflict, match="Jonas Weber is offline"):
            assign(tx, desk.actor(tx, "Amara"), second, desk.agents["Jonas"])
    desk.signs_in("Jonas")
    with desk.store.write() as tx:
        with pytest.raises(Conflict, match="Jonas Weber has no room: 20 of 30 in use"):
            assign(tx, desk.actor(tx, "Amara"), second, desk.agents["Jonas"])
        assert assign(tx, desk.actor(tx, "Ines"), second, desk.agents["Jonas"]).over_capacity_by == 10
        assert why_assigned(tx, second)[0] == "Ines assigned it to Jonas Weber, 10 over capacity."
    desk.is_sound()


def test_an_agent_hands_over_own_work_and_nobody_elses(desk: Desk) -> None:
    desk.signs_in("Jonas", "Amara")
    mail = desk.comes_in()
    with desk.store.write() as tx:
        claim(tx, desk.actor(tx, "Jonas"), mail)
        with pytest.raises(Forbidden, match="ask Jonas Weber or a supervisor"):
            release(tx, desk.actor(tx, "Amara"), mail)
        given = assign(tx, desk.actor(tx, "Jonas"), mail, desk.agents["Amara"])
        assert given.via == "transfer"
    assert desk.owner(mail) == "Amara"
    assert (desk.agent("Jonas").load, desk.agent("Amara").load) == (0, 20)
    desk.is_sound()


def test_a_transfer_keeps_the_age_and_asks_only_for_skills_the_new_team_has(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Amara", "Tomás")
    parcel = desk.comes_in(text="my order")
    desk.router().run_once()
    arrived = desk.item(parcel).order_time
    clock.forward(minutes=10)
    with desk.store.write() as tx:
        transfer(tx, desk.actor(tx, "Amara"), parcel, desk.queues["Billing"])
    assert desk.item(parcel).skills == {} and desk.item(parcel).order_time == arrived
    desk.router().run_once()
    assert desk.owner(parcel) == "Tomás"
    with desk.store.read() as tx:
        assert "Amara Obi transferred it to Billing. order no longer required." in why_assigned(tx, parcel)
    desk.is_sound()


def test_released_work_goes_to_somebody_else(desk: Desk) -> None:
    desk.signs_in("Jonas")
    mail, router = desk.comes_in(), desk.router()
    router.run_once()
    for _ in range(2):
        with desk.store.write() as tx:
            release(tx, desk.actor(tx, "Jonas") if desk.owner(mail) else desk.actor(tx, "Ines"), mail)
    assert router.run_once() == 0
    desk.signs_in("Amara")
    router.run_once()
    assert desk.owner(mail) == "Amara"
    desk.is_sound()


def test_signing_out_puts_back_only_what_a_customer_waits_for(desk: Desk) -> None:
    desk.signs_in("Jonas")
    waiting, done, ringing = desk.comes_in(), desk.comes_in(), desk.comes_in("chat")
    desk.router().run_once()
    with desk.store.write() as tx:
        tx.get_one(Conversation, done).waiting_since = None
        answered(tx, done, desk.agents["Jonas"])
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "away")
    assert (desk.owner(waiting), desk.owner(done)) == ("Jonas", "Jonas") and not desk.rings_at("Jonas")
    with desk.store.write() as tx:
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "offline")
        set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "offline")
    assert (desk.owner(waiting), desk.owner(done), desk.owner(ringing)) == (None, "Jonas", None)
    assert desk.item(waiting).state == desk.item(ringing).state == "queued"
    assert len(desk.facts("AgentStatusChanged")) == 3
    desk.is_sound()


def test_nobody_changes_somebody_elses_status_but_supervisors(desk: Desk) -> None:
    with desk.store.write() as tx:
        with pytest.raises(Forbidden):
            set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Amara"], "away")
        with pytest.raises(Conflict, match="available, away, offline"):
            set_status(tx, desk.actor(tx, "Jonas"), desk.agents["Jonas"], "lunch")
        with pytest.raises(NotFound):
            set_status(tx, SYSTEM, 4711, "away")
        set_status(tx, desk.actor(tx, "Ines"), desk.agents["Amara"], "available")
    assert desk.agent("Amara").status == "available"


def test_a_program_can_assign_but_not_claim(desk: Desk) -> None:
    token = Actor(by="token:1", role="admin")
    with desk.store.write() as tx:
        mail = desk.arrive(tx)
        with pytest.raises(Forbidden, match="sign in"):
            claim(tx, token, mail)
        assign(tx, token, mail, desk.agents["Jonas"])
        assert why_assigned(tx, mail)[0] == "Program 1 assigned it to Jonas Weber."


def test_the_first_answer_stops_the_clock_and_a_late_one_is_a_breach_once(desk: Desk, clock: Clock) -> None:
    quick, late = desk.comes_in(), desk.comes_in()
    clock.forward(minutes=20)
    with desk.store.write() as tx:
        assert tx.get_one(Conversation, quick).due_at is not None
        answered(tx, quick, desk.agents["Jonas"])
        answered(tx, quick, desk.agents["Jonas"])
        assert tx.get_one(Conversation, quick).due_at is None
    (fact,) = desk.facts("FirstReplySent")
    assert fact.data["seconds"] == 1200
    router = desk.router()
    clock.forward(minutes=39)
    assert (router.breach_once(), router.breach_once()) == (1, 0)
    assert [fact.conversation_id for fact in desk.facts("FirstReplyWarned")] == [late]
    clock.forward(minutes=1)
    assert (router.breach_once(), router.breach_once()) == (1, 0)
    (breach,) = desk.facts("FirstReplyBreached")
    assert breach.conversation_id == late


def test_a_reopened_conversation_is_new_work_and_arriving_twice_is_not(desk: Desk) -> None:
    with desk.store.write() as tx:
        mail = desk.arrive(tx)
        again = Arrival(mail, desk.contact_id, "email", "support-email", "", "again", {})
        first = enqueue(tx, again)
        assert enqueue(tx, again) == first
        claim(tx, desk.actor(tx, "Jonas"), mail)
        close(tx, "agent:1", mail, "resolve")
        assert enqueue(tx, again) != first
        assert open_assignment(tx, mail) is None
        tx.expire_all()
        assert tx.get_one(Conversation, mail).assignee_id is None
    assert len(desk.facts("ConversationQueued")) == 2
    desk.is_sound()


def test_urgent_work_goes_first_and_snoozed_work_not_at_all(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 40
        touch_desk(tx)
    snoozed = desk.comes_in()
    clock.forward(minutes=1)
    older, newer = desk.comes_in(), desk.comes_in()
    clock.forward(minutes=1)
    gold = desk.comes_in(tier="gold")
    with desk.store.write() as tx:
        tx.get_one(Conversation, snoozed).state = "snoozed"
        tx.emit(ConversationSnoozed(snoozed, "", "system"))
    desk.signs_in("Jonas")
    assert desk.router().run_once() == 2
    assert [desk.owner(one) for one in (snoozed, older, newer, gold)] == [None, "Jonas", None, "Jonas"]
    with desk.store.read() as tx:
        assert why_waiting(tx, newer)[1] == "2 agents in Support: 1 is offline, 1 is full."
        assert why_waiting(tx, snoozed) == ["It is snoozed: it is offered again when it wakes."]
        assert tx.get_one(Assignment, 1).conversation_id == gold


def test_an_offer_with_time_left_does_not_expire(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Jonas")
    chat = desk.comes_in("chat")
    desk.router().run_once()
    clock.forward(seconds=29)
    with desk.store.write() as tx:
        assert end_offers(tx, desk.item(chat).id or 0, "expired", "system") == []
    assert len(desk.rings_at("Jonas")) == 1


def test_a_queue_nobody_serves_says_so(desk: Desk) -> None:
    with desk.store.write() as tx:
        mail = desk.arrive(tx)
        transfer(tx, desk.actor(tx, "Jonas"), mail, desk.queues["Billing"])
        tx.sql("DELETE FROM agent_queue WHERE queue_id = ?", desk.queues["Billing"])
        touch_desk(tx)
    with desk.store.read() as tx:
        assert why_waiting(tx, mail)[1].startswith("Nobody serves Billing")


def test_declined_chats_at_the_head_do_not_hide_the_one_behind_them(desk: Desk, clock: Clock) -> None:
    with desk.store.write() as tx:
        tx.get_one(Agent, desk.agents["Jonas"]).capacity = 30
        touch_desk(tx)
    desk.signs_in("Jonas")
    router = desk.router()
    for _ in range(4):
        desk.comes_in("chat")
        clock.forward(seconds=1)
    rung = []
    for _ in range(4):
        assert router.run_once() == 1
        (offer,) = desk.rings_at("Jonas")
        rung.append(offer.conversation_id)
        with desk.store.write() as tx:
            decline(tx, desk.actor(tx, "Jonas"), offer.id or 0)
    assert rung == sorted(set(rung)) and len(rung) == 4
    assert router.run_once() == 0
    desk.is_sound()
