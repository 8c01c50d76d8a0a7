"""The customer's panel in a real browser: what is fetched later, and the sheets that never lose a word."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from hub import contactlog
from hub.contactfields import FieldForm, save_field
from tests.browser.test_stories import address, visit
from tests.desk import Desk

__all__ = ["address"]
expect.set_options(timeout=5000)
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_details_are_edited_in_a_sheet_that_keeps_what_was_typed(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.text("Where is my lamp?").conversation_id
    with desk.hub.store.write() as tx:
        save_field(tx, desk.ines, None, FieldForm("Lamps", "", "number"))
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.locator("#known").get_by_text("Edit").click()
        expect(page.locator("#d-name")).to_be_focused()
        page.fill("#d-name", "Mara Lindqvist")
        page.fill("#field-lamps", "many")
        page.locator("#d-zone").fill("Europe/Stockholm")
        page.locator("#d-company").press("Enter")
        expect(page.locator("#wrong-field-lamps")).to_have_text("Write a number, such as 12 or 12.5.")
        expect(page.locator("#d-name")).to_have_value("Mara Lindqvist")
        page.fill("#field-lamps", "2")
        page.locator("#merge .primary").click()
        expect(page.locator("#merge")).not_to_be_visible()
        expect(page.locator("#known dd")).to_have_text([re.compile("11:00.*ahead of you"), "2"])
        expect(page.locator("#context .person b")).to_have_text("Mara Lindqvist")
        page.locator("#known").get_by_text("Edit").click()
        page.locator("#merge").get_by_text("Cancel").click()
        expect(page.locator("#merge")).not_to_be_visible()


def test_what_a_shop_tells_comes_into_the_open_panel(browser: Browser, desk: Desk, address: str) -> None:
    taken = desk.text("Where is my lamp?")
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{taken.conversation_id}?view=all")
        expect(page.locator("#contact-notes")).to_contain_text("What everybody should know")
        with desk.hub.store.write() as tx:
            told = contactlog.Told("order", "48213", "Two pendants", tx.now, "paid")
            contactlog.note_event(tx, desk.ines, taken.contact_id or 0, told)
        expect(page.locator("#bought b")).to_have_text("Two pendants")
        page.locator("#contact-notes").get_by_text("Add").click()
        expect(page.locator("#about-them")).to_be_focused()
        page.keyboard.type("Ring twice")
        page.locator("#merge .primary").click()
        expect(page.locator(".remembered p")).to_have_text("Ring twice")
        page.get_by_role("button", name="Take this note away").click()
        expect(page.locator(".remembered")).to_have_count(0)
        page.locator(".toast [data-undo]").last.click()
        expect(page.locator(".remembered p")).to_have_text("Ring twice")


def test_who_is_somebody_else_leaves_the_panel_and_comes_back(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.mail("Order", "My lamp?", sender="Mara Lindqvist <ml@one.example>").conversation_id
    for house in ("two", "three"):
        desk.mail("Order", "And mine?", sender=f"Mara Lindqvist <mara@{house}.example>")
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        alike = page.locator("#alike .candidate")
        expect(alike).to_have_count(2)
        page.get_by_role("button", name="Mara Lindqvist is not the same person").first.click()
        expect(page.locator(".toast").last).to_contain_text("is not suggested here any more")
        expect(alike).to_have_count(1)
        page.locator(".toast [data-undo]").last.click()
        expect(alike).to_have_count(2)
        alike.first.click()
        expect(page.locator("#merge")).to_be_visible()
