"""What an agent sees: lists in the order of work, threads in their own shapes, and never another team's matters."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlmodel import select

from channels.base import DeliveryState
from hub.contacts import merge
from hub.delivery import move_message
from hub.lifecycle import resolve, snooze
from hub.replies import note, reply
from storage.deliveries import Suppression
from storage.facts import FactRow
from tests.browser.room import PASSWORD, Browser, attr, words
from tests.browser.scene import available, quarantine, rich_mail
from tests.clock import Clock
from tests.desk import MARA_MAIL, MARA_PHONE, Desk


@pytest.fixture
def tomas(app: Flask) -> Browser:
    browser = Browser(app)
    browser.sign_in("tomas@desk.example")
    return browser


def test_a_stranger_is_sent_to_the_door_and_comes_back_to_where_he_wanted(app: Flask, desk: Desk) -> None:
    number = desk.mail("Order 48213", "One lamp is missing").conversation_id
    browser = Browser(app)

    sent = browser.get(f"/inbox/c/{number}?view=all")
    assert sent.location == f"/sign-in?next=/inbox/c/{number}?view%3Dall"
    browser.get(sent.location)
    back = browser.sign_in("jonas@desk.example", next=f"/inbox/c/{number}?view=all")
    assert (back.status_code, back.location) == (303, f"/inbox/c/{number}?view=all")


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/inbox", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/inbox\\@evil"],
)
def test_the_door_leads_nowhere_else(app: Flask, desk: Desk, wanted: str) -> None:
    assert Browser(app).sign_in("jonas@desk.example", next=wanted).location == "/inbox"


def test_a_wrong_password_keeps_what_was_typed_and_says_so(app: Flask, desk: Desk) -> None:
    browser = Browser(app)
    refused = browser.sign_in("jonas@desk.example", "not this one")

    assert refused.status_code == 403
    assert "belong together" in refused.text
    assert 'value="jonas@desk.example"' in refused.text
    assert "not this one" not in refused.text
    for _ in range(4):
        browser.sign_in("jonas@desk.example", "not this one")
    assert browser.sign_in("jonas@desk.example").status_code == 429


def test_signing_in_makes_available_and_signing_out_ends_it(jonas: Browser, desk: Desk) -> None:
    assert desk.agent(desk.jonas).status == "available"
    jonas.page("/inbox/mine")
    assert jonas.post("/sign-out").location == "/sign-in"
    assert desk.agent(desk.jonas).status == "offline"
    assert jonas.get("/inbox/mine").location.startswith("/sign-in")


def test_the_list_is_ordered_by_what_is_due(jonas: Browser, desk: Desk, clock: Clock) -> None:
    general = desk.mail("A question", "Do you ship to Norway?").conversation_id
    clock.forward(minutes=2)
    first = desk.mail("Order 1", "Where is my lamp?", sender="Devon <devon@example.org>").conversation_id
    clock.forward(minutes=25)
    second = desk.mail("Order 2", "Where is my parcel?", sender="Priya <priya@example.org>").conversation_id
    desk.route()
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, general or 0, text="Yes, we do.", tokens=desk.hub.tokens)
    clock.forward(minutes=8)

    page = jonas.page("/inbox/mine")
    assert words(page, ".group h2") == ["Due now", "Waiting for the customer"]
    assert [node.attributes["data-id"] for node in page.css(".row")] == [str(first), str(second), str(general)]
    assert words(page, ".row .pill") == ["3m over", "22m"]
    assert "You: Yes, we do." in words(page, ".row .foot")[2]


def test_pages_continue_without_gap_or_repetition(jonas: Browser, desk: Desk, clock: Clock) -> None:
    for number in range(90):
        desk.mail(f"Order {number}", "Where is my lamp?", sender=f"Customer {number} <c{number}@example.org>")
        clock.forward(seconds=40)
    seen: list[str] = []
    page = jonas.page("/inbox/all")
    while True:
        seen += [node.attributes["data-id"] or "" for node in page.css(".row")]
        more = page.css_first("#more a")
        if more is None:
            break
        page = jonas.page(more.attributes["href"] or "", hx=True)

    assert len(seen) == len(set(seen)) == 90
    assert seen == sorted(seen, key=int)


def test_counts_stand_beside_the_views(jonas: Browser, desk: Desk) -> None:
    desk.mail("Order 48213", "One lamp is missing")
    asleep = desk.mail("A question", "Do you ship to Norway?").conversation_id
    desk.text("Hello", sender="+447700900184")
    desk.route()
    with desk.hub.store.write() as tx:
        snooze(tx, desk.jonas, asleep or 0, None)

    shown = words(jonas.page("/inbox/mine"), "#nav-views a")
    assert {"Everything2", "Snoozed1", "Assigned to me2", "Unassigned", "Email1", "SMS1", "Web chat"} <= set(shown)


def test_tomas_sees_nothing_of_shipping_through_any_door(tomas: Browser, desk: Desk) -> None:
    taken = desk.raw_mail(rich_mail("Order 48213 – secret lamp"))
    number, message = taken.conversation_id, taken.message_id
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE conversation SET assignee_id = ? WHERE id = ?", desk.jonas.agent_id, number)
        file = tx.sql("SELECT id FROM attachment WHERE message_id = ? ORDER BY id", message).fetchone()[0]
        person = tx.sql("SELECT contact_id FROM conversation WHERE id = ?", number).fetchone()[0]
        queued = reply(tx, desk.jonas, number or 0, text="Soon", tokens=desk.hub.tokens).id
    own = desk.mail("Refund", "A refund please", sender="Claire <claire@example.com>").conversation_id

    for path in ("/inbox/mine", "/inbox/all", "/inbox/unassigned", "/inbox/channel-email", "/inbox/queue-1",
                 "/inbox/search?q=secret", "/inbox/search?q=from:mara", "/inbox/live", f"/inbox/c/{own}",
                 f"/inbox/c/{own}/people?q=mara"):  # fmt: skip
        response = tomas.get(path, hx=path.startswith(("/inbox/live", f"/inbox/c/{own}/")))
        assert response.status_code in (200, 404), path
        assert "secret lamp" not in response.text and "Mara" not in response.text, path
    for path in (f"/inbox/c/{number}", f"/inbox/m/{message}/html", f"/inbox/m/{message}/raw", f"/inbox/files/{file}",
                 f"/inbox/files/{file}?preview=1", f"/inbox/c/{own}/merge/{person}",
                 f"/inbox/c/{number}/people?q=ma"):  # fmt: skip
        assert tomas.get(path).status_code == 404, path
    fields = {"reply": "hello", "agent": str(desk.tomas.agent_id), "queue": "1", "until": "later", "message": "1"}
    fields |= {"name": "x", "person": str(person), "merge": "1"}
    for verb in ("send", "draft", "attach", "claim", "assign", "transfer", "release", "snooze", "wake", "resolve",
                 "reopen", "read", "details", "merge", "unmerge"):  # fmt: skip
        refused = tomas.post(f"/inbox/c/{number}/{verb}", hx=True, **fields)
        assert refused.status_code == 404, (verb, refused.status_code)
        assert "secret" not in refused.text
    assert tomas.post(f"/inbox/m/{queued}/undo", hx=True).status_code == 404
    assert tomas.post(f"/inbox/m/{queued}/retry", hx=True).status_code == 404


def test_a_mail_shows_text_first_its_quotation_folded_and_its_files(jonas: Browser, desk: Desk) -> None:
    number = desk.raw_mail(rich_mail()).conversation_id
    page = jonas.page(f"/inbox/c/{number}")

    text = words(page, ".msg .body > .text")[0]
    assert text.startswith("Good morning, I left a message yesterday.") and "Track it" not in text
    assert "Track it" in words(page, ".quote .text")[0]
    assert words(page, ".file b") == ["parcel-side.png", "packing-slip.pdf"]
    frame = page.css_first("iframe")
    assert frame is not None and "allow-scripts" not in (frame.attributes["sandbox"] or "")
    assert "allow-same-origin" not in (frame.attributes["sandbox"] or "")


def test_files_are_saved_and_never_run(jonas: Browser, desk: Desk) -> None:
    number = desk.raw_mail(rich_mail()).conversation_id
    page = jonas.page(f"/inbox/c/{number}")
    saved = jonas.get(page.css("a.file")[1].attributes["href"] or "")
    assert saved.headers["Content-Disposition"].startswith('attachment; filename="packing-slip.pdf"')
    assert saved.content_type == "application/octet-stream"
    assert saved.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in saved.headers["Content-Security-Policy"]
    assert saved.data.startswith(b"%PDF")

    preview = jonas.get(attr(page, "a.file img", "src"))
    assert preview.content_type == "image/png" and preview.headers["X-Content-Type-Options"] == "nosniff"


def test_each_channel_has_its_own_shape(jonas: Browser, desk: Desk) -> None:
    form = desk.form(
        email="mara.lindqvist@example.com", name="Mara", message="Where is order 48213?", topic="Late"
    ).conversation_id
    text = desk.text("Hi there").conversation_id
    with desk.hub.store.write() as tx:
        note(tx, desk.jonas, text or 0, "Be kind, <b>she waits</b>")

    fields = dict(
        zip(
            words(jonas.page(f"/inbox/c/{form}"), ".fields dt"),
            words(jonas.page(f"/inbox/c/{form}"), ".fields dd"),
            strict=True,
        )
    )
    assert fields["Message"] == "Where is order 48213?"
    page = jonas.page(f"/inbox/c/{text}")
    assert page.css_first(".msg.sms.short") is not None
    assert words(page, ".msg.note .body") == ["Be kind, <b>she waits</b>"]


def test_what_a_form_claims_is_shown_as_unverified(jonas: Browser, desk: Desk) -> None:
    number = desk.form(email="mara.lindqvist@example.com", name="Mara", message="Hello", topic="Hi").conversation_id
    claimed = words(jonas.page(f"/inbox/c/{number}"), ".ids li")
    proved = words(jonas.page(f"/inbox/c/{desk.text('Hi').conversation_id}"), ".ids li")

    assert "unverified" in claimed[0]
    assert "unverified" not in proved[0] and "verified" in proved[0]
    written = words(
        jonas.page(f"/inbox/c/{desk.mail('Hi', 'there', sender='nora@example.com').conversation_id}"), ".ids li"
    )
    assert "verified" not in written[0]  # anybody can write any sender


def test_why_it_came_is_told_in_sentences(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Order 48213", "One lamp is missing").conversation_id
    waits = jonas.page(f"/inbox/c/{number}")
    assert "Why it waits" in words(waits, ".card h3")
    desk.route()
    page = jonas.page(f"/inbox/c/{number}")
    assert "Why it came to you" in words(page, ".card h3")
    assert any("Order keywords" in line for line in words(page, ".why li"))
    assert any("Order keywords" in line for line in words(page, ".event"))


@pytest.mark.parametrize(
    ("state", "why", "shown"),
    [
        (DeliveryState.SENT, "", "Sent 10:00"),
        (DeliveryState.DELIVERED, "", "Delivered 10:00"),
        (DeliveryState.FAILED, "The mailbox is full (552).", "Not delivered. The mailbox is full (552)."),
        (DeliveryState.UNCERTAIN, "", "Nobody knows yet whether this arrived. The line broke while it was being sent."),
    ],
)
def test_what_became_of_a_reply_is_said(jonas: Browser, desk: Desk, state: DeliveryState, why: str, shown: str) -> None:
    number = desk.text("Hi there").conversation_id or 0
    with desk.hub.store.write() as tx:
        message = reply(tx, desk.jonas, number, text="Hello", tokens=desk.hub.tokens, undo_seconds=0).id or 0
    with desk.hub.store.write() as tx:
        move_message(tx, message, state, why)
    page = jonas.page(f"/inbox/c/{number}")

    assert words(page, f"#s-{message} > span") == [shown]
    assert bool(page.css(f"#s-{message} button")) == (state in (DeliveryState.FAILED, DeliveryState.UNCERTAIN))


def test_other_conversations_of_a_person_and_of_merged_records_are_beside(jonas: Browser, desk: Desk) -> None:
    mail = desk.mail("Which bulb fits?", "Hello").conversation_id or 0
    other = desk.text("Hi, Mara here", sender=MARA_PHONE).conversation_id or 0
    assert words(jonas.page(f"/inbox/c/{mail}/about", hx=True), ".past span") == []
    with desk.hub.store.write() as tx:
        ids = [tx.sql("SELECT contact_id FROM conversation WHERE id = ?", one).fetchone()[0] for one in (mail, other)]
        merge(tx, desk.jonas, ids[0], ids[1])

    assert words(jonas.page(f"/inbox/c/{mail}/about", hx=True), ".past span") == ["Hi, Mara here"]
    page = jonas.page(f"/inbox/c/{mail}")
    assert len(page.css(".ids li")) == 2
    assert words(page, ".merged")[0].startswith("Merged")


def test_channels_that_are_closed_to_a_person_say_why(jonas: Browser, desk: Desk) -> None:
    number = desk.text("Hi there").conversation_id
    with desk.hub.store.write() as tx:
        tx.add(Suppression(kind="phone", value=MARA_PHONE, reason="stop", at=tx.now))

    page = jonas.page(f"/inbox/c/{number}")
    assert page.css_first("#choice option").attributes.get("disabled", 0) is None  # type: ignore[union-attr]
    assert "STOP" in words(page, ".guard")[0]


def test_an_address_that_came_back_is_allowed_again_from_the_panel(jonas: Browser, tomas: Browser, desk: Desk) -> None:
    taken = desk.mail("Order 48213", "One lamp is missing")
    desk.route()
    other = desk.mail("Order 7", "And mine?", sender="Devon <devon@example.org>")
    with desk.hub.store.write() as tx:
        for address, reason in ((MARA_MAIL, "bounce"), ("devon@example.org", "complaint")):
            tx.add(Suppression(kind="email", value=address, reason=reason, at=tx.now))
    page = jonas.page(f"/inbox/c/{taken.conversation_id}")
    assert "came back" in words(page, ".ids small")[0]
    identity = attr(page, ".ids input[name=identity]", "value")

    refused = jonas.post(f"/inbox/c/{other.conversation_id}/allow", identity=identity)
    assert refused.status_code == 404  # another person's
    assert tomas.post(f"/inbox/c/{taken.conversation_id}/allow", identity=identity).status_code == 404
    allowed = jonas.post(f"/inbox/c/{taken.conversation_id}/allow", hx=True, identity=identity)
    assert f"{MARA_MAIL} may be written to again" in allowed.text
    assert not jonas.page(f"/inbox/c/{taken.conversation_id}").css(".ids input[name=identity]")
    with desk.hub.store.read() as tx:
        [fact] = tx.exec(select(FactRow).where(FactRow.name == "AddressAllowed"))
        assert fact.data["by"] == f"agent:{desk.jonas.agent_id}" and fact.data["reason"] == "bounce"
    again = jonas.post(f"/inbox/c/{taken.conversation_id}/allow", hx=True, identity=identity)
    assert (again.status_code, "allowed already" in again.text) == (409, True)


def test_search_finds_and_leads_back(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Order 48213", "One lamp is missing").conversation_id
    desk.mail("A question", "Do you ship to Norway?", sender="Devon <devon@example.org>")

    page = jonas.page("/inbox/search?q=lamp+is:open")
    assert [node.attributes["data-id"] for node in page.css(".row")] == [str(number)]
    link = attr(page, ".row", "href")
    opened = jonas.page(link)
    assert attr(opened, "a.only-phone[href*=search]", "href") == "/inbox/search?q=lamp+is%3Aopen"
    assert opened.css_first(".row[aria-current]") is not None
    assert "Nothing found" in jonas.get("/inbox/search?q=zebra").text
    assert "has:file" in jonas.get("/inbox/search").text, "how to narrow it down"


def test_what_could_not_be_read_is_listed_saved_and_tried_again(ines: Browser, desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        body = b"From: Mara <mara@example.com>\nSubject: <script>alert(1)</script>\n\nHello"
        receipt = quarantine(tx, body, "It has no <sender>.")

    page = ines.page("/inbox/unreadable")
    assert words(page, ".receipt p") == ["It has no <sender>."]
    raw = ines.get(f"/inbox/receipts/{receipt}/raw")
    assert raw.content_type == "application/octet-stream" and raw.headers["Content-Disposition"].startswith(
        "attachment"
    )
    assert "Could not be read1" in words(ines.page("/inbox/mine"), "#nav-views a")
    again = ines.post(f"/inbox/receipts/{receipt}/retry", hx=True)
    assert again.status_code == 200 and "It is read now" in again.text
    assert ines.get(f"/inbox/receipts/{receipt}/raw").data == body
    assert ines.post(f"/inbox/receipts/{receipt}/retry", hx=True).status_code == 409


def test_what_nobody_can_mend_is_left_and_asks_for_nobody_any_more(ines: Browser, desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        receipt = quarantine(tx, b"?", "It names no sender.")
    ines.page("/inbox/unreadable")
    left = ines.post(f"/inbox/receipts/{receipt}/leave", hx=True)
    assert left.status_code == 200 and "stays in the ledger" in left.text
    assert ines.page("/inbox/unreadable").css(".receipt") == []
    assert not any("Could not be read" in link for link in words(ines.page("/inbox/mine"), "#nav-views a"))
    assert "left as it is" in words(ines.page(f"/inbox/ledger/{receipt}"), ".props dd")[0]


def test_what_could_not_be_read_is_kept_from_those_who_do_not_see_everything(jonas: Browser, desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        receipt = quarantine(tx, b"Subject: Salary of Tomas\n\n?", "It names no sender.")

    page = jonas.page("/inbox/unreadable")
    assert page.css(".receipt") == [] and "supervisors and admins" in words(page, ".lead")[0]
    assert not any("Could not be read" in link for link in words(jonas.page("/inbox/mine"), "#nav-views a"))
    assert jonas.get(f"/inbox/receipts/{receipt}/raw").status_code == 404
    for verb in ("retry", "leave"):
        assert jonas.post(f"/inbox/receipts/{receipt}/{verb}", hx=True).status_code == 403
    assert desk.conversations() == []


def test_times_are_told_where_the_agent_is(jonas: Browser, desk: Desk) -> None:
    number = desk.text("Hi there").conversation_id
    jonas.client.set_cookie("zone", "Asia/Tokyo")
    assert words(jonas.page(f"/inbox/c/{number}"), ".msg time") == ["19:00"]
    jonas.client.set_cookie("zone", "../../etc/passwd")
    assert words(jonas.page(f"/inbox/c/{number}"), ".msg time") == ["10:00"]


def test_an_empty_inbox_is_a_pleasant_place(jonas: Browser) -> None:
    assert "Enjoy the quiet" in jonas.get("/inbox/mine").text


@pytest.mark.parametrize(
    "path",
    [
        "/inbox/no-such-view",
        "/inbox/queue-99",
        "/inbox/c/99",
        "/inbox/files/99",
        "/inbox/m/99/html",
        "/inbox/picture/x",
    ],
)
def test_what_is_not_there_is_a_page_with_a_way_back(jonas: Browser, path: str) -> None:
    response = jonas.get(path)
    assert response.status_code == 404
    assert "Back to the inbox" in response.text and "Traceback" not in response.text


def test_after_a_sign_out_htmx_is_led_to_the_door(jonas: Browser, desk: Desk) -> None:
    number = desk.text("Hi there").conversation_id
    jonas.page("/inbox/mine")
    other = Browser(jonas.client.application)
    answer = other.get(f"/inbox/c/{number}", hx=True)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/sign-in")
    assert other.get("/inbox/stream").status_code == 401


def test_resolved_ones_are_found_again(jonas: Browser, desk: Desk) -> None:
    number = desk.text("Hi there").conversation_id or 0
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, number)
    assert [node.attributes["data-id"] for node in jonas.page("/inbox/resolved").css(".row")] == [str(number)]
    assert "Resolved. A new message opens it again." in words(jonas.page(f"/inbox/c/{number}"), "#thread-state")[0]


def test_long_threads_show_the_end_and_the_rest_on_demand(jonas: Browser, desk: Desk, clock: Clock) -> None:
    for number in range(75):
        desk.text(f"line {number}")
        clock.forward(seconds=1)
    page = jonas.page(f"/inbox/c/{desk.only_conversation().id}")
    assert len(page.css(".msg")) == 60
    earlier = jonas.page(attr(page, ".earlier a", "href"), hx=True)
    assert words(earlier, ".msg .text") == [f"line {n}" for n in range(15)]


def test_offers_ring_with_a_countdown(jonas: Browser, desk: Desk, clock: Clock) -> None:
    available(desk, desk.jonas)
    desk.chat("Hello?", claims={"name": "Yusuf Adeyemi"})
    desk.route()
    clock.forward(seconds=12)
    assert words(jonas.page("/inbox/mine"), ".ring-card b") == ["Yusuf Adeyemi"]
    assert words(jonas.page("/inbox/mine"), ".ring-card [data-left]") == ["18"]
    clock.forward(seconds=20)
    assert words(jonas.page("/inbox/mine"), ".ring-card") == []


def test_an_admin_sees_all(app: Flask, desk: Desk) -> None:
    desk.mail("Refund", "A refund please")
    desk.mail("Order", "My lamp")
    ines = Browser(app)
    ines.sign_in("ines@desk.example", PASSWORD)
    assert len(ines.page("/inbox/all").css(".row")) == 2


def test_whom_one_writes_to_is_a_first_name_or_a_whole_number(jonas: Browser, desk: Desk) -> None:
    named = desk.mail("Order 1", "Where is it?", sender="Mara Lindqvist <mara@example.org>").conversation_id
    unnamed = desk.text("Where is mine?").conversation_id
    assert attr(jonas.page(f"/inbox/c/{named}"), "#reply", "placeholder") == "Write to Mara"
    assert attr(jonas.page(f"/inbox/c/{unnamed}"), "#reply", "placeholder").startswith("Write to +46 70 ")


def test_a_very_long_message_is_begun_in_the_thread_and_whole_in_its_frame(jonas: Browser, desk: Desk) -> None:
    taken = desk.mail("A novel", "It was a dark night. " * 50_000 + "The end.")
    answer = jonas.get(f"/inbox/c/{taken.conversation_id}")
    assert len(answer.data) < 100_000 and "very long" in answer.text and "The end." not in answer.text
    assert "The end." in jonas.get(f"/inbox/m/{taken.message_id}/html").text


def test_a_long_note_is_there_as_a_whole_because_nothing_else_has_it(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Order", "Where is it?").conversation_id or 0
    with desk.hub.store.write() as tx:
        note(tx, desk.jonas, number, "A long story. " * 5_000 + "The end.")
    answer = jonas.get(f"/inbox/c/{number}")
    assert "The end." in answer.text and "very long" not in answer.text
