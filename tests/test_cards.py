"""With `redact_cards` no card number is ever written down, in any format that a door takes."""

from __future__ import annotations

import base64
import json
from email.message import EmailMessage
from email.policy import SMTP
from io import BytesIO
from typing import Any

import pytest
from sqlmodel import col, select

from channels import cards
from channels.base import Cursor, Ignored, Raw
from channels.cards import masked, masked_text, masked_words
from hub.mailboxes import store_mails
from hub.receipts import keep_ignored, raw_bytes
from storage.receipts import Receipt
from tests.desk import MARA_MAIL, Desk
from tests.support.mailroom import configure
from tests.support.nameserver import NameServer
from tests.test_mail_authentic import PLAIN, names, signed

__all__ = ["names"]

CARD = "4111 1111 1111 1111"
HIDDEN = "**** **** **** 1111"
VALID = ["4111111111111111", "5555 5555 5555 4444", "3782-822463-10005", "4222222222222", "6011000990139424",
         "2223003122003222", "3056 930902 5904", "6304000000000000000"]  # fmt: skip


@pytest.mark.parametrize("number", VALID)
def test_a_card_number_keeps_its_last_four_digits(number: str) -> None:
    told, count = masked_words(f"My card: {number}. Thanks")
    digits = sum(letter.isdigit() for letter in told)
    assert (count, digits, len(told)) == (1, 4, len(f"My card: {number}. Thanks"))
    assert told.endswith(f"{number[-4:]}. Thanks")


@pytest.mark.parametrize(
    "text",
    ["4111111111111112", "+4111111111111111", "SM4111111111111111", "4111111111111111x", "41111111111111111111",
     "1 2 3 4 5 6 7 8 9 10 11 12 13", "2026-11-24 10:00 48213 3600", "0000000000000000", "1764000000123",
     "c0ffee00-4111-4111-8111-111111111111", "4111111111111111@example.com", "4111.1111.1111.1111",
     "20170429233445", "2244696771454641389", "<4111111111111111.x@mx>"],
)  # fmt: skip
def test_what_is_no_card_number_stays(text: str) -> None:
    assert masked_words(text) == (text, 0)


def test_a_number_is_found_between_other_numbers() -> None:
    text = "12/28 2026 4111 1111 1111 1111 123 and 5555-5555-5555-4444,4222222222222"
    assert masked_words(text) == ("12/28 2026 **** **** **** 1111 123 and ****-****-****-4444,*********2222", 3)
    assert masked_words("4111\u00a01111&nbsp;1111 1111") == ("****\u00a0****&nbsp;**** 1111", 1)


def test_long_runs_of_digits_take_no_time() -> None:
    assert masked_text(b"4" * 2_000_000)[1] == 0
    masked_text(b"4111 " * 400_000)


def mail(text: str, **options: Any) -> bytes:
    """A letter in text and HTML with a file, the same but for its text whenever it is made."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = f"Mara <{MARA_MAIL}>", "support@desk.example", "My card"
    message["Message-ID"], message["Date"] = "<card-1@customer.example>", "Tue, 24 Nov 2026 09:00:00 +0000"
    message.set_content(text, **options)
    message.add_alternative(f"<p>{text}</p>", subtype="html", **options)
    message.set_boundary("=_inner")
    message.add_attachment(CARD.encode(), "text", "csv", filename="cards.csv")
    message.set_boundary("=_outer")
    return message.as_bytes()


@pytest.mark.parametrize("coding", ["7bit", "8bit", "quoted-printable", "base64"])
def test_texts_of_a_mail_are_masked_and_the_rest_stays_to_the_byte(coding: str) -> None:
    before = "x" * 60 + " "  # so that a line of quoted-printable breaks within the number
    raw = mail(f"{before}{CARD} ok", cte=coding)
    assert masked(raw, "message/rfc822") == (mail(f"{before}{HIDDEN} ok", cte=coding), 2)


def test_odd_mails_are_masked_as_far_as_they_go() -> None:
    inner = b"Content-Type: text/plain\n\n" + CARD.encode()
    for head in (b"", b"Content-Type: text/plain; charset=\xff\n", b"Content-Transfer-Encoding: x-odd\n"):
        assert masked(head + b"Subject: " + CARD.encode() + b"\n\n" + CARD.encode(), "message/rfc822")[1] == 2
    assert masked(b"Content-Type: message/rfc822\n\n" + inner, "message/rfc822")[1] == 1
    assert masked(b"no header at all " + CARD.encode(), "message/rfc822")[1] == 1
    nested = inner
    for number in range(cards.MOST_DEPTH - 2):
        nested = b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n%s\n--%d--\n' % (
            number,
            number,
            nested,
            number,
        )
    assert masked(nested, "message/rfc822")[1] == 1
    written = b"Content-Transfer-Encoding: quoted-printable\n\n=34=31=31=31 1111=\n 1111 =31111"
    assert masked(written, "message/rfc822")[0].endswith(b"=2A=2A=2A=2A ****=\n **** =31111")
    broken = b"Content-Transfer-Encoding: base64\n\n" + base64.b64encode(CARD.encode())[:-1] + b"\n!"
    assert masked(broken, "message/rfc822")[1] == 1


def test_forms_and_json_keep_their_shape() -> None:
    assert masked(f"MessageSid=SM1&Body=it+is+{CARD.replace(' ', '-')}&From=%2B4111111111111111&WaId=4111111111111111"
                  .encode(), "application/x-www-form-urlencoded") == (
        b"MessageSid=SM1&Body=it+is+****-****-****-1111&From=%2B4111111111111111&WaId=4111111111111111", 1
    )  # fmt: skip
    answers = {"text": f'a "card" {CARD}', "number": 4111111111111111, "at": 1764000000123, "list": [CARD]}
    told, count = masked(json.dumps(answers).encode(), "application/json; charset=utf-8")
    shown = {"text": f'a "card" {HIDDEN}', "number": "*" * 12 + "1111", "at": 1764000000123, "list": [HIDDEN]}
    assert (json.loads(told), count) == (shown, 3)
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'
        for name, more, value in (("text", "", CARD), ("email", "", f"Subject: hi\r\n\r\n{CARD}"),
                                  ("file", '; filename="a.txt"', CARD))
    )  # fmt: skip
    told, count = masked(f"{parts}--x--\r\n".encode(), "multipart/form-data; boundary=x")
    assert (told.count(HIDDEN.encode()), told.count(CARD.encode()), count) == (2, 1, 2)
    assert masked(CARD.encode(), "image/png") == (CARD.encode(), 0)


@pytest.fixture
def careful(desk: Desk) -> Desk:
    desk.hub.settings = desk.hub.settings.changed(redact_cards=True)
    return desk


def receipts(desk: Desk) -> list[Receipt]:
    with desk.hub.store.read() as tx:
        return list(tx.exec(select(Receipt).order_by(col(Receipt.id))))


def test_no_door_writes_a_card_number_down(careful: Desk) -> None:
    taken = [
        careful.text(f"my card {CARD}"),
        careful.chat(f"my card {CARD}"),
        careful.form(email=MARA_MAIL, message=f"my card {CARD}", topic="Hi"),
        careful.raw_mail(mail(f"my card {CARD}", cte="base64")),
    ]
    heard = Ignored(Raw("ignored", json.dumps({"text": CARD}).encode(), "application/json"), "no message")
    keep_ignored(careful.hub, careful.hub.channel_named("shop-chat"), heard)
    for one in taken:
        (message,) = [m for m in careful.messages(one.conversation_id or 0) if m.id == one.message_id]
        assert f"my card {HIDDEN}" in message.text and "masked_cards" in message.flags
        assert CARD not in message.html + message.safe_html + str(message.fields)
    for kept in receipts(careful):
        assert CARD.encode() not in (kept.body or b"") and CARD.replace(" ", "+").encode() not in (kept.body or b"")
        assert int(kept.headers["masked_cards"]) >= 1
    assert base64.b64encode(f"my card {CARD}".encode())[:24] not in (receipts(careful)[3].body or b"")


def test_a_redelivery_is_still_one_and_the_same(careful: Desk) -> None:
    first = careful.text(f"my card {CARD}", sid="SM" + "a" * 32)
    assert careful.text(f"my card {CARD}", sid="SM" + "a" * 32).state == "duplicate"
    letter = careful.raw_mail(mail(f"my card {CARD}"), key="sha256:one")
    assert careful.raw_mail(mail(f"my card {CARD}"), key="sha256:one").state == "duplicate"
    assert careful.raw_mail(b"Received: by mx\r\n" + mail(f"my card {CARD}"), key="sha256:two").state == "duplicate"
    assert [kept.seen for kept in receipts(careful)] == [2, 2, 1]
    assert first.state == letter.state == "accepted"


def test_a_mailbox_masks_before_it_stores_also_what_comes_as_a_file(careful: Desk) -> None:
    opened = careful.hub.channel_named("support-mail")
    small, large = mail(f"my card {CARD}"), mail(f"my card {CARD} " + "long " * 30_000)
    batch: list[tuple[Raw | None, Cursor]] = [
        (Raw("one", small, "message/rfc822"), Cursor("INBOX", 1, 1)),
        (Raw("two", b"", "message/rfc822", file=BytesIO(large), file_size=len(large)), Cursor("INBOX", 1, 2)),
    ]
    stored = store_mails(careful.hub, opened, batch, settles=False, guard=lambda tx: None, behind=0)
    assert len(stored) == 2
    for kept in receipts(careful):
        assert (kept.state, HIDDEN.encode() in raw_bytes(careful.hub, kept)) == ("received", True)
        assert f"my card {CARD}".encode() not in raw_bytes(careful.hub, kept)


def test_what_its_format_hides_is_masked_in_the_history(careful: Desk) -> None:
    page = "<p>my card 4111<b> 1111</b> 1111 1111</p>"
    taken = careful.raw_mail(b"From: m@example.com\r\nContent-Type: text/html\r\n\r\n" + page.encode())
    (message,) = careful.messages(taken.conversation_id or 0)
    assert HIDDEN in message.text and "masked_cards" in message.flags


def test_a_signature_is_judged_over_what_came(careful: Desk, names: NameServer) -> None:
    configure(careful, "support-mail", dns_server=names.address)
    letter = signed(PLAIN.replace(b"one lamp missing", f"my card {CARD}".encode()))
    taken = careful.raw_mail(letter)
    (message,) = careful.messages(taken.conversation_id or 0)
    assert (message.authenticity["dkim"], HIDDEN in message.text) == ("pass", True)


def test_without_the_setting_everything_stays_as_it_came(desk: Desk) -> None:
    taken = desk.text(f"my card {CARD}")
    (message,) = desk.messages(taken.conversation_id or 0)
    assert CARD in message.text and message.flags == []
