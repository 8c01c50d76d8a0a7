"""Mail to agents is in the language that each of them reads: chosen, else what their browser asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from hub.concern import AWAY
from storage.access import Actor
from tests.browser.room import Browser
from tests.desk import MARA_MAIL, Desk
from tests.support.autoreply import words
from tests.support.made_up import MADE_UP, invent, rows_of, untold
from tests.support.noticing import Noticing, noticing
from tests.test_access_links import FORGOT, letters, link_in, posted
from tests.test_notifications import status, wants

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def told(desk: Desk) -> Iterator[Noticing]:
    with noticing(desk) as opened:
        yield opened


def reading(told: Noticing, code: str, actor: Actor | None = None) -> None:
    told.change(actor or told.desk.jonas, preferences={"language": code})


def test_a_notice_speaks_german_and_is_answered_above_its_line(told: Noticing) -> None:
    reading(told, "de")
    number, notice = told.asked()
    lines = words(notice).split("\n")
    assert lines[0] == "-- Antworten Sie über dieser Zeile: Es geht an Mara Lindqvist (E-Mail). --"
    assert "Mara Lindqvist, 24. November 2026 um 10:00 UTC, per E-Mail:" in lines
    assert f"Im Posteingang: https://desk.example/inbox/c/{number}" in lines
    below = "\n".join(["Sie ging heute hinaus.", "", *lines])  # a program that marks nothing as quoted
    told.answer(notice, "", body=b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + below.encode())
    assert [words(mail) for mail in told.work() if mail["To"] == MARA_MAIL] == ["Sie ging heute hinaus."]
    assert told.last(number).text == "Sie ging heute hinaus."


def test_why_an_answer_by_mail_was_not_sent_is_told_in_german(told: Noticing) -> None:
    reading(told, "de")
    _number, notice = told.asked()
    told.desk.clock.forward(days=31)
    told.answer(notice, "Sie ging heute hinaus.")
    [refused] = [mail for mail in told.work() if mail["To"] != MARA_MAIL]
    assert "Die Mail, auf die Sie geantwortet haben, ist älter als 30 Tage." in words(refused)


def test_what_is_gathered_is_told_from_the_catalog_alone(told: Noticing, monkeypatch: pytest.MonkeyPatch) -> None:
    invent(monkeypatch)
    desk = told.desk
    reading(told, MADE_UP)
    _number, notice = told.asked()
    wants(desk, desk.jonas, AWAY, 30)
    status(desk, desk.jonas, "away")
    for n in range(12):
        desk.mail("Re: Lamp", f"Hello? {n}", answers="<mail-1@customer.example>")
    told.give(desk.mail("Chair", "Hello?").conversation_id or 0, desk.jonas)
    [gathered] = told.work(minutes=31)
    assert "⟦While you were away⟧" in gathered["Subject"]
    data = f"{rows_of(desk)} mara lindqvist: lamp mara lindqvist: chair"
    for text in (words(notice), gathered["Subject"], words(gathered)):
        assert set(untold(text.replace("November", ""), data)) == set()


def test_a_link_for_a_password_speaks_as_the_browser_that_asked_for_it(app: Flask, desk: Desk) -> None:
    browser = Browser(app)
    browser.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de"
    with posted(desk) as room:
        browser.get(FORGOT)
        browser.post(FORGOT, email="jonas@desk.example")
        [mail] = letters(room)
    assert mail["Subject"] == "Neues Passwort wählen" and words(mail).startswith("Guten Tag Jonas Weber,")
    assert link_in(mail)


def test_mail_speaks_as_the_browser_of_the_last_sign_in_until_somebody_chooses(app: Flask, told: Noticing) -> None:
    browser = Browser(app)
    browser.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de-AT,en;q=0.5"
    browser.sign_in("jonas@desk.example")
    _number, notice = told.asked()
    assert "Für diese Konversation sind Sie jetzt zuständig." in words(notice)
    browser.post("/inbox/account/language", language="en")
    _number, notice = told.asked()
    assert "This conversation is yours now." in words(notice)
