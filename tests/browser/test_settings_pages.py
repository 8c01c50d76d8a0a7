"""Every page of Settings in a real browser: for everybody, at phone width, by keyboard, and copied with a button."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.setting_up import furnish_settings
from tests.browser.test_stories import AXE, address, violations, visit
from tests.desk import Desk
from tests.support import need

__all__ = ["address"]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SETTINGS = "/inbox/settings"
PAGES = (
    "channels", "channels/new", "channels/new/email", "channels/1", "channels/3", "channels/1/switch", "queues",
    "queues/new", "queues/1", "queues/2/remove", "calendars", "calendars/1", "skills", "skills/1", "profiles",
    "profiles/1", "tags", "tags/1", "webhooks", "webhooks/new", "webhooks/1",
    "webhooks/1/remove", "fields", "fields/new", "fields/1", "fields/1/delete", "start",
)  # fmt: skip


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_every_page_can_be_used_by_everybody_and_fits(
    browser: Browser, desk: Desk, address: str, theme: str, width: int
) -> None:
    need(AXE.is_file(), "axe-core (make test installs it)")
    for number in range(3):
        desk.text("Where is my lamp?", sender=f"+4670174060{number}")
    furnish_settings(desk)
    size = {"width": width, "height": 844}
    with visit(browser, address, "ines", color_scheme=theme, bypass_csp=True, viewport=size) as page:
        for path in PAGES:
            page.goto(f"{address}{SETTINGS}/{path}")
            assert violations(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            wide = (
                "[...document.querySelectorAll('.scroll *')].filter(e => e.getBoundingClientRect().right > innerWidth)"
            )
            assert page.evaluate(f"{wide}.map(e => e.outerHTML.slice(0, 200))") == [], path


def test_a_queue_is_changed_by_keyboard_and_says_what_that_does(browser: Browser, desk: Desk, address: str) -> None:
    with visit(browser, address, "ines") as page:
        page.goto(f"{address}{SETTINGS}/queues")
        page.get_by_role("link", name="Shipping", exact=True).last.press("Enter")
        page.locator("#sla-first_reply").press("Control+a")
        page.keyboard.type("15m")
        page.keyboard.press("Tab")
        expect(page.locator("#effect .lines")).to_contain_text("+ first_reply: 15m")
        expect(page.locator("#sla-next_reply")).to_be_focused()
        page.keyboard.type("soon")
        page.keyboard.press("Tab")
        expect(page.locator("#effect .odd")).to_contain_text("Each further reply within: Must be a span")
        page.locator("#sla-next_reply").press("Control+a")
        page.keyboard.type("2h")
        page.keyboard.press("Enter")  # says what it would do, and keeps nothing yet
        expect(page.locator("#effect .lines")).to_contain_text("next_reply: 2h")
        page.get_by_role("button", name="Keep").press("Enter")
        expect(page.locator(".told")).to_have_text("Shipping is kept, and counts from now on.")
        expect(page.locator(".card-row", has_text="Shipping")).to_contain_text("First reply 15m · next reply 2h")


def test_an_address_is_copied_by_its_button(browser: Browser, desk: Desk, address: str) -> None:
    with visit(browser, address, "ines", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(f"{address}{SETTINGS}/channels")
        page.get_by_role("link", name="shop-chat", exact=True).click()
        page.get_by_role("button", name="Copy On your pages").click()
        expect(page.get_by_role("button", name="Copied On your pages")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("<script src=") and 'data-channel="shop-chat" defer></script>' in copied
