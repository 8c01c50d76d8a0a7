"""What a mail carries besides its text: invitations, packets of Outlook, mails within, seals, its language."""

from __future__ import annotations

import struct

import pytest
from selectolax.lexbor import LexborHTMLParser as Page

from channels.mail.forwarded import original_sender
from channels.mail.invitation import invitation
from channels.mail.language import language_of
from channels.mail.sanitise import VERSION
from inbox.mailhtml import cleaned_html
from tests.browser.room import Browser, application, words
from tests.desk import Desk
from tests.support.mails import mail, multipart, parsed, part

INVITATION = b"""\
BEGIN:VCALENDAR
METHOD:%s
PRODID:-//shop//EN
VERSION:2.0
BEGIN:VTIMEZONE
TZID:Europe/Stockholm
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:1@example.com
SUMMARY:Look at the lamp
LOCATION:Storgatan 1\\, Lund
ORGANIZER;CN=Mara Lindqvist:mailto:mara.lindqvist@example.com
ATTENDEE;CN=Jonas;PARTSTAT=DECLINED:mailto:jonas@desk.example
DTSTART;TZID=Europe/Stockholm:20261124T100000
DTEND;TZID=Europe/Stockholm:20261124T113000
END:VEVENT
END:VCALENDAR
"""


def invited(method: bytes) -> bytes:
    kind = b"Content-Type: text/calendar; charset=utf-8; method=" + method
    return multipart(
        part(b"Content-Type: text/plain", content=b"Please come."),
        part(kind, content=INVITATION % method),
        kind=b"alternative",
    )


def tnef(*objects: tuple[int, int, bytes]) -> bytes:
    """A winmail.dat: level, attribute, data of each object."""
    packed = struct.pack("<IH", 0x223E9F78, 1)
    for level, attribute, data in objects:
        packed += struct.pack("<BII", level, attribute, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)
    return packed


PACKET = tnef(
    (1, 0x00089006, struct.pack("<I", 0x10000)),
    (1, 0x0002800C, b"It is broken.\x00"),
    (2, 0x00069002, b"\x01\x00" + b"\x00" * 12),
    (2, 0x00018010, b"../lamp.txt\x00"),
    (2, 0x0006800F, b"a lamp"),
)


def packed(data: bytes) -> bytes:
    return multipart(part(b'Content-Type: application/ms-tnef; name="winmail.dat"', content=data))


@pytest.mark.parametrize(("method", "answer"), [(b"REQUEST", None), (b"CANCEL", None), (b"REPLY", "declined")])
def test_an_invitation_can_be_read_and_stays_a_file(method: bytes, answer: str | None) -> None:
    inbound = parsed(invited(method))
    assert inbound.fields["calendar.method"] == method.decode()
    assert inbound.fields["calendar.what"] == "Look at the lamp"
    assert inbound.fields["calendar.where"] == "Storgatan 1, Lund"
    assert inbound.fields["calendar.when"] == ("Tuesday, 24 November 2026, 10:00 to 11:30 Europe/Stockholm (UTC+01:00)")
    assert inbound.fields["calendar.organizer"] == "Mara Lindqvist <mara.lindqvist@example.com>"
    assert (answer or "") in inbound.fields.get("calendar.answer", "")
    assert ("calendar.answer" in inbound.fields) == (answer is not None)
    [file] = inbound.files
    assert file.content_type == "text/calendar" and file.name.endswith(".ics")


def test_whole_days_and_floating_times() -> None:
    day = INVITATION.replace(b"DTSTART;TZID=Europe/Stockholm:20261124T100000", b"DTSTART;VALUE=DATE:20261124")
    days = day.replace(b"DTEND;TZID=Europe/Stockholm:20261124T113000", b"DTEND;VALUE=DATE:20261127") % b"REQUEST"
    assert invitation(days)["calendar.when"] == "Tuesday, 24 November 2026 to Thursday, 26 November 2026"
    floating = (INVITATION % b"REQUEST").replace(b";TZID=Europe/Stockholm", b"")
    assert invitation(floating)["calendar.when"].endswith("10:00 to 11:30, local time")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"BEGIN:VCALENDAR",
        b"\xff" * 1000,
        INVITATION.replace(b"20261124", b"99999999"),
        INVITATION.replace(b"FREQ=YEARLY", b"FREQ=SECONDLY"),
        b"BEGIN:VEVENT\n" * 20_000,
    ],
)
def test_a_broken_invitation_is_a_file_like_any_other(data: bytes) -> None:
    inbound = parsed(multipart(part(b"Content-Type: text/calendar", content=data)))
    assert not any(name.startswith("calendar") for name in inbound.fields)
    assert len(inbound.files) == 1


def test_what_outlook_packed_is_unpacked() -> None:
    inbound = parsed(packed(PACKET))
    assert inbound.text.strip() == "It is broken."
    assert [(file.name, file.content_type, file.data) for file in inbound.files] == [
        ("lamp.txt", "text/plain", b"a lamp")
    ]
    assert inbound.flags == ("tnef_opened",)


@pytest.mark.parametrize("data", [PACKET[:40], PACKET[:6], b"no packet", PACKET[:7] + b"\xff" * 200])
def test_a_packet_that_can_not_be_opened_stays_as_it_is(data: bytes) -> None:
    inbound = parsed(packed(data))
    assert [(file.name, file.data) for file in inbound.files] == [("winmail.dat", data)]
    assert inbound.flags == ("tnef",)


def test_a_blank_behind_the_transfer_encoding_hides_nothing() -> None:
    body = mail(b"aGVsbG8=", b"Content-Transfer-Encoding: base64 ", b"Content-Type: image/gif; name=a.gif")
    assert parsed(body).files[0].data == b"hello"


def test_a_mail_within_a_mail_that_can_not_be_written_back_is_kept_all_the_same() -> None:
    inner = b"From: b@example.com\x0bSubject: hidden\r\n\r\nhello"
    [file] = parsed(multipart(part(b"Content-Type: message/rfc822", content=inner))).files
    assert b"hello" in file.data and b"b@example.com" in file.data


def test_mails_within_mails_are_named_by_their_subjects() -> None:
    inner = mail(mail(b"x", Subject=b"Third"), b"Content-Type: message/rfc822", Subject=b"Second")
    inbound = parsed(multipart(part(b"Content-Type: message/rfc822", content=inner)))
    assert [file.name for file in inbound.files] == ["Second.eml"]
    assert inbound.fields["nested"] == "2"


@pytest.mark.parametrize(
    ("body", "flag"),
    [
        (mail(b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQ=="), "encrypted"),
        (mail(b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nhello"), "signed"),
        (mail(b"MIIB", b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"), "smime"),
        (mail(b"MIIB", b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=a.p7m"), "smime_signed"),
        (multipart(part(content=b"hello"), kind=b"signed"), "signed"),
    ],
)
def test_seals_are_kept_and_named(body: bytes, flag: str) -> None:
    assert flag in parsed(body).flags


def test_of_a_mail_above_the_cap_its_header_and_text_are_read() -> None:
    large = multipart(
        part(b"Content-Type: text/plain", content=b"see the pictures"),
        part(b"Content-Type: image/png; name=a.png", content=b"x" * (41 << 20)),
    )
    inbound = parsed(large)
    assert (inbound.subject, inbound.text.strip(), inbound.flags, inbound.files) == (
        "Lamp", "see the pictures", ("too_large",), (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hej, lampan som kom i måndags är trasig. Kan jag få en ny?", "sv"),
        ("Guten Tag, die Lampe ist leider kaputt angekommen.", "de"),
        ("Hello, could you please send me another cable?", "en"),
        ("ランプが壊れています。", "ja"),
        ("Здравствуйте! Где мой заказ? Посылка ещё не пришла, хотя прошло две недели.", "ru"),
        ("ok thx", ""),
        ("https://shop.example.com/order/4711?id=123456 4711", ""),
        ("", ""),
    ],
)
def test_the_language_is_told_or_nothing_is_said(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_site_can_name_the_languages_it_speaks() -> None:
    assert language_of("Lampen er desværre gået i stykker", "da en") == "da"
    assert language_of("Lampen er desværre gået i stykker", "xx yy") == "da"  # nothing that is known: the usual ones
    assert parsed(mail(b"Danke, das reicht"), languages="da de").language == "de"


@pytest.mark.parametrize(
    ("text", "subject", "original"),
    [
        (
            "FYI\n\n---------- Forwarded message ---------\nFrom: Mara <mara@example.com>\nDate: x\nSubject: y\n\nHi",
            "Fwd: y",
            ("Mara", "mara@example.com"),
        ),
        ("Begin forwarded message:\n\nFrom: mara@example.com\nSubject: y\n\nHi", "y", ("", "mara@example.com")),
        (
            "\n\nVon: Mara [mailto:mara@example.com]\nGesendet: x\nAn: wir\n\nHallo",
            "WG: y",
            ("Mara", "mara@example.com"),
        ),
        ("Hi\n\nFrom: Mara <mara@example.com>\nSent: x\n\nold", "Re: y", None),  # an answer quotes, it does not forward
        ("From: Malmö\nis where I am.", "Fwd: travel", None),
        ("nothing", "Fwd: y", None),
    ],
)
def test_who_wrote_what_is_handed_on(text: str, subject: str, original: tuple[str, str] | None) -> None:
    assert original_sender(text, subject) == original


def test_a_mail_that_is_handed_on_with_empty_quoted_lines_is_read() -> None:
    quoted = b"See below.\r\n\r\n> Hello,\r\n>\r\n> > one lamp is missing.\r\n> >\r\n"
    assert parsed(mail(quoted, Subject=b"Fwd: Lamp")).text.startswith("See below.")


def test_whoever_hands_a_mail_on_stays_its_sender(desk: Desk) -> None:
    text = "see below\n\n---------- Forwarded message ---------\nFrom: Eve <eve@example.org>\nSubject: y\n\nHi"
    taken = desk.mail("Fwd: y", text)
    [message] = desk.messages(taken.conversation_id or 0)
    assert message.fields["forwarded.address"] == "eve@example.org"
    browser = Browser(application(desk))
    browser.sign_in("ines@desk.example")
    page = Page(browser.get(f"/inbox/c/{taken.conversation_id}").text)
    assert "Eve <eve@example.org> wrote it; nothing proves that" in " ".join(words(page, ".remark"))
    assert "Mara Lindqvist" in " ".join(words(page, ".msg .meta"))


def test_the_agent_sees_the_card_the_signature_and_what_was_odd(desk: Desk) -> None:
    body = invited(b"REQUEST").replace(b"Please come.", b"Please come on Tuesday.\r\n\r\n-- \r\nMara Lindqvist\r\nLund")
    taken = desk.raw_mail(body.replace(b"Date: Sun, 22 Nov 2026 10:00:00 +0100", b"Date: tomorrow"))
    [message] = desk.messages(taken.conversation_id or 0)
    assert message.visible_text == "Please come on Tuesday."
    assert message.signature.endswith("Mara Lindqvist\nLund")
    browser = Browser(application(desk))
    browser.sign_in("ines@desk.example")
    page = Page(browser.get(f"/inbox/c/{taken.conversation_id}").text)
    [card] = words(page, ".invite")
    assert "Look at the lamp" in card and "10:00 to 11:30 Europe/Stockholm" in card
    assert "Lund" in " ".join(words(page, ".signature"))
    assert "“tomorrow”" in " ".join(words(page, ".remark"))


def test_rules_and_the_contact_learn_the_language(desk: Desk) -> None:
    taken = desk.mail("Lampa", "Hej, lampan som kom i måndags är tyvärr trasig.")
    [message] = desk.messages(taken.conversation_id or 0)
    assert message.language == "sv"
    with desk.hub.store.read() as tx:
        row = tx.sql("SELECT language FROM contact WHERE id = ?", taken.contact_id or 0).fetchone()
    assert row[0] == "sv"
    desk.mail("Lamp", "Hello, the lamp that came on Monday is broken.")  # the first one counts
    with desk.hub.store.read() as tx:
        row = tx.sql("SELECT language FROM contact WHERE id = ?", taken.contact_id or 0).fetchone()
    assert row[0] == "sv"


def test_harmless_html_is_stored_and_made_anew_when_the_rules_are_newer(desk: Desk) -> None:
    html = b'<p onclick="x()">hello <img src="https://tracker.example/a.gif"></p><script>x()</script>'
    taken = desk.raw_mail(mail(html, b"Content-Type: text/html"))
    [message] = desk.messages(taken.conversation_id or 0)
    assert (message.html, message.safe_version) == (html.decode(), VERSION)
    assert message.safe_html == '<p>hello <img src="remote:https://tracker.example/a.gif"></p>'
    message.safe_html, message.safe_version = "<script>old rules</script>", VERSION - 1
    assert cleaned_html(message) == '<p>hello <img src="remote:https://tracker.example/a.gif"></p>'
