"""The composer at work and the pages of what it offers, for the screenshots."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from hub import savedreplies
from hub.savedreplies import Wanted
from tests.browser.room import PASSWORD
from tests.desk import Desk

SAID = (
    ("express", "Moved to express", "Hi {{contact.first_name|there}}, I moved it to express. It arrives on {{day}}."),
    ("exchange", "", "Here is how to exchange an item within 30 days."),
    ("export", "", "You can export your invoices under Account."),
    ("photo", "Ask for a photo", "Could you send us a photo of the lamp and of the label on the box?"),
)  # fmt: skip


def writing_pages(desk: Desk, address: str, mara: int) -> dict[str, Callable[[Page], object]]:
    """Every state by name, the first of which signs in."""
    with desk.hub.store.write() as tx:
        for shortcut, title, text in SAID:
            savedreplies.create(tx, desk.ines, Wanted(shortcut, text, title))
        savedreplies.create(tx, desk.jonas, Wanted("bye", "Have a good day! {{agent.first_name}}", own=True))
    saved = f"{address}/inbox/settings/replies"

    def signed_in(page: Page) -> None:
        page.goto(f"{address}/sign-in")
        page.fill("#email", "jonas@desk.example")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("#rows")
        page.goto(saved)

    def slash(page: Page) -> None:
        page.goto(f"{address}/inbox/c/{mara}?view=mine")
        page.fill("#reply", "")
        page.locator("#reply").press_sequentially("Hi Mara, yes it can. /ex")
        page.wait_for_selector("#suggest [role=option]")

    def edited(page: Page) -> None:
        page.goto(saved)
        page.locator(".rule-name", has_text="/bye").click()
        page.wait_for_selector("#saved-form")
        page.locator(".slots summary").click()

    def wrong(page: Page) -> None:
        page.goto(f"{saved}/new")
        page.fill("#shortcut", "two words")
        page.fill("#text", "Hi {{contact.first_name}}, it comes on {{day}}")
        page.click("button.primary")

    return {"saved": signed_in, "saved-one": edited, "saved-wrong": wrong, "slash": slash}
