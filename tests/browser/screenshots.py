"""Pictures of every page of the inbox at three widths, light and dark: `make screenshots` writes them to shots/."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event

from playwright.sync_api import Browser, Page

from hub.desk import export
from hub.experiments import Wanted
from hub.laboratory import Laboratory, begin
from hub.roles import RoleForm, save_role
from inbox.labform import routing_of, written
from storage import Store
from storage.access import ANSWER, AUDIT, SUPERVISE, SYSTEM
from storage.migrations import upgrade
from tests.browser.listing import list_pages
from tests.browser.room import PASSWORD, application, served
from tests.browser.scene import furnish, rush_hour
from tests.browser.setting_up import settings_pages
from tests.browser.writing import writing_pages
from tests.clock import Clock
from tests.desk import Desk, open_desk
from tests.support.browser import launched

SIZES = {"1440": (1440, 900), "1024": (1024, 768), "390": (390, 844)}
FOLDER = Path("shots")


def main(wanted: list[str]) -> None:
    """Take all pictures, or those whose name contains one of the words."""
    os.environ |= {"SWITCHYARD_CHEAP_PASSWORDS": "1", "MAIL_PASSWORD": "x", "SHOP_SECRET": "s" * 40}
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        store = Store(f"sqlite:///{folder}/hub.db", clock)
        upgrade(store)
        store.close()
        desk = open_desk("sqlite", Path(folder), clock, public_base_url="", undo_seconds=600)
        mara = furnish(desk)
        try_a_change(desk)
        with desk.hub.store.write() as tx:
            save_role(tx, SYSTEM, None, RoleForm("Team lead", {ANSWER, SUPERVISE, AUDIT}, {"Billing"}))
        with served(application(desk)) as address, launched() as browser:
            shoot(browser, pages(address, mara), wanted)
            shoot(browser, writing_pages(desk, address, mara), wanted)
            shoot(browser, list_pages(address), wanted)
            shoot(browser, settings_pages(desk, address), wanted)
            rush_hour(desk)
            shoot(browser, floor_pages(address), wanted)
        desk.hub.stop()
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}/")


def shoot(browser: Browser, pages: Mapping[str, Callable[[Page], object]], wanted: list[str]) -> None:
    """Each page at each size in each theme; nothing of a round of which no picture is wanted."""
    for size, (width, height) in SIZES.items():
        for theme in ("light", "dark"):
            names = [name for name in pages if not wanted or any(word in f"{name}-{size}-{theme}" for word in wanted)]
            if not names:
                continue
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme,
                timezone_id="Europe/Berlin", locale="en-GB", device_scale_factor=2 if size == "390" else 1.5,
                has_touch=size == "390",
            )  # fmt: skip
            page = context.new_page()
            for name, take in pages.items():
                take(page)
                if name in names:
                    page.wait_for_timeout(150)
                    page.screenshot(path=FOLDER / f"{name}-{size}-{theme}.png")
            context.close()


def try_a_change(desk: Desk) -> None:
    """An experiment whose result can be looked at."""
    with desk.hub.store.read() as tx:
        document = routing_of(export(tx))
    reserve = {name: {"leave": 30, "until": 60} for name in ("email", "form")}
    changed = written({**document, "queues": [{**queue, "reserve": reserve} for queue in document["queues"]]})
    wanted = Wanted(runs=6, hours=8, recommend=True, equivalents=True)
    with desk.hub.store.write() as tx:
        begin(tx, desk.ines, wanted, changed)
    Laboratory(desk.hub, "pictures").play_next(Event())


def pages(address: str, mara: int) -> dict[str, Callable[[Page], object]]:
    """What to show, in an order in which each starts where the one before ended."""

    def signed_in(page: Page) -> None:
        page.fill("#email", "jonas@desk.example")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("#rows")

    def reply_typed(page: Page) -> None:
        page.goto(f"{address}/inbox/c/{mara}?view=mine")
        page.click("label[for=kind-reply]")
        page.fill("#reply", "Hi Mara, yes it can. I have moved it to express. It arrives on Thursday 26 November.")

    def in_menu(selector: str) -> Callable[[Page], None]:
        def take(page: Page) -> None:
            page.goto(f"{address}/inbox/c/{mara}?view=mine")
            page.click(selector)

        return take

    def panel(page: Page) -> None:
        page.goto(f"{address}/inbox/c/{mara}?view=mine")
        if not page.locator("#context").is_visible():
            page.click("[popovertarget=context]:visible")
        page.locator("#context .past").first.scroll_into_view_if_needed()

    def sheet(endpoint: str) -> Callable[[Page], None]:
        def take(page: Page) -> None:
            panel(page)
            page.locator(f"#context a[href$='/{endpoint}']").click()
            page.wait_for_selector("#merge[open] form")

        return take

    def merging(page: Page) -> None:
        panel(page)
        page.click("#same summary")
        page.fill("#who-else", "devon")
        page.locator("#people .candidate").first.click()
        page.wait_for_selector("#merge[open] .pair")

    def found(words: str) -> Callable[[Page], None]:
        def take(page: Page) -> None:
            page.goto(f"{address}/inbox/search?q={words}")
            page.click("#rows .row")
            page.wait_for_selector("#timeline .msg")

        return take

    def note_typed(page: Page) -> None:
        page.goto(f"{address}/inbox/c/{mara}?view=mine")
        page.click("label[for=kind-note]")
        page.fill("#note", "She moves out on Friday morning: tell the courier.")

    def formatted(page: Page) -> None:
        page.goto(f"{address}/inbox/c/{mara}?view=mine")
        page.locator("details.original summary").first.click()
        page.locator("details.original").first.scroll_into_view_if_needed()

    def unreadable(page: Page) -> None:
        page.context.clear_cookies()
        page.goto(f"{address}/sign-in")
        page.fill("#email", "ines@desk.example")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("#rows")
        page.goto(f"{address}/inbox/unreadable")

    def receipt(page: Page) -> None:
        page.goto(f"{address}/inbox/ledger?state=quarantined")
        page.click(".entry")
        page.wait_for_selector(".receipt-props")

    def first_rule(page: Page) -> None:
        page.goto(f"{address}/inbox/settings/rules")
        page.click("a[href^='/inbox/settings/rules/']:not([href$='/new'])")
        page.wait_for_selector("#rule-form")

    def experiment(page: Page) -> None:
        page.goto(f"{address}/inbox/lab")
        page.click(".tried a")
        page.wait_for_selector(".figures")

    def before_applying(page: Page) -> None:
        experiment(page)
        page.click("a.apply")
        page.wait_for_selector(".diff")

    def step_begun(page: Page) -> None:
        page.goto(f"{address}/inbox/account/second-step")
        if page.locator(".qr").count() == 0:
            page.click("main button.primary")
        page.wait_for_selector(".qr")

    def token_made(page: Page) -> None:
        page.goto(f"{address}/inbox/people/tokens")
        page.fill("#name", "crm")
        page.click("main .form-end .primary")
        page.wait_for_selector(".shown-once")

    def help_open(page: Page) -> None:
        page.goto(f"{address}/inbox/mine")
        page.keyboard.press("?")

    def wrong(page: Page) -> None:
        page.context.clear_cookies()
        page.goto(f"{address}/sign-in")
        page.fill("#email", "jonas@desk.example")
        page.fill("#password", "wrong password")
        page.click("button.primary")

    return {
        "sign-in": lambda page: page.goto(f"{address}/sign-in"),
        "mine": signed_in,
        "thread": lambda page: page.goto(f"{address}/inbox/c/{mara}?view=mine"),
        "reply": reply_typed,
        "note": note_typed,
        "mail": formatted,
        "panel": panel,
        "panel-details": sheet("details"),
        "panel-note": sheet("contact-note"),
        "panel-consent": sheet("consent"),
        "panel-merge": merging,
        "assign": in_menu("#assign-menu summary"),
        "snooze": in_menu("#snooze-menu summary"),
        "failed": found("48250"),
        "form": found("charged"),
        "all": lambda page: page.goto(f"{address}/inbox/all"),
        "snoozed": lambda page: page.goto(f"{address}/inbox/snoozed"),
        "unassigned": lambda page: page.goto(f"{address}/inbox/unassigned"),
        "nothing-found": lambda page: page.goto(f"{address}/inbox/search?q=zebra"),
        "not-here": lambda page: page.goto(f"{address}/inbox/c/99999"),
        "help": help_open,
        "account": lambda page: page.goto(f"{address}/inbox/account"),
        "notifications": lambda page: page.goto(f"{address}/inbox/account/notifications"),
        "second-step": step_begun,
        "unreadable": unreadable,
        "panel-erase": sheet("erase"),
        "ledger": lambda page: page.goto(f"{address}/inbox/ledger"),
        "receipt": receipt,
        "replay": lambda page: page.goto(f"{address}/inbox/ledger/replay"),
        "rules": lambda page: page.goto(f"{address}/inbox/settings/rules"),
        "contact-fields": lambda page: page.goto(f"{address}/inbox/settings/fields"),
        "contact-field": lambda page: page.goto(f"{address}/inbox/settings/fields/new"),
        "rule-new": lambda page: page.goto(f"{address}/inbox/settings/rules/new"),
        "rule": first_rule,
        "lab": lambda page: page.goto(f"{address}/inbox/lab"),
        "lab-result": experiment,
        "lab-apply": before_applying,
        "people": lambda page: page.goto(f"{address}/inbox/people"),
        "person": lambda page: page.goto(f"{address}/inbox/people/1"),
        "person-new": lambda page: page.goto(f"{address}/inbox/people/new"),
        "roles": lambda page: page.goto(f"{address}/inbox/people/roles"),
        "role": lambda page: page.goto(f"{address}/inbox/people/roles/1"),
        "tokens": token_made,
        "audit": lambda page: page.goto(f"{address}/inbox/people/audit"),
        "escalated": lambda page: page.goto(f"{address}/inbox/escalated"),
        "sign-in-wrong": wrong,
        "forgot": lambda page: page.goto(f"{address}/sign-in/forgot"),
    }


def floor_pages(address: str) -> dict[str, Callable[[Page], object]]:
    """The floor at a busy hour, and what opens on it."""

    def floor(page: Page) -> None:
        page.goto(f"{address}/sign-in")
        page.fill("#email", "ines@desk.example")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("#rows")
        page.goto(f"{address}/inbox/floor")

    def sheet(selector: str) -> Callable[[Page], None]:
        def take(page: Page) -> None:
            page.goto(f"{address}/inbox/floor")
            page.locator(selector).click()
            page.wait_for_selector("#sheet[open] header")

        return take

    return {
        "floor": floor,
        "floor-conversation": sheet(".w:has-text('Vera') .sheet-open"),
        "floor-agent": sheet(".a:has-text('Jonas') .sheet-open"),
        "floor-queue": sheet(".q:has-text('Billing') .sheet-open"),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
