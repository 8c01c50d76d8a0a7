"""The inbox in a real browser: keys, live updates under one's hands, a phone, hostile mail, and no scripts at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Browser, Page, Route, expect

from hub.replies import reply
from inbox import assets
from tests.browser.room import PASSWORD, application, served
from tests.browser.scene import available, furnish, rich_mail
from tests.desk import Desk
from tests.support import need
from tests.test_inbox_security import VECTORS, hostile

AXE = assets.PACKAGES / "axe-core" / "axe.min.js"
expect.set_options(timeout=5000)

# Time in the pages stands still unless a story moves it: the database decides nothing here, so one kind will do.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    desk.hub.settings = desk.hub.settings.changed(public_base_url="")  # http, so that cookies travel
    with served(application(desk)) as url:
        yield url


@contextmanager
def visit(browser: Browser, address: str, who: str = "jonas", **options: Any) -> Iterator[Page]:
    """Jonas (or another) at the desk; a story fails on any script error and on anything the policy refused."""
    context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | options))
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console", lambda message: problems.append(message.text) if _is_problem(message.text, message.type) else None
    )
    page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
    try:
        sign_in(page, address, f"{who}@desk.example")
        yield page
        assert problems == []
    finally:
        context.close()


def _is_problem(text: str, kind: str) -> bool:
    # A refused reply (409) or form (422) is logged by the browser as a failed resource; that refusal is the story.
    return kind == "error" and "409" not in text and "422" not in text


def sign_in(page: Page, address: str, email: str) -> None:
    page.goto(f"{address}/sign-in")
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    expect(page.locator("#rows")).to_be_attached()


def test_somebody_who_joined_is_copied_with_one_click(browser: Browser, desk: Desk, address: str) -> None:
    mara = "From: Mara Lindqvist <mara.lindqvist@example.com>\r\nTo: support@desk.example\r\nSubject: Lamp\r\n"
    number = desk.raw_mail(f"{mara}Cc: nora@example.com\r\n\r\nHas it left?\r\n".encode()).conversation_id or 0
    with desk.hub.store.write() as tx:
        sent = reply(tx, desk.jonas, number, text="Today.", tokens=desk.hub.tokens, undo_seconds=0)
    desk.mail("Re: Lamp", "I know!", sender="Eve Adler <eve@elsewhere.example>", answers=sent.external_id)
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        expect(page.locator("#also li")).to_have_count(2)
        page.get_by_role("button", name="Copy to Eve Adler").click()
        expect(page.locator("#cc")).to_have_value("nora@example.com, eve@elsewhere.example")
        expect(page.locator(".offered")).to_have_count(0)
        page.fill("#reply", "It left.")
        page.get_by_role("button", name="Send", exact=False).last.click()
        expect(page.locator("article.out").last).to_contain_text("cc nora@example.com, eve@elsewhere.example")


def test_jonas_works_through_his_list_by_keyboard(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    first = desk.mail("Order 1", "Where is my lamp?", sender="Devon <devon@example.org>").conversation_id
    desk.clock.forward(seconds=5)
    second = desk.text("Where is my parcel?").conversation_id
    desk.route()
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/mine")
        page.keyboard.press("j")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(first))
        page.keyboard.press("j")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(second))
        page.keyboard.press("k")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(first))
        assert f"/inbox/c/{first}" in page.url
        expect(page.locator(f"#c-{first} .row")).not_to_have_class(re.compile("unread"))

        page.keyboard.press("r")
        page.keyboard.type("Je suis là: jkenz?")
        expect(page.locator("#reply")).to_have_value("Je suis là: jkenz?")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".toast")).to_contain_text("sends in")
        expect(page.locator(".msg.out .text")).to_have_text("Je suis là: jkenz?")
        expect(page.locator("#reply")).to_have_value("")
        page.keyboard.press("Escape")
        page.keyboard.press("z")
        expect(page.locator("#reply")).to_have_value("Je suis là: jkenz?")
        expect(page.locator(".msg.out")).to_have_count(0)
        expect(page.locator("#reply")).to_be_focused()

        page.keyboard.press("Escape")
        page.keyboard.press("e")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(second))
        expect(page.locator(f"#c-{first}")).to_have_count(0)
        page.keyboard.press("s")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator(".toast").last).to_contain_text("Snoozed until")
        expect(page.locator(f"#c-{second}")).to_have_count(0)


WATCH = """() => {
  window.shown = 0;
  new MutationObserver(() => { if (document.getElementById("timeline").textContent.includes("One more thing")) window.shown ||= performance.timeOrigin + performance.now(); })
    .observe(document.body, { subtree: true, childList: true, characterData: true });
}"""  # noqa: E501


def test_a_message_arrives_under_jonas_hands(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.text("Where is my lamp?").conversation_id
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.fill("#reply", "We are looking for it")
        page.evaluate("document.getElementById('reply').setSelectionRange(7, 7)")
        page.evaluate(WATCH)
        row = page.evaluate_handle(f"document.getElementById('c-{number}')")
        page.wait_for_timeout(300)  # the stream's own greeting
        started = page.evaluate("performance.timeOrigin + performance.now()")
        desk.text("One more thing")
        page.wait_for_function("() => window.shown > 0")
        assert page.evaluate("window.shown") - started < 1000

        assert page.evaluate("document.activeElement.id") == "reply"
        assert page.evaluate("document.activeElement.selectionStart") == 7
        expect(page.locator("#reply")).to_have_value("We are looking for it")
        assert page.evaluate("(row) => row.isConnected", row)
        expect(page.locator(f"#c-{number} .prev")).to_have_text("Draft: We are looking for it")

        page.keyboard.press("Control+Enter")  # in the same breath: he can't have read it
        expect(page.locator(".guard")).to_contain_text("wrote again")
        expect(page.locator("#reply")).to_have_value("We are looking for it")
        page.click("button[name=anyway]")
        expect(page.locator(".msg.out .text")).to_have_text("We are looking for it")


def test_a_list_that_was_read_before_a_draft_was_kept_shows_it_all_the_same(
    browser: Browser, desk: Desk, address: str
) -> None:
    number = desk.text("Where is my lamp?").conversation_id
    read: list[tuple[Route, APIResponse]] = []
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.wait_for_timeout(300)  # the stream's own greeting
        page.route("**/inbox/live*", lambda route: read.append((route, route.fetch())), times=1)
        desk.text("One more thing")
        for _ in range(500):
            if read:
                break
            page.wait_for_timeout(20)
        page.fill("#reply", "We are looking for it")
        expect(page.locator("#composer [data-saved]")).to_have_text("Draft saved")
        ((late, answer),) = read
        late.fulfill(response=answer)
        expect(page.locator("#timeline")).to_contain_text("One more thing")
        page.wait_for_timeout(100)
        expect(page.locator(f"#c-{number} .prev")).to_have_text("Draft: We are looking for it")


def test_the_title_counts_what_is_unread_also_in_a_hidden_tab(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/mine")
        page.wait_for_timeout(300)
        desk.text("Where is my lamp?")
        desk.route()
        expect(page).to_have_title(re.compile(r"^\(1\) "))
        expect(page.locator("#rows .row.unread")).to_have_count(1)
        expect(page.locator("#v-mine .n")).to_have_text("1")


def test_drafts_survive_leaving_without_a_word(browser: Browser, desk: Desk, address: str) -> None:
    one = desk.text("Where is my lamp?").conversation_id
    other = desk.mail("A question", "Do you ship to Norway?", sender="Devon <devon@example.org>").conversation_id
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{one}?view=all")
        page.fill("#reply", "half a sent")
        page.click(f"#c-{other} .row")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(other))
        page.fill("#reply", "Yes, w")
        page.goto(f"{address}/inbox/c/{one}?view=all")
        expect(page.locator("#reply")).to_have_value("half a sent")
        page.goto(f"{address}/inbox/c/{other}?view=all")
        expect(page.locator("#reply")).to_have_value("Yes, w")


def test_keys_stay_out_of_fields_and_can_be_switched_off(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.text("Where is my lamp?").conversation_id
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.keyboard.press("/")
        page.keyboard.type("ejkrsz?")
        expect(page.locator("#q")).to_have_value("ejkrsz?")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        expect(page.locator("#help-keys li")).to_have_count(32)
        with page.expect_response("**/inbox/preferences"):
            page.uncheck("#keys-switch")
        page.keyboard.press("Escape")
        page.reload()
        page.keyboard.press("e")
        page.wait_for_timeout(200)
        assert desk.only_conversation().state == "open"


def test_a_phone_shows_the_list_then_the_thread_and_goes_back(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.raw_mail(rich_mail()).conversation_id
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with visit(browser, address, **phone) as page:
        page.goto(f"{address}/inbox/all")
        expect(page.locator("#thread")).to_be_hidden()
        page.tap(f"#c-{number} .row")
        expect(page.locator("#list")).to_be_hidden()
        expect(page.locator("#reply")).to_be_in_viewport()
        page.fill("#reply", "On its way " * 30)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(page.locator("[data-send]").first).to_be_in_viewport()
        page.click("button[popovertarget=context]")
        expect(page.locator("#context .person")).to_be_visible()
        page.click("#context button[popovertarget=context]")
        page.go_back()
        expect(page.locator("#list")).to_be_visible()
        page.click("header button[popovertarget=nav]")
        expect(page.locator("#v-unassigned")).to_be_in_viewport()


def test_files_are_attached_and_merging_asks_first(browser: Browser, desk: Desk, address: str, tmp_path: Path) -> None:
    number = desk.mail("Order 48213", "Please send the label").conversation_id
    desk.text("It is Mara")
    label = tmp_path / "label.pdf"
    label.write_bytes(b"%PDF-1.4")
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.set_input_files("#composer input[type=file]", label)
        expect(page.locator("#attached .file b")).to_have_text("label.pdf")
        page.fill("#reply", "Here it is")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".msg.out .file b")).to_have_text("label.pdf")

        page.click("#same summary")
        page.fill("#who-else", "+4670")
        page.click(".candidate")
        expect(page.locator("#merge")).to_be_visible()
        page.click("#merge .primary")
        expect(page.locator("#context .ids li")).to_have_count(2)
        page.locator(".toast", has_text="One person").locator("[data-undo]").click()
        expect(page.locator("#context .ids li")).to_have_count(1)


def test_hostile_mail_runs_nothing_and_calls_nobody(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.raw_mail(hostile("".join(VECTORS), '<img src="cid:known">' + "".join(VECTORS))).conversation_id
    with visit(browser, address) as page:
        called: list[str] = []
        page.on("request", lambda request: called.append(request.url))
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.click("details.original summary")
        frame = page.frame_locator("details.original iframe")
        expect(frame.locator("img").first).to_be_visible()
        assert frame.locator("img").first.evaluate("(image) => image.complete && image.naturalWidth") == 64
        page.wait_for_timeout(300)
        assert [url for url in called if not url.startswith((address, "data:"))] == []


def test_without_scripts_one_can_sign_in_read_and_answer(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.raw_mail(rich_mail()).conversation_id or 0
    with visit(browser, address, java_script_enabled=False) as page:
        page.goto(f"{address}/inbox/all")
        page.click(f"#c-{number} .row")
        expect(page.locator(".msg .text").first).to_contain_text("Good morning")
        page.fill("#reply", "By hand")
        page.click("[data-send] >> nth=0")
        expect(page.locator(".msg.out .text")).to_have_text("By hand")
        page.click("[data-key=e]:visible")
        expect(page.locator("#list")).to_be_visible()
    assert desk.only_conversation().state == "resolved"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_can_be_used_by_everybody(browser: Browser, desk: Desk, address: str, theme: str) -> None:
    need(AXE.is_file(), "axe-core (make test installs it)")
    mara = furnish(desk)
    with visit(browser, address, color_scheme=theme, bypass_csp=True) as page:
        for path in (f"/inbox/c/{mara}?view=mine", "/inbox/mine", "/inbox/unreadable", "/inbox/search?q=zebra"):
            page.goto(address + path)
            assert violations(page) == [], path
        page.click("label[for=kind-note]") if page.locator("label[for=kind-note]").count() else None
        page.goto("about:blank")  # or its stream, asking once more, is refused
        page.context.clear_cookies()
        page.goto(f"{address}/sign-in")
        assert violations(page) == []
        sign_in(page, address, "ines@desk.example")
        rules = "/inbox/settings/rules"
        for path in ("/inbox/ledger", "/inbox/ledger/1", "/inbox/ledger/replay", rules, f"{rules}/new", f"{rules}/1"):
            page.goto(address + path)
            assert violations(page) == [], path


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_a_rule_is_built_by_hand_and_tried(browser: Browser, desk: Desk, address: str, size: tuple[int, int]) -> None:
    desk.mail("Hello", "Nothing special")
    with visit(browser, address, "ines", viewport={"width": size[0], "height": size[1]}) as page:
        page.goto(f"{address}/inbox/settings/rules/new")
        page.fill("#rule-name", "Nights")
        page.fill("[name='n.1.field']", "item.channel")
        page.keyboard.press("Tab")
        expect(page.locator("[name='n.1.op'] option")).to_have_count(10)
        expect(page.locator("[name='n.1.op']")).to_be_focused()
        page.fill("[name='n.1.value']", "email")
        page.locator("button[value='box:n']").click()
        page.fill("[name='n.2.1.field']", "time.of_day")
        page.keyboard.press("Tab")
        page.fill("[name='n.2.1.zone']", "Europe/Stokholm")
        page.fill("[name='n.2.1.value']", "10:00")
        page.get_by_role("button", name="Try it").click()
        expect(page.locator(".wrong")).to_contain_text("did you mean 'Europe/Stockholm'?")
        expect(page.locator("[name='n.2.1.zone']")).to_be_focused()
        page.fill("[name='n.2.1.zone']", "Europe/Stockholm")
        page.get_by_role("button", name="Try it").click()
        expect(page.locator(".trial")).to_contain_text("it would have matched 1")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".told")).to_contain_text("“Nights” is kept")
        expect(page.locator(".rule-name")).to_have_text(["Order keywords", "Money", "Nights"])


def violations(page: Page) -> list[str]:
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] })")
    return [
        f"{one['id']}: {node['target']} {json.dumps([check['message'] for check in node['any']])[:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
