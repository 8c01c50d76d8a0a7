"""What checks of the desk find and refuse, and what a change would do, is told in the reader's language."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page

from hub.desk import apply, read
from storage.access import SYSTEM
from storage.desk import Queue
from storage.facts import DeskChanged
from tests.browser.room import Browser, words
from tests.desk import Desk
from tests.support.made_up import MADE_UP, bare, invent, rows_of
from tests.test_inbox_rules import RULES, press
from tests.test_settings_desk import FULL, SETTINGS, rows, typed

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("queues", {"name": "Shipping"}), ("queues", {"name": "x", "sla.first_reply": "soon"}),
    ("queues", {"name": "x", "sla.warn_at": "100"}), ("queues", {"name": "x", "offers": "many"}),
    ("queues", {"name": "x", "limits.overflow": "General"}), ("queues", {"name": "x", "more": "laddder: []"}),
    ("queues", {"name": "x", "more": "ladder: [{after: 1m}]"}), ("queues", {"name": "x", "more": "a: ["}),
    ("calendars", {"name": "x", "time_zone": "Europe/Berlinn", "hours.mon": "9:00-17:00"}),
    ("calendars", {"name": "x", "time_zone": "Europe/Berlin"}),
    ("calendars", {"name": "x", "time_zone": "Europe/Berlin", "hours.mon": "9 to 5"}),
    ("calendars", {"name": "x", "time_zone": "Europe/Berlin", "hours.mon": "09:00-17:00", "holidays.country": "XX"}),
    ("calendars", {"name": "x", "time_zone": "Europe/Berlin", "hours.mon": "09:00-17:00", "closed": "Christmas"}),
    ("profiles", {"name": "x", "pull": ["chat"], "push": ["chat"]}),
    ("profiles", {"name": "x", "disconnect.chat": "5s"}), ("skills", {"name": "orders"}),
]  # fmt: skip


@pytest.fixture
def made_up(app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Browser:
    invent(monkeypatch)
    browser = Browser(app)
    browser.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = MADE_UP
    browser.sign_in("ines@desk.example")
    return browser


@pytest.mark.parametrize(("section", "changes"), REFUSED)
def test_what_is_refused_is_told(desk: Desk, made_up: Browser, section: str, changes: dict[str, Any]) -> None:
    path = f"{SETTINGS}/{section}/new"
    answer = made_up.post(path, **(typed(made_up.page(path)) | changes), do="save")
    assert answer.status_code == 422
    wrong = " ".join(words(Page(answer.text), ".wrong, .problem"))
    assert "⟦" in wrong
    assert bare(Page(f"<p>{wrong}</p>"), f"{rows_of(desk)} {' '.join(map(str, changes.values()))}".casefold()) == set()


def test_what_a_change_does_elsewhere_and_what_looks_odd_then_is_told(desk: Desk, made_up: Browser) -> None:
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, read(FULL))
    desk.mail("Order 48213", "One lamp is missing")
    shipping = rows(desk, Queue)["Shipping"].id
    path = f"{SETTINGS}/queues/{shipping}"
    form = typed(made_up.page(path))
    data = f"{rows_of(desk)} contracts".casefold()
    looked = Page(made_up.post(path, hx=True, **(form | {"name": "Contracts"})).text)
    assert "Contracts" in (looked.html or "") and bare(looked, data) == set()
    form = typed(made_up.page(f"{SETTINGS}/queues/new")) | {
        "name": "Contracts",
        "more": "ladder: [{after: 1m, join: [Billing]}]",
    }
    looked = Page(made_up.post(f"{SETTINGS}/queues/new", hx=True, **form).text)
    assert "no agent serves it" in (looked.html or "") and bare(looked, data) == set()
    gone = made_up.page(f"{path}/remove")
    assert "takes 1 conversations of Shipping" in (gone.html or "") and bare(gone, data) == set()


def test_what_is_wrong_with_a_rule_is_told(desk: Desk, made_up: Browser) -> None:
    page = press(made_up, made_up.page(f"{RULES}/new"), "box:n", name="Money", **{"n.1.field": "item.sbject"})
    data = f"{rows_of(desk)} item.sbject hass all when".casefold()
    for changes in (
        {"n.2.1.field": "contact.tier", "priority": "high"}, {"n.1.field": "item.subject"}, {"n.1.value": "x"},
        {"n.2.1.value": "gold"}, {"priority": "5000"}, {"priority": "1"},
    ):  # fmt: skip
        page = press(made_up, page, "save", **changes)
        wrong = words(page, ".wrong, .problem")
        assert wrong and bare(Page(f"<p>{' '.join(wrong)}</p>"), data) == set(), changes
    page = press(made_up, page, "yaml")
    for text in ("any: [", "any: [{field: item.text, op: hass, value: x}]", "{all: []}", "[]"):
        page = press(made_up, page, "save", yaml=text)
        wrong = words(page, ".wrong, .problem")
        assert wrong and bare(Page(f"<p>{' '.join(wrong)}</p>"), data) == set(), text


def test_what_was_changed_is_told_in_the_log(desk: Desk, made_up: Browser) -> None:
    with desk.hub.store.write() as tx:
        apply(tx, desk.ines, read(FULL))
        for what in ("rule Money changed: queue", "agent 1", "webhook crm has a new secret", "tag vip removed"):
            tx.emit(DeskChanged(what, by=desk.ines.by))
    page = made_up.page("/inbox/people/audit")
    text = page.text()
    assert "changes by file" in text and "⟦changed" in text
    assert bare(page, f"{rows_of(desk)} money crm vip") == set()
