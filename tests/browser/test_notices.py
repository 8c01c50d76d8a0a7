"""Notifications in a real browser: shown once over all pages, never of what one looks at, asked for only by a press."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.scene import available
from tests.browser.test_stories import AXE, address, sign_in, violations, visit
from tests.desk import Desk
from tests.support import need

__all__ = ["address"]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PAGE = "/inbox/account/notifications"
# What a page shows and plays is written down where all pages of the browser see it.
RECORD = """
const note = (what) => localStorage.setItem("told", JSON.stringify([...JSON.parse(localStorage.getItem("told") ?? "[]"), what]));
const Real = window.Notification;
window.Notification = class extends Real {
  constructor(title, options) { super(title, options); note({ title, body: options.body, tag: options.tag }); window.latest = this; }
};
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...when) { note({ pitch: this.frequency.value }); return start.apply(this, when); };
"""  # noqa: E501

# Somebody who has not decided yet, and says no.
UNDECIDED = """
let permission = "default";
window.asked = 0;
Object.defineProperty(window.Notification, "permission", { get: () => permission });
window.Notification.requestPermission = async () => { window.asked += 1; return (permission = "denied"); };
"""


@contextmanager
def watched(browser: Browser, address: str, **options: Any) -> Iterator[BrowserContext]:
    """A browser in which Jonas is signed in, and that writes down what it tells him."""
    context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | options))
    context.add_init_script(RECORD)
    page = context.new_page()
    try:
        sign_in(page, address, "jonas@desk.example")
        yield context
    finally:
        context.close()


def told(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(page.evaluate("localStorage.getItem('told')") or "[]")
    return found


def shown(page: Page) -> list[str]:
    return [each["title"] for each in told(page) if "title" in each]


def until_told(page: Page, count: int) -> None:
    page.wait_for_function(
        f"() => JSON.parse(localStorage.getItem('told') ?? '[]').filter((one) => one.title).length >= {count}"
    )


def theirs(desk: Desk, subject: str = "Lamp order") -> int:
    number = desk.mail(subject, "Has it left?").conversation_id or 0
    desk.route()
    return number


def listening(page: Page) -> None:
    """Its stream is open: the page has asked for it and got the greeting."""
    page.wait_for_timeout(300)


def test_two_pages_show_one_notification_and_a_press_opens_the_conversation(
    browser: Browser, desk: Desk, address: str
) -> None:
    available(desk, desk.jonas)
    number = theirs(desk)
    with watched(browser, address, permissions=["notifications"]) as context:
        (one,) = context.pages
        two = context.new_page()
        for page in (one, two):
            page.goto(f"{address}/inbox/mine")
            listening(page)
        desk.mail("Re: Lamp order", "And when?", answers="<mail-1@customer.example>")
        until_told(one, 1)
        expect(one).to_have_title(re.compile(r"^\(1\) "))
        expect(two).to_have_title(re.compile(r"^\(1\) "))
        expect(two.locator("link[rel=icon]")).to_have_attribute("href", re.compile(r"/mark-unread\.svg"))
        one.wait_for_timeout(700)  # whatever the other page would have shown
        assert [(each["title"], each["body"], each["tag"]) for each in told(one) if "title" in each] == [
            ("Mara Lindqvist", "And when?", f"switchyard-{number}")
        ]
        [pressed] = [page for page in (one, two) if page.evaluate("'latest' in window")]
        pressed.evaluate("window.latest.onclick()")
        expect(pressed.locator("#thread")).to_have_attribute("data-id", str(number), timeout=15_000)
        expect(pressed).not_to_have_title(re.compile(r"^\("))
        expect(pressed.locator("link[rel=icon]")).to_have_attribute("href", re.compile(r"/mark\.svg"))


def test_the_title_counts_on_pages_without_a_list_as_well(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    with visit(browser, address) as page:
        page.goto(f"{address}{PAGE}")
        listening(page)
        theirs(desk)
        expect(page).to_have_title(re.compile(r"^\(1\) "))
        expect(page.locator("#v-mine .n")).to_have_text("1")


def test_nothing_is_told_of_what_one_looks_at_in_any_page(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    number, other = theirs(desk), theirs(desk, "Another order")
    with watched(browser, address, permissions=["notifications"]) as context:
        (looking,) = context.pages
        beside = context.new_page()
        beside.goto(f"{address}/inbox/mine")
        looking.goto(f"{address}/inbox/c/{number}?view=mine")
        for page in (beside, looking):
            listening(page)
        desk.mail("Re: Lamp order", "And when?", answers="<mail-1@customer.example>")
        expect(looking.locator("#timeline")).to_contain_text("And when?")
        desk.mail("Re: Another order", "What about this?", answers="<mail-3@customer.example>")
        until_told(looking, 1)
        assert [each.get("tag") for each in told(looking) if "title" in each] == [f"switchyard-{other}"]


def test_it_sounds_once_in_a_few_seconds_and_not_while_away(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    theirs(desk)
    with watched(browser, address, permissions=["notifications"]) as context:
        (page,) = context.pages
        page.goto(f"{address}/inbox/all")
        page.click("#v-mine")  # a page may sound once something in it was pressed
        listening(page)
        for words in ("And when?", "Hello?", "Is anybody there?"):
            desk.mail("Re: Lamp order", words, answers="<mail-1@customer.example>")
        until_told(page, 3)
        assert [each["pitch"] for each in told(page) if "pitch" in each] == [660, 880]
        with desk.hub.store.write() as tx:
            tx.sql("UPDATE agent SET status = 'away' WHERE id = ?", desk.jonas.agent_id)
        page.wait_for_timeout(4200)  # the quiet after a sound
        desk.mail("Re: Lamp order", "I am still here", answers="<mail-1@customer.example>")
        until_told(page, 4)
        assert len([each for each in told(page) if "pitch" in each]) == 2


def test_permission_is_asked_by_a_press_alone_and_the_page_says_what_there_is(
    browser: Browser, desk: Desk, address: str
) -> None:
    with watched(browser, address) as context:
        context.add_init_script(UNDECIDED)
        (page,) = context.pages
        page.goto(f"{address}{PAGE}")
        state = page.locator("#permission")
        expect(state.locator(".pill:visible")).to_have_text("Not asked yet")
        expect(page.get_by_role("button", name="Try it")).to_be_hidden()
        assert page.evaluate("window.asked") == 0
        page.get_by_role("button", name="Allow").click()
        expect(state.locator(".pill:visible")).to_have_text("Blocked")
        expect(state).to_contain_text("set Notifications to Allow")
        expect(page.get_by_role("button", name="Allow")).to_be_hidden()
        assert page.evaluate("window.asked") == 1


def test_both_are_tried_and_the_switches_kept_by_keyboard(browser: Browser, desk: Desk, address: str) -> None:
    need(AXE.is_file(), "axe-core (make test installs it)")
    desk.hub.settings = desk.hub.settings.changed(notices_by="support-mail")
    with watched(browser, address, permissions=["notifications"], bypass_csp=True) as context:
        (page,) = context.pages
        page.goto(f"{address}{PAGE}")
        expect(page.locator("#permission .pill:visible")).to_have_text("Allowed")
        page.get_by_role("button", name="Try it").press("Enter")
        until_told(page, 1)
        expect(page.locator("#permission")).to_contain_text("If you saw nothing")
        page.get_by_role("button", name="Try the sound").press("Enter")
        expect(page.locator("#sound")).to_contain_text("It sounded")
        assert [each["pitch"] for each in told(page) if "pitch" in each] == [660, 880]
        page.get_by_label("Sound: A customer writes").press("Space")
        page.get_by_label("While I am away").press("Space")
        page.get_by_label("It gathers for").select_option("60")
        assert violations(page) == []
        page.get_by_role("button", name="Keep").press("Enter")
        expect(page.locator(".told")).to_be_visible()
        expect(page.get_by_label("Sound: A customer writes")).not_to_be_checked()
        expect(page.get_by_label("It gathers for")).to_have_value("60")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_a_phone(browser: Browser, desk: Desk, address: str, theme: str) -> None:
    need(AXE.is_file(), "axe-core (make test installs it)")
    size = {"width": 390, "height": 844}
    with visit(browser, address, color_scheme=theme, bypass_csp=True, viewport=size) as page:
        page.goto(f"{address}{PAGE}")
        expect(page.locator("#permission .pill:visible")).not_to_be_empty()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
