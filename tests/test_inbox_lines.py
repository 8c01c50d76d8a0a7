"""A row of the list is made once for all who see the same, and never shown to whom it would be another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from selectolax.lexbor import LexborHTMLParser as Page

from hub.replies import reply
from inbox import lines
from tests.browser.room import Browser, attr, words
from tests.clock import Clock
from tests.desk import Desk


@pytest.fixture(autouse=True)
def nothing_is_made_yet() -> None:
    lines._made.cache_clear()


def made(show: Callable[[], Page]) -> tuple[Page, int]:
    """What is shown, and how many rows had to be made for it."""
    before = lines._made.cache_info().misses
    page = show()
    return page, lines._made.cache_info().misses - before


def test_what_has_not_changed_is_not_made_again(jonas: Browser, desk: Desk, clock: Clock) -> None:
    for number in range(12):
        desk.mail(f"Order {number}", "Where is it?", sender=f"customer{number}@example.com")
    page, number_made = made(lambda: jonas.page("/inbox/all"))
    assert len(page.css("#rows a.row")) == number_made == 12
    again, number_made = made(lambda: jonas.page("/inbox/all"))
    assert number_made == 0
    assert [node.html for node in again.css("#rows")] == [node.html for node in page.css("#rows")]
    desk.mail("Order 3", "And?", sender="customer3@example.com")
    __, number_made = made(lambda: jonas.page("/inbox/all"))
    assert number_made <= 2, "the one that changed"
    clock.forward(minutes=1)
    page, number_made = made(lambda: jonas.page("/inbox/all"))
    assert number_made == len(page.css("#rows .pill")) > 0, "targets come nearer"


def test_each_reads_it_in_their_own_words_and_time(jonas: Browser, ines: Browser, desk: Desk) -> None:
    number = desk.text("Hi there").conversation_id
    jonas.client.set_cookie("zone", "Asia/Tokyo")
    ines.post("/inbox/account/language", language="de")
    for __ in range(2):
        for browser, time, mark in ((jonas, "19:00", "Mark (X)"), (ines, "10:00", "Markieren (X)")):
            page = browser.page("/inbox/all")
            assert words(page, f"#c-{number} time") == [time]
            assert attr(page, f"#c-{number} .pick", "title") == mark


def test_what_is_one_agents_alone_stays_so(jonas: Browser, ines: Browser, desk: Desk) -> None:
    """Drafts, what is unread, what is open and where it leads."""
    first = desk.mail("Order 1", "Where is it?").conversation_id
    second = desk.mail("Order 2", "And this?", sender="olof@example.com").conversation_id
    jonas.get(f"/inbox/c/{first}?view=all", hx=True)
    jonas.page(f"/inbox/c/{first}?view=all")
    jonas.post(f"/inbox/c/{first}/draft", hx=True, kind="reply", reply="Not <b>yet</b>", via="")
    for __ in range(2):
        mine = jonas.page(f"/inbox/c/{first}?view=all")
        theirs = ines.page("/inbox/unassigned")
        assert words(mine, f"#c-{first} .draft") == ["Draft:"] and not theirs.css(f"#c-{first} .draft")
        assert [row.attributes.get("data-id") for row in mine.css("#rows .row[aria-current]")] == [str(first)]
        assert not theirs.css("#rows .row[aria-current]")
        assert [row.attributes["data-id"] for row in mine.css("#rows .row.unread")] == [str(second)]
        assert len(theirs.css("#rows .row.unread")) == 2
        assert attr(mine, f"#c-{second} .row", "href") == f"/inbox/c/{second}?view=all"
        assert attr(theirs, f"#c-{second} .row", "href") == f"/inbox/c/{second}?view=unassigned"
    assert words(mine, f"#c-{first} .prev bdi") == ["Not <b>yet</b>"]


def test_what_customers_write_stays_words(jonas: Browser, desk: Desk) -> None:
    said = "<img src=x onerror=alert>"
    number = desk.mail(f"{said} subject", f"{said} text", sender=f'"{said} name" <x@example.com>').conversation_id
    with desk.hub.store.write() as tx:
        reply(tx, desk.jonas, number or 0, text=f"{said} ours", tokens=desk.hub.tokens)
    for path in ("/inbox/all", "/inbox/search?q=subject"):
        page = jonas.page(path)
        assert not page.css(f"#c-{number} img")
        assert words(page, f"#c-{number} .who bdi") == [f"{said} name"]
        assert attr(page, f"#c-{number} .pick", "aria-label") == f"Mark {said} name: {said} subject"
