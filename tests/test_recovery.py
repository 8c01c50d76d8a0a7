"""After something broke half-way: what is asked, what is tried again, and what must not be guessed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from channels.base import Raw
from hub.delivery import Courier, SendResult
from hub.mailboxes import Mailbox
from hub.outbound import reconcile_message, send_message
from hub.pump import Happened
from hub.receipts import note_receipt
from hub.replies import reply
from routing.retire import is_stranded, take_up_stranded
from sandbox.twilio import Mood, TwilioDouble
from storage import Store
from storage.conversations import Conversation, Message
from storage.deliveries import Delivery
from storage.desk import Queue
from storage.leases import drop_all_leases, take_lease
from storage.migrations import is_current, upgrade, upgrade_when_there
from storage.writer import Writer
from tests.browser.scene import available
from tests.clock import Clock
from tests.desk import MARA_PHONE, OUR_NUMBER, Desk, open_desk
from tests.processes import until


@pytest.fixture
def twilio() -> Iterator[TwilioDouble]:
    with TwilioDouble(auth_token="twilio-token", numbers=[OUR_NUMBER]) as double:
        yield double


@pytest.fixture
def desk(
    database_url: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, twilio: TwilioDouble
) -> Iterator[Desk]:
    monkeypatch.setenv("MAIL_PASSWORD", "secret")
    monkeypatch.setenv("SHOP_SECRET", "the shop's secret, at least thirty-two bytes long")
    clock.moment = datetime.now(UTC)  # the double lives in real time
    opened = open_desk(database_url, tmp_path, clock, twilio_base_url=twilio.url, undo_seconds=0)
    yield opened
    opened.hub.stop()


class Died(BaseException):
    """Stands for a process that is gone."""


def courier(desk: Desk, **more: timedelta) -> Courier:
    return Courier(desk.hub, {"channel": send_message}, reconcile_message, threads=1, **more)


def answer(desk: Desk, number: int | None, text: str) -> Message:
    with desk.hub.store.write() as tx:
        return reply(tx, desk.jonas, number or 0, text=text, tokens=desk.hub.tokens, undo_seconds=0)


def state(desk: Desk, sent: Message) -> str:
    with desk.hub.store.read() as tx:
        return tx.get_one(Message, sent.id).state


def test_the_same_words_sent_before_are_not_taken_for_an_answer_that_never_left(
    desk: Desk, twilio: TwilioDouble
) -> None:
    asked = desk.text("Has it left?").conversation_id
    first = answer(desk, asked, "Yes.")
    courier(desk).run_once()
    assert state(desk, first) == "sent"

    second = answer(desk, asked, "Yes.")

    def dies_before(hub: object, delivery: Delivery) -> SendResult:
        raise Died

    with pytest.raises(Died):
        Courier(desk.hub, {"channel": dies_before}, reconcile_message, threads=1).run_once()
    desk.clock.forward(seconds=130)
    courier(desk).run_once()
    assert state(desk, second) == "sent"
    assert [text.body for text in twilio.phone(MARA_PHONE)] == ["Yes.", "Yes."]


@pytest.mark.parametrize(("drop", "at_twilio"), [("after", 1), ("before", 0)])
def test_a_line_that_broke_is_cleared_up_with_the_provider(
    desk: Desk, twilio: TwilioDouble, drop: str, at_twilio: int
) -> None:
    sent = answer(desk, desk.text("Has it left?").conversation_id, "On Thursday.")
    twilio.moods.append(Mood(drop=drop))
    courier(desk).run_once()
    assert state(desk, sent) == "sending", "nobody is bothered while it can be found out"
    assert len(twilio.sent) == at_twilio

    desk.clock.forward(seconds=31)
    courier(desk).run_once()
    assert state(desk, sent) in ("sent", "delivered")
    assert len(twilio.sent) == 1


def test_a_provider_that_can_not_be_asked_is_asked_again_for_a_day(desk: Desk, twilio: TwilioDouble) -> None:
    sent = answer(desk, desk.text("Has it left?").conversation_id, "On Thursday.")
    twilio.moods.append(Mood(drop="after"))
    courier(desk).run_once()
    twilio._wire.stop()
    desk.clock.forward(minutes=5)
    courier(desk).run_once()
    assert state(desk, sent) == "sending"
    desk.clock.forward(days=1)
    courier(desk).run_once()
    assert state(desk, sent) == "uncertain"


def test_what_waited_too_long_behind_slow_ones_goes_back_instead_of_out(desk: Desk, twilio: TwilioDouble) -> None:
    """Its lease may end while it is sent: another courier would then send it as well."""
    asked = desk.text("Has it left?").conversation_id
    for text in ("first", "second"):
        answer(desk, asked, text)
    twilio.moods.append(Mood(delay=0.3))
    slow = courier(desk, lease=timedelta(seconds=0.4))
    slow.run_once()
    assert [text.body for text in twilio.sent] == ["first"]
    courier(desk).run_once()
    assert [text.body for text in twilio.sent] == ["first", "second"]


def test_a_new_reader_of_a_mailbox_files_what_the_last_one_left_first(desk: Desk) -> None:
    opened = desk.hub.channel_named("support-mail")
    mail = b"From: Mara <mara.lindqvist@example.com>\r\nSubject: Lamp\r\n\r\nOnly one came."
    desk.hub.store.submit(lambda tx: note_receipt(tx, opened, Raw("left-over", mail), mail, ""))
    stop = threading.Event()
    mailbox = Mailbox(desk.hub, opened, "the next one")
    reader = threading.Thread(target=mailbox.loop, args=(stop,))
    reader.start()
    until(desk.conversations, "the mail to be filed")  # its mail server is not even there
    stop.set()
    mailbox.close()
    reader.join(10)
    assert desk.messages(desk.only_conversation().id or 0)[0].text.strip() == "Only one came."


def test_the_only_process_does_not_wait_for_its_own_earlier_leases(desk: Desk) -> None:
    store = desk.hub.store
    assert store.submit(lambda tx: take_lease(tx, "mailbox:x", "killed", 45)) == 1
    assert store.submit(lambda tx: take_lease(tx, "mailbox:x", "restarted", 45)) is None
    store.submit(drop_all_leases)
    assert store.submit(lambda tx: take_lease(tx, "mailbox:x", "restarted", 45)) == 2


def test_when_the_database_is_away_a_whole_batch_hears_it_at_once() -> None:
    """Each unit alone would wait for the lock as long as the batch did: sixty-four times five seconds."""
    tries: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def run(units: Sequence[Callable[[Any], Any]]) -> list[Any]:
        if not tries:
            started.set()
            go_on.wait(10)
        tries.append(len(units))
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    writer = Writer(run)
    said: list[Exception] = []

    def ask() -> None:
        try:
            writer.submit_all([lambda tx: None])
        except sqlite3.OperationalError as error:
            said.append(error)

    askers = [threading.Thread(target=ask) for _ in range(11)]
    askers[0].start()
    started.wait(10)
    for asker in askers[1:]:
        asker.start()
    until(lambda: writer._queue.qsize() == 10, "ten to wait")
    go_on.set()
    for asker in askers:
        asker.join(10)
    writer.close()
    assert tries == [1, 10]
    assert len(said) == 11


def test_a_live_stream_whose_reader_fails_is_closed_so_that_it_resumes(desk: Desk) -> None:
    """Going on would leave a gap that nobody sees; the browser comes back with its Last-Event-ID."""

    def wants(fact: Happened) -> bytes | None:
        raise LookupError("the database went away between two looks")

    with Flask("test").test_request_context("/stream"):
        frames = iter(desk.hub.pump.response(request, wants).response)
    assert b"retry" in next(frames)
    desk.text("Is somebody there?")
    assert list(frames) == []


def test_a_process_of_the_old_version_comes_back_on_a_newer_schema(store: Store) -> None:
    """It was killed in the middle of a rolling upgrade."""
    with store.write() as tx:
        tx.sql("UPDATE alembic_version SET version_num = '9999'")
    assert is_current(store)
    assert not upgrade(store), "nothing to do, and nothing that it could know how to do"


def test_a_web_process_that_starts_while_the_database_is_away_waits_for_it(tmp_path: Path) -> None:
    """Giving up would make gunicorn end its brothers, which are at work."""
    file = tmp_path / "hub.db"
    file.mkdir()  # nothing that could be opened
    store = Store(f"sqlite:///{file}")
    starting = threading.Thread(target=upgrade_when_there, args=(store,))
    starting.start()
    starting.join(0.3)
    assert starting.is_alive()
    file.rmdir()
    starting.join(10)
    assert is_current(store)
    store.close()


def test_work_that_a_switch_off_could_not_see_finds_its_way(desk: Desk) -> None:
    available(desk, desk.jonas)
    owned = desk.mail("Order 48213", "One lamp is missing").conversation_id
    desk.route()
    late = desk.mail("Refund", "I want a refund", sender="Paul <paul@example.com>").conversation_id
    with desk.hub.store.write() as tx:  # as an older version switched off, or an apply beside a message on its way
        tx.sql("UPDATE agent SET active = ?, status = 'offline' WHERE id = ?", False, desk.jonas.agent_id)
        tx.sql("UPDATE queue SET active = ? WHERE name = 'Billing'", False)
    with desk.hub.store.read() as tx:
        assert is_stranded(tx)
    assert desk.hub.store.submit(take_up_stranded) == 2

    with desk.hub.store.read() as tx:
        assert not is_stranded(tx)
        assert tx.get_one(Conversation, owned).assignee_id is None
        assert tx.get_one(Queue, tx.get_one(Conversation, late).queue_id).name == "General"
    available(desk, desk.amara)
    desk.route()
    with desk.hub.store.read() as tx:
        assert {tx.get_one(Conversation, number).assignee_id for number in (owned, late)} == {desk.amara.agent_id}
    assert desk.hub.store.submit(take_up_stranded) == 0
