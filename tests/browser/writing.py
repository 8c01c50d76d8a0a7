"""The composer at work and the pages of what it offers, for the screenshots."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from hub import macros, onlookers, savedreplies
from hub.macros import Does
from hub.replies import note
from hub.savedreplies import Wanted
from hub.tags import tag
from tests.browser.room import PASSWORD
from tests.desk import Desk

SAID = (
    ("express", "Moved to express", "Hi {{contact.first_name|there}}, I moved it to express. It arrives on {{day}}."),
    ("exchange", "", "Here is how to exchange an item within 30 days."),
    ("export", "", "You can export your invoices under Account."),
    ("photo", "Ask for a photo", "Could you send us a photo of the lamp and of the label on the box?"),
)  # fmt: skip

MACROS = (
    ("Reship and close", Does(reply="Hi {{contact.first_name}}, it leaves today.", tags=("reship",), then="resolve")),
    ("To billing", Does(note="Yours, I think. {{agent.first_name}}", tags=("refund",), queue_id=2, priority=5)),
    ("Mine until tomorrow", Does(assign=0, then="snooze", snooze=86400)),
)  # fmt: skip


def writing_pages(desk: Desk, address: str, mara: int) -> dict[str, Callable[[Page], object]]:
    """Every state by name, the first of which signs in."""
    with desk.hub.store.write() as tx:
        for shortcut, title, text in SAID:
            savedreplies.create(tx, desk.ines, Wanted(shortcut, text, title))
        for name, does in MACROS:
            macros.create(tx, desk.ines, macros.Wanted(name, does))
        tag(tx, desk.jonas, mara, "reship, halo")
        note(tx, desk.amara, mara, "@Jonas Weber the courier comes at two.")
        onlookers.here(tx, desk.amara.agent_id or 0, mara, "looking")
        devon = tx.sql("SELECT id FROM conversation WHERE subject LIKE '%wrong colour'").fetchone()[0]
        onlookers.here(tx, desk.ines.agent_id or 0, devon, "replying")
        savedreplies.create(tx, desk.jonas, Wanted("bye", "Have a good day! {{agent.first_name}}", own=True))
    saved = f"{address}/inbox/settings/replies"

    def signed_in(page: Page) -> None:
        page.goto(f"{address}/sign-in")
        page.fill("#email", "jonas@desk.example")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("#rows")
        page.goto(saved)

    def thread(page: Page) -> None:
        page.goto(f"{address}/inbox/c/{mara}?view=mine")
        page.click("label[for=kind-reply]")
        page.select_option("#choice", index=0)
        page.fill("#reply", "")

    def slash(page: Page) -> None:
        thread(page)
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

    def opened(selector: str) -> Callable[[Page], None]:
        def take(page: Page) -> None:
            thread(page)
            page.locator(selector).click()

        return take

    def macro_waits(page: Page) -> None:
        opened("#macro-menu summary")(page)
        page.locator("#macro-menu button", has_text="Reship").click()
        page.wait_for_selector("#macro-waits")

    def palette(page: Page) -> None:
        thread(page)
        page.keyboard.press("Control+k")
        page.keyboard.type("a")

    def formatted(page: Page) -> None:
        thread(page)
        page.select_option("#choice", label="Email to mara.lindqvist@example.com")
        page.fill("#reply", "A replacement leaves today")
        page.locator("#reply").select_text()
        page.keyboard.press("Control+b")
        page.keyboard.press("End")
        page.keyboard.press("Control+b")
        page.keyboard.type(", and the courier will text you.")

    def macro_one(page: Page) -> None:
        page.goto(f"{address}/inbox/settings/macros")
        page.locator(".rule-name", has_text="Reship").click()
        page.wait_for_selector("#macro-form")

    return {
        "saved": signed_in,
        "saved-one": edited,
        "saved-wrong": wrong,
        "slash": slash,
        "macros": lambda page: page.goto(f"{address}/inbox/settings/macros"),
        "macro-one": macro_one,
        "macro-menu": opened("#macro-menu summary"),
        "macro-waits": macro_waits,
        "send-menu": opened("#send-menu summary"),
        "palette": palette,
        "formatted": formatted,
        "mentions": lambda page: page.goto(f"{address}/inbox/mentions"),
        "company": lambda page: page.goto(f"{address}/inbox/c/{mara}?view=mine"),
    }
