"""People beside the customer: who takes part by mail, what lets them in, and that nobody takes the customer's place."""

from __future__ import annotations

from typing import Any

import pytest

from channels.base import Raw
from hub.contacts import merge
from hub.intake import take_in
from hub.participants import others_in
from hub.replies import reply
from storage.conversations import Message
from storage.participants import is_participant
from storage.people import Contact
from tests.browser.room import Browser, application, attr, words
from tests.desk import MARA_MAIL, Desk
from tests.support.mailroom import configure

NORA, EVE = "nora@example.com", "eve@elsewhere.example"


def mail(desk: Desk, sender: str, subject: str = "Re: Lamp", *, cc: str = "", answers: str = "", own: str = "",
         more: str = "") -> int:  # fmt: skip
    head = f"From: {sender}\r\nTo: support@desk.example\r\nSubject: {subject}\r\n" + (f"Cc: {cc}\r\n" if cc else "")
    head += (f"In-Reply-To: {answers}\r\n" if answers else "") + (f"Message-ID: {own}\r\n" if own else "") + more
    number = sum(len(desk.messages(each.id or 0)) for each in desk.conversations())
    return desk.raw_mail(f"{head}\r\nHas it left? ({number})\r\n".encode()).conversation_id or 0


def there(desk: Desk, number: int) -> list[tuple[str, str]]:
    [conversation] = [each for each in desk.conversations() if each.id == number]
    with desk.hub.store.read() as tx:
        return [(each.address, each.how) for each in others_in(tx, conversation)]


def answer(desk: Desk, number: int, **more: Any) -> Message:
    with desk.hub.store.write() as tx:
        given: dict[str, Any] = {"text": "It left.", "tokens": desk.hub.tokens, "undo_seconds": 0, **more}
        return reply(tx, desk.ines, number, **given)


def customer(desk: Desk, number: int) -> str:
    [conversation] = [each for each in desk.conversations() if each.id == number]
    with desk.hub.store.read() as tx:
        return tx.get_one(Contact, conversation.contact_id).name


def test_who_is_in_copy_takes_part_and_is_no_stranger_when_they_answer(desk: Desk) -> None:
    number = mail(
        desk, f"Mara Lindqvist <{MARA_MAIL}>", "Lamp", cc=f"{NORA}, support+x@desk.example, {MARA_MAIL}", own="<1@x>"
    )
    assert there(desk, number) == [(NORA, "copied")]
    assert mail(desk, f"Nora Lindqvist <{NORA}>", answers="<1@x>") == number
    assert desk.messages(number)[-1].flags == []
    assert (there(desk, number), customer(desk, number)) == ([(NORA, "copied")], "Mara Lindqvist")


def test_an_unknown_mail_id_of_somebody_elses_conversation_lets_nobody_in(desk: Desk) -> None:
    number = mail(desk, MARA_MAIL, "Lamp", cc=NORA, own="<1@x>")
    assert mail(desk, EVE, answers="<1@x>") != number
    failed = "Authentication-Results: mx.desk.example; dmarc=fail header.from=example.com\r\n"
    configure(desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    assert mail(desk, NORA, answers="<1@x>", more=failed) != number  # her domain says that it is not from her


def test_a_new_address_that_answers_joins_beside_the_customer(desk: Desk) -> None:
    number = mail(desk, f"Mara Lindqvist <{MARA_MAIL}>", "Lamp", own="<1@x>")
    ours = answer(desk, number).external_id
    assert mail(desk, f"Eve Adler <{EVE}>", answers=ours, own="<2@x>", cc="friend@elsewhere.example") == number
    assert desk.messages(number)[-1].flags == ["new_participant"]
    assert (there(desk, number), customer(desk, number)) == ([(EVE, "joined")], "Mara Lindqvist")
    # From now on she is known: our mail is not needed to find the way back, however old it is.
    desk.clock.forward(days=40)
    assert mail(desk, f"Eve Adler <{EVE}>", answers="<2@x>") == number
    assert desk.messages(number)[-1].flags == []
    assert answer(desk, number).to_address == MARA_MAIL
    assert answer(desk, number).cc == []  # a copy to somebody who joined is the author's choice


def test_whom_we_put_in_copy_takes_part_and_whom_we_hid_does_not(desk: Desk) -> None:
    number = mail(desk, MARA_MAIL, "Lamp")
    ours = answer(desk, number, cc=[NORA], bcc=[EVE]).external_id
    assert there(desk, number) == [(NORA, "copied")]
    assert mail(desk, NORA, answers=ours) == number
    assert desk.messages(number)[-1].flags == []


def test_an_answering_machine_joins_nothing(desk: Desk) -> None:
    number = mail(desk, MARA_MAIL, "Lamp")
    ours = answer(desk, number).external_id
    mail(desk, EVE, "Out of office", answers=ours, more="Auto-Submitted: auto-replied\r\n", cc=NORA)
    assert there(desk, number) == []


def test_copies_that_a_stranger_names_take_no_part(desk: Desk) -> None:
    number = mail(desk, MARA_MAIL, "Lamp", own="<1@x>")
    mail(desk, EVE, answers=answer(desk, number).external_id, cc=NORA)
    assert mail(desk, NORA, answers="<1@x>") != number


@pytest.mark.parametrize("subject", ["Re: Lamp [#{0}]", "[#{0}] my lamp", "AW: [#99999] [#{0}]"])
def test_a_ticket_number_counts_from_the_customer_and_participants_only(desk: Desk, subject: str) -> None:
    number = mail(desk, MARA_MAIL, "Lamp", cc=NORA)
    written = subject.format(number)
    assert mail(desk, MARA_MAIL, written) == mail(desk, NORA, written) == number
    assert [each.why for each in desk.messages(number)[1:]] == ["ticket number in the subject"] * 2
    strangers = mail(desk, EVE, written)
    assert strangers != number
    assert desk.form(email=MARA_MAIL, name="Mara", message="me", topic=written).conversation_id != number


@pytest.mark.parametrize(
    "subject", ["Lamp #{0}", "Lamp [{0}]", "[#0]", "[#999999999999999999999]", "[#{0}0]", "[# {0}]"]
)
def test_what_only_resembles_a_ticket_number_is_none(desk: Desk, subject: str) -> None:
    number = mail(desk, MARA_MAIL, "Lamp")
    assert mail(desk, MARA_MAIL, subject.format(number)) != number


def test_a_second_address_of_the_customer_is_no_participant_once_they_are_merged(desk: Desk) -> None:
    number = mail(desk, MARA_MAIL, "Lamp", cc="mara@home.example", own="<1@x>")
    mail(desk, "mara@home.example", answers="<1@x>")
    assert there(desk, number) == [("mara@home.example", "copied")]
    ids = [each.contact_id for each in desk.messages(number)]
    with desk.hub.store.write() as tx:
        merge(tx, desk.ines, ids[0] or 0, ids[1] or 0)
    assert there(desk, number) == []


def test_a_mail_that_comes_twice_names_its_copies_once(desk: Desk) -> None:
    body = f"From: {MARA_MAIL}\r\nTo: support@desk.example\r\nCc: {NORA}, {NORA.upper()}\r\n\r\nHello\r\n".encode()
    channel = desk.hub.channel_named("support-mail")
    taken = [take_in(desk.hub, channel, Raw("same", body, "message/rfc822")) for _ in range(2)]
    assert [each.state for each in taken] == ["accepted", "duplicate"]
    assert there(desk, taken[0].conversation_id or 0) == [(NORA, "copied")]


def test_the_agent_sees_who_else_is_there_and_copies_them_with_a_click(desk: Desk) -> None:
    number = mail(desk, f"Mara Lindqvist <{MARA_MAIL}>", "Lamp", cc=NORA)
    desk.clock.forward(minutes=1)
    mail(desk, f"Eve Adler <{EVE}>", answers=answer(desk, number).external_id)
    jonas = Browser(application(desk))
    jonas.sign_in("jonas@desk.example")
    page = jonas.page(f"/inbox/c/{number}")
    assert attr(page, "#cc", "value") == NORA
    assert attr(page, '[data-do="copy"]', "data-address") == EVE
    assert "Also in this conversation" in " ".join(words(page, "#context h3"))
    assert words(page, "#also li") == [f"{NORA}in copy", "Eve Adlerjoined by answering"]
    assert [("not the customer" in each) for each in words(page, "article .meta")] == [False, False, True]


def test_an_agent_says_who_gets_copies_and_who_does_not(desk: Desk) -> None:
    number = mail(desk, f"Mara Lindqvist <{MARA_MAIL}>", "Lamp", cc=NORA)
    jonas = Browser(application(desk))
    jonas.sign_in("jonas@desk.example")
    page = jonas.page(f"/inbox/c/{number}")
    drop = attr(page, "#also form", "hx-post")
    assert attr(page, "#also button", "value") == NORA
    done = jonas.post(drop, hx=True, address=NORA)
    assert f"{NORA} gets no more copies." in done.text
    jonas.post(attr(page, "#add-also form", "hx-post"), hx=True, address=f" {EVE.upper()} ")
    page = jonas.page(f"/inbox/c/{number}")
    assert (attr(page, "#cc", "value"), words(page, "#also small")) == (EVE, ["added"])
    with desk.hub.store.read() as tx:
        assert not is_participant(tx, number, NORA) and is_participant(tx, number, EVE)
    jonas.post(f"/inbox/c/{number}/also", hx=True, address=NORA)
    assert attr(jonas.page(f"/inbox/c/{number}"), "#cc", "value") == f"{NORA}, {EVE}"
    assert jonas.post(f"/inbox/c/{number}/also", hx=True, address="nonsense").status_code == 409
    assert jonas.post(f"/inbox/c/{number}/also", hx=True, address="support@desk.example").status_code == 409
    assert jonas.post(f"/inbox/c/{number}/also_drop", hx=True, address="nobody@x.example").status_code == 404
