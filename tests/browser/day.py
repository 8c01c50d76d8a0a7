"""One customer's day in real browsers, on the real parts of tests/story.py: four channels in, four answers out.

`python -m tests.browser.day` plays it on SQLite and puts its pictures into shots/.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.browser.screenshots import FOLDER, SIZES
from tests.processes import until
from tests.story import MAILBOX, MARA, MARA_PHONE, OURS, PASSWORD, Stage, Timeline, letter, notice, stage
from tests.support.browser import launched

PATIENT = 30_000  # milliseconds for what a browser has to show: the first mail also starts its readers
SETTINGS = {"DEMO": "on", "UNDO_SECONDS": "1"}  # the shop's page, and time to see that an answer waits
RANKS = ["queued", "sending", "sent", "delivered", "read"]

# A message counts as seen once it has stood before his eyes for a moment; whoever answers sooner is asked first.
SEEN = """() => document.querySelector("#composer [name=seen]").value
  === [...document.querySelectorAll(".msg[data-kind=inbound]")].at(-1).dataset.message"""

# Every state that an answer was shown in, by its text and in order, and a mark that a reload would wipe away.
WATCH = """() => {
  window.unbroken = true;
  window.states = {};
  const look = () => document.querySelectorAll(".msg.out").forEach((message) => {
    const seen = window.states[message.querySelector(".text").textContent] ??= [];
    const state = message.querySelector(".seen")?.classList[1];
    if (state && seen.at(-1) !== state) seen.push(state);
  });
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


def play(at: Stage, browser: Browser, pictures: Path) -> None:
    """The day. Raises AssertionError or TimeoutError where it does not hold; leaves its pictures behind."""
    with (
        _agent(browser, at, "jonas@desk.example", "1440") as jonas,
        _agent(browser, at, "amara@desk.example", "390") as amara,
        _visit(browser, "1024") as mara,
    ):
        contact = _four_channels_in(at, jonas, mara)
        _picture(jonas, pictures / "day-arrived-1440.png")
        _four_answers_out(at, jonas, mara, pictures)
        _picture(mara, pictures / "day-shop-1024.png")
        _claimed_in_slack(at, jonas, amara, pictures)
        assert jonas.evaluate("window.unbroken"), "everything above was shown without a reload"
    assert {message["channel"] for message in at.history(contact)} == {"email", "sms", "chat", "form"}


def _four_channels_in(at: Stage, jonas: Page, mara: Page) -> int:
    """Each message appears in front of Jonas by itself; the number of the one contact that all of them are."""
    rows, timeline, panel = jonas.locator("#rows .row"), jonas.locator("#timeline"), jonas.locator("#context")
    jonas.evaluate(WATCH)
    expect(rows).to_have_count(0)
    at.mail.deliver(MAILBOX, letter("Order 48213", "Only one lamp arrived."))
    expect(rows).to_have_count(1)
    rows.click()
    expect(timeline.locator(".msg .text")).to_have_text("Only one lamp arrived.")
    expect(panel.locator("h3", has_text="Why it came to you")).to_be_visible()
    expect(panel.locator(".why")).to_contain_text("orders")

    contact: int = at.api.get("/conversations")["conversations"][0]["contact"]["id"]
    at.api.post(f"/contacts/{contact}/identities", kind="phone", value=MARA_PHONE)
    assert at.twilio.text_in(MARA_PHONE, OURS, "Can it arrive before Friday?", copies=3) == 200
    expect(timeline.locator(".msg .text").nth(1)).to_have_text("Can it arrive before Friday?")

    mara.goto(f"{at.hub.url}/chat/demo-shop")
    mara.get_by_role("link", name="Sign in as Mara Lindqvist").click()
    mara.get_by_role("button", name="Open chat").click()
    field = mara.frame_locator("iframe[title=Chat]").get_by_label("Your message")
    field.fill("Hello, are you there?")
    field.press("Enter")
    expect(timeline.locator(".msg .text").nth(2)).to_have_text("Hello, are you there?")
    expect(timeline.locator(".msg")).to_have_count(3)  # the text came three times
    expect(jonas.locator("#thread-state")).to_contain_text("One thread, 3 channels")

    form = mara.context.new_page()
    form.goto(f"{at.hub.url}/forms/contact-form")
    form.get_by_label("Your name").fill("Mara Lindqvist")
    form.get_by_label("E-mail").fill(MARA)
    form.get_by_label("Subject").fill("Papers for my lamp")
    form.get_by_label("How can we help?").fill("The lamp is fine now. Where do I find its papers?")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_contain_text("Your message has arrived")
    form.close()
    expect(rows).to_have_count(2)
    expect(panel.locator(".past li")).to_have_count(1)  # beside the open conversation: the same person's other one
    return contact


def _four_answers_out(at: Stage, jonas: Page, mara: Page, pictures: Path) -> None:
    """From the composer to each of her channels, and what became of it comes back by itself."""
    answers = {
        "Email": "The second lamp leaves today.",
        "SMS": "Yes, on Thursday.",
        "Web chat": "Here I am, hello Mara.",
    }
    jonas.wait_for_function(SEEN)
    for channel, text in answers.items():
        _answer(jonas, channel, text)
    expect(mara.frame_locator("iframe[title=Chat]").locator("li.agent p")).to_have_text(answers["Web chat"])
    states = {"Email": "sent", "SMS": "delivered", "Web chat": "sent|delivered|read"}
    for channel, text in answers.items():
        shown = jonas.locator(".msg.out", has_text=text).locator(".seen")
        expect(shown).to_have_class(re.compile(rf"^seen ({states[channel]})$"))
    for text, seen in jonas.evaluate("window.states").items():
        assert len(seen) > 1 and seen == sorted(seen, key=RANKS.index), f"{text}: the states moved forward: {seen}"
    _picture(jonas, pictures / "day-answered-1440.png")

    jonas.locator("#rows .row", has_text="Papers for my lamp").click()
    expect(jonas.locator("#timeline")).to_contain_text("Where do I find its papers?")
    expect(jonas.locator("#timeline .remark")).to_contain_text("nobody has proved")
    _answer(jonas, "Email", "They are on their way by mail.")
    until(lambda: len(at.smtp.taken) == 2, "both mails at her provider")
    first, second = at.smtp.taken
    assert b"In-Reply-To: <order-48213@customer.example>" in first.data.replace(b"\r\n ", b" ")
    assert second.recipients == [MARA] and b"They are on their way by mail." in second.data
    assert [text.body for text in at.twilio.sent] == [answers["SMS"]]


def _answer(page: Page, channel: str, text: str) -> None:
    option = page.locator("#choice option", has_text=re.compile(f"^{channel}")).first
    page.select_option("#choice", option.get_attribute("value"))
    page.fill("#reply", text)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".msg.out .text", has_text=text)).to_be_visible()
    expect(page.locator("#reply")).to_have_value("")


def _claimed_in_slack(at: Stage, jonas: Page, amara: Page, pictures: Path) -> None:
    """Nobody is there for it, so it waits; Slack shows it, and who presses its button finds it in her phone's list."""
    _set_status(amara, "away")
    at.mail.deliver(MAILBOX, letter("Refund for 777", "I want a refund.", sender="Paul <paul@example.com>"))
    post = until(lambda: notice(at.slack, "Refund for 777"), "the notice in Slack")
    button = next(action for action in post.buttons if "claim" in action)
    assert at.slack.press(button, post.buttons[button], "U0AMARA", post.channel, post.ts, copies=2) == 200
    row = amara.locator("#rows .row", has_text="Refund for 777")
    expect(row).to_be_visible()
    _picture(amara, pictures / "day-claimed-390.png")
    row.tap()
    expect(amara.locator("#thread-state")).to_contain_text("You have it")
    expect(amara.locator("#timeline")).to_contain_text("I want a refund.")
    _picture(amara, pictures / "day-thread-390.png")
    until(lambda: "Amara" in str((notice(at.slack, "Refund for 777") or post).blocks), "its owner in Slack")
    expect(jonas.locator("#rows")).not_to_contain_text("Refund for 777")  # another team's matter


@contextmanager
def _agent(browser: Browser, at: Stage, email: str, size: str) -> Iterator[Page]:
    """An agent who has signed in, is available and looks at the own list."""
    with _visit(browser, size) as page:
        page.goto(f"{at.hub.url}/sign-in")
        page.fill("#email", email)
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        page.goto(f"{at.hub.url}/inbox/mine")
        _set_status(page, "available")
        yield page


def _picture(page: Page, path: Path) -> None:
    page.screenshot(path=path, caret="initial")  # to hide the caret it would add a style, which our policy refuses


def _set_status(page: Page, status: str) -> None:
    menu = page.locator("header button[popovertarget=nav]")
    if menu.is_visible():  # on a phone the views are behind a button
        menu.click()
    page.click("#me-menu summary")
    page.click(f"#me-menu button[value={status}]")
    expect(page.locator("#me-menu .me-words small")).to_contain_text(status.capitalize())
    if page.locator("#nav button[popovertargetaction=hide]").is_visible():
        page.click("#nav button[popovertargetaction=hide]")


@contextmanager
def _visit(browser: Browser, size: str) -> Iterator[Page]:
    """Somebody's browser. The story fails on any script error in it."""
    width, height = SIZES[size]
    options: dict[str, Any] = {"viewport": {"width": width, "height": height}, "has_touch": size == "390"}
    context = browser.new_context(**options, timezone_id="Europe/Berlin", locale="en-GB")
    context.set_default_timeout(PATIENT)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    try:
        yield page
        assert problems == [], problems
    finally:
        context.close()


def main() -> None:
    """Its pictures, for a person to look at."""
    FOLDER.mkdir(exist_ok=True)
    expect.set_options(timeout=PATIENT)
    with tempfile.TemporaryDirectory(prefix="switchyard-day-") as name, launched() as browser:
        folder = Path(name)
        with stage(f"sqlite:///{folder}/hub.db", folder, Timeline(lambda _: None), 1, 1, SETTINGS) as at:
            play(at, browser, FOLDER)
    print(f"the day's pictures are in {FOLDER}/")


if __name__ == "__main__":
    main()
