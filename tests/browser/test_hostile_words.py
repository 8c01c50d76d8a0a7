"""Whatever strangers write, wherever it is shown: none of it runs or asks another host, and all of it can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TypeVar

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, Route, expect

from channels.base import Raw
from hub.contactlog import add_note
from hub.contacts import Details, change_details
from hub.desk import apply, read
from hub.intake import take_in
from hub.replies import note
from hub.tags import MAX_CHARS, tag
from storage.access import SYSTEM
from storage.conversations import Conversation
from tests.browser.test_stories import address, sign_in
from tests.desk import DESK, Desk
from tests.support.hostile import ELSEWHERE, Sample, collection

__all__ = ["address"]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
T = TypeVar("T")
SAMPLES = collection()
AT_LEAST = 200
LEAVES = re.compile("http-equiv=refresh|<base|/sign-out")  # take the page away from the samples that follow
BARE = "http://bare.example"
# Everything that a hand could do, at once; on our own pages without what would press our own buttons.
STIR = """(harmless) => {
  const names = ["mouseover", "mouseenter", "mousemove", "pointerover", "pointerenter", "pointerrawupdate", "focus", "blur", "error", "load", "toggle",
    "beforetoggle", "animationstart", "animationend", "transitionrun", "transitionend", "scroll", "scrollend", "wheel", "begin", "end", "loadstart"];
  if (!harmless) names.push("click", "auxclick", "dblclick", "mousedown", "contextmenu", "keydown", "input", "change", "submit", "copy", "paste");
  for (const element of document.querySelectorAll(harmless ? ".msg *, #rows *, #context *, #thread-head *" : "*")) {
    for (const name of names) element.dispatchEvent(new Event(name, { cancelable: true }));
  }
}"""  # noqa: E501


@dataclass
class Wires:
    """What happened that must not: calls, dialogs, requests elsewhere, and pages that nobody opened or left."""

    address: str
    tripped: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[object]:
        return [*self.tripped, *self.asked, *self.opened]

    def hear(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:", f"{BARE}/")):
            self.asked.append(request.url)

    def ask(self, dialog: Dialog) -> None:
        self.opened.append(dialog.message)
        dialog.dismiss()


@contextmanager
def wired(browser: Browser, address: str) -> Iterator[tuple[BrowserContext, Page, Wires]]:
    """A browser that notices; nothing leaves it for any other host than the desk's."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    wires = Wires(address)
    context.expose_binding("tripped", lambda _source, number=0: wires.tripped.append(number))
    context.on("request", wires.hear)
    context.on("dialog", wires.ask)
    context.route(lambda url: not url.startswith((address, f"{BARE}/")), lambda route: route.abort())
    page = context.new_page()
    context.on("page", lambda popup: wires.opened.append(popup.url))
    try:
        yield context, page, wires
    finally:
        context.close()


@dataclass(frozen=True)
class Place:
    """A page, the samples that have to be readable on it, and those that are in the frame of its mail."""

    path: str
    shown: Sequence[Sample]
    framed: Sequence[Sample] = ()


def groups(things: Sequence[T], size: int) -> list[Sequence[T]]:
    return [things[at : at + size] for at in range(0, len(things), size)]


def letters() -> list[list[Sample]]:
    """The samples in as many mails as there are those that swallow what follows: each is the last of its own."""
    closed, last = [each for each in SAMPLES if not each.swallows], [each for each in SAMPLES if each.swallows]
    return [[*closed[at :: len(last)], end] for at, end in enumerate(last)]


def letter(samples: Sequence[Sample], subject: Sample, sender: Sample) -> bytes:
    """A mail with samples in its words, its HTML and the names of its files, and in subject and sender."""
    mail = EmailMessage()
    mail["From"] = f"{_quoted(sender.marked)} <mara.lindqvist@example.com>"
    mail["To"], mail["Subject"] = "support@desk.example", _line(subject.marked)
    mail["Message-ID"] = f"<hostile-{subject.number}@customer.example>"
    mail.set_content("\n\n".join(_line(each.marked) for each in samples))
    mail.add_alternative("\n".join(f"<p>{each.seen}</p>{each.text}" for each in samples), subtype="html")
    for each in samples:
        mail.add_attachment(b"x", "application", "octet-stream", filename=f"{_line(each.text)[:60]}{each.seen}txt")
    return mail.as_bytes()


def bring_in(desk: Desk) -> list[Place]:
    """Every sample by every way, and where each is to be seen."""
    return [*by_mail(desk), *by_chat(desk), by_text(desk), *by_slack(desk), *by_form(desk)]


def by_mail(desk: Desk) -> list[Place]:
    places = []
    for at, samples in enumerate(letters()):
        number = desk.raw_mail(letter(samples, SAMPLES[at], SAMPLES[-1 - at])).conversation_id or 0
        write_beside(desk, number, samples)
        places.append(Place(f"/inbox/c/{number}?view=all", samples, samples))
    return places


def write_beside(desk: Desk, number: int, samples: Sequence[Sample]) -> None:
    """The same as notes and tags, and of the person a name, a company and a remark."""
    with desk.hub.store.write() as tx:
        contact_id = tx.get_one(Conversation, number).contact_id
        note(tx, desk.ines, number, "\n".join(each.marked for each in samples))
        tag(tx, desk.ines, number, [each.text.replace(",", "")[:MAX_CHARS] for each in samples[:12]])
        add_note(tx, desk.ines, contact_id, "\n".join(each.marked for each in samples)[:2000])
        named = Details(name=_line(samples[0].marked)[:150], company=_line(samples[1].marked)[:150])
        change_details(tx, desk.ines, contact_id, named)


def by_chat(desk: Desk) -> list[Place]:
    places = []
    for at, samples in enumerate(groups(SAMPLES, 59)):
        claims = {"name": samples[0].marked, "email": f"visitor{at}@example.com"}
        taken = [desk.chat(each.marked, visitor=f"visitor-{at}", claims=claims) for each in samples]
        places.append(Place(f"/inbox/c/{taken[0].conversation_id}?view=all", samples))
    return places


def by_text(desk: Desk) -> Place:
    taken = [desk.text("\n".join(each.marked for each in group)) for group in groups(SAMPLES, 15)]
    return Place(f"/inbox/c/{taken[0].conversation_id}?view=all", SAMPLES)


def by_slack(desk: Desk) -> list[Place]:
    """In messages that the thread shows whole."""
    settings = {"bot_token": "env:SHOP_SECRET", "signing_secret": "env:SHOP_SECRET", "customer_channels": ["C1"]}
    wanted = read(DESK)
    wanted["channels"].append({"name": "slack", "kind": "slack", "address": "C1", "settings": settings})
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, wanted)
    desk.hub.look_again()
    places = []
    for at, samples in enumerate(groups(SAMPLES, 120)):
        text = "\n".join(each.marked for each in samples)
        event = {"type": "message", "channel": "C1", "user": "U1", "text": text, "ts": f"1763802060.000{at}00",
                 "user_profile": {"real_name": SAMPLES[7].marked}}  # fmt: skip
        body = json.dumps({"type": "event_callback", "team_id": "T1", "event": event}).encode()
        taken = take_in(desk.hub, desk.hub.channel_named("slack"), Raw(f"C1:{at}", body, "application/json"))
        places.append(Place(f"/inbox/c/{taken.conversation_id}?view=all", samples))
    return places


def by_form(desk: Desk) -> list[Place]:
    places = []
    for at, samples in enumerate(groups(SAMPLES, 120)):
        asked = {each.marked: each.marked for each in samples}
        taken = desk.form(email=f"form{at}@example.com", name=samples[1].marked, topic=samples[2].marked, **asked)
        places.append(Place(f"/inbox/c/{taken.conversation_id}?view=all", samples))
    return places


def test_nothing_runs_asks_elsewhere_or_hides(browser: Browser, desk: Desk, address: str) -> None:
    assert len({each.text for each in SAMPLES}) >= AT_LEAST
    places = bring_in(desk)
    with wired(browser, address) as (_context, page, wires):
        sign_in(page, address, "ines@desk.example")
        shown = 0
        for place in places:
            page.goto(f"{address}{place.path}")
            page.evaluate("document.querySelectorAll('details:not(.menu)').forEach((one) => { one.open = true; })")
            page.evaluate(STIR, True)
            text = page.locator("#thread").inner_text()
            assert [each.marked for each in place.shown if each.seen not in text] == [], place.path
            shown += len(place.shown)
            shown += framed(page, place)
            assert page.url == f"{address}{place.path}"
            assert wires.all == [], place.path
        for path in ("all", "search?q=readable1", "unassigned", "ledger", "settings/tags"):
            page.goto(f"{address}/inbox/{path}")
            page.evaluate(STIR, True)
            assert wires.all == [], path
    assert shown > 5 * len(SAMPLES), f"{len(SAMPLES)} samples were shown {shown} times"
    print(f"{len(SAMPLES)} samples, shown {shown} times on {len(places)} pages: none ran, none asked another host")


def framed(page: Page, place: Place) -> int:
    """How many samples can be read in the frame of a mail as it was sent."""
    if not place.framed:
        return 0
    frame = page.locator("details.original iframe")
    frame.scroll_into_view_if_needed()  # it is fetched when it comes into sight
    body = frame.content_frame.locator("body")
    expect(body).to_contain_text("readable", timeout=15_000)
    text = body.inner_text()
    assert [each.marked for each in place.framed if each.seen not in text] == []
    return len(place.framed)


def test_cleaned_mail_is_inert_without_any_policy_or_sandbox(browser: Browser, desk: Desk, address: str) -> None:
    """What the frame and its policy keep in has nothing in it that wants out."""
    by_mail(desk)
    with desk.hub.store.read() as tx:
        numbers = [row[0] for row in tx.sql("SELECT id FROM message WHERE html <> '' ORDER BY id").fetchall()]
    assert len(numbers) == len(letters())
    with wired(browser, address) as (context, page, wires):
        sign_in(page, address, "ines@desk.example")
        for number in numbers:
            inside = context.request.get(f"{address}/inbox/m/{number}/html").text()
            bare(page, inside)
            links = page.eval_on_selector_all("[href]", "(all) => all.map((one) => one.href)")
            assert [link for link in links if not link.startswith(("http:", "https:", "mailto:", "tel:", BARE))] == []
        assert wires.all == []


def test_the_wires_notice_samples_that_nobody_has_cleaned(browser: Browser, address: str) -> None:
    """A collection that would do nothing anyway would prove nothing."""
    with wired(browser, address) as (_context, page, wires):
        for samples in letters():
            bare(page, "\n".join(each.text for each in samples[:-1] if not LEAVES.search(each.text)))
        asked = {url for url in wires.asked if url.startswith(ELSEWHERE)}
        assert len(set(wires.tripped)) >= 80
        assert len(asked) >= 30


def bare(page: Page, html: str) -> None:
    """HTML on a page of nobody's, stirred."""

    def answer(route: Route) -> None:
        route.fulfill(body=f"<!doctype html><meta charset=utf-8><body>{html}", content_type="text/html")

    page.route(f"{BARE}/", answer)
    page.goto(f"{BARE}/", wait_until="commit")
    page.evaluate(STIR, False)
    page.unroute(f"{BARE}/")


def _line(text: str) -> str:
    """Without what no header may have."""
    return "".join(char for char in text if char.isprintable())


def _quoted(name: str) -> str:
    escaped = _line(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
