"""Agents answer by mail: what proves that it is them, what goes to the customer, and what becomes of all the rest."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from sqlmodel import select

from channels.base import Inbound, Raw, Sender
from hub.history import HISTORY
from hub.intake import read_receipt
from hub.moves import merge
from hub.noticeanswers import taken_apart
from hub.receipts import note_receipt
from hub.suppression import suppress
from hub.tokens import Tokens
from routing.work import release
from storage.conversations import Attachment, Draft, Message
from storage.people import Contact
from storage.receipts import Receipt
from tests.browser.room import Browser, application
from tests.browser.room import words as shown
from tests.desk import MARA_MAIL, MARA_PHONE, Desk
from tests.support.autoreply import words
from tests.support.mailroom import configure
from tests.support.noticing import AMARA, JONAS, TOMAS, Noticing, noticing


@pytest.fixture
def told(desk: Desk) -> Iterator[Noticing]:
    with noticing(desk) as opened:
        yield opened


def to_mara(told: Noticing) -> list[EmailMessage]:
    """What left for the customer since the last look."""
    return [mail for mail in told.work() if mail["To"] == MARA_MAIL]


def test_an_answer_goes_to_the_customer_without_what_it_quotes(told: Noticing) -> None:
    number, notice = told.asked()
    taken = told.answer(notice, "It left today.\n\n-- \nJonas Weber\nDesk Ltd")
    assert (taken.state, taken.conversation_id) == ("accepted", number)
    [mail] = to_mara(told)
    assert words(mail) == "It left today."
    assert (mail["From"].addresses[0].display_name, mail["In-Reply-To"]) == ("Jonas Weber", "<mail-1@customer.example>")
    message = told.last(number)
    assert (message.kind, message.agent_id, message.state) == ("outbound", told.desk.jonas.agent_id, "sent")
    assert told.desk.only_conversation().waiting_since is None
    token = notice["Reply-To"].addresses[0].username.partition("+")[2]
    assert token.encode() not in told.room.sink.taken[-1].data
    with told.desk.hub.store.read() as tx:
        assert list(tx.exec(select(Contact.name))) == ["Mara Lindqvist"]  # an agent is nobody's customer


def test_a_texter_gets_the_answer_as_a_text(told: Noticing) -> None:
    number = told.desk.text("Where is my parcel?").conversation_id or 0
    told.give(number, told.desk.jonas)
    [notice] = told.work()
    assert "(text message)" in words(notice)
    told.answer(notice, "On Thursday.")
    message = told.last(number)
    assert (message.channel, message.to_address, message.text) == ("sms", MARA_PHONE, "On Thursday.")


def test_the_message_id_is_enough_where_the_account_takes_no_plus_addresses(desk: Desk) -> None:
    with noticing(desk, plus_addresses=False) as told:
        number, notice = told.asked()
        assert notice["Reply-To"] is None
        told.answer(notice, "It left today.")
        assert [words(mail) for mail in to_mara(told)] == ["It left today."]
        assert told.last(number).agent_id == desk.jonas.agent_id


def test_the_address_is_enough_where_a_program_drops_what_it_answers(told: Noticing) -> None:
    number, notice = told.asked()
    told.answer(notice, "It left today.", answers="")
    assert (told.last(number).kind, told.last(number).text) == ("outbound", "It left today.")


@pytest.mark.parametrize(
    "sender", ["Mallory <mallory@elsewhere.example>", f"Jonas Weber <{JONAS}.evil.example>", f"Amara Obi <{AMARA}>",
               f"Tomás Silva <{TOMAS}>", f"Mara <{MARA_MAIL}>"],
)  # fmt: skip
def test_a_token_in_other_hands_sends_nothing_in_the_agents_name(told: Noticing, sender: str) -> None:
    number, notice = told.asked()
    told.answer(notice, "Please pay to this account instead.", sender=sender)
    assert to_mara(told) == []
    message = told.last(number)
    assert (message.kind, message.agent_id) == ("inbound", None)
    assert "notice_other_sender" in message.flags
    jonas = Browser(application(told.desk))
    jonas.sign_in("jonas@desk.example")
    assert any("comes from another address" in each for each in shown(jonas.page(f"/inbox/c/{number}"), "article"))


def test_a_mail_that_the_agents_domain_disowns_sends_nothing(told: Noticing) -> None:
    configure(told.desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    number, notice = told.asked()
    for results in ("dmarc=fail header.from=desk.example", "spf=fail smtp.mailfrom=desk.example"):
        told.answer(notice, f"Pay elsewhere. {results}", head=f"Authentication-Results: mx.desk.example; {results}\r\n")
    assert to_mara(told) == []
    assert ["notice_unproved" in each.flags for each in told.desk.messages(number)] == [False, True, True]
    passed = "Authentication-Results: mx.desk.example; spf=fail; dmarc=pass header.from=desk.example\r\n"
    told.answer(notice, "It left today.", head=passed)
    assert [words(mail) for mail in to_mara(told)] == ["It left today."]


def test_two_senders_in_one_mail_are_nobody(told: Noticing) -> None:
    number, notice = told.asked()
    told.answer(notice, "Pay elsewhere.", head="From: mallory@elsewhere.example\r\n")
    assert to_mara(told) == []
    assert "notice_unproved" in told.last(number).flags


@pytest.mark.parametrize(
    ("values", "flag"), [({"active": False}, "notice_closed"), ({"mail_notices": False}, "notice_closed")]
)
def test_whoever_was_switched_off_answers_nothing_any_more(told: Noticing, values: dict[str, bool], flag: str) -> None:
    number, notice = told.asked()
    told.change(told.desk.jonas, **values)
    told.answer(notice, "It left today.")
    assert told.work() == []
    assert (told.last(number).kind, flag in told.last(number).flags) == ("inbound", True)


def test_an_old_token_and_a_queue_of_others_are_refused_and_the_agent_is_told(told: Noticing) -> None:
    number, notice = told.asked()
    told.desk.clock.forward(days=31)
    told.answer(notice, "It left in December.")
    [mail] = told.work()
    assert mail["To"] == JONAS
    assert "was not sent to the customer" in words(mail)
    assert "older than 30 days" in words(mail)
    assert any("notice_expired" in each.flags for conversation in told.desk.conversations()
               for each in told.desk.messages(conversation.id or 0))  # fmt: skip
    told.answer(mail, "So once more: it left in December.")  # what tells of it has a token of today
    assert [words(each) for each in to_mara(told)] == ["So once more: it left in December."]
    with told.desk.hub.store.write() as tx:
        tx.sql("DELETE FROM agent_queue WHERE agent_id = ?", told.desk.jonas.agent_id)
    told.give(number, told.desk.amara)
    told.answer(mail, "And once more.")
    assert to_mara(told) == []
    assert "notice_no_access" in told.last(number).flags


def test_a_guessed_or_foreign_token_is_none(told: Noticing) -> None:
    number, notice = told.asked()
    forged = Tokens("somebody else's secret").issue_notice(1)
    told.answer(notice, "Hello", to=f"support+{forged}@desk.example", answers="")
    assert len(told.desk.messages(number)) == 1
    assert to_mara(told) == []


AWAY = {
    "says so": "Auto-Submitted: auto-replied\r\n",
    "an old robot": "X-Autoreply: yes\r\n",
    "a bounce": "Return-Path: <>\r\n",
}


@pytest.mark.parametrize("head", AWAY.values(), ids=AWAY)
def test_an_agents_answering_machine_reaches_nobody(told: Noticing, head: str) -> None:
    number, notice = told.asked()
    taken = told.answer(notice, "I am at sea until Monday.", head=head)
    assert (taken.state, told.work(), len(told.desk.messages(number))) == ("ignored", [], 1)
    with told.desk.hub.store.read() as tx:
        assert tx.get_one(Receipt, taken.receipt_id).why.startswith("an agent's answering machine")


@pytest.mark.parametrize("word", ["@note", "#note", "@Note:"])
def test_a_note_by_mail_stays_with_the_team(told: Noticing, word: str) -> None:
    number, notice = told.asked()
    told.answer(notice, f"{word} she has called as well")
    message = told.last(number)
    assert (message.kind, message.text, message.agent_id) == (
        "note", "she has called as well", told.desk.jonas.agent_id,
    )  # fmt: skip
    assert told.work() == []


def test_an_answer_may_begin_with_the_word_note(told: Noticing) -> None:
    number, notice = told.asked()
    told.answer(notice, "Note: it leaves on Monday.")
    assert (told.last(number).kind, told.last(number).text) == ("outbound", "Note: it leaves on Monday.")


def test_an_answer_that_closes_and_closing_alone(told: Noticing) -> None:
    number, notice = told.asked()
    told.answer(notice, "@close\nIt left today.")
    assert [words(mail) for mail in to_mara(told)] == ["It left today."]
    assert told.desk.only_conversation().state == "resolved"
    told.desk.mail("Re: Lamp", "Thank you!", answers="<mail-1@customer.example>")
    told.give(number, told.desk.jonas)
    [again] = told.work()
    taken = told.answer(again, "#solved")
    assert (taken.state, taken.message_id, told.desk.only_conversation().state) == ("accepted", None, "resolved")
    assert to_mara(told) == []


def test_the_same_answer_twice_or_in_two_of_our_mailboxes_is_sent_once(told: Noticing) -> None:
    number, notice = told.asked()
    first = told.answer(notice, "It left today.")
    told._count -= 1
    again = told.answer(notice, "It left today.")
    told._count -= 1
    copied = told.answer(notice, "It left today.", channel="support-mail", head="Received: from elsewhere\r\n")
    assert (first.state, again.state, copied.state) == ("accepted", "duplicate", "duplicate")
    assert len(to_mara(told)) == 1
    assert len(told.desk.messages(number)) == 2


def test_a_copy_over_another_way_is_the_same_answer(told: Noticing) -> None:
    number, notice = told.asked()
    told.answer(notice, "It left today.")
    told._count -= 1
    data = told.desk.hub.store
    with data.read() as tx:
        body = tx.exec(select(Receipt).where(Receipt.id == told.last(number).receipt_id)).one().body or b""
    other = told.desk.raw_mail(b"Received: from mx by elsewhere\r\n" + body, key="another way")
    assert (other.state, other.message_id) == ("duplicate", told.last(number).id)
    assert len(to_mara(told)) == 1


def test_files_go_with_it_and_the_pictures_of_a_signature_do_not(told: Noticing) -> None:
    number, notice = told.asked()
    logo, paper = base64.b64encode(b"\x89PNG").decode(), base64.b64encode(b"%PDF-1").decode()
    body = (
        'Content-Type: multipart/mixed; boundary="m"\r\nMIME-Version: 1.0\r\n\r\n--m\r\n'
        'Content-Type: multipart/related; boundary="r"\r\n\r\n--r\r\nContent-Type: text/html\r\n\r\n'
        '<p>Here is the receipt.</p><p><img src="cid:logo"></p>\r\n--r\r\nContent-Type: image/png; name=logo.png\r\n'
        f"Content-ID: <logo>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n{logo}\r\n"
        "--r--\r\n--m\r\nContent-Type: application/pdf; name=receipt.pdf\r\nContent-Disposition: attachment; "
        f"filename=receipt.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{paper}\r\n--m--\r\n"
    )
    told.answer(notice, "", body=body.encode())
    [mail] = to_mara(told)
    assert [each.get_filename() for each in mail.iter_attachments()] == ["receipt.pdf"]
    assert words(mail).startswith("Here is the receipt.")
    assert files_of(told, told.last(number)) == ["receipt.pdf"]


def files_of(told: Noticing, message: Message) -> list[str]:
    with told.desk.hub.store.read() as tx:
        return [each.name for each in tx.exec(select(Attachment).where(Attachment.message_id == message.id))]


def test_what_can_not_be_sent_is_kept_as_a_note_and_the_agent_is_told_why(told: Noticing) -> None:
    number, notice = told.asked()
    with told.desk.hub.store.write() as tx:
        suppress(tx, "email", MARA_MAIL, reason="bounce", source="test")
    told.answer(notice, "It left today.")
    message = told.last(number)
    assert (message.kind, message.text, message.flags) == ("note", "It left today.", ["answer_not_sent"])
    [mail] = told.work()
    assert mail["To"] == JONAS
    assert "Mail to this address came back for good" in words(mail)
    jonas = Browser(application(told.desk))
    jonas.sign_in("jonas@desk.example")
    assert any("not sent to the customer: Mail to this address" in each
               for each in shown(jonas.page(f"/inbox/c/{number}"), "article"))  # fmt: skip


def test_files_for_a_texter_are_kept_and_the_agent_is_told(told: Noticing) -> None:
    number = told.desk.text("Where is my parcel?").conversation_id or 0
    told.give(number, told.desk.jonas)
    [notice] = told.work()
    body = (
        'Content-Type: multipart/mixed; boundary="m"\r\nMIME-Version: 1.0\r\n\r\n--m\r\n'
        "Content-Type: text/plain\r\n\r\n"
        "See the paper.\r\n--m\r\nContent-Type: application/pdf; name=paper.pdf\r\nContent-Disposition: attachment; "
        "filename=paper.pdf\r\n\r\n%PDF\r\n--m--\r\n"
    )
    told.answer(notice, "", body=body.encode())
    message = told.last(number)
    assert (message.kind, message.text.strip(), files_of(told, message)) == ("note", "See the paper.", ["paper.pdf"])
    [mail] = told.work()
    assert "carries no files" in words(mail)


def test_what_an_agent_has_begun_in_the_inbox_stays_there(told: Noticing) -> None:
    number, notice = told.asked()
    with told.desk.hub.store.write() as tx:
        for kind in ("reply", "note"):
            tx.add(Draft(agent_id=told.desk.jonas.agent_id or 0, conversation_id=number, kind=kind, text="Dear Mara",
                         saved_at=tx.now))  # fmt: skip
    told.answer(notice, "It left today.")
    told.answer(notice, "@note she called")
    with told.desk.hub.store.read() as tx:
        assert len(list(tx.exec(select(Draft)))) == 2


def test_an_answer_to_what_nobody_has_takes_it(told: Noticing) -> None:
    number, notice = told.asked()
    with told.desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET status = 'available' WHERE id = ?", told.desk.jonas.agent_id)
    with told.desk.hub.store.write() as tx:
        release(tx, told.desk.ines, number)
    told.answer(notice, "It left today.")
    assert told.desk.only_conversation().assignee_id == told.desk.jonas.agent_id


def inbound(text: str, quoted_at: int | None = None) -> Inbound:
    return Inbound(Sender(()), text, quoted_at=len(text) if quoted_at is None else quoted_at)


LINE = "-- Answer above this line: it goes to Mara (e-mail). --"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("It left.\n\nKia ora, 24 Nov, Support tuhituhi ana:\n" + f"> {LINE}\n> words", "It left."),
        (f"It left.\n\nX <support+abc@desk.example> skrev den 24 nov\n\n| {LINE}\nwords", "It left."),
        (f"It left.\nSee you at 10:\n9 or 10\n{LINE}", "It left.\nSee you at 10:\n9 or 10"),
        (f"> {LINE}\n> words\n\nIt left.", None),
        ("It left.", "It left."),
        ("", ""),
    ],
)
def test_no_line_of_the_notice_goes_out_whatever_program_quotes_it(text: str, kept: str | None) -> None:
    assert taken_apart(inbound(text), Tokens("ours"))[1] == kept


def test_nothing_with_a_token_ever_goes_out() -> None:
    tokens = Tokens("ours")
    address = f"support+{tokens.issue_notice(7).upper()}@desk.example"
    assert taken_apart(inbound(f"Write to {address}"), tokens)[1] is None
    assert taken_apart(inbound("Write to support+sales@desk.example"), tokens)[1] is not None


@pytest.mark.parametrize(
    ("text", "commands", "rest"),
    [
        ("@note hello", {"note"}, "hello"),
        ("@close\n@note hello", {"close", "note"}, "hello"),
        ("#solved: done", {"solved"}, "done"),
        ("@notebook is here", set(), "@notebook is here"),
        ("hello @note", set(), "hello @note"),
    ],
)
def test_commands_stand_first(text: str, commands: set[str], rest: str) -> None:
    assert taken_apart(inbound(text), Tokens("ours")) == (commands, rest)


def test_an_old_mail_that_a_backfill_brings_answers_nobody(told: Noticing) -> None:
    number, notice = told.asked()
    opened = told.desk.hub.channel_named("support-mail")
    data = (
        f"From: {JONAS}\r\nTo: {notice['Reply-To']}\r\nIn-Reply-To: {notice['Message-ID']}\r\n\r\nIt left.\r\n"
    ).encode()
    with told.desk.hub.store.write() as tx:
        kept = note_receipt(tx, opened, Raw("old", data, "message/rfc822", {HISTORY: "yes"}), data, "")
    with told.desk.hub.store.read() as tx:
        receipt = tx.get_one(Receipt, kept)
    assert read_receipt(told.desk.hub, opened, receipt).state == "accepted"
    assert to_mara(told) == []
    assert [each.kind for each in told.desk.messages(number)].count("outbound") == 0


def test_an_answer_about_what_was_merged_meanwhile_goes_on_in_the_other_conversation(told: Noticing) -> None:
    number, notice = told.asked()
    other = told.desk.mail("Order 2", "Where is my lamp?").conversation_id or 0
    with told.desk.hub.store.write() as tx:
        merge(tx, told.desk.jonas, other, number)
    assert told.answer(notice, "It left today.").conversation_id == other
    assert (told.last(other).kind, told.last(other).text) == ("outbound", "It left today.")
