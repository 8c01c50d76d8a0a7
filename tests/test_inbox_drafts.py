"""Drafts: what Jonas types is there again on any device, for each channel, whatever becomes of a press of Send."""

from __future__ import annotations

import io
import json

from selectolax.lexbor import LexborHTMLParser as Page

from storage.conversations import Conversation
from storage.people import Identity
from tests.browser.room import Browser, attr, words
from tests.desk import MARA_PHONE, Desk
from tests.test_inbox_actions import arrived, chosen, seen, send


def both(desk: Desk) -> int:
    """Mara by mail, whose number is known as well."""
    mail = desk.mail("Order 48213", "Where is my lamp?").conversation_id or 0
    with desk.hub.store.write() as tx:
        mara = tx.get_one(Conversation, mail).contact_id
        tx.add(Identity(contact_id=mara, kind="phone", value=MARA_PHONE, strength=80, created_at=tx.now))
    return mail


def test_each_channel_keeps_its_own_words(jonas: Browser, desk: Desk) -> None:
    number = both(desk)
    page = jonas.page(f"/inbox/c/{number}?view=all")
    mail, text = [one.attributes["value"] or "" for one in page.css("#choice option")]
    channel = text.partition(":")[0]
    jonas.post(
        f"/inbox/c/{number}/draft", hx=True, reply="A long mail", choice=mail, aside=json.dumps({channel: "A text"}),
        cc="nora@example.com", bcc="",
    )  # fmt: skip

    page = jonas.page(f"/inbox/c/{number}?view=all")
    assert words(page, "#reply") == ["A long mail"]
    assert [one.attributes["data-aside"] for one in page.css("#choice option")] == ["", "A text"]
    assert attr(page, "#cc", "value") == "nora@example.com"
    send(jonas, number, "A long mail", choice=mail)
    page = jonas.page(f"/inbox/c/{number}?view=all")
    assert words(page, "#reply") == [""]
    assert page.css("#choice option")[1].attributes["data-aside"] == "A text"
    assert words(page, ".row .prev") == ["Draft: A text"]


def test_a_refused_reply_is_a_draft_with_its_files(jonas: Browser, desk: Desk) -> None:
    number = both(desk)
    page = jonas.page(f"/inbox/c/{number}?view=all")
    desk.mail("Re: Order 48213", "Never mind", answers="<mail-1@customer.example>")
    held = jonas.post(
        f"/inbox/c/{number}/send", hx=True, kind="reply", reply="We are searching", choice=chosen(page),
        seen=seen(page), files=[(io.BytesIO(b"%PDF-1.4"), "label.pdf")],
    )  # fmt: skip
    assert held.status_code == 409
    assert words(Page(held.text), "#attached .file b") == ["label.pdf"]

    elsewhere = jonas.page(f"/inbox/c/{number}?view=all")
    assert words(elsewhere, "#reply") == ["We are searching"]
    assert words(elsewhere, "#attached .file b") == ["label.pdf"]
    assert words(elsewhere, ".row .draft") == ["Draft:"]
    file = attr(elsewhere, "#attached input", "value")
    assert send(jonas, number, "Here", attachment=file).status_code == 200
    assert words(jonas.page(f"/inbox/c/{number}"), "#attached .file b") == []


def test_another_device_is_asked_what_was_typed_there(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    page = jonas.page(f"/inbox/c/{number}")
    assert attr(page, "#composer", "data-saved") == ""
    assert jonas.get(f"/inbox/c/{number}/draft?saved=", hx=True).status_code == 204
    kept = jonas.post(f"/inbox/c/{number}/draft", hx=True, reply="From my phone", choice=chosen(page))
    saved = kept.headers["X-Saved"]

    fresh = jonas.page(f"/inbox/c/{number}/draft?saved=", hx=True)
    assert words(fresh, "#reply") == ["From my phone"]
    assert attr(fresh, "#composer", "data-saved") == saved
    assert jonas.client.get(f"/inbox/c/{number}/draft", query_string={"saved": saved}).status_code == 204


def test_what_is_taken_back_goes_before_what_was_typed_since(jonas: Browser, desk: Desk) -> None:
    number = both(desk)
    page = jonas.page(f"/inbox/c/{number}?view=all")
    mail, text = [one.attributes["value"] or "" for one in page.css("#choice option")]
    sent = Page(send(jonas, number, "Dear Mara", choice=mail, by_mail=mail, cc="nora@example.com").text)
    jonas.post(f"/inbox/c/{number}/draft", hx=True, reply="and another thing", choice=text)
    undone = Page(jonas.post(attr(sent, ".toast form", "hx-post"), hx=True).text)

    assert words(undone, "#reply") == ["Dear Mara"]
    assert attr(undone, "#cc", "value") == "nora@example.com"
    assert undone.css("#choice option")[1].attributes["data-aside"] == "and another thing"


def test_nonsense_beside_a_draft_is_left_out(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    for odd in ("{", "[]", '{"x": "y"}', '{"1": 7}', "null"):
        kept = jonas.post(f"/inbox/c/{number}/draft", hx=True, reply="Dear", aside=odd, attachment="99")
        assert kept.status_code == 204
    page = jonas.page(f"/inbox/c/{number}")
    assert words(page, "#reply") == ["Dear"]
    assert page.css("#attached .file") == []
