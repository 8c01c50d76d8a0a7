"""Mail on its way out of a desk: what the agent is told of each recipient, the pace, the copies, over real SMTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from hub.delivery import SCHEDULES, Courier
from hub.outbound import file_copy, reconcile_message, send_message
from hub.pacing import forget_old_turns
from hub.replies import reply, retry
from hub.suppression import suppress
from storage.conversations import Message
from storage.deliveries import Delivery, Pacing
from storage.desk import ChannelAccount, touch_desk
from tests.desk import MARA_MAIL, Desk
from tests.support.smtp import Sink, smtp_sink

JONAS_CC, AUDIT = "nora@example.com", "audit@desk.example"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink() as running:
        yield running


def connect(desk: Desk, sink: Sink, **settings: Any) -> None:
    """Let the desk's mail account send through the sink, without a login."""
    with desk.hub.store.write() as tx:
        account = tx.exec(select(ChannelAccount).where(ChannelAccount.name == "support-mail")).one()
        account.settings = {
            **account.settings, "smtp_host": sink.host, "smtp_port": sink.port, "smtp_tls": "none",
            "smtp_username": "", "sent_folder": "off", **settings,
        }  # fmt: skip
        tx.add(account)
        touch_desk(tx)
    desk.hub.look_again()


def courier(desk: Desk) -> Courier:
    return Courier(desk.hub, {"channel": send_message, "copy": file_copy}, reconcile_message)


def answer(desk: Desk, number: int | None = None, **more: Any) -> Message:
    if number is None:
        number = desk.mail("Lamp", "Has it left?").conversation_id
    with desk.hub.store.write() as tx:
        return reply(
            tx, desk.ines, number or 0, text="It left.", tokens=desk.hub.tokens, undo_seconds=0, **more
        )  # fmt: skip


def now(desk: Desk, sent: Message) -> Message:
    with desk.hub.store.read() as tx:
        return tx.get_one(Message, sent.id)


def delivery(desk: Desk, sent: Message) -> Delivery:
    with desk.hub.store.read() as tx:
        return tx.exec(select(Delivery).where(Delivery.message_id == sent.id)).one()


def test_a_refused_copy_is_told_by_name_and_the_customer_has_the_answer(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sink.recipient_answers[JONAS_CC] = "550 5.1.1 no such user"
    sent = answer(desk, cc=[JONAS_CC])
    courier(desk).run_once()
    told = now(desk, sent)
    assert (told.state, sink.taken[0].recipients) == ("sent", [MARA_MAIL])
    assert f"{JONAS_CC} was refused for good" in told.state_why
    assert delivery(desk, sent).state == "sent"
    desk.clock.forward(days=2)
    assert courier(desk).run_once() == 0


def test_a_copy_that_has_to_wait_is_sent_alone_and_later(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sink.recipient_answers[JONAS_CC] = "450 4.7.1 greylisted, see you in 300 seconds"
    sent = answer(desk, cc=[JONAS_CC])
    carrier = courier(desk)
    carrier.run_once()
    told = now(desk, sent)
    assert told.state == "sent"
    assert "greylisting" in told.state_why
    assert "tried again by itself" in told.state_why
    del sink.recipient_answers[JONAS_CC]
    desk.clock.forward(hours=1)
    carrier.run_once()
    assert [each.recipients for each in sink.taken] == [[MARA_MAIL], [JONAS_CC]]
    assert (now(desk, sent).state, now(desk, sent).state_why) == ("sent", "")
    assert delivery(desk, sent).state == "sent"
    assert "only" not in delivery(desk, sent).payload


def test_a_copy_that_never_gets_through_is_given_up_and_told(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sink.recipient_answers |= {JONAS_CC: "450 4.2.2 full", AUDIT: "550 5.1.1 unknown"}
    sent = answer(desk, cc=[JONAS_CC, "otto@example.com"])
    carrier = courier(desk)
    for _ in range(len(SCHEDULES["mail"]) + 2):
        carrier.run_once()
        desk.clock.forward(days=1)
    told = now(desk, sent)
    assert told.state == "sent"
    assert "not tried again" in told.state_why
    assert delivery(desk, sent).state == "failed"
    assert [each.recipients for each in sink.taken] == [[MARA_MAIL, "otto@example.com"]]


def test_a_greylisting_server_lets_the_second_try_in(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sink.answers.append("RCPT 451 4.7.1 Greylisted for 5 minutes")
    sent, carrier = answer(desk), courier(desk)
    carrier.run_once()
    told = now(desk, sent)
    assert told.state == "queued"
    assert "greylisting" in told.state_why
    assert delivery(desk, sent).due_at == desk.clock() + timedelta(minutes=5)
    desk.clock.forward(minutes=5)
    carrier.run_once()
    assert now(desk, sent).state == "sent"
    assert len(sink.taken) == 1


def test_mail_is_tried_for_days_and_then_given_up_with_the_reason(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sink.recipient_answers[MARA_MAIL] = "452 4.3.1 disk full"
    sent, carrier, began = answer(desk), courier(desk), desk.clock()
    tries = 0
    while delivery(desk, sent).state == "queued":
        desk.clock.moment = max(desk.clock(), delivery(desk, sent).due_at)
        tries += carrier.run_once()
    assert timedelta(days=3.5) < desk.clock() - began < timedelta(days=6)
    assert tries == len(SCHEDULES["mail"]) + 1
    told = now(desk, sent)
    assert told.state == "failed"
    assert "452 4.3.1 disk full" in told.state_why
    assert "not tried again" in told.state_why


def test_a_server_that_always_says_in_a_minute_is_tried_for_days_too(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sink.recipient_answers[MARA_MAIL] = "450 4.7.1 temporarily deferred, try again in 60 seconds"
    sent, carrier, began = answer(desk), courier(desk), desk.clock()
    while delivery(desk, sent).state == "queued":
        desk.clock.moment = max(desk.clock(), delivery(desk, sent).due_at)
        carrier.run_once()
    assert desk.clock() - began > timedelta(days=3.5)
    assert now(desk, sent).state == "failed"


def test_who_may_not_be_written_to_since_then_is_left_out_and_named(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sent = answer(desk, cc=[JONAS_CC], bcc=[AUDIT])
    waits = answer(desk, cc=[JONAS_CC])
    sink.recipient_answers[JONAS_CC] = "450 4.3.2 not now"
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE delivery SET due_at = ? WHERE message_id = ?", tx.now + timedelta(days=1), sent.id)
    carrier = courier(desk)
    carrier.run_once()
    with desk.hub.store.write() as tx:
        suppress(tx, "email", JONAS_CC, reason="complaint", source="a report")
    desk.clock.forward(days=2)
    del sink.recipient_answers[JONAS_CC]
    carrier.run_once()
    assert [each.recipients for each in sink.taken] == [[MARA_MAIL], [MARA_MAIL, AUDIT]]
    for each in (sent, waits):
        assert now(desk, each).state == "sent"
        assert f"{JONAS_CC} was left out. This person reported" in now(desk, each).state_why
        assert delivery(desk, each).state in ("sent", "failed")


def test_a_cut_after_the_content_waits_for_a_person_and_keeps_its_message_id(desk: Desk, sink: Sink) -> None:
    connect(desk, sink)
    sink.drop_after_data = True
    sent, carrier = answer(desk), courier(desk)
    carrier.run_once()
    assert now(desk, sent).state == "uncertain"
    desk.clock.forward(days=9)
    assert carrier.run_once() == 0
    sink.drop_after_data = False
    with desk.hub.store.write() as tx:
        retry(tx, desk.ines, sent.id or 0)
    carrier.run_once()
    assert now(desk, sent).state == "sent"
    ids = [each.data.partition(b"Message-ID: ")[2].split(b"\r\n")[0] for each in sink.taken]
    assert len(ids) == 2
    assert len(set(ids)) == 1


# --- the pace --------------------------------------------------------------------------------------------------------


def drained(desk: Desk, sink: Sink, carriers: list[Courier], count: int) -> list[tuple[datetime, str]]:
    """When each mail left, in the desk's time, one second after the other."""
    left: list[tuple[datetime, str]] = []
    for _ in range(3600):
        for carrier in carriers:
            while carrier.run_once():
                pass
        left += [(desk.clock(), each.recipients[0]) for each in sink.taken[len(left) :]]
        if len(left) >= count:
            break
        desk.clock.forward(seconds=1)
    return left


def most_within_a_minute(left: list[datetime]) -> int:
    return max(sum(start <= each < start + timedelta(minutes=1) for each in left) for start in left)


def test_an_account_keeps_its_pace_over_two_nodes_and_drops_nothing(desk: Desk, sink: Sink) -> None:
    connect(desk, sink, per_minute=10)
    number = desk.mail("Lamp", "Has it left?").conversation_id
    sent = [answer(desk, number) for _ in range(25)]
    nodes = [courier(desk), courier(desk)]
    for node in nodes:
        node.run_once()
    waiting = [now(desk, each) for each in sent if now(desk, each).state == "queued"]
    assert len(waiting) >= 20
    left = drained(desk, sink, nodes, 25)
    assert len(left) == 25
    assert most_within_a_minute([at for at, _ in left]) <= 11
    assert left[-1][0] - left[0][0] < timedelta(minutes=3), "nor is it slower than it has to be"
    assert {now(desk, each).state for each in sent} == {"sent"}
    assert {now(desk, each).state_why for each in sent} == {""}
    assert {delivery(desk, each).attempts for each in sent} == {1}, "waiting is no failed try"


def test_a_domain_that_waits_holds_up_no_other(desk: Desk, sink: Sink) -> None:
    connect(desk, sink, per_domain_per_minute=6)
    for index in range(8):
        number = desk.mail("Lamp", "?", sender=f"p{index}@slow.example").conversation_id
        answer(desk, number)
    for index in range(3):
        answer(desk, desk.mail("Lamp", "?", sender=f"q@other{index}.example").conversation_id)
    left = drained(desk, sink, [courier(desk)], 11)
    others = [at for at, to in left if "other" in to]
    slow = [at for at, to in left if "slow" in to]
    assert max(others) - left[0][0] <= timedelta(seconds=1)
    assert most_within_a_minute(slow) <= 7
    assert [to for _, to in left if "slow" in to] == [f"p{index}@slow.example" for index in range(8)], "in their order"


def test_limits_that_nobody_meets_are_forgotten(desk: Desk, sink: Sink) -> None:
    connect(desk, sink, per_minute=10, per_domain_per_minute=5)
    answer(desk)
    courier(desk).run_once()
    with desk.hub.store.read() as tx:
        assert len(tx.exec(select(Pacing)).all()) == 2
    desk.clock.forward(hours=2)
    desk.hub.store.submit(forget_old_turns)
    with desk.hub.store.read() as tx:
        assert not tx.exec(select(Pacing)).all()
