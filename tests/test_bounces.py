"""Mail that comes back: read in every dialect, tied to what we sent by ids that we issued, brought to its author."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from sqlmodel import select

from channels.base import Raw, Unreadable
from channels.mail.automatic import LOOP_HEADER
from channels.mail.bounces import kind_of
from channels.mail.parse import parse
from channels.reports import Failing
from hub.lifecycle import resolve, snooze
from hub.replies import reply_choices, retry
from hub.suppression import BOUNCE_KEPT, allow_again, refusal, suppress
from storage.access import Conflict, NotFound
from storage.conversations import Conversation
from storage.deliveries import Suppression
from storage.facts import FactRow
from storage.people import identities_of
from storage.work import open_assignment
from tests.corpus import mail_corpus
from tests.desk import MARA_MAIL, Desk
from tests.support.mailroom import Mailroom, configure, mailroom, returned

MAILS = Path(__file__).parent / "mail"
GONE = "550 5.1.1 no such user here"


@pytest.fixture
def room(desk: Desk) -> Iterator[Mailroom]:
    with mailroom(desk) as opened:
        yield opened


def asked(room: Mailroom) -> int:
    """Mara's question; the conversation."""
    return room.desk.mail("Order 48213", "one lamp missing").conversation_id or 0


def suppressions(room: Mailroom) -> list[tuple[str, str]]:
    with room.desk.hub.store.read() as tx:
        return [(row.value, row.reason) for row in tx.exec(select(Suppression))]


def conversation(room: Mailroom, number: int) -> Conversation:
    with room.desk.hub.store.read() as tx:
        return tx.get_one(Conversation, number)


def proved_by(domain: str, verdict: str = "pass") -> bytes:
    """What the desk's own mail server says about a report."""
    return f"Authentication-Results: mx.desk.example; dmarc={verdict} header.from={domain}\r\n".encode()


def marked(room: Mailroom) -> bytes:
    """What only the mail itself carries of ours."""
    sent = message_from_bytes(room.sink.taken[0].data)
    return f"{LOOP_HEADER}: {sent[LOOP_HEADER]}".encode()


COMPLAINT = (MAILS / "complaint.eml").read_bytes()


def complaint(line: bytes, by: str = "provider.example") -> bytes:
    """Of Mara's provider, or of whoever says so, about the mail with this header line."""
    about = COMPLAINT.replace(b"Message-ID: <reply-3@shop.example>", line)
    return about.replace(b"@provider.example", f"@{by}".encode())


def quoting(room: Mailroom) -> bytes:
    """What everybody has who ever got an answer to our mail."""
    return b"Message-ID: " + message_from_bytes(room.sink.taken[0].data)["Message-ID"].encode()


DIALECTS = {
    "bounce_postfix.eml": Failing.ADDRESS,
    "bounce_exim.eml": Failing.ADDRESS,
    "bounce_qmail.eml": Failing.REFUSED,
    "bounce_quota.eml": Failing.FULL,
    "bounce_delayed.eml": Failing.DELAYED,
    "bounce_expired.eml": Failing.TIMEOUT,
    "bounce_office365.eml": Failing.ADDRESS,
    "bounce_prose.eml": Failing.FULL,
    "complaint.eml": Failing.COMPLAINT,
}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_report_is_read_whatever_wrote_it(name: str) -> None:
    inbound = parse(Raw("x", (MAILS / name).read_bytes()))
    assert inbound.automatic == ("report" if name == "complaint.eml" else "bounce")
    assert inbound.report is not None
    [failure] = inbound.report.failures
    assert (failure.kind, failure.addresses[0]) == (DIALECTS[name], MARA_MAIL)
    assert inbound.report.ids == ("<reply-3@shop.example>",)


def test_our_mark_is_found_in_what_came_back() -> None:
    report = parse(Raw("x", (MAILS / "bounce_exim.eml").read_bytes())).report
    assert report is not None
    assert report.marks == ("6f1c2c1e-0000-4000-8000-000000000001.abcdefghijklmnop",)


def test_good_news_and_people_are_no_failures() -> None:
    report = parse(Raw("x", (MAILS / "success_report.eml").read_bytes())).report
    assert report is not None
    assert report.failures == ()
    for name in ("iphone_reply_swedish.eml", "outlook_reply_german.eml", "newsletter.eml", "vacation.eml"):
        assert parse(Raw("x", (MAILS / name).read_bytes())).report is None


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        ("5.1.1", "", Failing.ADDRESS),
        ("", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", Failing.ADDRESS),
        ("5.0.0", "550 No such user", Failing.ADDRESS),
        ("", "550 mailbox unavailable for mara", Failing.ADDRESS),
        ("5.7.1", "550 5.7.1 looks like spam", Failing.REFUSED),
        ("5.3.4", "552 5.3.4 message too big", Failing.REFUSED),
        ("5.2.2", "", Failing.FULL),
        ("4.2.2", "452 over quota", Failing.FULL),
        ("5.0.0", "552 mailbox for mara@example.com is full", Failing.FULL),
        ("4.4.1", "connection timed out", Failing.TIMEOUT),
        ("", "retry timeout exceeded", Failing.TIMEOUT),
        ("", "computer says no", Failing.REFUSED),
    ],
)  # fmt: skip
def test_the_class_of_a_failure_follows_its_code_then_its_words(status: str, said: str, kind: Failing) -> None:
    assert kind_of(status, said) is kind


def test_a_bounced_reply_comes_back_to_its_author_with_a_sentence(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number, then="resolve")
    assert (message.state, conversation(room, number).state) == ("sent", "resolved")
    with room.desk.hub.store.write() as tx:
        tx.sql("UPDATE agent SET status = 'available' WHERE id = ?", room.desk.jonas.agent_id)
    room.desk.clock.forward(hours=1)

    taken = room.desk.raw_mail(returned(room.sink.taken[0], "5.1.1", GONE))

    assert taken.conversation_id == number
    message = room.message(message.id)
    assert message.state == "failed"
    assert message.state_why == (
        f"{MARA_MAIL} takes no mail (550 5.1.1 no such user here). Ask the customer for another address."
    )
    back = conversation(room, number)
    assert (back.state, back.assignee_id) == ("open", room.desk.jonas.agent_id)
    assert back.waiting_since == room.desk.clock()
    with room.desk.hub.store.read() as tx:
        owned = open_assignment(tx, number)
        reasons = [row.data["why"] for row in tx.exec(select(FactRow).where(FactRow.name == "ConversationReopened"))]
        choices = reply_choices(tx, number)
    assert owned is not None and owned.agent_id == room.desk.jonas.agent_id
    assert reasons == ["the reply could not be delivered"]
    assert suppressions(room) == [(MARA_MAIL, "bounce")]
    assert "came back for good" in choices[0].blocked
    with pytest.raises(Conflict, match="came back for good"):
        room.answer(room.desk.jonas, number)


def test_the_same_report_again_changes_nothing(room: Mailroom) -> None:
    number = asked(room)
    room.answer(room.desk.jonas, number)
    report = returned(room.sink.taken[0], "5.1.1", GONE)
    room.desk.raw_mail(report)
    with room.desk.hub.store.write() as tx:
        resolve(tx, room.desk.ines, number)
    room.desk.raw_mail(report.replace(b"Sorry.", b"Sorry again."))
    assert conversation(room, number).state == "resolved"
    assert [m.automatic for m in room.desk.messages(number)] == ["", "", "bounce", "bounce"]


def test_a_bounce_wakes_a_snoozed_conversation(room: Mailroom) -> None:
    number = asked(room)
    room.answer(room.desk.jonas, number)
    with room.desk.hub.store.write() as tx:
        snooze(tx, room.desk.jonas, number, None)
    room.desk.raw_mail(returned(room.sink.taken[0], "4.4.7", "450 4.4.7 message expired"))
    assert conversation(room, number).state == "open"
    assert suppressions(room) == []


def test_a_delay_is_told_and_changes_nothing_else(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number, then="resolve")
    room.desk.raw_mail(returned(room.sink.taken[0], "4.4.1", "connection timed out", action="delayed"))
    message = room.message(message.id)
    assert (message.state, conversation(room, number).state) == ("sent", "resolved")
    assert "still trying" in message.state_why
    assert suppressions(room) == []


def test_a_full_mailbox_fails_the_mail_but_not_the_address(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number)
    room.desk.raw_mail(returned(room.sink.taken[0], "5.2.2", "552 5.2.2 over quota"))
    assert "is full" in room.message(message.id).state_why
    assert suppressions(room) == []
    assert room.answer(room.desk.jonas, number, "once more").state == "sent"


def test_a_report_that_quotes_no_id_of_ours_changes_nothing(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number, then="resolve")
    sent = room.sink.taken[0]
    forged = [
        b"Message-ID: <guess@desk.example>\r\nTo: mara.lindqvist@example.com\r\n\r\nhello\r\n",
        re.sub(
            rb"<sy\.[^>]*@", b"<sy.6f1c2c1e-0000-4000-8000-000000000001.aaaaaaaabbbbbbbbbbbbbbbb@", sent.data
        ).replace(b"X-Switchyard-Loop", b"X-Other"),
        b"X-Switchyard-Loop: 6f1c2c1e-0000-4000-8000-000000000001.abcdefghijklmnop\r\n\r\n\r\n",
        b"",
    ]
    for original in forged:
        taken = room.desk.raw_mail(returned(sent, "5.1.1", GONE, original=original))
        assert taken.conversation_id != number
        stray = conversation(room, taken.conversation_id or 0)
        assert (stray.state, stray.assignee_id, stray.queue_id) == ("resolved", None, None)  # seen, and nobody's work
    assert (room.message(message.id).state, conversation(room, number).state) == ("sent", "resolved")
    assert suppressions(room) == []


def test_only_an_address_that_this_mail_went_to_is_suppressed(room: Mailroom) -> None:
    number = asked(room)
    room.answer(room.desk.jonas, number)
    room.desk.raw_mail(returned(room.sink.taken[0], "5.1.1", GONE, recipient="chief@rival.example"))
    assert suppressions(room) == []


def test_a_colleague_in_copy_who_can_t_be_reached_does_not_fail_the_mail(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number, cc=["paul@example.com"], then="resolve")
    room.desk.raw_mail(returned(room.sink.taken[0], "5.1.1", GONE, recipient="paul@example.com"))
    message = room.message(message.id)
    assert message.state == "sent"
    assert message.state_why.startswith("In copy: paul@example.com takes no mail")
    assert conversation(room, number).state == "resolved"
    assert suppressions(room) == [("paul@example.com", "bounce")]


def test_a_blind_copy_that_can_t_be_delivered_does_not_fail_the_mail(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number, bcc=["audit@example.com"], then="resolve")
    room.desk.raw_mail(returned(room.sink.taken[0], "5.1.1", GONE, recipient="audit@example.com"))
    message = room.message(message.id)
    assert message.state == "sent"
    assert message.state_why.startswith("In copy: audit@example.com takes no mail")
    assert conversation(room, number).state == "resolved"


def test_a_server_that_rewrote_the_message_id_is_understood_by_our_mark(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number)
    sent = room.sink.taken[0]
    rewritten = re.sub(rb"Message-ID: [^\r]*", b"Message-ID: <0102@eu-west-1.mailer.example>", sent.data)
    room.desk.raw_mail(returned(sent, "5.1.1", GONE, original=rewritten))
    assert room.message(message.id).state == "failed"


def test_a_bounce_without_anything_returned_is_known_by_its_envelope_recipient(desk: Desk) -> None:
    with mailroom(desk, plus_addresses=True) as room:
        number = asked(room)
        message = room.answer(room.desk.jonas, number)
        [sent] = room.sink.taken
        assert sent.sender.startswith("support+b") and sent.sender.endswith("@desk.example")
        room.desk.raw_mail(returned(sent, "5.1.1", GONE, original=b"", to=sent.sender))
        assert room.message(message.id).state == "failed"
        assert suppressions(room) == [(MARA_MAIL, "bounce")]


def test_a_complaint_stops_mail_until_a_person_lifts_it(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number)
    configure(room.desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    room.desk.raw_mail(proved_by("fbl.example.com") + complaint(quoting(room), "fbl.example.com"))
    assert suppressions(room) == [(MARA_MAIL, "complaint")]
    assert room.message(message.id).state_why.endswith("reported this mail as spam. Nothing more is sent there.")
    room.desk.mail("Order 48213", "where is it?", answers=message.external_id)
    assert suppressions(room) == [(MARA_MAIL, "complaint")]

    with room.desk.hub.store.read() as tx:
        [identity] = identities_of(tx, conversation(room, number).contact_id)
    with pytest.raises(NotFound), room.desk.hub.store.write() as tx:
        allow_again(tx, room.desk.tomas, identity.contact_id, identity.id or 0)
    with room.desk.hub.store.write() as tx:
        allow_again(tx, room.desk.jonas, identity.contact_id, identity.id or 0)
    with pytest.raises(Conflict, match="allowed already"), room.desk.hub.store.write() as tx:
        allow_again(tx, room.desk.jonas, identity.contact_id, identity.id or 0)
    assert room.answer(room.desk.jonas, number).state == "sent"


def test_a_complaint_that_nobody_proves_blocks_a_while_and_not_its_owner(room: Mailroom) -> None:
    number = asked(room)
    room.answer(room.desk.jonas, number)
    configure(room.desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    for proof in (b"", proved_by("provider.example")):
        room.desk.raw_mail(proof + complaint(marked(room)))
        assert suppressions(room) == [(MARA_MAIL, "complaint")]
        room.desk.mail("Order 48213", "where is it?")
        assert suppressions(room) == []


def test_a_forged_report_that_knows_our_message_id_blocks_nobody(room: Mailroom) -> None:
    """It stands in every answer to our mail: whoever was forwarded one, or reads an archive, can quote it."""
    number = asked(room)
    message = room.answer(room.desk.jonas, number)
    [sent], quoted = room.sink.taken, quoting(room) + b"\r\n\r\nhi\r\n"
    room.desk.raw_mail(returned(sent, "5.1.1", GONE, original=quoted))
    assert suppressions(room) == []
    failed = room.message(message.id)  # it may be true, and then somebody has to know
    assert failed.state == "failed" and failed.state_why.endswith("so the address is not blocked.")
    room.desk.raw_mail(complaint(quoting(room)))
    assert suppressions(room) == []
    assert room.answer(room.desk.jonas, number).state == "sent"


@pytest.mark.parametrize(
    ("verdict", "domain", "blocked"),
    [
        ("pass", "example.com", True),  # the recipient's own server
        ("pass", "mx.example.com", True),
        ("pass", "desk.example", True),  # ours
        ("pass", "attacker.example", False),
        ("none", "example.com", False),
    ],
)
def test_of_a_report_by_message_id_alone_only_the_servers_concerned_are_believed(
    room: Mailroom, verdict: str, domain: str, blocked: bool
) -> None:
    configure(room.desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    room.answer(room.desk.jonas, asked(room))
    [sent], quoted = room.sink.taken, quoting(room) + b"\r\n\r\nhi\r\n"
    report = returned(sent, "5.1.1", GONE, original=quoted).replace(b"@mx.example.com", f"@{domain}".encode(), 1)
    room.desk.raw_mail(proved_by(domain, verdict) + report)
    assert suppressions(room) == ([(MARA_MAIL, "bounce")] if blocked else [])


def test_a_report_that_its_domain_disowns_blocks_nobody_and_by_message_id_says_nothing(room: Mailroom) -> None:
    configure(room.desk, "support-mail", trusted_authserv_ids=["mx.desk.example"])
    message = room.answer(room.desk.jonas, asked(room))
    [sent], quoted = room.sink.taken, quoting(room) + b"\r\n\r\nhi\r\n"
    room.desk.raw_mail(proved_by("mx.example.com", "fail") + returned(sent, "5.1.1", GONE, original=quoted))
    assert (room.message(message.id).state, suppressions(room)) == ("sent", [])
    room.desk.raw_mail(proved_by("mx.example.com", "fail") + returned(sent, "5.1.1", GONE))
    assert (room.message(message.id).state, suppressions(room)) == ("failed", [])


def test_a_report_on_an_address_that_has_answered_since_blocks_nobody(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number)
    [sent] = room.sink.taken
    room.desk.mail("Order 48213", "thank you", answers=message.external_id)
    room.desk.raw_mail(returned(sent, "5.1.1", GONE))
    assert suppressions(room) == []
    assert "not blocked" in room.message(message.id).state_why


def test_an_address_that_writes_again_may_be_written_to(room: Mailroom) -> None:
    number = asked(room)
    room.answer(room.desk.jonas, number)
    room.desk.raw_mail(returned(room.sink.taken[0], "5.1.1", GONE))
    away = b"From: mara.lindqvist@example.com\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n\r\naway\r\n"
    room.desk.raw_mail(away)
    assert suppressions(room) == [(MARA_MAIL, "bounce")]
    room.desk.mail("Order 48213", "my mailbox works again")
    assert suppressions(room) == []


def test_a_bounce_is_forgotten_after_a_while_and_a_stop_never(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        suppress(tx, "email", "a@example.com", reason="bounce", source="test")
        suppress(tx, "email", "b@example.com", reason="bounce", source="test")
        suppress(tx, "email", "b@example.com", reason="stop", source="test")
        suppress(tx, "email", "b@example.com", reason="bounce", source="test")
    with desk.hub.store.read() as tx:
        assert refusal(tx, "email", "a@example.com") and "STOP" in refusal(tx, "email", "b@example.com")
    desk.clock.forward(seconds=BOUNCE_KEPT.total_seconds() + 1)
    with desk.hub.store.read() as tx:
        assert (refusal(tx, "email", "a@example.com"), bool(refusal(tx, "email", "b@example.com"))) == ("", True)


@pytest.mark.parametrize("name", ["vacation", "vacation_exchange", "vacation_by_subject"])
def test_an_absence_counts_for_nothing(room: Mailroom, name: str) -> None:
    number = asked(room)
    room.answer(room.desk.jonas, number, then="resolve")
    ours = message_from_bytes(room.sink.taken[0].data)["Message-ID"]
    body = re.sub(rb"(?m)^In-Reply-To:.*\n", b"", (MAILS / f"{name}.eml").read_bytes())
    before = conversation(room, number)
    answered = room.desk.raw_mail(f"In-Reply-To: {ours}\n".encode() + body)
    stray = room.desk.raw_mail(body)

    after = conversation(room, number)
    assert answered.conversation_id == number
    assert (after.state, after.waiting_since, after.last_inbound_id) == ("resolved", None, before.last_inbound_id)
    assert [m.automatic for m in room.desk.messages(number)] == ["", "", "vacation"]
    assert conversation(room, stray.conversation_id or 0).state == "resolved"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([b"Auto-Submitted: no", b"X-Auto-Response-Suppress: All"], ""),
        ([b"Auto-Submitted: no", b"Return-Path: <>"], ""),
        ([b"Auto-Submitted: no", b"List-Id: <shop.example>"], "bulk"),
        ([b"Subject: Re: Automatic reply: Lamp"], ""),
        ([b"Subject: Out of office furniture, order please"], ""),
        ([b"Subject: Out of office: Lamp"], "vacation"),
        ([b"Subject: Automatische Antwort: Lampe"], "vacation"),
        ([b"Subject: Automatiskt svar: Lampa"], "vacation"),
        (["Subject: 自动回复: Lamp".encode()], "vacation"),
    ],
)  # fmt: skip
def test_who_says_that_a_person_wrote_is_a_person(fields: list[bytes], why: str) -> None:
    head = b"From: Mara <mara@example.com>\r\nTo: support@shop.example\r\n"
    assert parse(Raw("x", head + b"\r\n".join(fields) + b"\r\n\r\nhello\r\n")).automatic == why


def test_hostile_reports_are_read_in_a_moment() -> None:
    head = b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.com\r\nSubject: failure notice\r\n"
    status = head + b"Content-Type: multipart/report; report-type=delivery-status; boundary=B\r\n\r\n"
    blocks = (
        b"--B\r\nContent-Type: message/delivery-status\r\n\r\n" + b"Final-Recipient: rfc822; a@b.example\r\n\r\n" * 5000
    )
    for body in (
        head + b"\r\n" + b"mailbox quota " * 20_000,
        head + b"\r\n" + b"user address recipient account " * 10_000,
        head + b"\r\n" + b"<a@b.example>: 550 " * 20_000,
        head + b"\r\n" + b"a@" * 100_000,
        head + b"\r\n" + b"message-id:" + b" " * 60_000,
        status + blocks,
        status
        + b"--B\r\nContent-Type: message/delivery-status\r\nContent-Transfer-Encoding: base64\r\n\r\n===\xff\r\n--B--",
    ):
        report = parse(Raw("x", body)).report
        assert report is None or len(report.failures) <= 100


def score(collection: str) -> tuple[int, int, Counter[str], list[str]]:
    """How many mails of a set, how many with a recipient read, which classes, and the names of the others."""
    read, found, classes, missed = 0, 0, Counter[str](), []
    for path in mail_corpus(collection):
        if path.suffix in (".py", ".md"):
            continue
        try:
            inbound = parse(Raw("x", path.read_bytes()))
        except Unreadable:
            continue
        read += 1
        failures = inbound.report.failures if inbound.report else ()
        classes.update([each.kind.value for each in failures] or [inbound.automatic or "a person's"])
        if any(each.addresses for each in failures):
            found += 1
        elif inbound.automatic != "vacation":
            missed.append(path.name)
    return read, found, classes, missed


@pytest.mark.prove
@pytest.mark.parametrize(("collection", "share"), [("mailman-flufl.bounce", 0.9), ("sisimai-set-of-emails", 0.92)])
def test_the_bounces_of_other_peoples_collections_are_read(collection: str, share: float) -> None:
    read, found, classes, missed = score(collection)
    print(f"\n{collection}: a recipient in {found} of {read} ({found / read:.1%}); {dict(classes)}")
    print("  missed:", ", ".join(missed))
    assert found >= share * read


def test_sent_again_after_a_bounce_it_goes_to_those_alone_who_did_not_get_it(room: Mailroom) -> None:
    number = asked(room)
    message = room.answer(room.desk.jonas, number, cc=["nora@example.com", "otto@example.com"])
    room.desk.raw_mail(returned(room.sink.taken[0], "5.2.2", "552 full", recipient=MARA_MAIL))
    room.desk.raw_mail(returned(room.sink.taken[0], "5.2.2", "552 full", recipient="otto@example.com"))
    with room.desk.hub.store.write() as tx:
        retry(tx, room.desk.jonas, message.id or 0)
    room.send()
    assert [sorted(each.recipients) for each in room.sink.taken] == [
        [MARA_MAIL, "nora@example.com", "otto@example.com"], [MARA_MAIL, "otto@example.com"],
    ]  # fmt: skip
    assert room.message(message.id).state == "sent"
