"""What a customer reads: text and HTML of one meaning, signed by the account, harmless whoever wrote it."""

from __future__ import annotations

import email
import email.policy
import time
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest

from channels.base import File, NotConfigured, Outbound, Quoted, SendFailed
from channels.mail.compose import compose
from channels.mail.letter import Style, letter
from channels.mail.outgoing import read_outgoing
from channels.mail.richtext import harmless, html_of, text_in

NOW = datetime(2026, 11, 24, 10, 5, tzinfo=UTC)
OURS = "support@shop.example"
WAY_OUT = "https://desk.example/webhooks/unsubscribe/" + "k7f2q9" * 20
ANSWER = Outbound(
    id="1", to=("mara@example.com",), text="Hi Mara,\n\nsee https://shop.example/a?b=1&c=2.", sender_name="Jonas Weber",
    subject="Re: Lamp", external_id="<1@shop.example>",
)  # fmt: skip


def composed(message: Outbound, style: Style) -> EmailMessage:
    return email.message_from_bytes(compose(message, "Shop", OURS, NOW, "", style), policy=email.policy.default)


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    return str(found.get_content()).replace("\r\n", "\n") if found else ""


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One.\n\nTwo,\nand on.", "<p>One.</p><p>Two,<br>and on.</p>"),
        ("1 < 2 & \"3\" > '0'", "<p>1 &lt; 2 &amp; &quot;3&quot; &gt; &#x27;0&#x27;</p>"),
        ("> was\n> it\nyes", "<blockquote><p>was<br>it</p></blockquote><p>yes</p>"),
        ("a\r\nb", "<p>a<br>b</p>"),
        ("  two in", "<p>&nbsp;&nbsp;two in</p>"),
        ("mail x@example.com!", '<p>mail <a href="mailto:x@example.com">x@example.com</a>!</p>'),
        ("(www.shop.example)", '<p>(<a href="https://www.shop.example">www.shop.example</a>)</p>'),
        ("<https://a.example/?x=1&y=2>,",
         '<p>&lt;<a href="https://a.example/?x=1&amp;y=2">https://a.example/?x=1&amp;y=2</a>&gt;,</p>'),
        ("javascript:alert(1) https:///x data:text/html,x", "<p>javascript:alert(1) https:///x data:text/html,x</p>"),
        ('https://a.example/"onmouseover="x', "<p><a"),
        ("", ""),
    ],
)  # fmt: skip
def test_plain_text_becomes_html_of_the_same_words(text: str, html: str) -> None:
    made = html_of(text)
    assert made.startswith(html) if html.endswith("<a") else made == html
    assert harmless(made).count("<") == made.count("<"), "nothing in it needs cleaning"
    assert '"onmouseover' not in made


def test_making_html_takes_linear_time() -> None:
    began = time.monotonic()
    for text in ("a" * 400_000, "https://" * 50_000, "@a." * 100_000, ">" * 200_000, "(" * 300_000, "\n> \n" * 50_000):
        html_of(text)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '<a href="javascript:alert(1)">x</a>',
        "<iframe src=https://evil.example></iframe>", "<style>*{display:none}</style>", "<form action=/x></form>",
        '<p style="background:url(https://evil.example/x)">x</p>', '<img src="http://evil.example/pixel">',
        "<svg onload=alert(1)>", "<base href=https://evil.example>", '<meta http-equiv=refresh content="0;url=x">',
    ],
)  # fmt: skip
def test_nothing_but_formatting_leaves_in_our_name(evil: str) -> None:
    cleaned = harmless(f"<p>before</p>{evil}<p>after</p>")
    for word in ("alert", "evil", "<script", "<iframe", "<style", "<form", "<svg", "<base", "<meta", "onerror", "url("):
        assert word not in cleaned
    assert "<p>before</p>" in cleaned


def test_formatting_links_and_own_pictures_stay() -> None:
    rich = (
        '<p style="color: red">Hi <b>Mara</b>, <a href="https://shop.example/x">look</a>:</p><ul><li>one</li></ul>'
        '<img src="cid:lamp@shop" alt="Lamp"><table><tbody><tr><td>1</td></tr></tbody></table>'
    )
    cleaned = harmless(rich)
    for kept in ("color:red", "<b>Mara</b>", 'href="https://shop.example/x"', 'src="cid:lamp@shop"', "<td>1</td>"):
        assert kept in cleaned.replace("color: red", "color:red")
    assert "Hi Mara, look:" in text_in(cleaned)


def test_html_too_deep_to_be_read_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="too long or too deeply nested"):
        harmless("<div>" * 5000)


def test_an_answer_has_both_forms_and_the_signature_of_account_and_agent() -> None:
    style = Style(signature="Best regards,\n{first_name} of {name}\n{address}")
    mail = composed(ANSWER, style)
    assert mail.get_content_type() == "multipart/alternative"
    assert part(mail, "plain").endswith("c=2.\n\n-- \nBest regards,\nJonas of Shop\nsupport@shop.example\n")
    html = part(mail, "html")
    assert '<a href="https://shop.example/a?b=1&amp;c=2">' in html
    assert '<div class="signature">-- <br><p>Best regards,<br>Jonas of Shop<br>' in html


def test_a_formatted_signature_gets_names_that_cannot_break_it() -> None:
    style = Style(signature="{agent}", signature_html="<b>{agent}</b>")
    html = letter(replace(ANSWER, sender_name="J<script>"), style, "Shop", OURS).html
    assert "<b>J&lt;script&gt;</b>" in html


def test_without_an_author_the_account_signs() -> None:
    assert letter(replace(ANSWER, sender_name=""), Style(signature="{agent}"), "The Shop", OURS).text.endswith(
        "-- \nThe Shop"
    )


def test_the_original_is_quoted_where_the_account_wants_it() -> None:
    quoted = Quoted("Mara <b>", "Where is <it>?\n\nMara", datetime(2026, 11, 24, 9, 0, tzinfo=UTC))
    written = letter(replace(ANSWER, quoted=quoted), Style(quote_original=True), "Shop", OURS)
    assert written.text.endswith("\n\nOn 24 November 2026 at 09:00 UTC, Mara <b> wrote:\n> Where is <it>?\n>\n> Mara")
    assert '<blockquote type="cite"><p>Where is &lt;it&gt;?</p><p>Mara</p></blockquote>' in written.html
    assert "wrote:" not in letter(replace(ANSWER, quoted=quoted), Style(), "Shop", OURS).text


def test_an_account_may_send_text_alone_but_never_loses_what_was_written_as_html() -> None:
    assert composed(ANSWER, Style(html=False)).get_content_type() == "text/plain"
    rich = composed(replace(ANSWER, html="<p>Hi <b>Mara</b></p>"), Style(html=False, signature="S"))
    assert "<b>Mara</b>" in part(rich, "html")
    assert "S" in part(rich, "html")


def test_pictures_of_the_html_travel_inside_it_and_files_beside_it() -> None:
    files = (
        File("lamp.png", "image/png", b"\x89PNG", cid="lamp@shop", inline=True),
        File("manual.pdf", "application/pdf", b"%PDF"),
    )
    mail = composed(replace(ANSWER, html='<img src="cid:lamp@shop">', files=files), Style())
    assert mail.get_content_type() == "multipart/mixed"
    assert [each.get_filename() for each in mail.iter_attachments()] == ["manual.pdf"]
    related = next(each for each in mail.walk() if each.get_content_type() == "multipart/related")
    assert next(each for each in related.walk() if each["Content-ID"])["Content-ID"] == "<lamp@shop>"


def test_a_mail_to_many_offers_the_way_out_and_an_answer_never_does() -> None:
    bulk = composed(replace(ANSWER, bulk=True, unsubscribe_url=WAY_OUT), Style())
    assert bulk["List-Unsubscribe"] == f"<{WAY_OUT}>"
    assert bulk["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert (bulk["Precedence"], bulk["Auto-Submitted"]) == ("bulk", "auto-generated")
    answer = composed(replace(ANSWER, unsubscribe_url=WAY_OUT), Style())
    assert not {"List-Unsubscribe", "List-Unsubscribe-Post", "Precedence"} & set(answer.keys())
    many = replace(ANSWER, bulk=True, unsubscribe_url=WAY_OUT)
    for wrong in (
        replace(many, references=("<a@b>",)),
        replace(many, unsubscribe_url=""),
        replace(many, unsubscribe_url="https://a\r\nBcc: x@y"),
    ):
        with pytest.raises(SendFailed, match="unsubscribe link") as failed:
            composed(wrong, Style())
        assert failed.value.permanent


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"signature": "{agnet}"}, "names {agnet}; what is filled in are {agent}"),
        ({"signature_html": "<b>x</b>"}, "signature has to be set too"),
        ({"html": "yes"}, "html is 'yes'; use true or false"),
        ({"dkim_selector": "s1"}, "dkim_key"),
        ({"dkim_key": "x", "dkim_selector": "s1"}, "no private key"),
        ({"dkim_key": "x", "dkim_selector": "no selector"}, "names as in DNS"),
        ({"sent_folder": 7}, "sent_folder"),
    ],
)
def test_what_cannot_work_is_named(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(NotConfigured, match=sentence):
        read_outgoing("mail", settings, OURS, ("imap.example",), lambda key, default: default)


@pytest.mark.parametrize(
    ("written", "host", "folder"),
    [
        (None, "imap.example.com", "auto"), (None, "imap.gmail.com", "off"), (None, "outlook.office365.com", "off"),
        ("Gesendet", "imap.gmail.com", "Gesendet"), ("off", "imap.example.com", "off"), (False, "x", "off"),
    ],
)  # fmt: skip
def test_copies_are_filed_only_where_the_provider_does_not(written: Any, host: str, folder: str) -> None:
    settings = {} if written is None else {"sent_folder": written}
    assert read_outgoing("mail", settings, OURS, (host,), lambda key, default: default).sent_folder == folder
