"""A desk as an operator runs it, with two agents: on PostgreSQL each browser speaks to a web process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, StorageState, ViewportSize, expect
from sqlmodel import col, select

from channels.base import DeliveryState
from config import load
from hub.people import create_agent
from storage.access import actor_for
from storage.people import Agent, Identity
from tests.browser.scene import answer
from tests.clock import Clock
from tests.desk import Desk, hub_with_readers
from tests.processes import Processes
from tests.prove.faulty import Lines
from tests.story import MARA_PHONE, PASSWORD, SHOP_SECRET, Stage, Timeline, stage

PATIENT = 20_000  # milliseconds for what a browser has to show while the machine is busy with other tests
UNDO_SECONDS = 5
SETTINGS = {"UNDO_SECONDS": str(UNDO_SECONDS)}
YESTERDAY = "Order 48213"  # the subject of Mara's mail
# A refused reply (409) or a line that is down is logged by the browser as a failed resource; that is the story.
EXPECTED = ("409", "503", "net::ERR_", "Failed to fetch")


@dataclass
class House:
    """The hub, two doors to it, and a line to each door that can be cut.

    Jonas comes in by the first and Amara by the second, which are one and the same on SQLite.
    """

    at: Stage
    lines: Lines
    doors: tuple[str, str]
    browser: Browser
    _cookies: dict[str, StorageState] = field(default_factory=dict)

    @contextmanager
    def visit(self, who: str, line: str = "first") -> Iterator[Page]:
        """Somebody at the list of everything. A story fails on any error of a script or of the policy."""
        address = f"http://127.0.0.1:{self.lines.all[line].port}"
        kept = self._cookies.get(who)
        size: ViewportSize = {"width": 1440, "height": 900}
        context = self.browser.new_context(viewport=size, base_url=address, storage_state=kept)
        context.set_default_timeout(PATIENT)
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog {dialog.message}"))
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        try:
            if kept is None:
                page.goto("/sign-in")
                page.fill("#email", f"{who}@desk.example")
                page.fill("#password", PASSWORD)
                page.click("button.primary")
                expect(page.locator("#rows")).to_be_attached()
                self._cookies[who] = context.storage_state()
            page.goto("/inbox/all")
            page.evaluate("window.unbroken = true")  # until somebody loads the page anew
            yield page
            problems = [each for each in problems if not any(word in each for word in EXPECTED)]
            assert not problems, problems
        finally:
            context.close()

    @contextmanager
    def both(self) -> Iterator[tuple[Page, Page]]:
        """Jonas and Amara, whose pages have to do without being loaded anew."""
        with self.visit("jonas") as jonas, self.visit("amara", "second") as amara:
            yield jonas, amara
            assert jonas.evaluate("window.unbroken") and amara.evaluate("window.unbroken")

    def set_up_lines(self) -> None:
        """As they were at first: quick, each to its own door."""
        for line, door in zip(self.lines.all.values(), self.doors, strict=True):
            line.target, line.lag = int(door.rpartition(":")[2]), 0.0

    def write(self, name: str, topic: str, text: str, door: int = 1) -> None:
        """A customer fills in the form, by default at Amara's door."""
        address = f"{name.split()[0].lower()}@customer.example"
        form = {"email": address, "name": name, "topic": topic, "message": text}
        requests.post(f"{self.doors[door]}/webhooks/forms/contact-form", json=form, timeout=30).raise_for_status()

    def mails_to(self, name: str) -> list[bytes]:
        """What has left for a customer, by the first name."""
        return [each.data for each in self.at.smtp.taken if f"{name.lower()}@customer.example" in each.recipients]


def row(page: Page, words: str) -> Locator:
    """The list's row that says this."""
    return page.locator("#rows .row", has_text=words)


def open_(page: Page, words: str) -> None:
    """Press a row, and wait until the conversation is there."""
    number = row(page, words).get_attribute("data-id") or ""
    row(page, words).click()
    expect(page.locator("#thread")).to_have_attribute("data-id", number)


def say(page: Page, words: str) -> None:
    """Answer in the open conversation."""
    page.fill("#reply", words)
    page.locator("#reply").press("Control+Enter")


def said(page: Page, words: str) -> Locator:
    """A message of the open conversation."""
    return page.locator("#timeline .msg", has=page.locator(".text", has_text=words))


@contextmanager
def house(database_url: str, folder: Path, browser: Browser) -> Iterator[House]:
    """Open it: web processes and a worker, mail server, telephone, and what was there yesterday."""
    expect.set_options(timeout=PATIENT)
    with ExitStack() as stack:
        at = stack.enter_context(
            stage(database_url, folder, Timeline(lambda _: None), 1, 1, SETTINGS, before=_play_yesterday)
        )
        doors = (at.hub.url, at.hub.url if at.hub.embedded else at.hub.another_web())
        lines = stack.enter_context(Lines().running())
        for name, door in zip(("first", "second"), doors, strict=True):
            lines.through(name, int(door.rpartition(":")[2]))
        yield House(at, lines, doors, browser)


def _play_yesterday(processes: Processes) -> None:
    """Ines is there, and Mara's mail with Jonas' answer, before the processes start."""
    clock = Clock()
    clock.moment = datetime.now(UTC) - timedelta(days=1)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MAIL_PASSWORD", "secret")
        environment.setenv("SHOP_SECRET", SHOP_SECRET)
        hub = hub_with_readers(load(environ=processes.environment), clock)
        with hub.store.write() as tx:
            create_agent(tx, name="Ines Novak", email="ines@desk.example", role="admin", password=PASSWORD,
                         queues=["Shipping", "Billing"])  # fmt: skip
            tx.flush()
            # Nobody is ever full, nor given anything: who is away stays so when they sign in.
            tx.sql("UPDATE agent SET capacity = 1000, status = 'away'")
            amara, ines, jonas = (actor_for(tx, each) for each in tx.exec(select(Agent).order_by(col(Agent.name))))
        desk = Desk(hub, clock, jonas, amara, jonas, ines)
        taken = desk.mail(YESTERDAY, "Only one lamp arrived.")
        with hub.store.write() as tx:
            tx.add(Identity(contact_id=taken.contact_id or 0, kind="phone", value=MARA_PHONE, strength=80,
                            created_at=tx.now))  # fmt: skip
        clock.forward(hours=1)
        answer(desk, jonas, taken.conversation_id, "The second lamp leaves today.", DeliveryState.SENT)
        hub.stop()
