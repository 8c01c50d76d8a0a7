"""Mail by webhook: every provider's proof is asked for, the request is kept, and the mail is read as from a mailbox."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from channels.base import (
    NotAuthentic,
    NotConfigured,
    Outbound,
    Raw,
    SendFailed,
    SignedRequest,
    Unreadable,
)
from channels.mail import EmailChannel
from channels.mailhook import MailhookChannel
from channels.seals import Authenticity
from hub import Hub
from hub.hub import Opened
from hub.intake import retry_receipt, take_in
from hub.mailboxes import file_left_over
from hub.receipts import note_receipt, shelve
from hub.replay import replay
from hub.replies import reply_choices
from sandbox.mailproviders import AmazonSns, Mailgun, Mandrill, Post, Postmark, SendGrid, basic, multipart
from storage import Tx
from storage.access import SYSTEM
from storage.conversations import Attachment, Message
from storage.desk import ChannelAccount
from storage.ledger import Filter
from storage.receipts import Receipt
from tests.clock import Clock
from tests.corpus import mail_corpus
from tests.doors import Client, compose, messages, opened, served

BASE = "https://hub.example"
US = "support+lamp@desk.example"
SECRET = "a secret of the address"
SENDGRID = SendGrid()
MAILGUN = Mailgun("key-of-mailgun")
POSTMARK = Postmark("postmark", SECRET)
MANDRILL = Mandrill("key-of-mandrill")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SETTINGS: dict[str, dict[str, Any]] = {
    "sendgrid": {"signing_key": SENDGRID.public_key},
    "mailgun": {"signing_key": "key-of-mailgun"},
    "mandrill": {"signing_key": "key-of-mandrill"},
    "postmark": {"user": "postmark", "secret": SECRET},
    "cloudmailin": {"user": "cloud", "secret": SECRET},
    "raw": {"secret": SECRET},
}


def account(provider: str, **settings: Any) -> ChannelAccount:
    given = {"provider": provider, **SETTINGS.get(provider, {}), **settings}
    return ChannelAccount(name=f"{provider}-mail", kind="mailhook", address="support@desk.example", settings=given)


@pytest.fixture
def hub(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Hub]:
    with opened(database_url, tmp_path, clock, *map(account, SETTINGS)) as hub:
        yield hub


@pytest.fixture
def door(hub: Hub) -> Iterator[Client]:
    with served(compose(hub)) as client:
        yield client


@cache
def letter(text: str = "It is broken. Grüße") -> bytes:
    """A mail with an umlaut, HTML, a picture in the text and a file."""
    message = EmailMessage()
    message["From"] = "Mara Lindqvist <mara.lindqvist@example.com>"
    message["To"] = "support@desk.example"
    message["Subject"] = "Lampe kaputt: Größe"
    message["Message-ID"] = "<lamp-1@customer.example>"
    message["Date"] = "Tue, 24 Nov 2026 09:58:00 +0000"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p><img src='cid:lamp@customer.example'>", subtype="html")
    message.add_attachment(PNG, maintype="image", subtype="png", filename="lamp.png", cid="<lamp@customer.example>")
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


SENT: dict[str, Callable[[Clock], tuple[str, Post]]] = {
    "sendgrid raw": lambda clock: ("sendgrid", SENDGRID.raw(letter(), US, clock())),
    "sendgrid told": lambda clock: ("sendgrid", SENDGRID.told(letter(), US, clock())),
    "mailgun raw": lambda clock: ("mailgun", MAILGUN.raw(letter(), US, clock())),
    "mailgun told": lambda clock: ("mailgun", MAILGUN.told(letter(), US, clock())),
    "postmark raw": lambda clock: ("postmark", POSTMARK.told(letter(), US, raw=True)),
    "postmark told": lambda clock: ("postmark", POSTMARK.told(letter(), US)),
    "mandrill": lambda clock: ("mandrill", MANDRILL.raw(f"{BASE}/webhooks/mail/mandrill-mail", letter(), to=US)),
    "cloudmailin": lambda clock: (
        "cloudmailin",
        (lambda post: Post(post.body, {**post.headers, **basic("cloud", SECRET)}))(
            multipart({"message": letter(), "envelope[to]": US.encode()})
        ),
    ),
    "raw": lambda clock: (
        "raw",
        Post(letter(), {"Authorization": f"Bearer {SECRET}", "Content-Type": "message/rfc822"}),
    ),
}


def post(door: Client, provider: str, sent: Post, more: str = "") -> int:
    return int(
        door.post(f"/webhooks/mail/{provider}-mail{more}", data=sent.body, headers=dict(sent.headers)).status_code
    )


def receipts(hub: Hub) -> list[Receipt]:
    with hub.store.read() as tx:
        return list(tx.exec(select(Receipt).order_by(col(Receipt.id))))


def channel(provider: str) -> MailhookChannel:
    found = account(provider)
    return MailhookChannel(name=found.name, address=found.address, settings=found.settings)


def heard(provider: str, sent: Post, clock: Clock, headers: Mapping[str, str] | None = None) -> list[Raw]:
    """What the channel makes of a request."""
    lower = {name.lower(): value for name, value in (sent.headers if headers is None else headers).items()}
    url = f"{BASE}/webhooks/mail/{provider}-mail"
    found = channel(provider).hear(SignedRequest("POST", url, lower, sent.body, now=clock()))
    return [each for each in found if isinstance(each, Raw)]


@pytest.mark.parametrize("how", sorted(SENT))
def test_a_provider_s_mail_is_read_like_one_from_a_mailbox(clock: Clock, how: str) -> None:
    provider, sent = SENT[how](clock)
    (raw,) = heard(provider, sent, clock)
    assert raw.body == sent.body
    message = MailhookChannel.parse(raw)
    assert (message.subject, message.external_id) == ("Lampe kaputt: Größe", "<lamp-1@customer.example>")
    assert message.sender.name == "Mara Lindqvist"
    assert message.text.strip() == "It is broken. Grüße"
    assert "<p>It is broken. Grüße</p>" in message.html
    (file,) = message.files
    assert (file.name, file.content_type, file.cid, file.data) == (
        "lamp.png",
        "image/png",
        "lamp@customer.example",
        PNG,
    )
    assert message.tokens == (("lamp",) if how != "raw" else ())  # the plus address of the envelope
    clock.forward(hours=1)
    provider, anew = SENT[how](clock)  # signed anew, in another form boundary
    assert [each.dedupe_key for each in heard(provider, anew, clock)] == [raw.dedupe_key]


@pytest.mark.parametrize("how", sorted(SENT))
def test_without_its_proof_a_mail_is_refused(clock: Clock, how: str) -> None:
    provider, sent = SENT[how](clock)
    proofs = ("authorization", "x-twilio-email-event-webhook-signature", "x-mandrill-signature")
    bare = Post(sent.body, {name: value for name, value in sent.headers.items() if name.lower() not in proofs})
    if provider == "mailgun":
        bare = Post(sent.body.replace(b"signature", b"signatura"), sent.headers)
    with pytest.raises(NotAuthentic):
        heard(provider, bare, clock)


def test_each_provider_s_mail_is_kept_and_is_one_message(hub: Hub, door: Client, clock: Clock) -> None:
    for how in sorted(SENT):
        provider, sent = SENT[how](clock)
        assert [post(door, provider, sent) for _ in range(2)] == [200, 200]
    kept = receipts(hub)
    assert len(kept) >= len(SETTINGS)
    assert [receipt.state for receipt in kept] == ["accepted"] + ["duplicate"] * (len(kept) - 1)
    (message,) = messages(hub)  # all of them carry the same mail
    assert message.channel == "mailhook"
    assert {f"also:{provider}-mail" for provider in SETTINGS} - set(message.flags) == {"also:cloudmailin-mail"}
    with hub.store.read() as tx:
        (file,) = tx.exec(select(Attachment))
    assert hub.blobs.get(file.sha256) == PNG


def test_a_tampered_or_stale_request_is_refused(hub: Hub, door: Client, clock: Clock) -> None:
    sent = SENDGRID.raw(letter(), US, clock())
    assert post(door, "sendgrid", Post(sent.body.replace(b"broken", b"golden"), sent.headers)) == 403
    assert post(door, "sendgrid", SENDGRID.raw(letter(), US, clock() - timedelta(days=4))) == 403
    assert post(door, "mailgun", MAILGUN.raw(letter(), US, clock() - timedelta(days=4))) == 403
    assert post(door, "mailgun", Mailgun("another key").raw(letter(), US, clock())) == 403
    assert post(door, "postmark", Postmark("postmark", "guess").told(letter(), US)) == 403
    assert post(door, "mandrill", MANDRILL.raw(f"{BASE}/webhooks/mail/elsewhere", letter(), to=US)) == 403
    assert receipts(hub) == []


def test_raw_mail_may_carry_its_secret_in_the_address(hub: Hub, door: Client) -> None:
    sent = Post(letter(), {"Content-Type": "message/rfc822"})
    assert post(door, "raw", sent, "/guess") == 403
    assert post(door, "raw", sent, "/a%20secret%20of%20the%20address") == 200
    assert len(messages(hub)) == 1


def test_several_mails_in_one_request_are_several_messages(hub: Hub, door: Client) -> None:
    both = MANDRILL.raw(f"{BASE}/webhooks/mail/mandrill-mail", letter("first"), letter("second"), to=US)
    assert post(door, "mandrill", both) == 200
    assert [message.text.strip() for message in messages(hub)] == ["first", "second"]


def test_an_authentic_request_without_a_mail_is_kept_for_people(hub: Hub, door: Client) -> None:
    bodies = [b"", b"{", b"[]", b'{"From": 1, "Headers": 5}', b'{"Headers": [{}]}']
    for body in bodies:
        assert post(door, "postmark", Post(body, basic("postmark", SECRET))) == 200
    kept = receipts(hub)
    assert [(receipt.state, receipt.body) for receipt in kept] == [("quarantined", body) for body in bodies]
    assert all(receipt.why.endswith(".") for receipt in kept)


def test_a_channel_that_only_receives_is_no_way_to_answer(hub: Hub, door: Client, clock: Clock) -> None:
    provider, sent = SENT["raw"](clock)
    assert post(door, provider, sent) == 200
    with hub.store.read() as tx:
        assert reply_choices(tx, messages(hub)[0].conversation_id) == []
    only = MailhookChannel(name="raw-mail", address="support@desk.example", settings={"provider": "raw", "secret": "x"})
    with pytest.raises(SendFailed, match="only receives"):
        only.send(Outbound("1", ("mara.lindqvist@example.com",), "hello"))


# -- what the provider found out about the sender


def judged(mail: bytes, provider: str, sent: Post, clock: Clock) -> Authenticity:
    (raw,) = heard(provider, sent, clock)
    inbound = MailhookChannel.parse(raw)
    return channel(provider).authenticate(raw, inbound, EmailChannel.verify).authenticity


@pytest.mark.parametrize(
    ("told", "verdict", "domain"),
    [
        ({"dkim": "{@example.com : pass}", "SPF": "pass"}, "pass", "example.com"),
        ({"dkim": "{@relay.example.net : fail, @mail.example.com : pass}", "SPF": "fail"}, "pass", "mail.example.com"),
        ({"dkim": "{@elsewhere.net : pass}", "SPF": "pass"}, "none", ""),
        ({"dkim": "none", "SPF": "softfail"}, "none", ""),
        ({}, "none", ""),
    ],
)
def test_a_sender_is_proved_by_what_sendgrid_found_out(
    clock: Clock, told: dict[str, str], verdict: str, domain: str
) -> None:
    for mail in (letter(), b"Authentication-Results: sendgrid; dmarc=pass header.from=example.com\r\n" + letter()):
        sent = SENDGRID.raw(mail, US, clock(), **told)
        found = judged(mail, "sendgrid", sent, clock)
        assert (found.verdict, found.domain, found.source) == (verdict, domain, "sendgrid" if told else "")


# -- reading again, long after the proof has run out


def left_unread(hub: Hub, opened: Opened, sent: Post, clock: Clock) -> int:
    """A request that was kept by a version of ours that could not read it; its receipt."""
    (raw,) = (each for each in listened(opened, sent, clock) if isinstance(each, Raw))
    body, digest = shelve(hub, raw.body)

    def unit(tx: Tx) -> int:
        number = note_receipt(tx, opened, raw, body, digest)
        tx.sql("UPDATE receipt SET state = 'quarantined', why = 'KeyError', attempts = 3 WHERE id = ?", number)
        return number or 0

    return hub.store.submit(unit)


def listened(opened: Opened, sent: Post, clock: Clock) -> Sequence[object]:
    assert opened.hears is not None
    lower = {name.lower(): value for name, value in sent.headers.items()}
    url = f"{BASE}/webhooks/mail/{opened.account.name}"
    return opened.hears.hear(SignedRequest("POST", url, lower, sent.body, now=clock()))


def is_our_letter(message: Message) -> bool:
    return message.subject == "Lampe kaputt: Größe" and message.text.strip() == "It is broken. Grüße"


@pytest.mark.parametrize("how", sorted(SENT))
def test_a_request_is_read_again_from_the_ledger_however_old_its_signature_is(hub: Hub, clock: Clock, how: str) -> None:
    provider, sent = SENT[how](clock)
    opened = hub.channel_named(f"{provider}-mail")
    number = left_unread(hub, opened, sent, clock)
    clock.forward(days=400)
    if provider in ("sendgrid", "mailgun"):
        with pytest.raises(NotAuthentic, match="too old"):
            listened(opened, sent, clock)
    wanted = Filter(channel=opened.account.name)
    assert (replay(hub, SYSTEM, wanted).to_read, file_left_over(hub, 0)) == (1, 1)
    (message,) = messages(hub)
    assert is_our_letter(message) and message.receipt_id == number
    with hub.store.read() as tx:
        (file,) = tx.exec(select(Attachment))
    assert hub.blobs.get(file.sha256) == PNG
    assert (replay(hub, SYSTEM, wanted).to_read, file_left_over(hub, 0)) == (0, 0)
    provider, anew = SENT[how](clock)  # and the provider has another try at it, signed anew
    assert [take_in(hub, opened, each).state for each in listened(opened, anew, clock) if isinstance(each, Raw)] == [
        "duplicate"
    ]
    assert len(messages(hub)) == 1


def test_a_large_request_is_read_again_by_a_person_as_well(hub: Hub, clock: Clock) -> None:
    body = letter().replace(b"It is broken.", b"It is broken." + b" " * 200_000)
    number = left_unread(hub, hub.channel_named("mailgun-mail"), MAILGUN.raw(body, US, clock()), clock)
    assert receipts(hub)[0].body is None  # it is a file of its own
    clock.forward(days=400)
    assert retry_receipt(hub, SYSTEM, number).state == "accepted"
    assert messages(hub)[0].subject == "Lampe kaputt: Größe"


# -- Amazon: SNS signs with a certificate that has to be fetched


@pytest.fixture
def sns(clock: Clock) -> Iterator[AmazonSns]:
    with AmazonSns(clock()) as double:
        yield double


@pytest.fixture
def amazon(database_url: str, tmp_path: Path, clock: Clock, sns: AmazonSns) -> Iterator[tuple[Hub, Client]]:
    topic = account("ses", topic_arn="arn:aws:sns:eu-west-1:123456789012:mail", sns_url=sns.url)
    with opened(database_url, tmp_path, clock, topic) as hub, served(compose(hub)) as client:
        yield hub, client


def test_what_ses_received_comes_by_a_signed_notification(amazon: tuple[Hub, Client], sns: AmazonSns) -> None:
    hub, door = amazon
    for encoding, version in product(("BASE64", "UTF8"), ("1", "2")):
        assert post(door, "ses", sns.mail(letter(), US, encoding=encoding, version=version)) == 200
    assert [message.subject for message in messages(hub)] == ["Lampe kaputt: Größe"]
    assert sns.fetched == 1


def test_what_ses_received_is_read_again_when_its_certificate_has_run_out(
    amazon: tuple[Hub, Client], sns: AmazonSns, clock: Clock
) -> None:
    hub, _ = amazon
    opened, sent = hub.channel_named("ses-mail"), sns.mail(letter(), US)
    number = left_unread(hub, opened, sent, clock)
    clock.forward(days=400)
    with pytest.raises(NotAuthentic, match="not valid now"):
        listened(opened, sent, clock)
    assert (replay(hub, SYSTEM, Filter()).to_read, file_left_over(hub, 0)) == (1, 1)
    (message,) = messages(hub)
    assert is_our_letter(message) and message.receipt_id == number


def test_a_mail_that_amazon_found_to_be_forged_enters_no_conversation(
    amazon: tuple[Hub, Client], sns: AmazonSns
) -> None:
    hub, door = amazon
    assert post(door, "ses", sns.mail(letter(), US, verdicts={"spf": "PASS", "dkim": "PASS", "dmarc": "PASS"})) == 200
    for number, verdict in enumerate(("FAIL", "GRAY")):
        answer = letter(f"And number {number}?").replace(b"<lamp-1@", f"<lamp-{number + 2}@".encode())
        answer = b"In-Reply-To: <lamp-1@customer.example>\r\n" + answer
        assert post(door, "ses", sns.mail(answer, US, verdicts={"dmarc": verdict})) == 200
    first, forged, open_ = messages(hub)
    assert [each.authenticity.get("verdict") for each in (first, forged, open_)] == ["pass", "fail", "none"]
    assert open_.conversation_id == first.conversation_id != forged.conversation_id


def test_a_subscription_is_confirmed_by_itself(amazon: tuple[Hub, Client], sns: AmazonSns) -> None:
    hub, door = amazon
    assert post(door, "ses", sns.subscription()) == 200
    assert sns.confirmed == ["t0ken"]
    assert receipts(hub) == []


def test_a_forged_notification_is_refused(amazon: tuple[Hub, Client], sns: AmazonSns, clock: Clock) -> None:
    hub, door = amazon
    sent = sns.mail(letter(), US)
    assert post(door, "ses", Post(sent.body.replace(b"Received", b"Receives"), sent.headers)) == 403
    assert post(door, "ses", sns.notification("{}", topic="arn:aws:sns:eu-west-1:666:theirs")) == 403
    for elsewhere in ("https://evil.example/sns.pem", "https://sns.eu-west-1.amazonaws.com.evil.example/sns.pem"):
        assert post(door, "ses", sns.notification("{}", certificate_at=elsewhere)) == 403
    with AmazonSns(clock()) as impostor:  # signs well, but with a key of its own
        theirs = impostor.notification("{}", certificate_at=f"{sns.url}/sns.pem")
        assert post(door, "ses", theirs) == 403
    clock.forward(days=2)  # the certificate is not valid any more
    assert post(door, "ses", sns.mail(letter(), US)) == 403
    assert receipts(hub) == []


def test_amazon_out_of_reach_is_answered_so_that_it_comes_again(amazon: tuple[Hub, Client], sns: AmazonSns) -> None:
    hub, door = amazon
    assert post(door, "ses", sns.notification("{}", certificate_at=f"{sns.url}/gone.pem")) == 503
    assert receipts(hub) == []


def test_a_mail_that_was_put_into_s3_waits_for_people_with_the_reason(
    amazon: tuple[Hub, Client], sns: AmazonSns
) -> None:
    hub, door = amazon
    action = '{"receipt": {"action": {"type": "S3", "bucketName": "mails", "objectKey": "in/1"}}}'
    assert post(door, "ses", sns.notification(action)) == 200
    (receipt,) = receipts(hub)
    assert (receipt.state, "S3 at mails/in/1" in receipt.why) == ("quarantined", True)


# -- settings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"provider": "pigeon"}, "use one of cloudmailin, mailgun"),
        ({"provider": "mailgun"}, "signing_key"),
        ({"provider": "postmark", "secret": "x"}, "user"),
        ({"provider": "ses"}, "topic_arn"),
        ({"provider": "sendgrid"}, "signing_key, or user and secret"),
        ({"provider": "sendgrid", "signing_key": "nonsense"}, "copy it again"),
        ({"provider": "raw", "secret": "x", "smtp_hots": "y"}, "smtp_host"),
    ],
)
def test_settings_that_can_t_work_are_named(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(NotConfigured, match=sentence):
        MailhookChannel(name="hook", address="support@desk.example", settings=settings)


# -- recorded requests of real providers, where they are on this machine


def test_recorded_requests_are_read() -> None:
    wrong = []
    paths = [path for path in mail_corpus("multi_mail-inbound-webhooks") if path.name != "multipart.txt"]
    for path in paths:
        provider = path.parts[path.parts.index("multi_mail-inbound-webhooks") + 1]
        # They were saved with the line ends of a text file; HTTP and its multipart bodies have CRLF.
        recorded = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        header, _, body = recorded.partition(b"\r\n\r\n")
        content_type = str(BytesHeaderParser().parsebytes(header.partition(b"\r\n")[2])["Content-Type"])
        provider = {"simple": "raw"}.get(provider, provider)
        try:
            inbound = MailhookChannel.parse(Raw("1", body, content_type, {"provider": provider}))
        except Unreadable as error:
            wrong.append(f"{path}: {error}")
            continue
        sender = inbound.sender.points[0].value if inbound.sender.points else ""
        by_mandrill = path.stem == "multiple" and sender == "example.sender@mandrillapp.com"
        if (sender != "james@opennorth.ca" and not by_mandrill) or (
            path.stem == "valid" and "bold text" not in inbound.text
        ):
            wrong.append(f"{path}: {sender} {inbound.subject!r} {inbound.text[:60]!r}")
    assert len(paths) >= 30
    assert wrong == []


def test_nothing_is_believed_before_it_is_proved(clock: Clock) -> None:
    for provider, settings in SETTINGS.items():
        channel = MailhookChannel(name="hook", address="", settings={"provider": provider, **settings})
        for body in (b"", b"\xff" * 50, b"--x", b"mandrill_events=["):
            for kind in ("", "multipart/form-data; boundary=x", "application/json"):
                with pytest.raises(NotAuthentic):
                    channel.hear(SignedRequest("POST", BASE, {"content-type": kind}, body, now=clock()))
