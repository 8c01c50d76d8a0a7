"""The whole way in a browser: an empty hub, a mailbox on a real Dovecot, its test, the first mail, the first answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from config import Settings
from hub.firstrun import first_address
from tests.browser.room import application, served
from tests.browser.test_stories import AXE
from tests.clock import Clock
from tests.desk import Desk, hub_with_readers
from tests.office import server, user
from tests.support import need
from tests.support.dovecot import PASSWORD, Dovecot
from tests.support.smtp import Sink, smtp_sink
from worker import Worker

__all__ = ["server", "user"]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PATIENCE = 30_000  # milliseconds; a mail goes through two servers and a mailbox
OURS, MARA = "hello@shop.example", "mara.lindqvist@example.com"
LETTER = f"From: Mara <{MARA}>\r\nTo: {OURS}\r\nSubject: Where is my lamp?\r\nMessage-ID: <1@x>\r\n\r\nHas it left?\r\n"


class RealTime(Clock):
    """The mail server and the worker live in it."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@contextmanager
def post_office(server: Dovecot, user: str) -> Iterator[Sink]:
    """A mail server that puts what is sent to our own address into our mailbox."""
    stop = threading.Event()

    def carry(sink: Sink) -> None:
        carried = 0
        while not stop.wait(0.1):
            for taken in sink.taken[carried:]:
                carried += 1
                if OURS in taken.recipients:
                    server.deliver(user, taken.data)

    with smtp_sink() as sink:
        sink.passwords[user] = PASSWORD
        carrier = threading.Thread(target=carry, args=(sink,), daemon=True)
        carrier.start()
        try:
            yield sink
        finally:
            stop.set()
            carrier.join(5)


def test_from_an_empty_hub_to_the_first_message_answered(
    browser: Browser, database_url: str, tmp_path: Path, server: Dovecot, user: str
) -> None:
    settings = Settings(data_dir=tmp_path, secret_key="for tests only", undo_seconds=0, mail_poll_seconds=1)
    hub = hub_with_readers(settings, RealTime())
    worker = Worker(hub)
    with post_office(server, user) as sink, served(application(_desk(hub))) as address:
        worker.start()
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        try:
            page.goto(address + first_address(hub).removeprefix(settings.base_url))
            for field, value in (("name", "Ines Novak"), ("email", "ines@shop.example"), ("password", "a long phrase")):
                page.fill(f"#{field}", value)
            page.keyboard.press("Enter")
            expect(_next(page)).to_contain_text("A way for customers to reach you", timeout=PATIENCE)
            page.get_by_role("link", name="Add a channel").click()
            page.locator(".kind-card", has_text="A mailbox").click()

            wanted = {"name": "hello-mail", "address": OURS, "settings-username": user, "settings-password": "wrong",
                      "settings-imap_host": server.host, "settings-imap_port": str(server.imap_port),
                      "settings-smtp_host": sink.host, "settings-smtp_port": str(sink.port)}  # fmt: skip
            for field, value in wanted.items():
                page.fill(f"#{field}", value)
            for side in ("imap", "smtp"):
                page.select_option(f"#settings-{side}_tls", "none")
            page.get_by_role("button", name="Try to log in").click()
            expect(page.locator("#tried .bad")).to_contain_text("refused the login", timeout=PATIENCE)
            page.fill("#settings-password", PASSWORD)
            page.get_by_role("button", name="Try to log in").click()
            expect(page.locator("#tried .good")).to_have_count(2, timeout=PATIENCE)
            expect(page.locator("#effect .lines")).to_contain_text("password: (sealed)", timeout=PATIENCE)
            page.get_by_role("button", name="Add it").click()

            page.get_by_role("button", name="Test it now").click()
            expect(page.locator("#test-steps .good")).to_have_count(4, timeout=PATIENCE)
            expect(page.locator("#test-steps")).to_contain_text("The mail came back", timeout=PATIENCE)
            _is_accessible(page)

            page.get_by_role("link", name="First steps").click()
            expect(_next(page)).to_contain_text("The first message", timeout=PATIENCE)
            _is_accessible(page)
            server.deliver(user, LETTER.encode())
            expect(_next(page)).to_contain_text("Answered", timeout=PATIENCE)  # by itself
            page.get_by_role("link", name="Open it").click()
            page.fill("#reply", "It left this morning.")
            page.keyboard.press("Control+Enter")
            page.wait_for_function("() => document.querySelector('#timeline')?.textContent.includes('this morning')")
            page.goto(f"{address}/inbox/settings/start")
            expect(page.locator("main .told")).to_contain_text("The desk is up", timeout=PATIENCE)
            assert [each.recipients for each in sink.taken] == [[OURS], [MARA]]
            assert b"It left this morning." in sink.taken[1].data
            assert problems == []
        finally:
            context.close()
            worker.stop()
            hub.stop()


def _desk(hub: object) -> Desk:
    return Desk(hub, None, *[None] * 4)  # type: ignore[arg-type]


def _next(page: Page) -> Locator:
    return page.locator("[aria-current=step]")


def _is_accessible(page: Page) -> None:
    need(AXE.is_file(), "axe-core (make test installs it)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
    assert [each["id"] for each in found["violations"]] == [], found["violations"]
