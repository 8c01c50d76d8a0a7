"""Mail as it really comes: who wrote, to whom, what, and whether it was a person."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import Inbound, Strength, Unreadable
from channels.mail.charset import decode
from channels.mail.filenames import safe_name
from channels.mail.headers import addresses
from tests.support.mails import MARA, OURS, mail, multipart, parsed, part

MAILS = Path(__file__).parent / "mail"


def read(name: str) -> Inbound:
    return parsed((MAILS / name).read_bytes())


def test_a_german_reply_from_outlook() -> None:
    inbound = read("outlook_reply_german.eml")
    [point] = inbound.sender.points
    assert (point.kind, point.value, point.strength) == ("email", MARA, Strength.MAIL)
    assert point.shown == "Mara.Lindqvist@Example.com"
    assert inbound.sender.name == "Lindqvist, Mara"
    assert inbound.subject == "AW: Meine Bestellung 4711 – wo ist sie?"
    assert inbound.text[: inbound.signature_at or inbound.quoted_at].rstrip().endswith("leider ohne Kabel.")
    assert "Guten Tag" in inbound.text
    assert inbound.to == OURS
    assert inbound.others == ("jonas.weber@example.com",)
    assert inbound.tokens == ("k7f2q9mzt4",)
    assert inbound.references == ("<reply-1@shop.example>", "<first@example.com>")
    assert inbound.external_id.startswith("<AM0PR0402MB3348")
    assert inbound.sent_at == datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
    assert (inbound.automatic, inbound.flags) == ("", ())


def test_a_swedish_reply_from_a_phone() -> None:
    inbound = read("iphone_reply_swedish.eml")
    assert inbound.subject == "Sv: Lampan saknar källa"
    assert inbound.text[: inbound.signature_at or inbound.quoted_at].strip() == "Tack, det räcker så!"


def test_a_mail_of_html_alone_with_a_picture_inside() -> None:
    inbound = read("html_with_inline_picture.eml")
    assert "This is how it came:" in inbound.text
    assert "Order" in inbound.text and "color" not in inbound.text
    assert "cid:lamp@example.com" in inbound.html
    assert [(file.name, file.inline, file.cid) for file in inbound.files] == [
        ("lamp.png", True, "lamp@example.com"),
        ("Räkning 4711.pdf", False, ""),
    ]


def test_a_bounce_is_no_customer() -> None:
    inbound = read("bounce_postfix.eml")
    assert inbound.automatic == "bounce"
    assert "550 5.1.1" in inbound.text
    status, original = inbound.files
    assert b"Final-Recipient" in status.data
    assert original.content_type == "message/rfc822"
    assert original.name.endswith(".eml")
    assert b"Message-ID: <reply-3@shop.example>" in original.data


def test_a_japanese_mail() -> None:
    inbound = read("japanese.eml")
    assert (inbound.sender.name, inbound.subject, inbound.text.strip()) == ("山田", "テスト", "こんにちは")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ((b"Auto-Submitted: no",), ""),
        ((b"Auto-Submitted: auto-replied (vacation)", b"Return-Path: <>"), "vacation"),
        ((b"Auto-Submitted: auto-generated",), "generated"),
        ((b"Auto-Submitted: auto-notified; owner-email=x",), "generated"),
        ((b"X-Autoreply: yes",), "vacation"),
        ((b"X-Autoreply: no",), ""),
        ((b"Precedence: auto_reply",), "vacation"),
        ((b"Precedence: bulk",), "bulk"),
        ((b"List-Id: <a.example.com>",), "bulk"),
        ((b"X-Auto-Response-Suppress: DR, OOF, AutoReply",), "generated"),
        ((b"X-Auto-Response-Suppress: DR",), ""),
        ((b"X-Failed-Recipients: a@example.com",), "bounce"),
        ((b"Return-Path: <>",), "bounce"),
        ((b"Content-Type: multipart/report; report-type=feedback-report; boundary=b",), "report"),
        ((b"Content-Type: multipart/report; report-type=disposition-notification; boundary=b",), "report"),
        ((b"X-Switchyard-Loop: 1",), ""),
    ],
)
def test_what_machines_send_is_told_from_what_people_write(fields: tuple[bytes, ...], why: str) -> None:
    assert parsed(mail(b"hello", *fields)).automatic == why


@pytest.mark.parametrize(
    ("sender", "why"),
    [
        (b"MAILER-DAEMON@example.com", "bounce"),
        (b"<postmaster@example.com>", "bounce"),
        (b"no-reply@example.com", "generated"),
        (b"noreply@example.com", "generated"),
        (b"reply@example.com", ""),
    ],
)
def test_some_senders_are_never_people(sender: bytes, why: str) -> None:
    assert parsed(mail(From=sender)).automatic == why


@pytest.mark.parametrize("name", ["vacation", "newsletter"])
def test_vacations_and_newsletters_are_recognised(name: str) -> None:
    assert read(f"{name}.eml").automatic == {"vacation": "vacation", "newsletter": "bulk"}[name]


@pytest.mark.parametrize(
    ("written", "address", "name"),
    [
        (b"mara.lindqvist@example.com", MARA, ""),
        (b"Mara.Lindqvist@EXAMPLE.com (Mara L.)", MARA, "Mara L."),
        (b'"Lindqvist, \\"M\\"" <mara.lindqvist@example.com>', MARA, 'Lindqvist, "M'),
        (b"=?utf-8?q?Mara=40evil=2Eexample?= <mara.lindqvist@example.com>", MARA, "Mara@evil.example"),
        ("Mara <mara@bücher.example>".encode(), "mara@xn--bcher-kva.example", "Mara"),
        (b"Mara <mara.lindqvist@example.com", MARA, ""),
        (b'"Mara <mara.lindqvist@example.com>', MARA, ""),
        (b"(" * 5000 + b" mara.lindqvist@example.com", MARA, ""),
        (b"Team: mara.lindqvist@example.com, b@example.com;", MARA, ""),
        (b"<mara.lindqvist@example.com> <b@example.com>", MARA, ""),
    ],
)
def test_a_sender_is_found_however_it_is_written(written: bytes, address: str, name: str) -> None:
    sender = parsed(mail(From=written)).sender
    assert sender.points[0].value == address
    assert sender.name == name


@pytest.mark.parametrize(
    "written",
    [
        b"=?utf-8?q?admin=40shop=2Eexample?=",
        b"=?utf-8?q?=3Cadmin=40shop=2Eexample=3E?=",
        b"undisclosed-recipients: ;",
        b'"<<((( @@ \xff" <>',
        b"Mara Lindqvist",
        b"mara\x00admin@example.com",
        b"@example.com",
        b"mara@",
        b"",
    ],
)
def test_an_address_is_never_made_of_something_else(written: bytes) -> None:
    inbound = parsed(mail(From=written))
    assert inbound.sender.points == ()
    assert "no_from" in inbound.flags


@given(st.text(" \t\xa0\x00éM1.'=?<", max_size=9), st.text("ab@.1é<\x00", min_size=1, max_size=9))
def test_a_lone_mailbox_is_read_the_quick_way_as_in_a_list(name: str, address: str) -> None:
    """A list with an entry that names nobody goes the long way."""
    written = f"{name}<{address}>".encode()
    assert addresses([written]) == addresses([written + b","])


def test_without_a_sender_the_envelope_is_only_a_claim() -> None:
    inbound = parsed(mail(b"x", b"Return-Path: <mara.lindqvist@example.com>", From=None))
    [point] = inbound.sender.points
    assert (point.value, point.strength, inbound.flags) == (MARA, Strength.CLAIMED, ("no_from",))


def test_a_second_sender_is_flagged() -> None:
    two = b"From: support@shop.example\r\n" + mail()
    assert parsed(two).flags == ("multi_from",)
    assert parsed(mail(From=b"a@example.com, b@example.com")).flags == ("multi_from",)


def test_our_own_address_is_no_other_recipient() -> None:
    inbound = parsed(
        mail(To=b"Support <SUPPORT+abc23@shop.example>, b@example.com", Cc=b"support@shop.example, c@example.com")
    )
    assert (inbound.to, inbound.others, inbound.tokens) == (OURS, ("b@example.com", "c@example.com"), ("abc23",))


def test_an_alias_that_was_written_to_is_kept() -> None:
    inbound = parsed(mail(b"x", b"X-Original-To: info@shop.example", To=b"info@shop.example"))
    assert (inbound.to, inbound.others) == ("info@shop.example", ())


def test_references_are_read_from_the_end_and_never_name_the_mail_itself() -> None:
    chain = b" ".join(b"<%d@example.com>" % number for number in range(20_000))
    inbound = parsed(
        mail(b"x", b"References: " + chain + b" <1@example.com>", In_Reply_To=b"<reply@shop.example> (by me)")
    )
    assert inbound.references[:3] == ("<reply@shop.example>", "<19999@example.com>", "<19998@example.com>")
    assert len(inbound.references) == 200
    assert inbound.external_id not in inbound.references


@pytest.mark.parametrize(
    ("date", "year"),
    [
        (b"Sun, 22 Nov 2026 10:00:00 +0100", 2026),
        (b"22 Nov 26 10:00:00 GMT", 2026),
        (b"Sun, 22 Nov 2026 10:00:00 -0000", 2026),
        (b"", None),
    ],
)
def test_when_a_mail_was_written(date: bytes, year: int | None) -> None:
    inbound = parsed(mail(Date=date), internaldate="2026-11-22T09:00:05+00:00")
    sent_at = inbound.sent_at
    assert (sent_at.year if sent_at else None) == year
    assert sent_at is None or sent_at.utcoffset() == UTC.utcoffset(None)
    assert "date" not in inbound.fields


@pytest.mark.parametrize(
    "date",
    [
        b"Sun, 99 Foo 20266 25:61:61 +9999",
        b"Mon, 01 Jan 0000 00:00:00 -9960",
        b"Fri, 31 Dec 9999 23:59:59 -1200",
        b"Thu, 01 Jan 1970 00:00:00 +0000",
        b"Wed, 25 Nov 2026 10:00:00 +0000",  # three days after it arrived
        b"tomorrow",
    ],
)
def test_a_clock_that_cannot_be_right_gives_way_to_ours_and_is_kept(date: bytes) -> None:
    inbound = parsed(mail(Date=date), internaldate="2026-11-22T09:00:05+00:00")
    assert inbound.sent_at == datetime(2026, 11, 22, 9, 0, 5, tzinfo=UTC)
    assert inbound.fields["date"] == date.decode()
    assert parsed(mail(Date=date.replace(b"2026", b"9026"))).sent_at is None  # nobody knows


@pytest.mark.parametrize("body", [b"", b"\r\n\r\n", b"   \n"])
def test_nothing_at_all_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable, match="empty"):
        parsed(body)


def test_a_mail_within_a_mail_is_a_file() -> None:
    inner = mail(b"inner", Subject=b"Inner")
    inbound = parsed(
        multipart(
            part(b"Content-Type: text/plain", content=b"see below"),
            part(b"Content-Type: message/rfc822", content=inner),
        )
    )
    assert inbound.text.strip() == "see below"
    [file] = inbound.files
    assert (file.name, file.content_type) == ("Inner.eml", "message/rfc822")
    assert parsed(file.data).subject == "Inner"


def test_text_that_came_as_a_file_stays_a_file() -> None:
    inbound = parsed(multipart(part(b"Content-Type: text/plain", b"Content-Disposition: attachment; filename=log.txt")))
    assert (inbound.text, [file.name for file in inbound.files]) == ("", ["log.txt"])


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b"filename=lamp.pdf", "lamp.pdf"),
        (b"filename*=utf-8''R%C3%A4kning.pdf", "Räkning.pdf"),
        (b"filename*0*=utf-8''a%E2%82; filename*1*=%AC; filename*2=.pdf", "a€.pdf"),
        (b'filename="=?utf-8?B?UsOka25pbmcucGRm?="', "Räkning.pdf"),
        (b'filename="R\xc3\xa4kning.pdf"', "Räkning.pdf"),
        (b"filename*=bogus'%FF; filename=plain.pdf", "bogus'ÿ"),
        (b'filename="../../../../etc/cron.d/x"', "x"),
        (b'filename="..\\\\..\\\\boot.ini"', "boot.ini"),
        (b'filename="a\x00b\r\n c.pdf"', "ab c.pdf"),
        (b'filename=".."', "part-1.pdf"),
        (b'filename="CON.pdf"', "_CON.pdf"),
        (b'filename="a<b>:c?.pdf"', "a_b__c_.pdf"),
        ("filename=invoice\u202egnp.exe".encode(), "invoicegnp.exe"),
        (b"", "part-1.pdf"),
    ],
)
def test_file_names_are_found_and_made_safe(field: bytes, name: str) -> None:
    one = part(b"Content-Type: application/pdf", b"Content-Disposition: attachment; " + field)
    assert [file.name for file in parsed(multipart(one)).files] == [name]


def test_long_names_keep_their_ending() -> None:
    name = safe_name("å" * 1000 + ".pdf")
    assert name.endswith("å.pdf")
    assert len(name.encode()) <= 150


def test_raw_names_are_read_in_the_charset_of_the_body() -> None:
    pieces = (
        part(b"Content-Type: text/plain; charset=koi8-r", content="привет".encode("koi8-r")),
        part(b"Content-Disposition: attachment; filename=" + "счёт.pdf".encode("koi8-r")),
    )
    inbound = parsed(multipart(*pieces))
    assert (inbound.text.strip(), inbound.files[0].name) == ("привет", "счёт.pdf")


@pytest.mark.parametrize(
    ("data", "label", "text"),
    [
        ("Grüße €".encode(), "us-ascii", "Grüße €"),
        ("Grüße".encode("cp1252"), "utf-8", "Grüße"),
        ("Grüße".encode() + b"\xe2\x82", "utf-8", "Grüße\ufffd"),
        ("Grüße €".encode("cp1252"), "iso-8859-1", "Grüße €"),
        ("龍𠀀".encode("gb18030"), "gb2312", "龍𠀀"),
        ("안녕 똠방".encode("cp949"), "ks_c_5601-1987", "안녕 똠방"),
        ("①".encode("cp932"), "shift_jis", "①"),
        ("שלום".encode("iso-8859-8"), "iso-8859-8-i", "שלום"),
        ("สวัสดี".encode("cp874"), "tis-620", "สวัสดี"),
        ("こんにちは".encode("iso2022_jp"), None, "こんにちは"),
        ("Grüße".encode(), "uft-8", "Grüße"),
        ("héllo".encode("utf-16"), "utf-16", "héllo"),
        (b"4142", "hex", "4142"),
        (b"abc", "unicode_escape", "abc"),
        (b"a\x00b", None, "ab"),
    ],
)
def test_every_charset_label_resolves(data: bytes, label: str | None, text: str) -> None:
    assert decode(data, label) == text


def test_a_charset_named_only_in_the_html_is_used() -> None:
    content = b"<html><meta charset=windows-1251><body>" + "Привет".encode("cp1251")
    assert parsed(mail(content, b"Content-Type: text/html")).text == "Привет"


def test_script_in_utf_7_is_text_and_nothing_else() -> None:
    inbound = parsed(mail(b"+ADw-script+AD4-", b"Content-Type: text/plain; charset=utf-7"))
    assert (inbound.text, inbound.html) == ("<script>", "")


def test_the_same_message_id_with_other_content_is_no_duplicate_for_the_parser() -> None:
    one, other = parsed(mail(b"one")), parsed(mail(b"other"))
    assert (one.external_id, one.text) != (other.external_id, other.text)
    assert one.external_id == other.external_id


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (None, ""),
        (b"<[b378dfc5@example.com]>", "<[b378dfc5@example.com]>"),
        (b"bare@example.com", "<bare@example.com>"),
        (b"<" + b"x" * 10_000 + b"@example.com>", ""),
        (b"garbage", ""),
    ],
)
def test_message_ids_are_taken_as_they_are_or_not_at_all(written: bytes | None, read_as: str) -> None:
    assert parsed(mail(Message_ID=written)).external_id == read_as


def test_a_large_mail_is_read_by_its_header_alone() -> None:
    heavy = mail(base64.encodebytes(bytes(31 * 1024 * 1024)), b"Content-Transfer-Encoding: base64")
    inbound = parsed(heavy)
    assert (inbound.subject, inbound.flags, inbound.text) == ("Lamp", ("too_large",), "")
