"""A reply on its way out: headers that thread, headers that nobody can inject, and how handing over ends."""

from __future__ import annotations

import email
import email.policy
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from channels.base import Accepted, CheckFailed, File, NotConfigured, Outbound, Raw, SendFailed, SendUncertain
from channels.mail import EmailChannel
from channels.mail.compose import compose
from tests.support.certificates import certificate
from tests.support.smtp import Sink, smtp_sink

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
MARA = "mara.lindqvist@example.com"
OURS = "support@shop.example"
LONG_ID = f"<{'A' * 40}.{'B' * 45}@eurprd01.prod.exchangelabs.com>"


def reply(**changes: Any) -> Outbound:
    given: dict[str, Any] = {
        "id": "6f1c2c1e-0000-4000-8000-000000000001",
        "to": (MARA,),
        "text": "Good morning Mara,\n\nyour parcel left today.",
        "subject": "Re: Where is my order?",
        "external_id": "<reply-1@shop.example>",
        "mark": "ours.signed",
    }
    return Outbound(**{**given, **changes})


def read(data: bytes) -> EmailMessage:
    return email.message_from_bytes(data, policy=email.policy.default)


def composed(**changes: Any) -> EmailMessage:
    return read(compose(reply(**changes), "Shop", OURS, NOW))


def raw_header(data: bytes, name: str) -> str:
    return str(email.message_from_bytes(data)[name])


def test_a_reply_threads_in_the_customers_mail_program() -> None:
    mail = composed(references=("<first@example.com>", "<second@example.com>"))
    assert mail["Message-ID"] == "<reply-1@shop.example>"
    assert mail["In-Reply-To"] == "<second@example.com>"
    assert mail["References"] == "<first@example.com> <second@example.com>"
    assert mail["From"] == "Shop <support@shop.example>"
    assert mail["To"] == MARA
    assert mail["Date"].datetime == NOW
    assert mail["X-Switchyard-Loop"] == "ours.signed"
    assert mail["Reply-To"] is None
    assert mail["Auto-Submitted"] is None


def test_the_long_ids_of_microsoft_365_stay_readable() -> None:
    data = compose(reply(references=(LONG_ID, LONG_ID + "", "<s@x>"), external_id=LONG_ID), "", OURS, NOW)
    assert b"=?" not in data.partition(b"\r\n\r\n")[0]
    assert raw_header(data, "References").split() == [LONG_ID, LONG_ID, "<s@x>"]
    assert raw_header(data, "Message-ID").strip() == LONG_ID
    assert max(map(len, data.split(b"\r\n"))) < 998


def test_a_long_thread_keeps_its_first_and_its_last_ten_ids() -> None:
    chain = tuple(f"<{number}@example.com>" for number in range(40))
    assert composed(references=chain)["References"].split() == [chain[0], *chain[-10:]]


@pytest.mark.parametrize(
    "subject",
    [
        "Re: =?utf-8?q?a=0D=0ABcc:_evil@example.org?=",
        "Re: x\r\nBcc: evil@example.org",
        "Re: x\u2028Bcc: evil@example.org",
        "Re: x\x85Bcc: evil@example.org",
        "Re: x\n\n<html>",
        "Re: \x00\x1b[31m",
    ],
)
def test_a_customers_subject_cannot_write_our_headers(subject: str) -> None:
    mail = composed(subject=subject, sender_name=subject, files=(File(subject, "text/plain\r\nBcc: e@x", b"x"),))
    assert mail["Bcc"] is None
    assert "evil" not in str(mail["To"])
    assert {name.lower() for name in mail} <= {
        *("from", "to", "subject", "date", "message-id", "x-switchyard-loop"),
        *("content-type", "content-transfer-encoding", "mime-version"),
    }


@pytest.mark.parametrize(
    "to",
    ["mara@example.com\r\nBcc: evil@example.org", "mara@example.com, evil@example.org", "mårå@example.com", "mara", ""],
)
def test_an_address_that_cannot_be_written_fails_for_good(to: str) -> None:
    with pytest.raises(SendFailed) as failed:
        compose(reply(to=(to,)), "", OURS, NOW)
    assert failed.value.permanent
    assert "address" in failed.value.why


def test_a_message_id_that_breaks_out_of_its_header_is_refused() -> None:
    with pytest.raises(SendFailed):
        compose(reply(external_id="<a@b>\r\nBcc: evil@example.org"), "", OURS, NOW)
    assert "evil" not in str(composed(references=("<a@b>\r\nBcc: evil@example.org", "<good@example.com>")))


def test_text_html_an_inline_picture_and_a_file_arrive_as_they_were_written() -> None:
    files = (
        File("logo.png", "image/png", b"\x89PNG", cid="logo@shop", inline=True),
        File("Räkning 4711.pdf", "application/pdf", b"%PDF"),
        File("forwarded.eml", "message/rfc822", b"Subject: x\r\n\r\ny"),
    )
    data = compose(
        reply(text="Grüße aus Malmö\n.\nÖ", html='<p>Grüße</p><img src="cid:logo@shop">', files=files), "", OURS, NOW
    )
    assert data.isascii()
    inbound = EmailChannel.parse(Raw("x", data))
    assert inbound.text == "Grüße aus Malmö\n.\nÖ\n"
    assert "<p>Grüße</p>" in inbound.html
    assert [(file.name, file.data, file.inline) for file in inbound.files] == [
        ("logo.png", b"\x89PNG", True),
        ("Räkning 4711.pdf", b"%PDF", False),
        ("forwarded.eml", b"Subject: x\r\n\r\ny", False),
    ]
    assert inbound.marks == ("ours.signed",)


def test_an_automatic_answer_says_that_it_is_one() -> None:
    mail = composed(automatic="auto-replied")
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["X-Auto-Response-Suppress"] == "All"


def test_a_domain_of_other_letters_goes_out_in_ascii() -> None:
    assert composed(to=("mara@bücher.example",))["To"] == "mara@xn--bcher-kva.example"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with smtp_sink() as running:
        running.passwords[OURS] = "secret"
        yield running


def channel(sink: Sink, **settings: Any) -> EmailChannel:
    given: dict[str, Any] = {
        "imap_host": "127.0.0.1",
        "imap_tls": "none",
        "username": OURS,
        "password": "secret",
        "smtp_host": sink.host,
        "smtp_port": sink.port,
        "smtp_tls": "none",
        "timeout": 5,
    }
    return EmailChannel(name="support-mail", address=OURS, settings={**given, **settings})


def test_answers_and_bounces_name_their_message_where_the_account_takes_plus_addresses(sink: Sink) -> None:
    tokens = {"reply_token": "answer2", "bounce_token": "bounce2"}
    channel(sink, plus_addresses=True).send(reply(**tokens))
    channel(sink).send(reply(**tokens))
    channel(sink, plus_addresses=True).send(reply(**{**tokens, "reply_token": "a" * 60}))
    plus, plain, long = sink.taken
    assert plus.sender == "support+bounce2@shop.example"
    assert read(plus.data)["Reply-To"] == "support+answer2@shop.example"
    assert (plain.sender, read(plain.data)["Reply-To"]) == (OURS, None)
    assert read(long.data)["Reply-To"] == OURS


def test_a_reply_reaches_the_mail_server_byte_for_byte(sink: Sink) -> None:
    accepted = channel(sink).send(reply(cc=("jonas.weber@example.com",), text=".\n..two\nlast"))
    assert accepted == Accepted("<reply-1@shop.example>", "sent")
    [taken] = sink.taken
    assert taken.sender == OURS
    assert taken.recipients == [MARA, "jonas.weber@example.com"]
    assert EmailChannel.parse(Raw("x", taken.data)).text == ".\n..two\nlast\n"
    assert sink.logins == [OURS]


@pytest.mark.parametrize(
    ("answers", "permanent"),
    [
        ({"recipient_answers": {MARA: "550 5.1.1 no such user"}}, True),
        ({"recipient_answers": {MARA: "450 4.2.0 greylisted"}}, False),
        ({"sender_answer": "553 5.7.1 not your address"}, True),
        ({"data_answer": "554 5.7.1 spam"}, True),
        ({"data_answer": "451 4.3.0 try later"}, False),
    ],
)
def test_a_refusal_says_whether_it_is_final(sink: Sink, answers: dict[str, Any], permanent: bool) -> None:
    for name, value in answers.items():
        setattr(sink, name, value)
    with pytest.raises(SendFailed) as failed:
        channel(sink).send(reply())
    assert failed.value.permanent is permanent
    assert not sink.taken


def test_a_refused_customer_stops_the_mail_before_anybody_gets_it(sink: Sink) -> None:
    sink.recipient_answers[MARA] = "550 5.1.1 no such user"
    with pytest.raises(SendFailed, match=r"mara.*does not exist there.*550 5\.1\.1 no such user") as failed:
        channel(sink).send(reply(cc=("jonas.weber@example.com",)))
    assert failed.value.permanent
    assert not sink.taken


def test_a_refused_copy_does_not_keep_the_mail_from_the_customer_and_is_told_by_name(sink: Sink) -> None:
    sink.recipient_answers |= {"gone@example.com": "550 5.1.1 no such user", "busy@example.com": "450 4.2.2 full"}
    accepted = channel(sink).send(reply(cc=("gone@example.com", "jonas@example.com"), bcc=("busy@example.com",)))
    assert sink.taken[0].recipients == [MARA, "jonas@example.com"]
    assert list(accepted.refused) == ["gone@example.com"]
    assert "does not exist" in accepted.refused["gone@example.com"]
    assert list(accepted.waiting) == ["busy@example.com"]
    assert "is full" in accepted.waiting["busy@example.com"]


def test_the_rest_of_the_recipients_can_be_served_later_alone(sink: Sink) -> None:
    rest = reply(cc=("jonas@example.com", "busy@example.com"), only=("busy@example.com",))
    channel(sink).send(rest)
    assert sink.tried == ["busy@example.com"]
    assert read(sink.taken[0].data)["To"] == MARA
    sink.recipient_answers["busy@example.com"] = "550 5.2.1 off"
    with pytest.raises(SendFailed, match="switched off") as failed:
        channel(sink).send(rest)
    assert failed.value.permanent


def test_blind_copies_stand_in_no_header(sink: Sink) -> None:
    channel(sink).send(reply(bcc=("audit@shop.example",)))
    assert sink.taken[0].recipients == [MARA, "audit@shop.example"]
    assert b"audit" not in sink.taken[0].data
    own = compose(reply(bcc=("audit@shop.example",)), "", OURS, NOW, own_copy=True)
    assert read(own)["Bcc"] == "audit@shop.example"


def test_a_line_that_breaks_after_the_content_leaves_the_outcome_open(sink: Sink) -> None:
    sink.drop_after_data = True
    with pytest.raises(SendUncertain, match="may have been sent"):
        channel(sink).send(reply())
    assert len(sink.taken) == 1


def test_a_server_that_stays_silent_after_the_content_leaves_the_outcome_open(sink: Sink) -> None:
    sink.stall_after_data = 3
    with pytest.raises(SendUncertain):
        channel(sink, timeout=0.3).send(reply())


@pytest.mark.parametrize("tls", ["none", "tls", "starttls"])
def test_a_server_that_is_slow_for_too_long_is_cut_off_before_another_courier_would_ask(
    tls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("channels.mail.submit"), "TOTAL_SECONDS", 1.0)
    made = certificate(tmp_path)
    context: dict[str, Any] = {} if tls == "none" else {tls: made.server_context()}
    with smtp_sink(**context) as slow:
        slow.passwords[OURS], slow.stall_after_data = "secret", 10
        began = time.monotonic()
        with pytest.raises(SendUncertain):
            channel(slow, smtp_tls=tls, ca_file=str(made.certificate), timeout=30).send(reply())
        assert time.monotonic() - began < 5


def test_a_login_that_takes_too_long_sends_nothing(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("channels.mail.submit"), "TOTAL_SECONDS", -1.0)
    with pytest.raises(SendFailed) as failed:
        channel(sink).send(reply())
    assert not failed.value.permanent
    assert not sink.taken


def test_a_server_that_is_down_is_tried_again(sink: Sink) -> None:
    with smtp_sink() as other:
        port = other.port
    with pytest.raises(SendFailed, match="smtp_port") as failed:
        channel(sink, smtp_port=port).send(reply())
    assert not failed.value.permanent


def test_a_refused_login_names_the_setting_and_keeps_the_mail_queued(sink: Sink) -> None:
    with pytest.raises(SendFailed, match="username and password") as failed:
        channel(sink, password="wrong").send(reply())
    assert not failed.value.permanent
    assert "wrong" not in failed.value.why


def test_a_mail_beyond_the_servers_size_is_not_even_started() -> None:
    with smtp_sink(max_bytes=2000) as small, pytest.raises(SendFailed, match="at most") as failed:
        channel(small, smtp_username="").send(reply(text="x" * 3000))
    assert failed.value.permanent


def test_files_beyond_25_megabytes_are_refused_with_a_sentence(sink: Sink) -> None:
    heavy = File("film.mp4", "video/mp4", bytes(26 * 1024 * 1024))
    with pytest.raises(SendFailed, match="25 MB"):
        channel(sink).send(reply(files=(heavy,)))


def test_starttls_is_verified_against_the_given_authority(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    with smtp_sink(starttls=made.server_context()) as sink:
        sink.passwords[OURS] = "secret"
        channel(sink, smtp_tls="starttls", ca_file=str(made.certificate)).send(reply())
        assert len(sink.taken) == 1
        with pytest.raises(SendFailed, match="certificate"):
            channel(sink, smtp_tls="starttls").send(reply())


def test_tls_from_the_first_byte_is_verified_too(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    with smtp_sink(tls=made.server_context()) as sink:
        sink.passwords[OURS] = "secret"
        channel(sink, smtp_tls="tls", ca_file=str(made.certificate)).send(reply())
        assert len(sink.taken) == 1
        with pytest.raises(SendFailed, match="certificate"):
            channel(sink, smtp_tls="tls").send(reply())


def test_a_server_without_starttls_is_never_spoken_to_in_clear(sink: Sink) -> None:
    with pytest.raises(SendFailed, match="smtp_tls"):
        channel(sink, smtp_tls="starttls").send(reply())
    assert not sink.logins


def test_an_access_token_logs_in_by_xoauth2(sink: Sink) -> None:
    sink.bearer_tokens[OURS] = "ya29.token"
    channel(sink, password="", oauth_token="ya29.token").send(reply())
    assert sink.logins == [OURS]
    with pytest.raises(SendFailed, match="oauth_token"):
        channel(sink, password="", oauth_token="expired").send(reply())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"imap_hosst": "x"}, "did you mean 'imap_host'"),
        ({"imap_host": ""}, "imap_host"),
        ({"username": ""}, "username"),
        ({"password": ""}, "password or oauth_token"),
        ({"smtp_tls": "ssl"}, "smtp_tls"),
        ({"imap_port": "many"}, "imap_port"),
        ({"mark_seen": "yes"}, "mark_seen"),
        ({"smtp_username": "x"}, "smtp_password"),
    ],
)
def test_settings_that_cannot_work_are_named(sink: Sink, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NotConfigured, match=sentence):
        channel(sink, **settings)


def test_checking_a_channel_without_a_mailbox_says_which_side_is_wrong(sink: Sink) -> None:
    with pytest.raises(CheckFailed, match=r"IMAP server .* imap_port"):
        channel(sink, imap_port=1).check()
