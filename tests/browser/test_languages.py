"""The inbox in other languages, in a real browser: longer words fit, scripts speak along, and pages are mirrored."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from config import language
from config.language import Language
from tests.browser.scene import furnish
from tests.browser.test_stories import address, visit
from tests.desk import Desk
from tests.support.made_up import MadeUp

__all__ = ["address"]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PAGES = ("all", "floor", "settings/queues/1", "settings/rules", "people", "account", "views/new")


@pytest.mark.parametrize(("locale", "said"), [("de-DE", "Tastatur"), ("ar", "⟦Keyboard⟧")])
def test_pages_fit_a_phone_and_scripts_speak_as_the_page(
    browser: Browser, desk: Desk, address: str, monkeypatch: pytest.MonkeyPatch, locale: str, said: str
) -> None:
    monkeypatch.setitem(language.LANGUAGES, "ar", Language("Made up", rtl=True))
    monkeypatch.setitem(language.catalogs, "ar", MadeUp())
    number = furnish(desk)
    with visit(browser, address, "ines", locale=locale, viewport={"width": 390, "height": 844}) as page:
        for path in (*PAGES, f"c/{number}?view=all"):
            page.goto(f"{address}/inbox/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    with visit(browser, address, "ines", locale=locale) as page:
        page.goto(f"{address}/inbox/all")
        page.keyboard.press("?")
        expect(page.locator("#help-title")).to_have_text(said)
        expect(page.locator("#help-keys")).to_contain_text(
            "⟦Next conversation⟧" if locale == "ar" else "Nächste Konversation"
        )
        assert (_middle(page, ".nav") > _middle(page, "#list")) is (locale == "ar")


def _middle(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2
