"""Pictures of Settings: channels with their set-up and test, queues, calendars, skills and profiles."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from hub.contactfields import FieldForm, save_field
from hub.desk import apply, read
from hub.endpoints import add_endpoint, send_test
from hub.macros import Does, Wanted, create
from hub.tags import tag
from storage.access import SYSTEM
from tests.browser.room import PASSWORD
from tests.desk import Desk

MORE = """
calendars:
  - name: office
    time_zone: Europe/Berlin
    hours: {mon-thu: [09:00-12:00, 13:00-18:00], fri: 09:00-16:00}
    holidays: {country: DE, region: BE}
profiles:
  - {name: Front line, channels: {chat: 2, email: 4}, pull: [form]}
"""

MACROS = {
    "Refund": Does(reply="Hello {{contact.name}}", note="Paid back", tags=("refund",), priority=5, then="resolve"),
    "To Billing": Does(untag=("vip",), queue_id=2, then="snooze", snooze=86_400),
    "Mine for now": Does(assign=0, then="snooze"),
    "To nobody": Does(assign=999, priority=0),
}


def furnish_settings(desk: Desk) -> None:
    """A calendar, a profile, a webhook with something on its way, tags, a contact field and macros."""
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read(MORE))
        hook = add_endpoint(tx, desk.ines, name="crm", url="https://crm.example.com/hooks", events=["message.received"])
        send_test(tx, desk.ines, hook.id or 0)
        for number, names in enumerate(("vip, returns", "returns", "wholesale"), 1):
            tag(tx, desk.ines, number, names)
        save_field(tx, desk.ines, None, FieldForm("Shop"))
        for name, does in MACROS.items():
            create(tx, desk.ines, Wanted(name, does))
    desk.hub.look_again()


def settings_pages(desk: Desk, address: str) -> dict[str, Callable[[Page], object]]:
    """What to show, in an order in which each starts where the one before ended."""
    furnish_settings(desk)
    base = f"{address}/inbox/settings"

    def signed_in(page: Page) -> None:
        page.context.clear_cookies()
        page.goto(f"{address}/sign-in")
        page.fill("#email", "ines@desk.example")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.wait_for_selector("#rows")
        page.goto(f"{base}/channels")

    def opened(section: str, name: str) -> Callable[[Page], None]:
        def take(page: Page) -> None:
            page.goto(f"{base}/{section}")
            page.locator(".rule-name", has_text=name).first.click()
            page.wait_for_selector("#desk-form")

        return take

    def refused(page: Page) -> None:
        page.goto(f"{base}/channels/new/email")
        for field, value in (("name", "hello mail"), ("address", "hello@shop.example"), ("settings-username", "hello"),
                             ("settings-password", "secret"), ("settings-imap_host", "127.0.0.1"),
                             ("settings-smtp_host", "127.0.0.1")):  # fmt: skip
            page.fill(f"#{field}", value)
        page.locator("#desk-form .primary").click()
        page.wait_for_selector(".wrong")

    def tested(page: Page) -> None:
        opened("channels", "support-mail")(page)
        page.click("text=Test it now")
        page.wait_for_selector(".test-steps .bad")

    def changed(page: Page) -> None:
        opened("queues", "Shipping")(page)
        page.fill("#sla-first_reply", "15m")
        page.select_option("#calendar", "office")
        page.locator("#calendar").blur()
        page.wait_for_selector("#effect .lines")
        page.locator("#effect").scroll_into_view_if_needed()

    def gone(page: Page) -> None:
        page.goto(f"{base}/queues")
        page.locator("a", has_text="Delete Billing").click()
        page.wait_for_selector("main .primary")

    return {
        "channels": signed_in,
        "channel-kinds": lambda page: page.goto(f"{base}/channels/new"),
        "channel-wrong": refused,
        "channel-test": tested,
        "channel-chat": opened("channels", "shop-chat"),
        "queues": lambda page: page.goto(f"{base}/queues"),
        "queue-changed": changed,
        "queue-remove": gone,
        "calendars": lambda page: page.goto(f"{base}/calendars"),
        "calendar": opened("calendars", "office"),
        "skills": lambda page: page.goto(f"{base}/skills"),
        "profile": opened("profiles", "Front line"),
        "webhooks": lambda page: page.goto(f"{base}/webhooks"),
        "webhook": lambda page: (page.goto(f"{base}/webhooks"), page.click(".rule-name")),
        "tags": lambda page: page.goto(f"{base}/tags"),
        "tag-looked": lambda page: (page.goto(f"{base}/tags"), page.click(".rule-name"), page.click("main .primary")),
        "first-steps": lambda page: page.goto(f"{base}/start"),
    }
