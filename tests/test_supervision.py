"""What Ines does while work goes on: each command with who and why, refused to agents, told to whom it concerns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from routing import commands
from routing.hops import MOST_HOPS, path_of, why_not_alone
from routing.presence import drain, set_status, undrain
from routing.work import accept, assign, claim, decline, release, transfer, why_assigned, why_waiting
from storage import Store, Tx
from storage.access import SYSTEM, Actor, Conflict, Forbidden, NotFound
from storage.conversations import Conversation
from storage.desk import touch_desk
from tests.clock import Clock
from tests.routing_desk import Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def desk(store: Store) -> Desk:
    """Jonas alone is there."""
    desk = Desk(store)
    desk.signs_in("Jonas")
    return desk


def does(desk: Desk, name: str, verb: Callable[[Tx, Actor], object]) -> None:
    with desk.store.write() as tx:
        verb(tx, desk.actor(tx, name))


def waits(desk: Desk, conversation_id: int) -> str:
    with desk.store.read() as tx:
        return " ".join(why_waiting(tx, conversation_id))


def test_an_agent_may_do_none_of_it(desk: Desk) -> None:
    mail = desk.comes_in()
    amara, support = desk.agents["Amara"], desk.queues["Support"]
    refused: list[Callable[[Tx, Actor], object]] = [
        lambda tx, actor: commands.prioritise(tx, actor, mail, 5),
        lambda tx, actor: commands.pin(tx, actor, mail),
        lambda tx, actor: commands.unpin(tx, actor, mail),
        lambda tx, actor: commands.take_over(tx, actor, mail, "mine"),
        lambda tx, actor: commands.pause(tx, actor, support, "tired"),
        lambda tx, actor: commands.resume(tx, actor, support),
        lambda tx, actor: drain(tx, actor, amara),
        lambda tx, actor: undrain(tx, actor, amara),
        lambda tx, actor: set_status(tx, actor, amara, "offline"),
    ]
    for verb in refused:
        with pytest.raises(Forbidden, match="role supervisor or admin"):
            does(desk, "Jonas", verb)
    assert not desk.facts("ConversationPrioritised", "ConversationPinned", "AgentDrained", "QueuePaused")


def test_ines_assigns_over_capacity_and_says_why(desk: Desk) -> None:
    mails = [desk.comes_in() for _ in range(6)]
    jonas = desk.agents["Jonas"]
    for mail in mails[:5]:
        does(desk, "Ines", lambda tx, ines, mail=mail: assign(tx, ines, mail, jonas))  # type: ignore[misc]
    does(desk, "Ines", lambda tx, ines: assign(tx, ines, mails[5], jonas, "Mara asked for him"))
    (*_, last) = desk.facts("ConversationAssigned")
    assert (last.data["over_capacity_by"], last.data["reason"]) == (20, "Mara asked for him")
    with desk.store.read() as tx:
        assert why_assigned(tx, mails[5])[0] == "Ines assigned it to Jonas Weber, 20 over capacity: Mara asked for him"
    desk.is_sound()


def test_ines_takes_over_and_has_to_say_why(desk: Desk) -> None:
    mail = desk.comes_in()
    with pytest.raises(Conflict, match="Nobody has it"):
        does(desk, "Ines", lambda tx, ines: commands.take_over(tx, ines, mail, "complaint"))
    desk.router().run_once()
    with pytest.raises(Conflict, match="Say why"):
        does(desk, "Ines", lambda tx, ines: commands.take_over(tx, ines, mail, "  "))
    does(desk, "Ines", lambda tx, ines: commands.take_over(tx, ines, mail, "A complaint about us"))
    assert desk.owner(mail) == "Ines" and desk.agent("Jonas").load == 0
    assert desk.facts("ConversationAssigned")[-1].data["via"] == "take_over"
    with desk.store.read() as tx:
        assert why_assigned(tx, mail)[0] == "Ines took it over: A complaint about us"
    desk.is_sound()


def test_a_moved_conversation_keeps_its_age_and_the_reason(desk: Desk, clock: Clock) -> None:
    mail = desk.comes_in()
    came = desk.item(mail).order_time
    clock.forward(minutes=5)
    does(desk, "Ines", lambda tx, ines: transfer(tx, ines, mail, desk.queues["Billing"], "an invoice"))
    assert desk.item(mail).order_time == came
    assert desk.facts("ConversationQueued")[-1].data["reason"] == "an invoice"
    with desk.store.read() as tx:
        assert "Ines transferred it to Billing: an invoice" in why_assigned(tx, mail)


def test_a_priority_has_a_bound_and_is_told(desk: Desk, clock: Clock) -> None:
    set_full(desk)
    first = desk.comes_in()
    clock.forward(minutes=5)
    second = desk.comes_in()
    with pytest.raises(Conflict, match="-1000 to 1000"):
        does(desk, "Ines", lambda tx, ines: commands.prioritise(tx, ines, second, 1001))
    for _ in range(2):
        does(desk, "Ines", lambda tx, ines: commands.prioritise(tx, ines, second, 8, "moves on Friday"))
    (told,) = desk.facts("ConversationPrioritised")
    assert (told.data["priority"], told.data["before"], told.data["reason"]) == (8, 0, "moves on Friday")
    set_full(desk, room=20)
    desk.router().run_once()
    assert (desk.owner(first), desk.owner(second)) == (None, "Jonas"), "eight minutes are more than five"


def test_what_is_pinned_goes_before_everything_a_priority_can_not_pass(desk: Desk, clock: Clock) -> None:
    set_full(desk)
    old = desk.comes_in(tier="gold")
    clock.forward(minutes=50)
    new = desk.comes_in()
    does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, new, reason="the press"))
    assert "It is pinned: it goes before everything else." in waits(desk, new)
    set_full(desk, room=20)
    desk.router().run_once()
    assert (desk.owner(old), desk.owner(new)) == (None, "Jonas")
    assert desk.item(new).pinned_at is None, "it has come where it should"


def test_what_is_pinned_to_amara_waits_for_her_alone_and_not_for_ever(desk: Desk, clock: Clock) -> None:
    desk.signs_in("Amara")
    set_full(desk, "Amara")
    mail = desk.comes_in()
    amara = desk.agents["Amara"]
    does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, mail, amara, kept=timedelta(minutes=10)))
    assert desk.router().run_once() == 0, "Jonas has room, and it is not for him"
    assert "pinned to Amara Obi for 10 minutes more" in waits(desk, mail)
    assert "1 has to wait for whom it is kept for" in waits(desk, mail)
    clock.forward(minutes=11)
    desk.router().run_once()
    assert desk.owner(mail) == "Jonas"


def test_what_is_pinned_to_amara_waits_for_nobody_where_she_does_not_serve(desk: Desk) -> None:
    desk.signs_in("Amara", "Tomás")
    set_full(desk, "Amara")
    mail = desk.comes_in()
    does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, mail, desk.agents["Amara"]))
    does(desk, "Ines", lambda tx, ines: transfer(tx, ines, mail, desk.queues["Billing"]))
    desk.router().run_once()
    assert desk.owner(mail) == "Tomás"


def test_work_is_pinned_to_who_has_joined_as_well(desk: Desk) -> None:
    mail, tomas = desk.comes_in(), desk.agents["Tomás"]
    with desk.store.write() as tx:
        tx.sql("UPDATE work_item SET joined = ? WHERE conversation_id = ?", [desk.queues["Billing"]], mail)
        commands.unpin(tx, desk.actor(tx, "Ines"), mail)
        commands.pin(tx, desk.actor(tx, "Ines"), mail, tomas)
    assert desk.item(mail).pin_agent_id == tomas


def test_a_reason_is_kept_without_what_no_database_stores(desk: Desk) -> None:
    support = desk.queues["Support"]
    does(desk, "Ines", lambda tx, ines: commands.pause(tx, ines, support, "The\x00 shop\ud800\n is down"))
    assert "Support is paused (The shop is down)" in waits(desk, desk.comes_in())
    for nothing in (" ", "\x00"):
        with pytest.raises(Conflict, match="Say why"):
            does(desk, "Ines", lambda tx, ines, nothing=nothing: commands.pause(tx, ines, support, nothing))  # type: ignore[misc]


def test_amara_goes_and_what_was_pinned_to_her_goes_to_jonas(desk: Desk) -> None:
    desk.signs_in("Amara")
    set_full(desk, "Amara")
    mail = desk.comes_in()
    does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, mail, desk.agents["Amara"]))
    does(desk, "Amara", lambda tx, amara: set_status(tx, amara, desk.agents["Amara"], "away"))
    desk.router().run_once()
    assert desk.owner(mail) == "Jonas"


def test_who_passes_on_pinned_work_is_not_waited_for(desk: Desk) -> None:
    desk.signs_in("Amara")
    chat, amara = desk.comes_in("chat"), desk.agents["Amara"]
    does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, chat, amara))
    desk.router().run_once()
    (offer,) = desk.rings_at("Amara")
    does(desk, "Amara", lambda tx, actor: decline(tx, actor, offer.id or 0))
    desk.router().run_once()
    (other,) = desk.rings_at("Jonas")
    does(desk, "Jonas", lambda tx, actor: accept(tx, actor, other.id or 0))
    desk.is_sound()


def test_work_is_pinned_only_to_who_could_be_offered_it(desk: Desk) -> None:
    parcel = desk.comes_in(text="my parcel")
    jonas, tomas = desk.agents["Jonas"], desk.agents["Tomás"]
    with pytest.raises(Conflict, match="Tomás does not serve Shipping: assign it instead"):
        does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, parcel, tomas))
    with pytest.raises(Conflict, match="Jonas Weber has not order ≥ 2"):
        does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, parcel, jonas))
    with pytest.raises(NotFound):
        does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, parcel, 9999))
    desk.router().run_once()
    mail = desk.comes_in()
    does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, mail))
    does(desk, "Ines", lambda tx, ines: commands.unpin(tx, ines, mail))
    assert desk.item(mail).pinned_at is None and len(desk.facts("ConversationUnpinned")) == 1
    desk.router().run_once()
    with pytest.raises(Conflict, match="is with Jonas Weber: only what waits"):
        does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, mail))


def test_who_is_drained_finishes_and_gets_nothing_new(desk: Desk, clock: Clock) -> None:
    mail = desk.comes_in()
    desk.router().run_once()
    chat = desk.comes_in("chat")
    desk.router().run_once()
    assert len(desk.rings_at("Jonas")) == 1
    jonas = desk.agents["Jonas"]
    for _ in range(2):
        does(desk, "Ines", lambda tx, ines: drain(tx, ines, jonas, "end of shift"))
    (told,) = desk.facts("AgentDrained")
    assert (told.data["agent_id"], told.data["reason"]) == (jonas, "end of shift")
    assert not desk.rings_at("Jonas") and desk.owner(mail) == "Jonas"
    desk.router().run_once()
    assert not desk.rings_at("Jonas") and "1 finishes work and gets nothing new" in waits(desk, chat)
    with pytest.raises(Conflict, match="get nothing new"):
        does(desk, "Jonas", lambda tx, actor: claim(tx, actor, chat))
    with pytest.raises(Conflict, match="Jonas Weber finishes work"):
        does(desk, "Amara", lambda tx, amara: assign(tx, amara, chat, jonas))
    for status in ("away", "available"):
        does(desk, "Jonas", lambda tx, actor, status=status: set_status(tx, actor, jonas, status))  # type: ignore[misc]
    assert desk.router().run_once() == 0, "coming back does not end it"
    does(desk, "Ines", lambda tx, ines: undrain(tx, ines, jonas))
    desk.router().run_once()
    assert len(desk.rings_at("Jonas")) == 1
    desk.is_sound()


@pytest.mark.parametrize(
    ("status", "give_back", "kept"),
    [("away", None, True), ("away", True, False), ("offline", None, False), ("offline", False, True)],
)
def test_ines_sets_jonas_s_status_and_chooses_what_becomes_of_his_work(
    desk: Desk, status: str, give_back: bool | None, kept: bool
) -> None:
    mail = desk.comes_in()
    desk.router().run_once()
    jonas = desk.agents["Jonas"]
    does(desk, "Ines", lambda tx, ines: set_status(tx, ines, jonas, status, "went home ill", give_back=give_back))
    assert desk.agent("Jonas").status == status
    assert (desk.owner(mail) == "Jonas") is kept
    told = desk.facts("AgentStatusChanged")[-1].data
    assert (told["why"], told["by"]) == ("went home ill", f"agent:{desk.agents['Ines']}")
    desk.is_sound()


def test_a_queue_is_paused_with_a_reason_and_goes_on(desk: Desk) -> None:
    support = desk.queues["Support"]
    with pytest.raises(Conflict, match="Say why"):
        does(desk, "Ines", lambda tx, ines: commands.pause(tx, ines, support, ""))
    for _ in range(2):
        does(desk, "Ines", lambda tx, ines: commands.pause(tx, ines, support, "The shop is down"))
    mail = desk.comes_in()
    assert desk.router().run_once() == 0
    assert "Support is paused (The shop is down): its work waits until it goes on." in waits(desk, mail)
    for _ in range(2):
        does(desk, "Ines", lambda tx, ines: commands.resume(tx, ines, support))
    desk.router().run_once()
    assert desk.owner(mail) == "Jonas"
    assert [fact.name for fact in desk.facts("QueuePaused", "QueueResumed")] == ["QueuePaused", "QueueResumed"]
    with pytest.raises(NotFound):
        does(desk, "Ines", lambda tx, ines: commands.pause(tx, ines, 9999, "no such queue"))


def test_what_goes_in_a_circle_by_itself_stops_and_comes_to_the_supervisors(desk: Desk) -> None:
    mail = desk.comes_in()
    support, shipping = desk.queues["Support"], desk.queues["Shipping"]
    with desk.store.write() as tx:
        assert transfer(tx, SYSTEM, mail, shipping)
    with desk.store.write() as tx:
        assert not transfer(tx, SYSTEM, mail, support)
    assert desk.item(mail).queue_id == shipping, "it stays where it is"
    (told,) = desk.facts("TransferQuestioned")
    assert told.data["stopped"] and told.data["why"] == "It would go to Support again by itself, and to and fro."
    with desk.store.read() as tx:
        assert tx.get_one(Conversation, mail).escalated_at is not None
    does(desk, "Ines", lambda tx, ines: transfer(tx, ines, mail, support))
    with desk.store.write() as tx:
        assert transfer(tx, SYSTEM, mail, shipping), "a person decided in between"


def test_three_moves_by_itself_are_enough(desk: Desk) -> None:
    trace = [{"step": "default", "queue_id": 1}] + [
        {"step": "transfer", "by": "system", "queue_id": number} for number in (2, 3, 4)
    ]
    assert path_of(trace).hops == MOST_HOPS
    assert why_not_alone(trace, 5, "Fifth") == "It was moved 3 times by itself, and would go on to Fifth."
    assert not why_not_alone(trace[:3], 5, "Fifth")
    asked = [*trace, {"step": "transfer", "by": "agent:3", "queue_id": 5}]
    assert not why_not_alone(asked, 2, "Second")


def test_a_queue_that_was_closed_never_had_it() -> None:
    trace = [{"step": "rule", "queue_id": 1}, {"step": "closed", "queue_id": 2}]
    assert not why_not_alone(trace, 1, "First"), "it may go where it was meant to go"
    assert path_of(trace).hops == 1


def test_agents_who_pass_it_to_and_fro_have_to_ask(desk: Desk) -> None:
    mail = desk.comes_in()
    there = (desk.queues["Shipping"], desk.queues["Support"])
    for queue_id in there:
        does(desk, "Jonas", lambda tx, jonas, queue_id=queue_id: transfer(tx, jonas, mail, queue_id))  # type: ignore[misc]
    assert not desk.facts("TransferQuestioned")
    for queue_id in there:
        does(desk, "Jonas", lambda tx, jonas, queue_id=queue_id: transfer(tx, jonas, mail, queue_id))  # type: ignore[misc]
    told = desk.facts("TransferQuestioned")
    assert [fact.data["stopped"] for fact in told] == [False, False]
    with pytest.raises(Conflict, match="put into Shipping 2 times already: ask a supervisor"):
        does(desk, "Jonas", lambda tx, jonas: transfer(tx, jonas, mail, there[0]))
    does(desk, "Ines", lambda tx, ines: transfer(tx, ines, mail, there[0], "it is a parcel"))
    assert desk.item(mail).queue_id == there[0]


def test_a_release_keeps_what_was_said(desk: Desk) -> None:
    mail = desk.comes_in()
    desk.router().run_once()
    does(desk, "Ines", lambda tx, ines: release(tx, ines, mail, "needs somebody else"))
    assert desk.facts("ConversationQueued")[-1].data["reason"] == "needs somebody else"


def test_a_reason_has_an_end(desk: Desk) -> None:
    mail = desk.comes_in()
    with pytest.raises(Conflict, match="at most 200"):
        does(desk, "Ines", lambda tx, ines: commands.pin(tx, ines, mail, reason="x" * 201))


def set_full(desk: Desk, name: str = "Jonas", room: int = 0) -> None:
    """So much of an agent's capacity is free."""
    with desk.store.write() as tx:
        tx.sql("UPDATE agent SET capacity = load + ? WHERE id = ?", room, desk.agents[name])
        touch_desk(tx)
