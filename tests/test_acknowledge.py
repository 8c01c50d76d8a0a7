"""The word to the customer when a matter begins: what it says, whom it never goes to, and that it answers nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from channels import open_channel
from channels.base import NotConfigured
from channels.mail.acknowledgement import Acknowledgement
from hub.suppression import suppress
from tests.desk import MARA_MAIL, Desk
from tests.support.autoreply import Acknowledging, acknowledging, words
from tests.support.mailroom import configure, mailroom, returned


@pytest.fixture
def saying(desk: Desk) -> Iterator[Acknowledging]:
    with acknowledging(desk) as opened:
        yield opened


def arrive(desk: Desk, head: str = "", *, sender: str = f"Mara Lindqvist <{MARA_MAIL}>", subject: str = "Lamp") -> int:
    count = sum(len(desk.messages(each.id or 0)) for each in desk.conversations())
    lines = f"{head}From: {sender}\r\nTo: support@desk.example\r\nSubject: {subject}\r\n"
    taken = desk.raw_mail(f"{lines}Message-ID: <m{count}@x>\r\n\r\nHas it left? ({count})\r\n".encode())
    return taken.conversation_id or 0


def test_a_new_matter_is_acknowledged_once_with_its_number(saying: Acknowledging) -> None:
    desk = saying.desk
    taken = desk.mail("Lamp", "Has it left?")
    [mail] = saying.work()
    number = taken.conversation_id
    assert words(mail) == f"Hello Mara Lindqvist,\n\nwe have your message. Its number is {number}."
    assert (mail["To"], mail["Subject"]) == (MARA_MAIL, f"Auto: Lamp [#{number}]")
    assert (mail["Auto-Submitted"], mail["Precedence"], mail["X-Auto-Response-Suppress"]) == (
        "auto-replied", "bulk", "All",
    )  # fmt: skip
    assert mail["In-Reply-To"] == "<mail-1@customer.example>"
    assert saying.room.sink.taken[0].sender == "<>"
    desk.mail("Re: Lamp", "I forgot: it is the blue one.", answers="<mail-1@customer.example>")
    assert saying.work() == []
    assert desk.only_conversation().message_count == 3


def test_it_answers_nothing_the_customer_still_waits(saying: Acknowledging) -> None:
    desk = saying.desk
    number = arrive(desk)
    saying.work()
    conversation = desk.only_conversation()
    assert conversation.waiting_since == desk.clock()
    assert (desk.messages(number)[-1].automatic, desk.messages(number)[-1].state) == ("acknowledgement", "sent")
    with desk.hub.store.read() as tx:
        assert tx.sql("SELECT first_reply_at FROM work_item").fetchone() == (None,)
    answer = saying.room.answer(desk.jonas, number)
    assert answer.refs[-1] == "<m0@x>"


def test_whoever_answers_it_is_in_the_same_conversation(saying: Acknowledging) -> None:
    number = arrive(saying.desk)
    [mail] = saying.work()
    assert (
        saying.desk.mail("Re: " + str(mail["Subject"]), "thanks", answers=mail["Message-ID"]).conversation_id == number
    )


MACHINES = {
    "vacation": "Auto-Submitted: auto-replied\r\n",
    "generated": "Auto-Submitted: auto-generated\r\n",
    "asks for silence": "X-Auto-Response-Suppress: All\r\n",
    "a person who asks for silence": "Auto-Submitted: no\r\nX-Auto-Response-Suppress: OOF, AutoReply\r\n",
    "bulk": "Precedence: bulk\r\n",
    "a list": "List-Id: <talk.example.com>\r\n",
    "old robots": "X-Autoreply: yes\r\n",
    "a bounce": "Return-Path: <>\r\n",
}


@pytest.mark.parametrize("head", MACHINES.values(), ids=MACHINES)
def test_no_machine_is_acknowledged(saying: Acknowledging, head: str) -> None:
    arrive(saying.desk, head)
    assert saying.work() == []


@pytest.mark.parametrize(
    "sender", ["no-reply@shop.example", "mailer-daemon@x.example", "owner-talk@x.example", "talk-request@x.example",
               "abuse@x.example", "support+x@desk.example"],
)  # fmt: skip
def test_nobody_writes_back_to_lists_roles_and_ourselves(saying: Acknowledging, sender: str) -> None:
    arrive(saying.desk, sender=sender)
    assert saying.work() == []


def test_our_own_mail_is_not_acknowledged(saying: Acknowledging) -> None:
    arrive(saying.desk)
    saying.work()
    sent = saying.room.sink.taken[-1]
    assert saying.desk.raw_mail(sent.data).state == "ignored"
    saying.desk.raw_mail(returned(sent, "4.2.2", "452 full"))
    assert saying.work() == []


@pytest.mark.parametrize("results", ["dmarc=fail header.from=example.com", "spf=softfail smtp.mailfrom=x.example"])
def test_a_mail_that_may_be_forged_is_not_acknowledged_and_says_why(saying: Acknowledging, results: str) -> None:
    configure(saying.desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    arrive(saying.desk, f"Authentication-Results: mx.desk.example; {results}\r\n")
    arrive(saying.desk, "Authentication-Results: mx.desk.example; dmarc=pass header.from=example.com\r\n")
    assert len(saying.work()) == 1
    assert saying.held() == ["Nothing proves that the sender wrote it, and something speaks against it."]


def test_who_claims_to_be_a_colleague_is_not_answered_in_his_name(saying: Acknowledging) -> None:
    arrive(saying.desk, sender="Jonas Weber <jonas@desk.example>")
    arrive(saying.desk, sender="Jonas Weber <boss@elsewhere.example>")
    assert saying.work() == []
    assert len(saying.held()) == 2


def test_an_address_that_bounced_or_complained_gets_none(saying: Acknowledging) -> None:
    with saying.desk.hub.store.write() as tx:
        suppress(tx, "email", MARA_MAIL, reason="complaint", source="report")
    arrive(saying.desk)
    assert saying.work() == []
    assert "spam" in saying.held()[0]


def test_without_the_setting_nobody_is_told_anything(desk: Desk) -> None:
    with acknowledging(desk, "") as saying:
        arrive(desk)
        assert saying.work() == []
        assert saying.held() == []


def test_what_arrived_before_it_was_switched_on_or_long_ago_is_left_alone(desk: Desk) -> None:
    arrive(desk)
    with acknowledging(desk) as saying:
        assert saying.work() == []
        arrive(desk, subject="Chair")
        desk.clock.forward(hours=13)  # nobody was at work
        assert saying.work() == []


def test_who_is_answered_before_needs_no_acknowledgement(saying: Acknowledging) -> None:
    number = arrive(saying.desk)
    saying.room.answer(saying.desk.jonas, number)
    assert saying.work() == []


def test_a_crash_between_the_fact_and_the_mail_acknowledges_once(
    saying: Acknowledging, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(saying.desk)

    def dies(name: str) -> None:
        if name == "follower.written":
            raise RuntimeError(name)

    with monkeypatch.context() as broken:
        broken.setattr("hub.followers.step", dies)
        assert saying.work() == []
    saying.followers._resting.clear()
    assert len(saying.work()) == 1
    assert len(saying.counted()) == 1


def test_a_form_is_acknowledged_by_mail_and_repeats_no_claims(saying: Acknowledging) -> None:
    configure(saying.desk, "contact-form", acknowledge=WORDS_WITH_SUBJECT, acknowledge_by="support-mail")
    saying.desk.form(email=MARA_MAIL, name="Call 1-800-555-0199 now", message="hello", topic="You have won")
    saying.desk.form(email="nora@example.com", name="Nora", message="hello", topic="visit www.example.net")
    first, second = saying.work()
    assert words(first) == "Hello. We have it."
    assert words(second) == "Hello Nora. We have it."
    assert first["Subject"] == f"Auto: [#{saying.desk.conversations()[0].id}]"
    assert first["In-Reply-To"] is None


WORDS_WITH_SUBJECT = "Hello {first_name}. We have it {subject}."


def test_a_form_without_an_address_and_a_wrong_channel_name_do_no_harm(saying: Acknowledging) -> None:
    configure(saying.desk, "contact-form", acknowledge="We have it.", acknowledge_by="elsewhere")
    saying.desk.form(name="Mara", message="hello")
    saying.desk.form(email=MARA_MAIL, name="Mara", message="hello")
    assert saying.work() == []
    assert saying.held() == ["There is no active mail channel 'elsewhere' to send it; correct acknowledge_by."]


def test_an_envelope_of_its_own_where_the_server_refuses_an_empty_one(desk: Desk) -> None:
    with acknowledging(desk, null_sender=False) as saying:
        arrive(desk)
        saying.work()
        assert saying.room.sink.taken[0].sender == "support@desk.example"
    with acknowledging(desk, plus_addresses=True) as saying:
        arrive(desk, subject="Chair")
        saying.work()
        assert saying.room.sink.taken[0].sender.startswith("support+")


def test_an_agents_answer_is_no_automatic_mail(desk: Desk) -> None:
    with mailroom(desk) as room:
        room.answer(desk.jonas, arrive(desk))
        head = room.sink.taken[0].data.partition(b"\r\n\r\n")[0]
        assert room.sink.taken[0].sender == "support@desk.example"
        assert not [name for name in (b"Auto-Submitted", b"Precedence", b"Suppress") if name in head]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Mara", "Hello Mara,"), ("", "Hello,"), ("win at prize.example", "Hello,"), ("https://x", "Hello,"),
     ("a\r\nBcc: x", "Hello a Bcc: x,"), ("Mara {ticket}", "Hello Mara {ticket},")],
)  # fmt: skip
def test_what_a_stranger_writes_into_his_name_advertises_nothing(name: str, shown: str) -> None:
    assert Acknowledgement("Hello {name},").filled(7, name, "")[1] == shown


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"acknowledge": "Hello {nmae}"}, "{nmae}"),
        ({"acknowledge_subject": "Hello"}, "set it as well"),
        ({"acknowledge": True}, "have to be texts"),
        ({"acknowledge": "Hello"}, "acknowledge_by"),
    ],
)
def test_settings_that_cannot_work_are_told(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(NotConfigured, match=sentence):
        open_channel("form", "contact", "", settings)
