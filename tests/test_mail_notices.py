"""Agents are told by mail what is theirs: once, together, only what they may see, and never what they know already."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from threading import Thread

import pytest
import yaml
from sqlmodel import select

from hub.desk import apply, export
from hub.lifecycle import resolve
from hub.people import set_mail_notices
from hub.replies import reply
from inbox.session import Viewer
from inbox.thread import note_reading
from routing.presence import set_status
from storage.automatic import MailNotice
from storage.people import Agent
from tests.desk import Desk
from tests.support.autoreply import read, words
from tests.support.mailroom import configure
from tests.support.noticing import JONAS, Noticing, noticing


@pytest.fixture
def told(desk: Desk) -> Iterator[Noticing]:
    with noticing(desk) as opened:
        yield opened


def test_what_is_assigned_is_told_with_the_customers_words_and_how_to_answer(told: Noticing) -> None:
    number, mail = told.asked("Has my blue lamp left?\n\n-- \nMara")
    assert (mail["To"], mail["Subject"]) == (JONAS, f"[#{number}] Lamp")
    lines = words(mail).split("\n")
    assert lines[0] == "-- Answer above this line: it goes to Mara Lindqvist (e-mail). --"
    assert "This conversation is yours now." in lines
    assert "Mara Lindqvist, 24 November 2026 at 10:00 UTC, by e-mail:" in lines
    assert "Has my blue lamp left?" in lines
    assert f"In the inbox: https://desk.example/inbox/c/{number}" in lines
    assert (mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"]) == ("auto-generated", "All")
    token = mail["Reply-To"].addresses[0].username.partition("+")[2]
    assert told.desk.hub.tokens.noticed(token) == told.desk.hub.tokens.notice_of(mail["Message-ID"]) == 1
    assert told.room.sink.taken[0].sender == "<>"


def test_ten_lines_in_a_minute_are_one_mail(told: Noticing) -> None:
    number = told.desk.text("line 0 about my parcel").conversation_id or 0
    told.give(number, told.desk.jonas)
    for each in range(1, 10):
        told.desk.text(f"line {each}")
        told.followers.run_once()
        told.desk.clock.forward(seconds=5)
    [mail] = told.work()
    assert [f"line {each}" in words(mail) for each in range(10)] == [True] * 10
    told.desk.text("line 10")
    [next_one] = told.work()
    assert "line 10" in words(next_one)
    assert "line 9" not in words(next_one)
    assert (next_one["References"], next_one["Subject"]) == (mail["References"], mail["Subject"])


def test_a_flood_is_told_by_its_end(told: Noticing) -> None:
    number = told.desk.text("line 0 about my parcel").conversation_id or 0
    for each in range(1, 25):
        told.desk.text(f"line {each}")
    told.give(number, told.desk.jonas)
    [mail] = told.work()
    assert "line 24" in words(mail)
    assert "line 4\n" not in words(mail)
    assert "There is more before this" in words(mail)


def test_nobody_is_told_who_did_not_ask_for_it(told: Noticing) -> None:
    number = told.desk.mail("Lamp", "Has it left?").conversation_id or 0
    told.give(number, told.desk.amara)
    assert told.work() == []
    told.desk.hub.settings = told.desk.hub.settings.changed(notices_by="")
    told.give(number, told.desk.jonas)
    assert told.work() == []


def test_an_agent_is_not_told_what_he_took_himself_or_has_read_or_is_gone(told: Noticing) -> None:
    desk = told.desk
    number = desk.mail("Lamp", "Has it left?").conversation_id or 0
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, number, text="It left.", tokens=desk.hub.tokens, undo_seconds=0)
    assert [mail["To"] for mail in told.work()] == ["mara.lindqvist@example.com"]
    desk.mail("Re: Lamp", "When?", answers="<mail-1@customer.example>")
    told.followers.run_once()
    with desk.hub.store.write() as tx:
        jonas = Viewer(tx.get_one(Agent, desk.jonas.agent_id), desk.jonas, UTC)
        note_reading(tx, jonas, number, desk.messages(number)[-1].id or 0)
    assert told.work() == []
    desk.mail("Re: Lamp", "When exactly?", answers="<mail-1@customer.example>")
    told.followers.run_once()
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, number)
    assert told.work() == []
    desk.mail("Chair", "And the chair? order")
    told.give(desk.conversations()[-1].id or 0, desk.jonas)
    told.followers.run_once()
    told.give(desk.conversations()[-1].id or 0, desk.amara)
    assert told.work() == []


def test_a_ring_is_told_at_once_while_it_rings(told: Noticing) -> None:
    desk = told.desk
    with desk.hub.store.write() as tx:
        set_status(tx, desk.jonas, desk.jonas.agent_id or 0, "available", "test")
    desk.chat("Where is my parcel?")
    desk.route()
    [mail] = told.work(seconds=1)
    assert "This conversation rings at you" in words(mail)
    assert "(chat). --" in words(mail)


def test_a_ring_that_is_over_is_no_news(told: Noticing) -> None:
    desk = told.desk
    with desk.hub.store.write() as tx:
        set_status(tx, desk.jonas, desk.jonas.agent_id or 0, "available", "test")
    desk.chat("Where is my parcel?")
    desk.route()
    told.followers.run_once()
    desk.clock.forward(seconds=31)
    desk.route()
    assert told.work(seconds=1) == []


def test_machines_words_are_not_told(told: Noticing) -> None:
    number, _ = told.asked()
    told.desk.raw_mail(
        b"From: mara.lindqvist@example.com\r\nTo: support@desk.example\r\nIn-Reply-To: <mail-1@customer.example>\r\n"
        b"Auto-Submitted: auto-replied\r\nSubject: away\r\n\r\nI am away\r\n"
    )
    assert len(told.desk.messages(number)) == 2
    assert told.work() == []


def test_an_agent_whose_address_is_one_of_our_mailboxes_starts_no_loop(told: Noticing) -> None:
    told.change(told.desk.jonas, email="support+jonas@desk.example")
    number = told.desk.mail("Lamp", "Has it left?").conversation_id or 0
    told.give(number, told.desk.jonas)
    assert told.work() == []
    with told.desk.hub.store.read() as tx:
        (held,) = tx.sql("SELECT held FROM automatic_send").fetchone()
    assert "one of our own mailboxes" in held


def test_a_notice_that_comes_back_to_us_is_our_own_mail(told: Noticing) -> None:
    told.asked()
    assert told.desk.raw_mail(told.room.sink.taken[-1].data).state == "ignored"


def test_caps_hold_for_notices_too(told: Noticing) -> None:
    told.desk.hub.settings = told.desk.hub.settings.changed(automatic_per_conversation=2)
    number, _ = told.asked()
    for each in range(4):
        told.desk.mail("Re: Lamp", f"When? {each}", answers="<mail-1@customer.example>")
        told.work()
    assert len(told.room.sink.taken) == 2
    assert told.desk.messages(number)[-1].text.strip() == "When? 3"


def test_a_server_that_is_away_for_a_while_gets_the_same_notice_later(told: Noticing) -> None:
    told.room.sink.recipient_answers[JONAS] = "451 4.3.2 try again later"
    number = told.desk.mail("Lamp", "Has it left?").conversation_id or 0
    told.give(number, told.desk.jonas)
    assert told.work() == []
    told.desk.mail("Re: Lamp", "Or tomorrow?", answers="<mail-1@customer.example>")
    del told.room.sink.recipient_answers[JONAS]
    first, second = sorted(map(words, told.work(minutes=10)), key=lambda each: "Or tomorrow" in each)
    assert "Has it left?" in first
    assert "Or tomorrow" in second
    assert "Has it left?" not in second


def test_a_follower_that_fails_in_the_middle_tells_once(told: Noticing, monkeypatch: pytest.MonkeyPatch) -> None:
    number = told.desk.mail("Lamp", "Has it left?").conversation_id or 0
    told.give(number, told.desk.jonas)

    def dies(name: str) -> None:
        if name == "follower.written":
            raise RuntimeError(name)

    with monkeypatch.context() as broken:
        broken.setattr("hub.followers.step", dies)
        assert told.work() == []
    told.followers._resting.clear()
    assert len(told.work()) == 1
    assert told.work() == []


def test_what_is_written_while_a_notice_leaves_is_told_by_the_next(told: Noticing) -> None:
    """The courier decides what a notice shows while a follower adds to it: nothing falls between the two."""
    number = told.desk.text("line 0 parcel").conversation_id or 0
    told.give(number, told.desk.jonas)
    told.followers.run_once()
    told.desk.clock.forward(seconds=61)
    lines = [f"line {each}" for each in range(1, 13)]

    def write() -> None:
        for each in lines:
            told.desk.text(each)
            told.followers.run_once()

    writing = Thread(target=write)
    writing.start()
    while writing.is_alive():
        told.courier.run_once()
    mails = told.work() + told.work()
    everything = "\n".join(map(words, mails))
    assert [line for line in lines if f"{line}\n" not in f"{everything}\n"] == []
    with told.desk.hub.store.read() as tx:
        assert len(list(tx.exec(select(MailNotice)))) == len(told.room.sink.taken)


def test_whoever_switches_it_off_gets_nothing_more_also_what_was_under_way(told: Noticing) -> None:
    number = told.desk.mail("Lamp", "Has it left?").conversation_id or 0
    told.give(number, told.desk.jonas)
    told.followers.run_once()
    with told.desk.hub.store.write() as tx:
        set_mail_notices(tx, tx.get_one(Agent, told.desk.jonas.agent_id), False)
    assert told.work() == []


def test_notices_keep_the_pace_of_the_account_and_have_no_signature(told: Noticing) -> None:
    configure(told.desk, "support-mail", per_minute=1, signature="{agent}\nExample Support")
    for each in range(3):
        number = told.desk.mail(f"Lamp {each}", "Has it left?").conversation_id or 0
        told.give(number, told.desk.jonas)
    mails = told.work()
    assert len(mails) < 3
    assert "Example Support" not in words(mails[0])
    assert len(mails + told.work(minutes=2) + told.work(minutes=2)) == 3


def test_a_desk_file_sets_it_where_it_says_so_and_leaves_it_elsewhere(desk: Desk) -> None:
    people = [
        {"name": "Jonas Weber", "email": JONAS, "mail_notices": True, "signature": "Jonas, orders"},
        {"name": "Ines Novak", "email": "ines@desk.example", "role": "admin"},
    ]
    with desk.hub.store.write() as tx:
        assert [str(each) for each in apply(tx, desk.ines, {"agents": people}) if "mail_notices" in str(each)]
        jonas = {"name": "Jonas Weber", "email": JONAS}
        apply(tx, desk.ines, {"agents": [jonas, people[1]]})
        written = yaml.safe_load(export(tx))["agents"][0]
    assert (written["mail_notices"], written["signature"]) == (True, "Jonas, orders")


def test_an_agents_own_signature_stands_where_the_accounts_says_so(told: Noticing) -> None:
    configure(told.desk, "support-mail", signature="{signature}\nExample Support", signature_html="<b>{signature}</b>")
    told.change(told.desk.jonas, signature="Jonas Weber\nOrders & returns")
    number = told.desk.mail("Lamp", "Has it left?").conversation_id or 0
    mail = read(told.room.sink.taken[-1].data) if told.room.answer(told.desk.jonas, number) else None
    assert mail is not None
    assert words(mail).endswith("-- \nJonas Weber\nOrders & returns\nExample Support")
    html = mail.get_body(("html",))
    assert html is not None and "Jonas Weber<br>Orders &amp; returns" in html.get_content()
