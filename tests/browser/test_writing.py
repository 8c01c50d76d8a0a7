"""Writing in a real browser: drafts on every device and channel, saved replies behind a slash."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import APIResponse, Browser, Page, Route, expect

from hub import drafts, macros, savedreplies
from hub.macros import Does
from hub.savedreplies import Wanted
from tests.browser.scene import available
from tests.browser.test_stories import address, visit
from tests.desk import Desk
from tests.processes import until
from tests.test_inbox_drafts import both

__all__ = ["address"]
expect.set_options(timeout=5000)
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
TIMERS_ARE_LATE = (  # as on a busy machine, where keys come before those that are due at once
    "() => { const soon = setTimeout; window.setTimeout = (run, after, ...rest) => soon(run, after || 300, ...rest); }"
)
BUSY_WHEN_SHOWN = """() => document.addEventListener("htmx:before:settle", ({ target }) => {
  const end = performance.now() + 200; // keys fall between the new composer and what follows it
  while (target.id === "composer" && performance.now() < end);
})"""


def test_what_is_typed_is_on_the_other_device_and_in_the_list(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.text("Where is my lamp?").conversation_id
    with visit(browser, address) as laptop, visit(browser, address) as phone:
        for page in (laptop, phone):
            page.goto(f"{address}/inbox/c/{number}?view=all")
        laptop.fill("#reply", "Half a sent")
        expect(laptop.locator("#composer [data-saved]").last).to_have_text("Draft saved")
        expect(laptop.locator(f"#c-{number} .prev")).to_have_text("Draft: Half a sent")
        expect(laptop.locator(f"#c-{number} .draft")).to_have_css("color", "rgb(196, 53, 43)")
        phone.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(phone.locator("#reply")).to_have_value("Half a sent")


def test_each_channel_has_its_own_draft_and_the_first_words_go_along(
    browser: Browser, desk: Desk, address: str
) -> None:
    number = both(desk)
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.fill("#reply", "Dear Mara")
        page.select_option("#choice", index=1)
        expect(page.locator("#reply")).to_have_value("Dear Mara")
        page.select_option("#choice", index=0)
        page.fill("#reply", "A long mail")
        with page.expect_response(re.compile("/draft$")):
            page.select_option("#choice", index=1)
        page.fill("#reply", "")
        page.fill("#reply", "A short text")
        page.select_option("#choice", index=0)
        expect(page.locator("#reply")).to_have_value("A short text")


def test_a_saved_reply_is_found_filled_and_its_gap_selected(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.mail("Order 48213", "Where is my lamp?").conversation_id
    with desk.hub.store.write() as tx:
        said = "Hi {{contact.first_name}}, it arrives on {{arrival date}} by {{courier}}."
        savedreplies.create(tx, desk.ines, Wanted("express", said, "Moved to express"))
        savedreplies.create(tx, desk.ines, Wanted("exchange", "You can exchange it."))
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.keyboard.press("r")
        page.keyboard.type("Good news. /ex")
        expect(page.locator("#suggest [role=option]")).to_have_count(2)
        page.keyboard.press("ArrowDown")
        expect(page.locator("#suggest [aria-selected=true] b")).to_have_text("/express")
        page.keyboard.press("Enter")
        said = "Good news. Hi Mara, it arrives on ⟦arrival date⟧ by ⟦courier⟧."
        expect(page.locator("#reply")).to_have_value(said)
        expect(page.locator("#suggest")).to_be_hidden()
        page.evaluate(TIMERS_ARE_LATE)
        page.keyboard.type("Thursday")
        page.keyboard.press("Tab")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".guard").first).to_contain_text("There is a gap to fill in: ⟦courier⟧")
        expect(page.locator("#reply")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.type("post")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".msg.out .text")).to_have_text("Good news. Hi Mara, it arrives on Thursday by post.")
        expect(page.locator("#reply")).to_be_focused()

        page.keyboard.type("/")
        expect(page.locator("#suggest [role=option]")).to_have_count(2)
        page.keyboard.press("Escape")
        expect(page.locator("#suggest")).to_be_hidden()
        expect(page.locator("#reply")).to_have_value("/")
        page.fill("#reply", "")
        page.click("[data-do=suggest]")
        page.locator("#suggest [role=option]").first.click()
        expect(page.locator("#reply")).to_have_value("You can exchange it.")
        page.keyboard.press("Control+z")
        expect(page.locator("#reply")).not_to_have_value("You can exchange it.")


class OnItsWay:
    """An answer that an agent has sent and of which the page has not heard: not there yet, or on its way back."""

    def __init__(self, page: Page, *, back: bool = True):
        self.page, self.held = page, list[tuple[Route, APIResponse | None]]()
        page.route("**/send", lambda route: self.held.append((route, route.fetch() if back else None)), times=1)

    def sent(self, keys: str = "Control+Enter") -> None:
        self.page.keyboard.press(keys)
        until(lambda: self.page.evaluate("true") and self.held, "the answer on its way")

    def arrives(self) -> None:
        ((route, response),) = self.held
        route.fulfill(response=response) if response else route.continue_()
        self.page.unroute("**/send")


def begun(desk: Desk, number: int) -> dict[str, str]:
    with desk.hub.store.read() as tx:
        return {kind: draft.text for kind, draft in drafts.drafts_of(tx, desk.jonas.agent_id or 0, number).items()}


def test_who_writes_on_while_an_answer_is_sent_goes_on_in_the_next(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.evaluate(BUSY_WHEN_SHOWN)
        kept: list[str] = []
        page.on("request", lambda asked: kept.append(asked.post_data or "") if asked.url.endswith("/draft") else None)
        for back in (False, True):
            answer = OnItsWay(page, back=back)
            page.fill("#reply", "Good news.")
            answer.sent()
            kept.clear()
            with page.expect_response(re.compile("/draft$")):
                page.keyboard.type("It comes to")
            answer.arrives()
            page.keyboard.type("morrow with the first post of the day.", delay=20)  # right through the swap
            expect(page.locator("#reply")).to_have_value("It comes tomorrow with the first post of the day.")
            until(lambda: page.evaluate("true") and begun(desk, number).get("reply", "")[-4:] == "day.", "the draft")
            assert not [body for body in kept if "Good news" in body]
        page.keyboard.press("Control+Enter")
        expect(page.locator(".msg.out .text").last).to_have_text("It comes tomorrow with the first post of the day.")
        expect(page.locator("#reply")).to_have_value("")
        assert begun(desk, number) == {}


@pytest.mark.parametrize("back", [False, True])
def test_who_leaves_while_an_answer_is_sent_leaves_what_was_written_on(
    browser: Browser, desk: Desk, address: str, back: bool
) -> None:
    number, other = desk.text("Where is my lamp?").conversation_id or 0, desk.mail("Order", "Hello?").conversation_id
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        answer = OnItsWay(page, back=back)
        page.fill("#reply", "Good news.")
        answer.sent()
        page.keyboard.type(" Bye")
        page.click(f'#rows .row[data-id="{other}"]')
        expect(page.locator("#thread")).to_have_attribute("data-id", str(other))
        answer.arrives()
        until(lambda: page.evaluate("true") and begun(desk, number) == {"reply": " Bye"}, "the rest as a draft")
        expect(page.locator("#reply")).to_have_value("")


def test_send_and_resolve_leaves_no_draft_of_what_was_sent(browser: Browser, desk: Desk, address: str) -> None:
    number, other = desk.text("Where is my lamp?").conversation_id or 0, desk.mail("Order", "Hello?").conversation_id
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        answer = OnItsWay(page)
        page.fill("#reply", "Good news.")
        answer.sent("Control+Shift+Enter")
        page.keyboard.type(" Bye")
        answer.arrives()
        expect(page.locator("#thread")).to_have_attribute("data-id", str(other))
        until(lambda: page.evaluate("true") and begun(desk, number) == {"reply": " Bye"}, "the rest as a draft")


def test_what_is_mended_while_an_answer_is_held_stays(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.mail("Order 48213", "Where is my lamp?").conversation_id or 0
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        answer = OnItsWay(page)
        page.fill("#reply", "It goes by ⟦courier⟧ today.")
        answer.sent()
        page.keyboard.press("Tab")
        page.keyboard.type("post")
        answer.arrives()
        expect(page.locator(".guard").first).to_contain_text("There is a gap to fill in: ⟦courier⟧")
        page.keyboard.type(" or so")
        expect(page.locator("#reply")).to_have_value("It goes by post or so today.")

        page.keyboard.press("Control+a")
        page.keyboard.press("Control+b")
        page.keyboard.press("End")
        page.keyboard.type(" ⟦When⟧?")
        answer = OnItsWay(page)
        answer.sent()
        page.keyboard.type(" Soon.")
        answer.arrives()
        expect(page.locator(".guard").first).to_contain_text("There is a gap to fill in: ⟦When⟧")
        expect(page.locator("#rich")).to_have_text("It goes by post or so today. ⟦When⟧? Soon.")


def test_a_note_and_a_file_from_while_an_answer_is_sent_stay(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.mail("Order 48213", "Where is my lamp?").conversation_id or 0
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        answer = OnItsWay(page)
        page.fill("#reply", "Good news.")
        answer.sent()
        lamp = {"name": "lamp.txt", "mimeType": "text/plain", "buffer": b"A lamp"}
        page.set_input_files("#composer input[type=file]", lamp)  # type: ignore[arg-type]
        expect(page.locator("#attached .file")).to_have_count(1)
        page.click("label[for=kind-note]")
        page.keyboard.type("She is a ")
        answer.arrives()
        expect(page.locator(".msg.out .text")).to_have_text("Good news.")
        page.keyboard.type("regular")
        expect(page.locator("#note")).to_have_value("She is a regular")
        expect(page.locator("#reply")).to_have_value("")
        expect(page.locator("#attached .file")).to_contain_text("lamp.txt")


def test_a_macro_is_run_by_key_and_palette_and_taken_back(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    number = desk.text("Where is my lamp?").conversation_id
    desk.route()
    with desk.hub.store.write() as tx:
        macros.create(tx, desk.ines, macros.Wanted("Ask for a photo", Does(reply="A photo, please?", tags=("photo",))))
        macros.create(tx, desk.ines, macros.Wanted("Park", Does(tags=("parked",), then="snooze")))
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=mine")
        page.keyboard.press("m")
        expect(page.locator("#macro-menu .menu-list button")).to_have_count(2)
        page.keyboard.press("Enter")
        expect(page.locator("#reply")).to_have_value("A photo, please?")
        expect(page.locator("#reply")).to_be_focused()
        page.keyboard.press("Control+Enter")
        expect(page.locator(".msg.out .text")).to_have_text("A photo, please?")
        expect(page.locator(".tag")).to_have_text("photo")

        page.keyboard.press("Control+k")
        expect(page.locator("#palette-q")).to_be_focused()
        page.keyboard.type("park")
        expect(page.locator("#palette li").first).to_contain_text("Macro: Park")
        page.keyboard.press("Enter")
        expect(page.locator(".toast").last).to_contain_text("“Park” is done")
        expect(page.locator(f"#c-{number}")).to_have_count(0)
        page.keyboard.press("z")
        expect(page.locator(f"#c-{number}")).to_have_count(1)
        expect(page.locator(".tag")).to_have_text("photo")

        page.keyboard.press("t")
        page.keyboard.type("vip")
        page.keyboard.press("Enter")
        expect(page.locator(".tag")).to_have_count(2)
        page.locator("body").press("Control+k")
        page.keyboard.type("everyth")
        expect(page.locator("#palette li").first).to_contain_text("Everything")
        page.keyboard.press("Enter")
        expect(page.locator("#list h1")).to_have_text("Everything")


def test_jonas_sees_amara_reply_and_is_named_by_her(browser: Browser, desk: Desk, address: str) -> None:
    number = desk.text("Where is my lamp?").conversation_id
    desk.mail("Something else", "Hello", sender="Devon <devon@example.org>")
    with visit(browser, address) as jonas, visit(browser, address, "amara") as amara:
        jonas.goto(f"{address}/inbox/all")
        jonas.wait_for_timeout(300)  # the stream's own greeting
        amara.goto(f"{address}/inbox/c/{number}?view=all")
        amara.locator("#reply").press_sequentially("We are")
        expect(jonas.locator(f"#c-{number} .typing")).to_have_text("Amara is replying…")
        jonas.click(f"#c-{number} .row")
        expect(jonas.locator("#watching")).to_contain_text("Amara is replying…")
        expect(amara.locator("#watching")).to_contain_text("Jonas is looking")
        amara.keyboard.press("Escape")
        amara.keyboard.press("n")
        amara.keyboard.type("Could you ask, @jo")
        expect(amara.locator("#suggest [role=option]")).to_have_count(1)
        amara.keyboard.press("Enter")
        expect(amara.locator("#note")).to_have_value("Could you ask, @Jonas Weber ")
        jonas.goto(f"{address}/inbox/mine")
        jonas.wait_for_timeout(300)
        amara.keyboard.press("Control+Enter")
        expect(jonas.locator(".toast")).to_contain_text("You were mentioned")
        expect(jonas.locator("#v-mentions .n")).to_have_text("1")
        expect(jonas).to_have_title(re.compile(r"^\(1\) "))
        jonas.click(".toast a")
        expect(jonas.locator(".msg.note .at")).to_have_text("@Jonas Weber")
        expect(jonas.locator("#watching")).to_contain_text("Amara")


def test_the_send_menu_sends_later_and_remembers(browser: Browser, desk: Desk, address: str) -> None:
    available(desk, desk.jonas)
    number = desk.text("Where is my lamp?").conversation_id
    desk.route()
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=mine")
        page.fill("#reply", "Any news?")
        page.click("#send-menu summary")
        page.fill("#when", "next week")
        page.check("input[name=unless]")
        page.focus("#when")
        page.keyboard.press("Enter")
        expect(page.locator(".toast")).to_contain_text("goes out")
        expect(page.locator(".msg.out .seen")).to_contain_text("unless they write before")
        page.get_by_role("button", name="Take back").click()
        expect(page.locator("#reply")).to_have_value("Any news?")
        expect(page.locator(".msg.out")).to_have_count(0)
        page.locator("#reply").press("Control+Shift+Enter")
        expect(page.locator(f"#c-{number}")).to_have_count(0)
        assert desk.only_conversation().state == "resolved"
        page.goto(f"{address}/inbox/c/{number}?view=all")
        expect(page.locator(".send > button").first).to_contain_text("Send and resolve")


def test_jonas_formats_a_mail_and_it_leaves_so(browser: Browser, desk: Desk, address: str) -> None:
    number = both(desk)
    with desk.hub.store.write() as tx:
        savedreplies.create(tx, desk.ines, Wanted("hi", "by {{day}}"))
    with visit(browser, address) as page:
        page.goto(f"{address}/inbox/c/{number}?view=all")
        page.fill("#reply", "Dear Mara")
        page.locator("#reply").select_text()
        page.keyboard.press("Control+b")
        expect(page.locator("#rich b")).to_have_text("Dear Mara")
        page.keyboard.press("End")
        page.keyboard.press("Control+b")
        page.keyboard.press("Enter")
        page.keyboard.type("see /hi")
        expect(page.locator("#suggest [role=option]")).to_have_count(1)
        page.keyboard.press("Enter")
        page.keyboard.type("Friday, ")
        page.click("[data-format=createLink]")
        page.keyboard.type("shop.example/a")
        page.keyboard.press("Enter")
        expect(page.locator("#rich a")).to_have_attribute("href", "https://shop.example/a")
        with page.expect_response(re.compile("/draft$")):
            page.keyboard.press("End")
            page.keyboard.type("!")
        page.reload()
        expect(page.locator("#rich")).to_contain_text("see by Friday, shop.example/a!")
        expect(page.locator("#rich b")).to_have_text("Dear Mara")
        page.locator("#rich").press("Control+Enter")
        expect(page.locator(".msg.out .text")).to_contain_text("see by Friday")
        expect(page.locator("#rich")).to_be_hidden()
        sent = desk.messages(number)[-1]
        assert "<b>Dear Mara</b>" in sent.html and 'href="https://shop.example/a"' in sent.html

        page.fill("#reply", "Bold")
        page.locator("#reply").select_text()
        page.click("[data-format=bold]")
        expect(page.locator("#rich b")).to_have_text("Bold")
        page.select_option("#choice", index=1)
        expect(page.locator("#reply")).to_have_value("Bold")
        expect(page.locator(".formats")).to_be_hidden()
