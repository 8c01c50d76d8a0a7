"""The ledger's pages: what arrived and became of it, for those who see everything."""

from __future__ import annotations

from flask import Flask

from channels.base import DeliveryState, DeliveryUpdate, Raw
from hub.delivery import settle_update
from hub.mailboxes import file_left_over
from tests.browser.room import Browser, attr, words
from tests.browser.scene import quarantine
from tests.desk import MARA_MAIL, Desk


def spoiled(desk: Desk, body: bytes, why: str, key: str = "spoiled") -> int:
    with desk.hub.store.write() as tx:
        return quarantine(tx, body, why, key)


def test_the_ledger_shows_who_wrote_and_what_became_of_it(ines: Browser, desk: Desk) -> None:
    first = desk.text("hello", sid="SM" + "a" * 32)
    desk.text("hello", sid="SM" + "a" * 32)
    desk.mail("Lamp", "It flickers.")
    spoiled(desk, b"?", "It has no <sender>.")
    told = DeliveryUpdate(Raw("status:SM9:failed:", b"MessageStatus=failed"), DeliveryState.FAILED, id="u9")
    settle_update(desk.hub.store, desk.hub.channel_named("support-sms").id, told)

    page = ines.page("/inbox/ledger")
    assert words(page, ".entry .pill") == ["Ignored", "Not readable", "Accepted", "Accepted"]
    assert words(page, ".entry .why")[:2] == ["no such message of ours", "It has no <sender>."]
    assert words(page, ".entry .who") == [
        "Callback",
        "Unknown sender",
        f"Mara Lindqvist {MARA_MAIL}",
        "+46 70 174 06 05",
    ]
    assert words(page, ".entry .times") == ["", "", "", "×2"]
    assert attr(page, "#v-ledger", "aria-current") == "page"

    detail = ines.page(attr(page, f"#e-{first.receipt_id}", "href"))
    shown = dict(zip(words(detail, ".props dt"), words(detail, ".props dd"), strict=True))
    assert shown["State"] == "Accepted" and shown["Delivered"].startswith("2 times") and shown["Key"] == "SM" + "a" * 32
    assert "Body=hello" in words(detail, ".peek")[0]
    assert ines.get(attr(detail, ".props a", "href")).status_code == 200


def test_the_filter_narrows_stays_in_its_links_and_can_be_cleared(ines: Browser, desk: Desk) -> None:
    desk.text("hello")
    desk.clock.forward(hours=30)
    desk.mail("Lamp", "It flickers.")
    ghost = spoiled(desk, b"?", "It has no sender.")

    def ids(query: str) -> list[str]:
        return [node.attributes["id"] or "" for node in ines.page(f"/inbox/ledger?{query}").css(".entry")]

    assert ids("state=quarantined") == ids("q=NO+sender") == [f"e-{ghost}"]
    assert len(ids("channel=support-mail")) == len(ids("since=2026-11-25")) == 2
    assert len(ids("until=2026-11-24")) == 1 and ids("sort=callback") == []
    assert len(ids("state=nonsense&since=yesterday&before=x")) == 3
    page = ines.page("/inbox/ledger?q=no+sender&state=quarantined")
    assert attr(page, ".entry", "href").endswith("?q=no+sender&state=quarantined")
    assert attr(page, "select[name=state] option[selected]", "value") == "quarantined"
    assert words(page, ".sift a.btn") == ["Clear"]
    assert "Nothing that arrived fits this." in words(ines.page("/inbox/ledger?q=zebra"), ".quiet")


def test_a_day_is_the_day_of_whom_is_looking(ines: Browser, desk: Desk) -> None:
    desk.clock.forward(hours=10)  # 20:00 in London, 05:00 of the next day in Tokyo
    desk.text("hello")
    ines.client.set_cookie("zone", "Asia/Tokyo")
    assert len(ines.page("/inbox/ledger?since=2026-11-25").css(".entry")) == 1
    assert len(ines.page("/inbox/ledger?until=2026-11-24").css(".entry")) == 0


def test_pages_go_on_below_without_gap_or_repetition(ines: Browser, desk: Desk) -> None:
    for number in range(60):
        desk.text(f"line {number}")
    page = ines.page("/inbox/ledger")
    seen = [node.attributes["id"] for node in page.css(".entry")]
    more = ines.page(attr(page, "#more a", "hx-get"), hx=True)
    seen += [node.attributes["id"] for node in more.css(".entry")]
    assert len(seen) == len(set(seen)) == 60 and more.css("#more") == []


def test_a_receipt_is_saved_and_read_again_from_its_page(ines: Browser, desk: Desk) -> None:
    body = b"From: Mara <mara@example.com>\nSubject: <script>alert(1)</script>\n\nHello"
    number = spoiled(desk, body, "A bug of ours.")
    page = ines.page(f"/inbox/ledger/{number}")
    saved = ines.get(attr(page, "a[download]", "href"))
    assert saved.data == body
    assert saved.content_type == "application/octet-stream"
    assert saved.headers["Content-Disposition"].startswith("attachment")
    assert (
        saved.headers["X-Content-Type-Options"] == "nosniff" and "sandbox" in saved.headers["Content-Security-Policy"]
    )

    again = ines.post(attr(page, "header form", "action"))
    assert (again.status_code, again.location) == (303, f"/inbox/ledger/{number}")
    page = ines.page(again.location)
    assert words(page, ".props .pill") == ["Accepted"] and page.css("header form") == []
    assert ines.post(f"/inbox/ledger/{number}/retry").status_code == 409
    assert len(desk.conversations()) == 1


def test_a_replay_says_its_number_before_and_after(ines: Browser, desk: Desk) -> None:
    desk.text("hello")
    spoiled(desk, b"From: a@example.com\n\nHello", "A bug of ours.", "one")
    spoiled(desk, b"From: b@example.com\n\nHello", "It is too large.", "two")

    page = ines.page("/inbox/ledger?q=bug")
    sure = ines.page(attr(page, "header a.line", "href"))
    assert "finds 1 receipt." in words(sure, ".lead")[0] and words(sure, "form button.primary") == ["Read 1 again"]
    assert words(ines.page("/inbox/ledger/replay"), ".sums dt") == ["2", "1", "0"]
    done = ines.post(attr(sure, "form.sheet-end", "action"), q="bug")
    assert "1 receipt is read again" in words(ines.page(done.location), ".told")[0]
    desk.clock.forward(minutes=1)
    file_left_over(desk.hub)
    assert words(ines.page("/inbox/ledger"), ".entry .pill") == ["Not readable", "Accepted", "Accepted"]
    assert ines.page("/inbox/ledger/replay?q=bug").css("form button.primary") == []


def test_only_those_who_see_everything_have_a_ledger(app: Flask, desk: Desk) -> None:
    number = spoiled(desk, b"Subject: Salary of Tomas\n\n?", "It names no sender.")
    jonas = Browser(app)
    jonas.sign_in("jonas@desk.example")
    assert jonas.page("/inbox/mine").css("#v-ledger") == []
    for path in ("/inbox/ledger", f"/inbox/ledger/{number}", "/inbox/ledger/replay"):
        answer = jonas.get(path)
        assert (answer.status_code, "Salary" in answer.text) == (403, False)
    for path in (f"/inbox/ledger/{number}/retry", "/inbox/ledger/replay"):
        assert jonas.post(path).status_code == 403
    assert desk.conversations() == []
