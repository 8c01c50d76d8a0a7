"""The list under one's hands: many marked at once, own views, search while one types, and what follows a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from hub import views
from hub.lifecycle import resolve
from hub.tags import tag
from hub.views import Wanted
from routing import work
from tests.browser.room import application, served
from tests.browser.scene import available
from tests.browser.test_stories import AXE, violations, visit
from tests.desk import Desk
from tests.support import need

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def address(desk: Desk) -> Iterator[str]:
    desk.hub.settings = desk.hub.settings.changed(public_base_url="")  # http, so that cookies travel
    with served(application(desk)) as url:
        yield url


def letters(desk: Desk, count: int) -> list[int]:
    """Customers with a question each, the oldest first."""
    found = []
    for number in range(count):
        sender = f"Customer {number} <c{number}@example.org>"
        found.append(desk.mail(f"Order {number}", "Where is my lamp?", sender=sender).conversation_id or 0)
        desk.clock.forward(seconds=5)
    return found


def marked(page: Page) -> list[int]:
    return [int(box.input_value()) for box in page.locator("#rows .pick:checked").all()]


def test_many_are_marked_by_key_resolved_and_taken_back_as_one(browser: Browser, desk: Desk, address: str) -> None:
    numbers = letters(desk, 5)
    available(desk, desk.amara)
    with desk.hub.store.write() as tx:
        work.claim(tx, desk.amara, numbers[1])
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/all")
        expect(page.locator("#bulk")).to_be_hidden()
        page.keyboard.press("j")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(numbers[0]))
        page.keyboard.press("x")
        expect(page.locator("#bulk-n")).to_have_text("1")
        page.keyboard.press("Shift+J")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(numbers[1]))
        page.keyboard.press("Shift+J")
        expect(page.locator("#bulk-n")).to_have_text("3")
        assert marked(page) == numbers[:3]

        desk.mail("Later", "Where is my lamp?", sender="Late <late@example.org>")
        expect(page.locator("#rows .row")).to_have_count(6)
        assert marked(page) == numbers[:3]  # a live update takes no mark away

        page.keyboard.press("i")  # what is marked is meant before what is open
        expect(page.locator(".toast").last).to_contain_text("2 conversations given to you. 1 stayed as it was")
        expect(page.locator(".toast").last).to_contain_text("Amara Obi has it already")
        assert marked(page) == [numbers[1]]  # what refused is still marked
        page.keyboard.press("z")
        expect(page.locator(".toast").last).to_contain_text("2 conversations as before")
        page.evaluate("() => new Promise((done) => setTimeout(done, 0))")  # whatever follows the swap
        expect(page.locator("body")).to_be_focused()  # nothing was brought back to be written on

        page.keyboard.press("Escape")
        expect(page.locator("#bulk")).to_be_hidden()
        page.keyboard.press("Shift+X")
        expect(page.locator("#bulk-n")).to_have_text("6")
        page.keyboard.press("t")
        expect(page.locator("#bulk-tags")).to_be_focused()
        page.keyboard.type("vip")
        page.keyboard.press("Enter")
        expect(page.locator(".toast").last).to_contain_text("6 conversations tagged vip")


def test_shift_and_a_press_mark_a_stretch(browser: Browser, desk: Desk, address: str) -> None:
    numbers = letters(desk, 6)
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/all")
        page.click(f"#c-{numbers[1]} .pick")
        page.click(f"#c-{numbers[4]} .pick", modifiers=["Shift"])
        assert marked(page) == numbers[1:5]
        page.keyboard.press("Escape")
        assert marked(page) == []
        expect(page.locator("#bulk")).to_be_hidden()
        page.click(f"#c-{numbers[1]} .pick")
        page.click(f"#c-{numbers[4]} .pick", modifiers=["Shift"])
        page.click(f"#c-{numbers[2]} .pick")
        expect(page.locator("#bulk-n")).to_have_text("3")
        page.keyboard.press("s")
        page.fill("#bulk-when", "jan 5")
        page.keyboard.press("Enter")
        expect(page.locator(".toast").last).to_contain_text("3 conversations snoozed until Tue 5 Jan, 08:00")
        expect(page.locator("#rows .row")).to_have_count(3)
        expect(page.locator("#bulk")).to_be_hidden()


def test_all_of_a_view_beyond_what_is_loaded(browser: Browser, desk: Desk, address: str) -> None:
    letters(desk, 43)
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/all")
        expect(page.locator("#rows .row")).to_have_count(40)
        page.keyboard.press("j")
        page.keyboard.press("Shift+X")
        expect(page.locator("#bulk-n")).to_have_text("43")
        page.keyboard.press("a")
        expect(page.locator("#bulk .menu-list button", has_text="Take them")).to_be_focused()
        page.keyboard.press("Escape")
        page.keyboard.press("e")
        expect(page.locator(".toast").last).to_contain_text("43 conversations resolved", timeout=20_000)
        expect(page.locator("#rows .row")).to_have_count(0)
        page.keyboard.press("z")
        expect(page.locator(".toast").last).to_contain_text("43 conversations as before", timeout=20_000)
        expect(page.locator("#rows .row")).to_have_count(40)


def test_a_thumb_marks_and_resolves(browser: Browser, desk: Desk, address: str) -> None:
    numbers = letters(desk, 3)
    phone: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    with visit(browser, address, **phone) as page:
        page.goto(f"{address}/inbox/all")
        page.tap(f"#c-{numbers[0]} .pick")
        page.tap(f"#c-{numbers[2]} .pick")
        expect(page.locator("#bulk")).to_be_in_viewport()
        for button in page.locator("#bulk > :is(.btn, .menu)").all():
            box = button.bounding_box()
            assert box is not None and box["height"] >= 44 and box["x"] + box["width"] <= 390
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.tap("#bulk [data-key=e]")
        expect(page.locator(".toast")).to_contain_text("2 conversations resolved")
        expect(page.locator("#rows .row")).to_have_count(1)
        page.tap(".toast [data-undo]")
        expect(page.locator("#rows .row")).to_have_count(3)


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_a_view_is_put_together_by_keyboard_and_counts_itself(
    browser: Browser, desk: Desk, address: str, size: tuple[int, int]
) -> None:
    numbers = letters(desk, 3)
    with desk.hub.store.write() as tx:
        tag(tx, desk.jonas, numbers[1], "vip")
    with visit(browser, address, viewport={"width": size[0], "height": size[1]}) as page:
        page.goto(f"{address}/inbox/views/new")
        page.fill("#view-name", "Important")
        page.select_option("[name='n.1.field']", "agent")
        expect(page.locator("[name='n.1.value']")).to_contain_text("nobody")
        page.locator("button[value='drop:n.1']").click()
        expect(page.locator("[name$='.field']")).to_have_count(1)
        expect(page.locator("[name='n.1.field']")).to_have_value("queue")
        page.get_by_role("button", name="Condition").click()
        expect(page.locator("[name$='.field']")).to_have_count(2)
        page.select_option("[name='n.1.field']", "state")
        expect(page.locator("[name='n.1.value']")).to_contain_text("snoozed")
        page.select_option("[name='n.1.value']", "open")
        expect(page.locator("[name='n.1.value'] [selected]")).to_have_text("open")
        page.focus("[name='n.2.field']")
        page.select_option("[name='n.2.field']", "tag")
        expect(page.locator("[name='n.2.op'] option")).to_have_count(4)
        expect(page.locator("[name='n.2.field']")).to_be_focused()
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".wrong")).to_have_text("Choose one, or write it")
        expect(page.locator("[name='n.2.value']")).to_be_focused()
        page.keyboard.type("vip")
        page.keyboard.press("Tab")
        expect(page.locator(".trial")).to_contain_text("1 conversation now")
        expect(page.locator("#view-name")).to_have_value("Important")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#list h1")).to_have_text("Important")
        expect(page.locator("#rows .row")).to_have_count(1)
        count = page.locator("#nav-views [id^=n-]")
        expect(count).to_have_text("1")
        with desk.hub.store.write() as tx:
            tag(tx, desk.jonas, numbers[2], "vip")
        expect(page.locator("#rows .row")).to_have_count(2)
        desk.clock.forward(seconds=5)
        desk.text("And mine?")
        expect(count).to_have_text("2")


def test_what_may_follow_a_key_is_shown_and_g_leads_there(browser: Browser, desk: Desk, address: str) -> None:
    letters(desk, 1)
    with desk.hub.store.write() as tx:
        views.create(tx, desk.jonas, Wanted("Everything late", {"field": "due", "op": "eq", "value": "late"}))
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/mine")
        expect(page.locator("#hint")).to_be_hidden()
        page.keyboard.press("g")
        expect(page.locator("#hint li")).to_have_text(
            ["EverythingE", "Assigned to meM", "UnassignedU", "MentionsA", "SnoozedS", "ResolvedR", "Everything late1"]
        )
        page.keyboard.press("r")
        expect(page.locator("#hint")).to_be_hidden()
        expect(page.locator("#list h1")).to_have_text("Resolved")
        page.keyboard.press("g")
        page.keyboard.press("1")
        expect(page.locator("#list h1")).to_have_text("Everything late")
        page.keyboard.press("g")
        page.keyboard.press("Escape")
        expect(page.locator("#hint")).to_be_hidden()
        page.keyboard.press("g")
        page.keyboard.press("x")  # leads nowhere, and marks nothing
        expect(page.locator("#hint")).to_be_hidden()
        expect(page.locator("#bulk")).to_be_hidden()
        page.keyboard.press("g")
        page.evaluate("setTimeout(() => { window.waited = true }, 3500)")
        expect(page.locator("#hint")).to_be_visible()
        page.wait_for_function("() => window.waited")
        expect(page.locator("#hint")).to_be_hidden()  # it goes by itself


def test_search_answers_while_jonas_types_and_escape_leads_back(browser: Browser, desk: Desk, address: str) -> None:
    numbers = letters(desk, 3)
    other = desk.text("My sofa has a scratch").conversation_id or 0
    with desk.hub.store.write() as tx:
        resolve(tx, desk.jonas, numbers[2])
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{numbers[0]}?view=all")
        page.keyboard.press("/")
        page.keyboard.type("sofa")
        expect(page.locator("#rows .row")).to_have_count(1)
        expect(page.locator("#rows mark")).to_have_text("sofa")
        expect(page.locator("#list h1")).to_have_text("Search")
        expect(page.locator("#q")).to_be_focused()
        expect(page.locator("#thread")).to_have_attribute("data-id", str(numbers[0]))  # what was open stays open
        assert page.url.endswith(f"/inbox/c/{numbers[0]}?view=search&q=sofa")
        desk.mail("Again", "A sofa once more", sender="Vera <vera@example.org>")
        expect(page.locator("#rows .row")).to_have_count(2)  # and what is found is live

        expect(page.locator("#list-n")).to_have_text("")
        page.keyboard.press("Escape")
        expect(page.locator("#list h1")).to_have_text("Everything")
        expect(page.locator("#list-n")).to_have_text("4")
        expect(page.locator("#rows .row")).to_have_count(4)
        assert page.url.endswith(f"/inbox/c/{numbers[0]}?view=all")

        page.keyboard.press("/")
        page.keyboard.type("is:resolved order")
        page.keyboard.press("Enter")  # faster than the answer: the first of what is asked for now
        expect(page.locator("#thread")).to_have_attribute("data-id", str(numbers[2]))
        expect(page.locator("#q")).not_to_be_focused()
        page.keyboard.press("/")
        page.keyboard.type("scratch")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(other))


def test_an_old_answer_never_takes_the_place_of_a_newer_one(browser: Browser, desk: Desk, address: str) -> None:
    letters(desk, 2)
    desk.text("My sofa has a scratch")
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/all")
        page.route("**/inbox/search/typed?q=lamp**", lambda route: None)
        with page.expect_request("**/inbox/search/typed?q=lamp**"):
            page.fill("#q", "lamp")
        with page.expect_event("requestfailed", lambda request: "q=lamp" in request.url):
            page.fill("#q", "sofa")  # the browser gives the old one up
        expect(page.locator("#rows .row")).to_have_count(1)
        expect(page.locator("#rows mark")).to_have_text("sofa")


def test_neighbours_are_there_before_they_are_asked_for(browser: Browser, desk: Desk, address: str) -> None:
    numbers = letters(desk, 4)
    with visit(browser, address) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.removeprefix(address)))
        page.goto(f"{address}/inbox/all")
        page.wait_for_timeout(700)  # the stream's own greeting would drop what was fetched before it
        with page.expect_response(f"**/inbox/c/{numbers[1]}?view=all"):
            page.keyboard.press("j")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(numbers[0]))
        before = asked.count(f"/inbox/c/{numbers[1]}?view=all")
        page.keyboard.press("j")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(numbers[1]))
        assert asked.count(f"/inbox/c/{numbers[1]}?view=all") == before == 1


def test_a_key_in_the_moment_of_a_refresh_goes_on_from_where_one_is(browser: Browser, desk: Desk, address: str) -> None:
    numbers = letters(desk, 4)
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/all")
        for number in numbers[:2]:
            page.keyboard.press("j")
            expect(page.locator("#thread")).to_have_attribute("data-id", str(number))
        page.evaluate(
            """() => document.addEventListener("htmx:after:swap", function press({ detail: { ctx } }) {
              if (ctx.request.action !== "/inbox/live") return;
              document.removeEventListener("htmx:after:swap", press);
              document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
            })"""
        )
        page.evaluate("""() => htmx.ajax("GET", "/inbox/live", { source: "#live", target: "#live", swap: "none" })""")
        expect(page.locator("#thread")).to_have_attribute("data-id", str(numbers[2]))


def test_a_row_that_arrives_above_moves_nothing_under_ones_eyes(browser: Browser, desk: Desk, address: str) -> None:
    numbers = letters(desk, 24)
    for number in numbers[:-1]:
        with desk.hub.store.write() as tx:
            resolve(tx, desk.jonas, number)
        desk.clock.forward(seconds=1)
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/resolved")
        page.locator("#list-scroll").evaluate("(list) => list.scrollTo(0, 500)")
        page.wait_for_function("() => document.getElementById('list-scroll').scrollTop > 400")
        seen = page.locator(f"#c-{numbers[10]}")
        before = seen.evaluate("(row) => row.getBoundingClientRect().top")
        with desk.hub.store.write() as tx:
            resolve(tx, desk.jonas, numbers[-1])
        expect(page.locator("#rows .row")).to_have_count(24)
        assert abs(seen.evaluate("(row) => row.getBoundingClientRect().top") - before) < 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_views_and_what_is_found_can_be_used_by_everybody(
    browser: Browser, desk: Desk, address: str, theme: str
) -> None:
    need(AXE.is_file(), "axe-core (make test installs it)")
    letters(desk, 2)
    with visit(browser, address, color_scheme=theme, bypass_csp=True) as page:
        page.goto(f"{address}/inbox/all")
        page.keyboard.press("Shift+X")
        page.keyboard.press("t")
        assert violations(page) == []
        for path in ("/inbox/views", "/inbox/views/new", "/inbox/search?q=lamp"):
            page.goto(address + path)
            assert violations(page) == [], path
