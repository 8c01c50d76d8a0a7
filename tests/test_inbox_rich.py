"""Formatted answers: clean HTML and the same words as text, by mail only, kept in drafts and brought back by undo."""

from __future__ import annotations

import pytest
from selectolax.lexbor import LexborHTMLParser as Page

from hub.desk import apply, read
from storage.access import SYSTEM
from tests.browser.room import Browser, attr, words
from tests.desk import DESK, Desk
from tests.test_inbox_actions import arrived, chosen, seen, send

HTML = '<div>Dear <b>Mara</b>,</div><ul><li>one</li><li><a href="https://x.example">two</a></li></ul>'


def by_mail(desk: Desk, jonas: Browser) -> int:
    number = desk.mail("Order 48213", "Where is it?").conversation_id or 0
    jonas.page(f"/inbox/c/{number}?view=mine")
    return number


def test_a_formatted_answer_leaves_as_clean_html_and_text(desk: Desk, jonas: Browser) -> None:
    number = by_mail(desk, jonas)
    mail = attr(jonas.page(f"/inbox/c/{number}"), "input[name=by_mail]", "value")
    bad = HTML + '<img src=x onerror="alert(1)"><script>alert(2)</script><a href="javascript:alert(3)">three</a>'
    sent = send(jonas, number, "anything", html=bad, formatted="1", by_mail=mail)
    assert sent.status_code == 200
    message = desk.messages(number)[-1]
    assert message.html.startswith("<div>Dear <b>Mara</b>,</div><ul><li>one</li>")
    assert not any(word in message.html for word in ("script", "onerror", "alert"))
    assert "Dear Mara," in message.text and "one" in message.text and "anything" not in message.text
    shown = jonas.page(f"/inbox/c/{number}")
    assert shown.css_first(".msg.out details.original iframe") is not None
    frame = jonas.get(f"/inbox/m/{message.id}/html")
    assert "<b>Mara</b>" in frame.text

    undone = Page(jonas.post(f"/inbox/m/{message.id}/undo", hx=True).text)
    assert attr(undone, "input[name=html]", "value") == message.html
    assert attr(undone, "input[name=formatted]", "value") == "1"


@pytest.mark.parametrize("formatted", ["", "1"])
def test_a_text_message_has_no_formatting_and_a_page_without_scripts_neither(
    desk: Desk, jonas: Browser, formatted: str
) -> None:
    number = arrived(desk, jonas) if formatted else by_mail(desk, jonas)
    page = jonas.page(f"/inbox/c/{number}")
    mail = "" if formatted else attr(page, "input[name=by_mail]", "value")
    assert send(jonas, number, "Plain", html=HTML, formatted=formatted, by_mail=mail).status_code == 200
    assert (desk.messages(number)[-1].text, desk.messages(number)[-1].html) == ("Plain", "")


def test_a_draft_keeps_its_formatting(desk: Desk, jonas: Browser) -> None:
    number = by_mail(desk, jonas)
    choice = chosen(jonas.page(f"/inbox/c/{number}"))
    bad = f"{HTML}<script>1</script>"
    jonas.post(f"/inbox/c/{number}/draft", hx=True, reply="Dear Mara", html=bad, formatted="1", choice=choice)
    page = jonas.page(f"/inbox/c/{number}")
    assert words(page, "#reply") == ["Dear Mara"]
    kept = attr(page, "input[name=html]", "value")
    assert "<b>Mara</b>" in kept and "script" not in kept
    newer = desk.mail("Re: Order 48213", "Never mind", answers="<mail-1@customer.example>")
    assert newer.conversation_id == number
    held = jonas.post(
        f"/inbox/c/{number}/send", hx=True, kind="reply", reply="Dear Mara", html=kept, formatted="1", choice=choice,
        seen="1",
    )  # fmt: skip
    assert held.status_code == 409 and attr(Page(held.text), "input[name=html]", "value") == kept
    assert seen(page) == str(desk.messages(number)[0].id)


def test_the_signature_stands_under_what_is_written(desk: Desk, jonas: Browser) -> None:
    signed = DESK.replace("username: support,", 'username: support, signature: "{agent}, {signature}\\n{address}",')
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read(signed))
        tx.sql("UPDATE agent SET signature = 'Shipping'")
    desk.hub.look_again()
    number = by_mail(desk, jonas)
    assert words(jonas.page(f"/inbox/c/{number}"), "#sig") == ["Jonas Weber, Shipping support@desk.example"]
    text = arrived(desk, jonas, "Hello")
    assert words(jonas.page(f"/inbox/c/{text}"), "#sig") == [""]
