"""The way out: undo in time, claimed once, honest about what became of it, blocked by STOP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import col, select

from channels.base import DeliveryState, DeliveryUpdate, Raw, SendUncertain
from hub.delivery import Courier, SendResult, deliver, settle_update
from hub.outbound import reconcile_message, send_message
from hub.replies import attach, note, reply, reply_choices, retry, undo
from sandbox.twilio import Mood, TwilioDouble
from storage.access import Conflict, Forbidden, NotFound
from storage.conversations import Draft, Message
from storage.deliveries import Delivery
from storage.facts import FactRow
from storage.work import open_assignment
from tests.clock import Clock
from tests.desk import MARA_PHONE, OUR_NUMBER, Desk, open_desk

ACCOUNT = "AC" + "0" * 32


@pytest.fixture
def twilio() -> Iterator[TwilioDouble]:
    with TwilioDouble(account_sid=ACCOUNT, auth_token="twilio-token", numbers=[OUR_NUMBER]) as double:
        yield double


@pytest.fixture
def desk(
    database_url: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, twilio: TwilioDouble
) -> Iterator[Desk]:
    monkeypatch.setenv("MAIL_PASSWORD", "secret")
    monkeypatch.setenv("SHOP_SECRET", "the shop's secret, at least thirty-two bytes long")
    opened = open_desk(database_url, tmp_path, clock, twilio_base_url=twilio.url)
    yield opened
    opened.hub.stop()


def courier(desk: Desk) -> Courier:
    return Courier(desk.hub, {"channel": send_message}, reconcile_message, threads=2)


def answer(desk: Desk, number: int, text: str = "It leaves today.", **more: object) -> Message:
    with desk.hub.store.write() as tx:
        return reply(tx, desk.jonas, number, text=text, tokens=desk.hub.tokens, **more)  # type: ignore[arg-type]


def message(desk: Desk, number: int | None) -> Message:
    with desk.hub.store.read() as tx:
        return tx.get_one(Message, number)


def test_a_reply_leaves_after_the_undo_window_and_its_status_comes_back(desk: Desk, twilio: TwilioDouble) -> None:
    text = desk.text("Where is my order?")
    sent = answer(desk, text.conversation_id or 0)
    carrier = courier(desk)

    assert carrier.run_once() == 0, "nothing leaves within the undo window"
    desk.clock.forward(seconds=11)
    assert carrier.run_once() == 1
    (arrived,) = twilio.phone(MARA_PHONE)
    assert arrived.body == "It leaves today."
    assert message(desk, sent.id).state == "sent"

    raw = Raw("status:1", b"MessageStatus=delivered")
    update = DeliveryUpdate(raw, DeliveryState.DELIVERED, id=sent.uuid or "")
    channel_id = sent.channel_id or 0
    assert settle_update(desk.hub.store, channel_id, update) == "accepted"
    assert settle_update(desk.hub.store, channel_id, update) == "duplicate"
    late = DeliveryUpdate(Raw("status:2", b"MessageStatus=sent"), DeliveryState.SENT, id=sent.uuid or "")
    settle_update(desk.hub.store, channel_id, late)
    assert message(desk, sent.id).state == "delivered", "states only move forward"
    assert carrier.run_once() == 0


def test_undo_brings_the_text_back_into_the_draft(desk: Desk, twilio: TwilioDouble) -> None:
    text = desk.text("Where is my order?")
    sent = answer(desk, text.conversation_id or 0, "Oops")
    assert desk.only_conversation().waiting_since is None
    with desk.hub.store.write() as tx:
        assert undo(tx, desk.jonas, sent.id or 0).state == "draft"
    desk.clock.forward(minutes=5)
    assert courier(desk).run_once() == 0
    assert twilio.sent == []
    with desk.hub.store.read() as tx:
        assert [draft.text for draft in tx.exec(select(Draft))] == ["Oops"]
    assert desk.only_conversation().waiting_since is not None
    assert desk.only_conversation().due_at is not None, "the first-reply clock runs on"


def test_undoing_send_and_resolve_opens_the_conversation_again(desk: Desk) -> None:
    text = desk.text("Where is my order?")
    sent = answer(desk, text.conversation_id or 0, then="resolve")
    assert desk.only_conversation().state == "resolved"
    with desk.hub.store.write() as tx:
        undo(tx, desk.jonas, sent.id or 0)
    conversation = desk.only_conversation()
    assert (conversation.state, conversation.assignee_id) == ("open", desk.jonas.agent_id)


def test_a_double_click_is_one_reply_and_a_second_thought_is_another(desk: Desk) -> None:
    number, form = desk.text("Where is my order?").conversation_id or 0, "7f8d6c1e-4a83-4a52-9d11-0c6a2f7f0b11"
    first = answer(desk, number, "On its way.", once=form)
    assert answer(desk, number, "On its way.", once=form).id == first.id
    assert answer(desk, number, "By express.", once=form).id != first.id
    with desk.hub.store.read() as tx:
        assert len(tx.exec(select(Delivery)).all()) == 2


def test_what_was_typed_meanwhile_and_files_survive_an_undo(desk: Desk) -> None:
    number = desk.mail("Lamp", "Where is my order?").conversation_id or 0
    with desk.hub.store.write() as tx:
        file = attach(tx, desk.jonas, "label.pdf", "application/pdf", 4, desk.hub.blobs.put(b"%PDF"))
        file_id = file.id or 0
    sent = answer(desk, number, "Here is the label.", attachment_ids=[file_id])
    with desk.hub.store.write() as tx:
        tx.add(
            Draft(agent_id=desk.jonas.agent_id or 0, conversation_id=number, kind="reply", text="PS", saved_at=tx.now)
        )
    with desk.hub.store.write() as tx:
        undo(tx, desk.jonas, sent.id or 0)
    with desk.hub.store.read() as tx:
        assert [draft.text for draft in tx.exec(select(Draft))] == ["Here is the label.\n\nPS"]
    assert answer(desk, number, "Here is the label again.", attachment_ids=[file_id]).state == "queued"


def test_a_text_longer_than_the_channel_takes_is_refused_with_a_sentence(desk: Desk) -> None:
    number = desk.text("Where is my order?").conversation_id or 0
    with pytest.raises(Conflict, match="at most 1,600 characters"):
        answer(desk, number, "x" * 1601)


def test_undo_is_too_late_once_it_left(desk: Desk) -> None:
    sent = answer(desk, desk.text("Where is my order?").conversation_id or 0)
    desk.clock.forward(seconds=11)
    courier(desk).run_once()
    with pytest.raises(Conflict, match="Too late"), desk.hub.store.write() as tx:
        undo(tx, desk.jonas, sent.id or 0)


def test_undo_and_departure_at_the_same_moment_have_one_winner(desk: Desk, twilio: TwilioDouble) -> None:
    sent = [answer(desk, desk.text("hello").conversation_id or 0, f"line {n}") for n in range(10)]
    desk.clock.forward(seconds=11)
    carrier = courier(desk)

    def take_back(number: int) -> bool:
        try:
            with desk.hub.store.write() as tx:
                undo(tx, desk.jonas, number)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        departing = pool.submit(carrier.run_once)
        undone = [one.id for one in sent if pool.submit(take_back, one.id or 0).result()]
        departing.result()
    bodies = [one.body for one in twilio.phone(MARA_PHONE)]
    assert len(bodies) + len(undone) == 10
    assert len(set(bodies)) == len(bodies)


def test_two_couriers_never_carry_the_same_thing(desk: Desk, twilio: TwilioDouble) -> None:
    number = desk.text("hello").conversation_id or 0
    for n in range(12):
        answer(desk, number, f"line {n}")
    desk.clock.forward(seconds=11)
    one, other = courier(desk), courier(desk)

    def all_of_it(carrier: Courier) -> None:
        while carrier.run_once():
            pass

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(all_of_it, [one, other]))
    assert sorted(text.body for text in twilio.phone(MARA_PHONE)) == sorted(f"line {n}" for n in range(12))


def test_a_provider_that_is_down_is_tried_again_and_nothing_is_lost(desk: Desk, twilio: TwilioDouble) -> None:
    sent = answer(desk, desk.text("hello").conversation_id or 0)
    desk.clock.forward(seconds=11)
    twilio.moods.append(Mood(status=503))
    carrier = courier(desk)
    carrier.run_once()
    waiting = message(desk, sent.id)
    assert waiting.state == "queued"
    assert waiting.state_why
    desk.clock.forward(minutes=2)
    carrier.run_once()
    assert message(desk, sent.id).state == "sent"
    assert len(twilio.phone(MARA_PHONE)) == 1


def test_a_number_that_opted_out_at_the_provider_is_never_tried_again(desk: Desk, twilio: TwilioDouble) -> None:
    number = desk.text("hello").conversation_id or 0
    sent = answer(desk, number)
    twilio.text_in(MARA_PHONE, OUR_NUMBER, "STOP")
    desk.clock.forward(seconds=11)
    courier(desk).run_once()
    failed = message(desk, sent.id)
    assert failed.state == "failed"
    assert "STOP" in failed.state_why or "opted out" in failed.state_why.lower()
    with desk.hub.store.read() as tx:
        assert [choice.blocked != "" for choice in reply_choices(tx, number)] == [True]
    with pytest.raises(Conflict, match="STOP"):
        answer(desk, number)


def test_stop_between_writing_and_sending_holds_the_reply_back(desk: Desk, twilio: TwilioDouble) -> None:
    sent = answer(desk, desk.text("hello").conversation_id or 0)
    desk.text("STOP")
    desk.clock.forward(seconds=11)
    courier(desk).run_once()
    assert message(desk, sent.id).state == "failed"
    assert twilio.sent == []


def test_a_crash_between_sending_and_writing_it_down_is_found_out(desk: Desk, twilio: TwilioDouble) -> None:
    """The sender dies after Twilio took the text: the lease runs out, the provider's list decides."""
    desk.clock.moment = datetime.now(UTC)
    taken = answer(desk, desk.text("hello").conversation_id or 0, "taken by Twilio")
    never = answer(desk, desk.only_conversation().id or 0, "never got there")
    desk.clock.moment = datetime.now(UTC) + timedelta(seconds=11)  # the double lives in real time

    class Died(BaseException):
        pass

    def dies_after(hub: object, delivery: Delivery) -> SendResult:
        if delivery.message_id == taken.id:
            send_message(desk.hub, delivery)
        raise Died

    carrier = Courier(desk.hub, {"channel": dies_after}, reconcile_message, threads=1)
    with pytest.raises(Died):
        carrier.run_once()
    assert message(desk, taken.id).state == "sending"

    desk.clock.forward(seconds=200)
    healthy = courier(desk)
    healthy.run_once()
    healthy.run_once()
    assert message(desk, taken.id).state in ("sent", "delivered")
    assert message(desk, never.id).state == "sent"
    assert sorted(text.body for text in twilio.phone(MARA_PHONE)) == ["never got there", "taken by Twilio"]


def test_an_uncertain_reply_waits_for_a_person(desk: Desk) -> None:
    sent = answer(desk, desk.text("hello").conversation_id or 0)
    desk.clock.forward(seconds=11)

    def broken_line(hub: object, delivery: Delivery) -> SendResult:
        raise SendUncertain("The line broke after the message was handed over.")

    carrier = Courier(desk.hub, {"channel": broken_line}, reconcile_message, threads=1)
    carrier.run_once()
    assert message(desk, sent.id).state == "uncertain"
    desk.clock.forward(days=2)
    assert carrier.run_once() == 0
    with desk.hub.store.write() as tx:
        retry(tx, desk.jonas, sent.id or 0)
    courier(desk).run_once()
    assert message(desk, sent.id).state == "sent"


def test_a_reply_is_held_while_the_customer_writes_something_newer(desk: Desk) -> None:
    first = desk.text("Where is my order?")
    desk.text("Never mind, it came")
    with pytest.raises(Conflict, match="wrote again"):
        answer(desk, first.conversation_id or 0, seen_message_id=first.message_id)


def test_an_answer_assigns_the_conversation_and_a_foreign_team_sees_nothing(desk: Desk) -> None:
    number = desk.text("Where is my order?").conversation_id or 0
    answer(desk, number)
    with desk.hub.store.read() as tx:
        owned = open_assignment(tx, number)
        assert owned is not None
        assert owned.agent_id == desk.jonas.agent_id
    with pytest.raises(NotFound), desk.hub.store.write() as tx:
        reply(tx, desk.tomas, number, text="hello", tokens=desk.hub.tokens)
    with pytest.raises(NotFound), desk.hub.store.write() as tx:
        note(tx, desk.tomas, number, "hello")
    with pytest.raises(Forbidden), desk.hub.store.write() as tx:
        undo(tx, desk.amara, desk.messages(number)[-1].id or 0)


def test_mail_answers_thread_for_the_customer_and_for_us(desk: Desk) -> None:
    mail = desk.mail("Order 48213", "one lamp missing", message_id="<her-mail@customer.example>")
    sent = answer(desk, mail.conversation_id or 0)
    assert sent.subject == "Re: Order 48213"
    assert sent.refs == ["<her-mail@customer.example>"]
    back = desk.mail("Re: Order 48213", "thanks", answers=sent.external_id)
    assert back.conversation_id == mail.conversation_id


def test_deliveries_made_twice_are_one(desk: Desk) -> None:
    for _ in range(2):
        with desk.hub.store.write() as tx:
            deliver(tx, "webhook", "endpoint:1", "1:77", {"fact": 77})
    with desk.hub.store.read() as tx:
        assert len(tx.exec(select(Delivery).where(Delivery.sender == "webhook")).all()) == 1
        assert "DeliveryChanged" not in [f.name for f in tx.exec(select(FactRow).order_by(col(FactRow.id)))]
