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

    def view(page: Page) -> None:
        page.goto(f"{address}/inbox/views/new")
        page.fill("#view-name", "Late or important")
        page.select_option("[name='n.2.field']", "agent")
        page.wait_for_selector("[name='n.2.value'] option[value=me]", state="attached")
        page.select_option("[name='n.2.value']", "nobody")
        page.locator("button[value='box:n']").click()
        page.wait_for_selector("[name='n.3.1.field']")
        page.select_option("[name='n.3.1.field']", "waiting")
        page.wait_for_selector("[name='n.3.1.value']")
        page.fill("[name='n.3.1.value']", "30m")
        page.keyboard.press("Tab")
        page.wait_for_selector(".trial b")

    def kept(page: Page) -> None:
        page.goto(f"{address}/inbox/views")
        if page.locator(".rule-name").count() == 0:
            view(page)
            page.get_by_role("button", name="Save").click()
            page.wait_for_url("**/inbox/view-*")
            page.goto(f"{address}/inbox/views")

    def typed(page: Page) -> None:
        page.goto(f"{address}/inbox/all")
        page.keyboard.press("/")
        page.keyboard.type("order", delay=5)
        page.wait_for_selector("#rows mark")

    def hint(page: Page) -> None:
        page.goto(f"{address}/inbox/all")
        page.keyboard.press("g")
        page.wait_for_selector("#hint li")

    return {
        "list": signed_in,
        "list-search": typed,
        "list-hint": hint,
        "view-new": view,
        "views": kept,
        "list-marked": marked,
        "list-marked-assign": menu("a"),
        "list-marked-tag": menu("t"),
    }
