"""The chat widget in a real browser, embedded by a shop on another origin."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, FrameLocator, Page, expect
from sqlmodel import select

from storage.desk import ChannelAccount, touch_desk
from tests.clock import Clock
from tests.desk import Desk, open_desk
from tests.doors import Client, answer, compose, served

CLOCK_TIME = re.compile(r"\d\d:\d\d")


class Shop:
    """Somebody else's site. It embeds the chat with one line, under a strict policy of its own."""

    def __init__(self) -> None:
        shop = self
        self.hub = ""

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tag = f'<script src="{shop.hub}/chat/widget.js" data-channel="shop-chat" defer></script>'
                page = f"<!doctype html><title>Shop</title>{tag}<h1>Lamps</h1><button>Buy</button>".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                policy = f"default-src 'none'; script-src {shop.hub}; frame-src {shop.hub}"
                self.send_header("Content-Security-Policy", policy)
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture
def desk(sqlite_template: Path, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("MAIL_PASSWORD", "secret")
    monkeypatch.setenv("SHOP_SECRET", "the shop's secret, at least thirty-two bytes long")
    shutil.copy(sqlite_template, tmp_path / "hub.db")
    desk = open_desk(f"sqlite:///{tmp_path / 'hub.db'}", tmp_path, clock)
    yield desk
    desk.hub.stop()


@pytest.fixture
def hub(desk: Desk, shop: Shop) -> Iterator[Client]:
    with desk.hub.store.write() as tx:
        account = tx.exec(select(ChannelAccount).where(ChannelAccount.name == "shop-chat")).one()
        account.settings = {**account.settings, "origins": [shop.origin], "greeting": "Hej!"}
        tx.add(account)
        touch_desk(tx)
    desk.hub.look_again()
    with served(compose(desk.hub)) as client:
        shop.hub = client.address
        desk.hub.settings = desk.hub.settings.changed(demo=True)
        yield client


@pytest.fixture
def troubles() -> list[str]:
    """What the browser complains about; a story that provokes it clears the list."""
    return []


@pytest.fixture
def page(browser: Browser, hub: Client, troubles: list[str]) -> Iterator[Page]:
    def note(said: ConsoleMessage) -> None:
        if said.type == "error":
            troubles.append(said.text)

    context = browser.new_context(viewport={"width": 1000, "height": 760})
    page = context.new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", note)
    yield page
    context.close()
    assert troubles == []


def chat(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[title=Chat]")


def say(page: Page, text: str) -> None:
    field = chat(page).get_by_label("Your message")
    field.fill(text)
    field.press("Enter")


def test_a_visitor_of_another_site_chats_and_comes_back(desk: Desk, shop: Shop, page: Page) -> None:
    page.goto(shop.origin)
    launcher = page.get_by_role("button", name="Open chat")
    launcher.focus()
    page.keyboard.press("Enter")
    expect(chat(page).get_by_text("Hej!")).to_be_visible()
    expect(chat(page).get_by_label("Your message")).to_be_focused()
    say(page, "Is the Fjord lamp in stock?")
    expect(chat(page).locator("li.visitor")).to_have_count(1)
    expect(chat(page).locator("li.visitor small")).not_to_have_text("Sending…")
    answer(desk, desk.only_conversation().id or 0, "Yes, <b>twelve</b> of them.")
    expect(chat(page).locator("li.agent p")).to_have_text("Yes, <b>twelve</b> of them.")

    page.keyboard.press("Escape")
    expect(page.locator("iframe[title=Chat]")).to_be_hidden()
    expect(page.get_by_role("button", name="Open chat")).to_be_focused()
    answer(desk, desk.only_conversation().id or 0, "Shall I put one aside?")
    expect(page.get_by_role("button", name="Open chat, 1 new")).to_be_visible()

    page.reload()
    page.get_by_role("button", name="Open chat").click()
    expect(chat(page).locator("li p")).to_have_text(
        ["Is the Fjord lamp in stock?", "Yes, <b>twelve</b> of them.", "Shall I put one aside?"]
    )
    assert page.context.cookies() == []


def test_a_line_that_was_not_sent_can_be_sent_again(desk: Desk, shop: Shop, page: Page, troubles: list[str]) -> None:
    page.goto(shop.origin)
    page.get_by_role("button", name="Open chat").click()
    expect(chat(page).get_by_label("Your message")).to_be_focused()
    page.context.route("**/chat/messages", lambda route: route.abort())
    say(page, "hello?")
    again = chat(page).get_by_role("button", name="Not sent. Try again")
    expect(again).to_be_visible()
    page.context.unroute("**/chat/messages")
    again.click()
    expect(chat(page).locator("li.visitor small")).to_have_text(CLOCK_TIME)
    assert [message.text for message in desk.messages(desk.only_conversation().id or 0)] == ["hello?"]
    troubles.clear()


def test_a_site_that_is_not_named_can_t_show_the_chat(shop: Shop, page: Page, troubles: list[str]) -> None:
    other = shop.origin.replace("127.0.0.1", "localhost")
    page.goto(other)
    page.get_by_role("button", name="Open chat").click()
    expect(chat(page).get_by_label("Your message")).to_have_count(0)
    troubles.clear()


def test_the_chat_fills_a_phone_and_the_dark(desk: Desk, hub: Client, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 780}, color_scheme="dark", reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{hub.address}/chat/demo-shop")
    page.get_by_role("button", name="Open chat").click()
    box = page.locator("iframe[title=Chat]").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 780}
    expect(page.get_by_role("button", name="Close chat")).to_have_count(0)
    chat(page).get_by_role("button", name="Close chat").click()
    expect(page.get_by_role("button", name="Open chat")).to_be_visible()
    context.close()


def test_the_demo_shop_vouches_for_its_customer(desk: Desk, hub: Client, page: Page) -> None:
    page.goto(f"{hub.address}/chat/demo-shop")
    page.get_by_role("link", name="Sign in as Mara Lindqvist").click()
    page.get_by_role("button", name="Open chat").click()
    say(page, "It's me")
    expect(chat(page).locator("li.visitor small")).to_have_text(CLOCK_TIME)
    with desk.hub.store.read() as tx:
        row = tx.sql("SELECT name FROM contact WHERE id = ?", desk.only_conversation().contact_id).fetchone()
    assert row[0] == "Mara Lindqvist"
