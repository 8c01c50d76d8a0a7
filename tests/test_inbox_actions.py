"""What an agent does: Mara writes, Jonas answers, takes back, hands over, and nothing typed is ever lost."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from werkzeug.test import TestResponse

from channels.base import DeliveryState
from hub.delivery import move_message
from storage.conversations import Conversation, Draft, Message
from storage.people import Agent, Contact
from tests.browser.room import Browser, attr, words
from tests.browser.scene import available
from tests.clock import Clock
from tests.desk import MARA_PHONE, Desk

pytestmark = pytest.mark.usefixtures("nothing_missed_by_the_router")


@pytest.fixture
def amara(app: Flask) -> Browser:
    browser = Browser(app)
    browser.sign_in("amara@desk.example")
    return browser


def arrived(desk: Desk, browser: Browser, text: str = "Where is my lamp?") -> int:
    """Mara's text, opened in the browser."""
    number = desk.text(text).conversation_id or 0
    browser.page(f"/inbox/c/{number}?view=mine")
    return number


def send(browser: Browser, number: int, text: str = "On its way", **values: str) -> TestResponse:
    page = browser.page(f"/inbox/c/{number}?view=mine")
    fields: dict[str, Any] = {"kind": "reply", "reply": text, "choice": chosen(page), "seen": seen(page)} | values
    return browser.post(f"/inbox/c/{number}/send", hx=True, **fields)


def chosen(page: Page) -> str:
    return attr(page, "#choice option", "value")


def seen(page: Page) -> str:
    return attr(page, "input[name=seen]", "value")


def conversation(desk: Desk, number: int) -> Conversation:
    with desk.hub.store.read() as tx:
        return tx.get_one(Conversation, number)


def test_jonas_answers_on_the_channel_mara_used(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    answer = send(jonas, number, "It arrives on Thursday.")

    assert answer.status_code == 200
    page = Page(answer.text)
    assert words(page, ".toast > span") == ["Reply to +46 sends in 10 s"] or "sends in 10 s" in words(page, ".toast")[0]
    assert words(page, ".msg.out .text") == ["It arrives on Thursday."]
    assert words(page, "#reply") == [""]
    (_, message) = desk.messages(number)
    leaves = 12  # seconds: a press on Undo in the last of the ten gets through as well
    assert message.send_after is not None and (message.send_after - desk.clock()).total_seconds() == leaves
    assert (message.kind, message.channel, message.to_address, message.state) == (
        "outbound",
        "sms",
        MARA_PHONE,
        "queued",
    )
    assert conversation(desk, number).assignee_id == desk.jonas.agent_id


def test_a_reply_is_taken_back_into_the_draft(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    sent = Page(send(jonas, number, "Embarrassing").text)
    undo = attr(sent, ".toast form", "hx-post")

    taken_back = Page(jonas.post(undo, hx=True).text)
    assert words(taken_back, "#reply") == ["Embarrassing"]
    assert words(taken_back, ".msg.out") == []
    assert words(jonas.page(f"/inbox/c/{number}"), ".msg.out") == []
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE delivery SET attempts = 1, state = 'sending' WHERE message_id = ?", desk.messages(number)[-1].id)
    send(jonas, number, "Again")
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE delivery SET attempts = 1, state = 'sending'")
    late = jonas.post(f"/inbox/m/{desk.messages(number)[-1].id}/undo", hx=True)
    assert late.status_code == 409 and "Too late" in late.text


def test_a_reply_is_held_when_mara_wrote_meanwhile_and_the_draft_stays(
    jonas: Browser, desk: Desk, clock: Clock
) -> None:
    number = arrived(desk, jonas)
    page = jonas.page(f"/inbox/c/{number}")
    clock.forward(minutes=1)
    newer = desk.text("Forget it, I found it").message_id

    fields: dict[str, Any] = {"kind": "reply", "reply": "We are searching", "choice": chosen(page), "seen": seen(page)}
    held = jonas.post(f"/inbox/c/{number}/send", hx=True, **fields)
    assert held.status_code == 409
    shown = Page(held.text)
    assert "wrote again" in words(shown, ".guard")[0]
    assert words(shown, "#reply") == ["We are searching"]
    assert "Forget it, I found it" in words(shown, ".msg .text")
    assert len(desk.messages(number)) == 2

    anyway = attr(shown, "button[name=anyway]", "value")
    assert anyway == str(newer)
    assert jonas.post(f"/inbox/c/{number}/send", hx=True, **fields, anyway=anyway).status_code == 200
    assert desk.messages(number)[-1].text == "We are searching"


def test_without_scripts_a_held_reply_comes_back_on_the_whole_page(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    page = jonas.page(f"/inbox/c/{number}")
    desk.text("One more thing")
    fields: dict[str, Any] = {"kind": "reply", "reply": "We are searching", "choice": chosen(page), "seen": seen(page)}
    held = jonas.post(f"/inbox/c/{number}/send", **fields)

    assert held.status_code == 409
    assert words(Page(held.text), "#reply") == ["We are searching"]
    fields["seen"] = seen(Page(held.text))
    fields["anyway"] = attr(Page(held.text), "button[name=anyway]", "value")
    sent = jonas.post(f"/inbox/c/{number}/send", **fields)
    assert (sent.status_code, sent.location) == (303, f"/inbox/c/{number}?view=mine")


@pytest.mark.parametrize("choice", ["garbage", "99999999999999999999:1", "1:14"])
def test_a_channel_that_cannot_be_told_is_never_guessed(jonas: Browser, desk: Desk, choice: str) -> None:
    number = arrived(desk, jonas)
    refused = send(jonas, number, "Here it is", choice=choice)
    assert refused.status_code == 409
    assert words(Page(refused.text), "#reply") == ["Here it is"]
    assert [message.kind for message in desk.messages(number)] == ["inbound"]


@pytest.mark.parametrize("text", ["", "   \n"])
def test_an_empty_reply_is_refused_where_it_was_typed(jonas: Browser, desk: Desk, text: str) -> None:
    refused = send(jonas, arrived(desk, jonas), text)
    assert refused.status_code == 409
    assert "empty" in words(Page(refused.text), ".guard")[0]


def test_a_note_is_for_the_team(jonas: Browser, amara: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    kept = jonas.post(f"/inbox/c/{number}/send", hx=True, kind="note", note="She is a VIP", reply="half a sentence")

    assert kept.status_code == 200 and "Note kept" in kept.text
    assert words(amara.page(f"/inbox/c/{number}"), ".msg.note .text") == ["She is a VIP"]
    assert desk.messages(number)[-1].kind == "note"


def test_drafts_are_kept_per_kind_and_shown_in_the_list(jonas: Browser, amara: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    choice = chosen(jonas.page(f"/inbox/c/{number}"))
    kept = jonas.post(f"/inbox/c/{number}/draft", hx=True, reply="Dear Mara\r\nI", note="ask Amara", choice=choice)

    assert kept.status_code == 204
    page = jonas.page(f"/inbox/c/{number}?view=all")
    assert words(page, "#reply") == ["Dear Mara I"]
    assert words(page, "#note") == ["ask Amara"]
    assert words(page, ".row .draft") == ["Draft:"]
    assert words(amara.page(f"/inbox/c/{number}"), "#reply") == [""]
    jonas.post(f"/inbox/c/{number}/draft", hx=True, reply="", note=" ", choice=choice)
    with desk.hub.store.read() as tx:
        assert tx.get(Draft, (desk.jonas.agent_id, number, "reply")) is None
        assert tx.get(Draft, (desk.jonas.agent_id, number, "note")) is None


def test_files_go_out_with_the_reply(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Order 48213", "Could you send the label?").conversation_id or 0
    jonas.page(f"/inbox/c/{number}")
    chips = jonas.post(f"/inbox/c/{number}/attach", hx=True, files=[(io.BytesIO(b"%PDF-1.4"), "../../label.pdf")])
    assert words(Page(chips.text), "b") == ["label.pdf"]
    attached = attr(Page(chips.text), "input[name=attachment]", "value")
    sent = send(jonas, number, "Here it is", attachment=attached)

    assert sent.status_code == 200
    assert words(Page(sent.text), ".msg.out .file b") == ["label.pdf"]


def test_without_scripts_files_go_with_the_form(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Order 48213", "Could you send the label?").conversation_id or 0
    page = jonas.page(f"/inbox/c/{number}")
    sent = jonas.post(
        f"/inbox/c/{number}/send", kind="reply", reply="Here", choice=chosen(page), seen=seen(page),
        files=[(io.BytesIO(b"one"), "one.txt"), (io.BytesIO(b"two"), "two.txt")],
    )  # fmt: skip
    assert sent.status_code == 303
    assert words(jonas.page(f"/inbox/c/{number}"), ".msg.out .file b") == ["one.txt", "two.txt"]


def test_nobody_sends_somebody_elses_file(jonas: Browser, amara: Browser, desk: Desk) -> None:
    number = desk.mail("Order 48213", "Hello").conversation_id or 0
    amara.page(f"/inbox/c/{number}")
    chips = amara.post(f"/inbox/c/{number}/attach", hx=True, files=[(io.BytesIO(b"private"), "private.txt")])
    stolen = attr(Page(chips.text), "input[name=attachment]", "value")

    assert send(jonas, number, "Here", attachment=stolen).status_code == 404
    assert jonas.get(f"/inbox/files/{stolen}").status_code == 404
    assert amara.get(f"/inbox/files/{stolen}").data == b"private"


def test_too_large_an_upload_is_refused_with_a_sentence(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    refused = jonas.post(f"/inbox/c/{number}/attach", hx=True, files=[(io.BytesIO(bytes(31_000_000)), "film.mp4")])
    assert refused.status_code == 413 and "30 MB" in refused.text


def test_a_failed_message_is_sent_again(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    send(jonas, number)
    message = desk.messages(number)[-1].id or 0
    with desk.hub.store.write() as tx:
        move_message(tx, message, DeliveryState.FAILED, "The line was busy.")
        tx.sql("UPDATE delivery SET state = 'failed'")

    again = jonas.post(f"/inbox/m/{message}/retry", hx=True)
    assert "being sent again" in again.text
    assert desk.messages(number)[-1].state == "queued"
    assert jonas.post(f"/inbox/m/{message}/retry", hx=True).status_code == 409


def test_send_and_resolve_opens_the_next(jonas: Browser, desk: Desk) -> None:
    following = desk.mail("Order", "lamp", sender="Devon <devon@example.org>").conversation_id or 0
    number = arrived(desk, jonas)
    answer = send(jonas, number, then="resolve", next=str(following))

    assert answer.headers["HX-Push-Url"] == f"/inbox/c/{following}?view=mine"
    assert attr(Page(answer.text), "#thread", "data-id") == str(following)
    assert conversation(desk, number).state == "resolved"


def test_resolve_and_its_undo(jonas: Browser, desk: Desk) -> None:
    available(desk, desk.jonas)
    number = arrived(desk, jonas)
    desk.route()
    done = jonas.post(f"/inbox/c/{number}/resolve", hx=True)
    assert conversation(desk, number).state == "resolved"
    assert done.headers["HX-Push-Url"] == "/inbox/mine"
    form = Page(done.text).css_first(".toast form")
    assert form is not None and form.css_first("input[name=mine]") is not None
    jonas.post(form.attributes["hx-post"] or "", hx=True, mine="1")
    assert (conversation(desk, number).state, conversation(desk, number).assignee_id) == ("open", desk.jonas.agent_id)


@pytest.mark.parametrize(
    ("preset", "until"),
    [
        ("later", "2026-11-24T13:00:00+00:00"),
        ("tomorrow", "2026-11-25T07:00:00+00:00"),
        ("monday", "2026-11-30T07:00:00+00:00"),
        ("reply", None),
    ],
)
def test_snooze_presets_mean_the_agents_own_morning(jonas: Browser, desk: Desk, preset: str, until: str | None) -> None:
    number = arrived(desk, jonas)
    jonas.client.set_cookie("zone", "Europe/Berlin")
    answer = jonas.post(f"/inbox/c/{number}/snooze", hx=True, until=preset)

    assert answer.status_code == 200
    found = conversation(desk, number)
    assert found.state == "snoozed"
    assert (found.snoozed_until.isoformat() if found.snoozed_until else None) == until
    undone = jonas.post(attr(Page(answer.text), ".toast form", "hx-post"), hx=True)
    assert undone.status_code == 200 and conversation(desk, number).state == "open"
    assert jonas.post(f"/inbox/c/{number}/snooze", hx=True, until="someday").status_code == 404


def test_a_conversation_is_claimed_handed_over_and_moved(jonas: Browser, amara: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    assert jonas.post(f"/inbox/c/{number}/claim", hx=True).status_code == 200
    taken = amara.post(f"/inbox/c/{number}/claim", hx=True)
    assert taken.status_code == 409 and "Jonas Weber has it already" in taken.text

    jonas.post(f"/inbox/c/{number}/assign", hx=True, agent=str(desk.amara.agent_id))
    assert conversation(desk, number).assignee_id == desk.amara.agent_id
    assert jonas.post(f"/inbox/c/{number}/assign", hx=True, agent=str(desk.jonas.agent_id)).status_code == 409
    amara.post(f"/inbox/c/{number}/release", hx=True)
    assert conversation(desk, number).assignee_id is None


def test_what_moves_out_of_sight_leaves_the_page(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    with desk.hub.store.read() as tx:
        billing = tx.sql("SELECT id FROM queue WHERE name = 'Billing'").fetchone()[0]
    moved = jonas.post(f"/inbox/c/{number}/transfer", hx=True, queue=str(billing))

    assert moved.status_code == 200 and "Moved to Billing" in moved.text
    assert "Choose a conversation" in moved.text
    assert jonas.get(f"/inbox/c/{number}").status_code == 404


def test_a_ring_is_accepted_or_declined(jonas: Browser, desk: Desk) -> None:
    available(desk, desk.jonas)
    for visitor, button in (("v-1", "Decline"), ("v-2", "Accept")):
        number = desk.chat("Hello?", visitor=visitor).conversation_id or 0
        desk.route()
        card = jonas.page("/inbox/mine").css_first(".ring-card")
        assert card is not None
        form = next(one for one in card.css("form") if button in one.text())
        answer = jonas.post(form.attributes["hx-post"] or "", hx=True)
        assert answer.status_code == 200
        wanted = desk.jonas.agent_id if button == "Accept" else None
        assert conversation(desk, number).assignee_id == wanted
        again = jonas.post(form.attributes["hx-post"] or "", hx=True)
        assert again.status_code == 200  # a double press changes nothing


def test_two_records_become_one_person_and_two_again(jonas: Browser, desk: Desk) -> None:
    mail = desk.mail("Order 48213", "Hello").conversation_id or 0
    text = desk.text("Mara here").conversation_id or 0
    found = jonas.page(f"/inbox/c/{mail}/people?q=4670", hx=True)
    button = found.css_first(".candidate")
    assert button is not None
    preview = jonas.page(button.attributes["hx-get"] or "", hx=True)
    assert words(preview, ".pair b") == ["Mara Lindqvist", MARA_PHONE]
    person = attr(preview, "input[name=person]", "value")

    done = Page(jonas.post(f"/inbox/c/{mail}/merge", hx=True, person=person).text)
    assert len(done.css(".ids li")) == 2
    assert jonas.post(f"/inbox/c/{mail}/merge", hx=True, person=person).status_code in (404, 409)
    form = done.css_first(".toast form")
    assert form is not None
    merge_id = attr(form, "input[name=merge]", "value")
    undone = Page(jonas.post(form.attributes["hx-post"] or "", hx=True, merge=merge_id).text)
    assert len(undone.css(".ids li")) == 1
    assert jonas.post(f"/inbox/c/{text}/unmerge", hx=True, merge="99").status_code == 404


def test_a_person_gets_a_name(jonas: Browser, desk: Desk) -> None:
    number = arrived(desk, jonas)
    jonas.post(f"/inbox/c/{number}/details", hx=True, name=" Mara <b>L.</b> ")
    assert words(jonas.page(f"/inbox/c/{number}"), ".person b") == ["Mara <b>L.</b>"]
    with desk.hub.store.read() as tx:
        assert tx.get_one(Contact, conversation(desk, number).contact_id).name == "Mara <b>L.</b>"
    assert jonas.post(f"/inbox/c/{number}/details", hx=True, name="  ").status_code == 422


def test_the_status_is_switched(jonas: Browser, desk: Desk) -> None:
    jonas.page("/inbox/mine")
    answer = jonas.post("/inbox/status", hx=True, status="away")
    assert words(Page(answer.text), "#me-menu small")[0].startswith("Away")
    assert desk.agent(desk.jonas).status == "away"
    assert jonas.post("/inbox/status", hx=True, status="asleep").status_code == 409


def test_keys_can_be_switched_off_for_good(jonas: Browser, desk: Desk) -> None:
    assert 'data-keys="on"' in jonas.get("/inbox/mine").text
    jonas.post("/inbox/preferences", hx=True, keys="off")
    assert 'data-keys="off"' in jonas.get("/inbox/mine").text
    with desk.hub.store.read() as tx:
        assert tx.get_one(Agent, desk.jonas.agent_id).preferences == {"keys": False}


def test_reading_is_remembered_per_agent(jonas: Browser, amara: Browser, desk: Desk) -> None:
    number = desk.text("Hi there").conversation_id or 0
    assert len(jonas.page("/inbox/all").css(".row.unread")) == 1
    jonas.post(f"/inbox/c/{number}/read", hx=True, message="999999")
    assert len(jonas.page("/inbox/all").css(".row.unread")) == 0
    assert len(amara.page("/inbox/all").css(".row.unread")) == 1
    desk.text("One more thing")
    assert len(jonas.page("/inbox/all").css(".row.unread")) == 1


def test_text_from_a_browser_is_kept_as_it_was_meant(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Order", "Hello").conversation_id or 0
    text = "Zwei Zeilen\r\nund 👩🏽‍🚀 \x00 <b>kein</b> HTML & {{ 7*7 }}"
    assert send(jonas, number, text).status_code == 200
    message: Message = desk.messages(number)[-1]
    assert message.text == "Zwei Zeilen\nund 👩🏽‍🚀  <b>kein</b> HTML & {{ 7*7 }}"
    assert "<b>kein</b>" not in jonas.get(f"/inbox/c/{number}").text


def test_copies_are_shown_before_and_after_sending_and_can_be_changed(desk: Desk, jonas: Browser) -> None:
    mail = b"From: mara.lindqvist@example.com\r\nTo: support@desk.example\r\nCc: nora@example.com\r\n"
    number = desk.raw_mail(mail + b"Subject: Order\r\n\r\nHas my order left?\r\n").conversation_id or 0
    page = jonas.page(f"/inbox/c/{number}?view=mine")
    assert attr(page, "input[name=cc]", "value") == "nora@example.com"
    by_mail = attr(page, "input[name=by_mail]", "value")
    held = send(jonas, number, "On its way.", cc="nora@example.com, otto", bcc="eva@example.com", by_mail=by_mail)
    assert held.status_code == 409
    assert "otto" in held.text
    assert 'value="eva@example.com"' in held.text, "nothing typed is lost"
    done = send(jonas, number, "On its way.", cc="otto@example.com", bcc="eva@example.com", by_mail=by_mail)
    assert done.status_code == 200
    sent = desk.messages(number)[-1]
    assert (sent.cc, sent.bcc) == (["otto@example.com"], ["eva@example.com"])
    [shown] = words(jonas.page(f"/inbox/c/{number}?view=mine"), f"#m{sent.id}")
    assert "cc otto@example.com bcc eva@example.com" in shown


def test_a_text_message_has_no_copies_whatever_the_form_says(desk: Desk, jonas: Browser) -> None:
    number = arrived(desk, jonas)
    assert send(jonas, number, cc="nora@example.com", by_mail="").status_code == 200
    assert desk.messages(number)[-1].cc == []


def test_next_takes_the_most_urgent_and_opens_it(jonas: Browser, desk: Desk) -> None:
    number = desk.text("Where is my parcel?").conversation_id or 0
    page = jonas.page("/inbox/mine")
    assert page.css_first("#next") is not None
    taken = jonas.post("/inbox/next", hx=True)
    assert taken.headers["HX-Push-Url"] == f"/inbox/c/{number}?view=mine"
    assert conversation(desk, number).assignee_id == desk.jonas.agent_id
    assert "asked for the next and got it" in " ".join(words(jonas.page(f"/inbox/c/{number}"), ".event"))
    nothing = jonas.post("/inbox/next", hx=True)
    assert nothing.status_code == 409 and "Nothing waits that you can take now." in nothing.text
