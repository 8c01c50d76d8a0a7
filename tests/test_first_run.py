"""From an empty hub to the first message answered: the first account, and the page that says what comes next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from cli.serve import _welcome
from config import Settings
from hub import Hub
from hub.firstrun import first_address
from hub.replies import reply
from storage.people import Agent, AgentQueue
from tests.browser.room import Browser, application, attr, words
from tests.clock import Clock
from tests.desk import Desk, hub_with_readers

START = "/inbox/settings/start"
INES: dict[str, Any] = {"name": "Ines Novak", "email": "ines@shop.example", "password": "a long pass phrase"}


@pytest.fixture
def hub(database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Hub]:
    """What is there after installing: a database and nobody in it."""
    url = "" if database_url.startswith("sqlite") else database_url
    opened = hub_with_readers(Settings(database_url=url, data_dir=tmp_path, secret_key="test-secret"), clock)
    yield opened
    opened.stop()


@pytest.fixture
def bare(hub: Hub) -> Flask:
    return application(Desk(hub, Clock(), *[None] * 4))  # type: ignore[arg-type]


def link(hub: Hub) -> str:
    return first_address(hub).removeprefix(hub.settings.base_url)


def test_whoever_starts_an_empty_hub_is_given_the_link_for_the_first_account(
    hub: Hub, bare: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    _welcome(hub.settings, False, hub)
    assert first_address(hub) in capsys.readouterr().out
    browser = Browser(bare)
    assert "Nobody has an account here yet" in browser.get("/sign-in").text
    assert "The first account" in words(browser.page(link(hub)), "h1")
    answer = browser.post(link(hub), **INES)
    assert answer.status_code == 303 and answer.location == START
    with hub.store.read() as tx:
        agent = tx.exec(select(Agent)).one()
        assert (agent.role, agent.email, len(tx.exec(select(AgentQueue)).all())) == ("admin", "ines@shop.example", 1)
    assert words(browser.page(START), "[aria-current=step] h2") == ["A way for customers to reach you"]

    _welcome(hub.settings, False, hub)
    assert "first account" not in capsys.readouterr().out
    stranger = Browser(bare)
    assert stranger.get(link(hub)).status_code == 404 and "Nobody has" not in stranger.get("/sign-in").text
    assert stranger.post(link(hub), **INES).status_code == 404, "once"


def test_the_first_account_is_nobody_elses_to_make(hub: Hub, bare: Flask) -> None:
    browser = Browser(bare)
    browser.get("/sign-in")
    assert browser.get("/sign-in/first/guess").status_code == 404
    assert browser.post("/sign-in/first/gu\u00e9ss", **INES).status_code == 404
    with hub.store.read() as tx:
        assert tx.exec(select(Agent)).first() is None


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"name": " "}, "name", "type one"),
        ({"email": "ines"}, "email", "whole e-mail address"),
        ({"password": "short"}, "password", "at least"),
    ],
)
def test_what_is_wrong_with_it_stands_beside_its_field(
    hub: Hub, bare: Flask, typed: dict[str, Any], field: str, sentence: str
) -> None:
    browser = Browser(bare)
    browser.get(link(hub))
    answer = browser.post(link(hub), **INES | typed)
    page = Page(answer.text)
    assert answer.status_code == 422 and sentence in words(page, f"#wrong-{field}")[0]
    assert field == "email" or attr(page, "#email", "value") == INES["email"]


def test_the_steps_follow_what_happens(desk: Desk, ines: Browser) -> None:
    assert "First steps" in words(ines.page("/inbox/mine"), ".nav .sandbox")[0]
    page = ines.page(START)
    assert words(page, "[aria-current=step] h2") == ["Proved by a test"], "the desk of the tests has channels"
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE channel SET checked_at = ? WHERE name = 'support-mail'", tx.now)
        tx.sql("DELETE FROM agent_queue")
    assert words(ines.page(START), "[aria-current=step] h2") == ["Somebody to answer"]
    assert ines.post(f"{START}/serve").status_code == 303
    page = ines.page(START)
    assert words(page, "[aria-current=step] h2") == ["The first message"]
    assert "support@desk.example" in words(page, "[aria-current=step] p")[0]
    number = desk.mail("Order", "Where is my lamp?").conversation_id or 0
    page = Page(ines.get(START, hx=True).text)
    assert words(page, "[aria-current=step] h2") == ["Answered"]
    assert attr(page, "[aria-current=step] a", "href") == f"/inbox/c/{number}"
    with desk.hub.store.write() as tx:
        message = reply(tx, desk.ines, number, text="Today.", tokens=desk.hub.tokens, undo_seconds=0)
        tx.sql("UPDATE message SET state = 'sent' WHERE id = ?", message.id)
    page = Page(ines.get(START, hx=True).text)
    assert "The desk is up" in words(page, ".told")[0] and not page.css("[hx-get]")
    assert not ines.page("/inbox/mine").css(".nav .sandbox"), "and the way there is gone"


def test_agents_are_not_led_there(desk: Desk, jonas: Browser) -> None:
    assert jonas.get(START).status_code == 403
    assert not jonas.page("/inbox/mine").css(".nav .sandbox")
