"""The list at work, for the screenshots."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.browser.room import PASSWORD


def list_pages(address: str) -> dict[str, Callable[[Page], object]]:
    """Every state by name, the first of which signs in."""

    def signed_in(page: Page) -> None:
        page.goto(f"{address}/sign-in")
        page.fill("#email", "ines@desk.example")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("#rows")
        page.goto(f"{address}/inbox/all")

    def marked(page: Page) -> None:
        page.goto(f"{address}/inbox/all")
        for number in range(3):
            page.locator("#rows .pick").nth(number).check()

    def menu(key: str) -> Callable[[Page], None]:
        def take(page: Page) -> None:
            marked(page)
            page.locator(f"#bulk [data-key={key}]:not(.sr)").click()
            page.wait_for_selector("#bulk details[open] .menu-list :is(button, input)")

        return take

    return {
        "list": signed_in,
        "list-marked": marked,
        "list-marked-assign": menu("a"),
        "list-marked-tag": menu("t"),
    }
