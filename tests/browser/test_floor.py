"""The floor in a real browser: Ines drags, does the same by keyboard, and sees at once what others do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from routing.presence import set_status
from storage.conversations import Conversation
from tests.browser.room import application, served
from tests.browser.scene import available
from tests.browser.test_stories import violations, visit
from tests.desk import Desk

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    desk.hub.settings = desk.hub.settings.changed(public_base_url="")  # http, so that cookies travel
    with served(application(desk)) as url:
        desk.hub.pump.start()
        yield url


@contextmanager
def ines(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """Ines on the floor."""
    with visit(browser, address, "ines", **options) as page:
        page.goto(f"{address}/inbox/floor")
        yield page


def owner(desk: Desk, number: int | None) -> int | None:
    with desk.hub.store.read() as tx:
        return tx.get_one(Conversation, number).assignee_id


def test_what_waits_is_dragged_onto_an_agent_and_onto_a_queue(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    parcel = desk.mail("My parcel", "Where is my parcel?").conversation_id
    invoice = desk.mail("My invoice", "An invoice", sender="devon@northlight.example").conversation_id
    with ines(browser, address) as page:
        page.locator(f"#w-{parcel}").drag_to(page.locator(f"#a-{desk.jonas.agent_id}"))
        expect(page.locator(".toast")).to_contain_text("Jonas has it now.")
        expect(page.locator(f"#w-{parcel}")).to_have_count(0)
        assert owner(desk, parcel) == desk.jonas.agent_id
        page.locator(f"#w-{invoice}").drag_to(page.locator(".q:has-text('Shipping')"))
        expect(page.locator(".q:has-text('Shipping') .big")).to_have_text("1")
        page.locator(".toast:has-text('Moved to Shipping.') [data-undo]").click()
        expect(page.locator(".q:has-text('Billing') .big")).to_have_text("1")


def test_the_same_goes_by_keyboard_alone(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    parcel = desk.mail("My parcel", "Where is my parcel?").conversation_id
    with ines(browser, address) as page:
        page.locator(f"#w-{parcel} .sheet-open").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#sheet[open] header")).to_be_visible()
        page.locator("#do-agent").select_option(str(desk.jonas.agent_id))
        page.locator("#sheet [name=reason]").focus()
        page.keyboard.type("knows her")
        page.locator("#sheet button[value=assign]").focus()
        page.keyboard.press("Enter")
        expect(page.locator(".toast")).to_contain_text("Jonas has it now.")
        expect(page.locator("#sheet[open]")).to_have_count(0)
    assert owner(desk, parcel) == desk.jonas.agent_id


def test_a_refusal_stands_in_the_sheet_and_a_reason_gets_further(browser: Browser, desk: Desk, address: str) -> None:
    with ines(browser, address) as page:
        page.locator(".q:has-text('Shipping') .sheet-open").click()
        page.locator("#sheet button[value=pause]").click()
        expect(page.locator("#sheet .problem")).to_have_text("Say why: everybody will ask why nothing comes.")
        page.fill("#sheet [name=reason]", "The shop is down")
        page.locator("#sheet button[value=pause]").click()
        expect(page.locator(".q:has-text('Shipping')")).to_contain_text("The shop is down")


def test_the_floor_follows_what_others_do(browser: Browser, desk: Desk, address: str) -> None:
    with ines(browser, address) as page:
        expect(page.locator(".sums-bar dd").first).to_have_text("0")
        desk.mail("My parcel", "Where is my parcel?")
        expect(page.locator(".w[data-id]")).to_have_count(1)
        with desk.hub.store.write() as tx:
            set_status(tx, desk.amara, desk.amara.agent_id or 0, "available")
        expect(page.locator(f"#a-{desk.amara.agent_id} small").first).to_contain_text("Available")


@pytest.mark.parametrize("width", [1440, 1200, 1024, 390])
def test_a_queue_says_its_name_and_offers_to_step_in(browser: Browser, desk: Desk, address: str, width: int) -> None:
    with ines(browser, address, viewport={"width": width, "height": 844}) as page:
        expect(page.locator("#zone-queues .q")).to_have_count(3)
        zone = page.locator("#zone-queues").bounding_box()
        assert zone is not None
        for queue in page.locator("#zone-queues .q").all():
            name, button = (queue.locator(part).bounding_box() for part in (".name", ".sheet-open"))
            assert name is not None and name["width"] > 40
            assert button is not None and button["x"] + button["width"] <= zone["x"] + zone["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_everybody_can_use_it(browser: Browser, desk: Desk, address: str, width: int, theme: str) -> None:
    available(desk, desk.jonas)
    desk.mail("My parcel", "Where is my parcel?")
    viewport = {"width": width, "height": 844}
    with ines(browser, address, viewport=viewport, color_scheme=theme, bypass_csp=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
        for opens in ("", ".w .sheet-open", ".a .sheet-open", ".q .sheet-open"):
            if opens:
                page.keyboard.press("Escape")
                page.locator(opens).first.click()
                expect(page.locator("#sheet[open] header")).to_be_visible()
            assert violations(page) == [], opens
