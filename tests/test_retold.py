"""Sentences that are stored: in the row they are English, and every reader has them in their own language."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from channels.base import DeliveryState
from channels.mail.answers import sentence
from channels.mail.settings import Server, explain
from channels.twilio import failure
from config.language import STORED, p_, speaking
from config.retold import MOST_TRIES, _Reading, _said, retold, stored
from hub.delivery import AGAIN, GAVE_UP, move_message
from hub.endpoints import add_endpoint, send_test
from hub.gate import Leaving, may_leave
from hub.replies import reply
from hub.suppression import TOLD
from storage.desk import ChannelAccount, touch_desk
from tests.browser.room import Browser
from tests.browser.scene import EMPTY_MAIL, quarantine
from tests.desk import Desk
from tests.support import catalog
from tests.support.made_up import MADE_UP, bare, invent, rows_of

TEMPLATES = [str(each.id) for each in catalog.template() if each.context == STORED]
NOBODY = b"5.1.1 <lena@far.example>: no such user (see https://far.example/why)"
LENA = "lena@far.example"
KINDS = ("email", "chat")
LOST = "The line to Twilio broke after the text may have been taken; it is being checked."


@pytest.mark.parametrize("message", TEMPLATES)
def test_every_template_is_known_again_with_what_is_in_its_places(message: str) -> None:
    places = sorted(set(catalog.places(message)))
    values = {name: f"x{number}@{name}.example" for number, name in enumerate(places)}
    with speaking("de"):
        assert retold(stored(message, **values)) == p_(STORED, message, **values)


def test_what_is_in_a_sentence_is_told_as_well_and_a_servers_own_words_stay() -> None:
    why = f"{sentence(550, NOBODY, LENA)} {GAVE_UP}"
    assert retold(why) == why
    with speaking("de"):
        assert retold(why) == (
            "lena@far.example wurde endgültig abgelehnt: lena@far.example gibt es dort nicht. Fragen Sie den Kunden "
            "nach einer anderen Adresse (550 5.1.1 <lena@far.example>: no such user (see https://far.example/why)). "
            "Es wurde so lange versucht, wie wir es versuchen, und wird nicht nochmals versucht."
        )
        both = retold(f"{sentence(552, b'Full.', LENA)} {sentence(552, b'5.2.2 Full', 'b@far.example')}")
        assert both == (
            "lena@far.example wurde endgültig abgelehnt (552 Full.). b@far.example wurde endgültig abgelehnt: das "
            "Postfach von b@far.example ist voll (552 5.2.2 Full)."
        )
        later = retold(sentence(451, b"4.7.1 Greylisted, try again in 5 min", "the mail"))
        assert later == (
            "Die Mail wurde vorerst abgelehnt: erste Mails an die Mail müssen zweimal gesendet werden (Greylisting) "
            "(451 4.7.1 Greylisted, try again in 5 min)."
        )
        assert retold(f"{failure(400, 30003)} {AGAIN}") == (
            "Das Telefon ist ausgeschaltet oder nicht erreichbar; die SMS wird später nochmals versucht. "
            "(Twilio 30003) Es wird von selbst nochmals versucht."
        )
        server = Server("smtp", "mail.far.example", 587, "starttls", "support", "secret", None, 10)
        assert retold(explain(server, TimeoutError())) == (
            "SMTP-Server mail.far.example:587 hat nicht innerhalb von 10 s geantwortet. Prüfen Sie smtp_host und "
            "smtp_port oder versuchen Sie es später."
        )
        assert retold("In copy: Quota exceeded.") == "In Kopie: Quota exceeded."


def test_words_that_nobody_knows_stay_as_they_are() -> None:
    strange = "Relay access denied. It is tried again by itself. Ask your administrator."
    with speaking("de"):
        assert retold(strange) == "Relay access denied. Es wird von selbst nochmals versucht. Ask your administrator."
        assert retold("") == ""
        assert retold("(" * 1900) == "(" * 1900


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_why_something_did_not_arrive_is_told_on_every_page_that_shows_it(
    app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    invent(monkeypatch)
    number = desk.mail("Lamp", "Has it left?").conversation_id or 0
    leaving = Leaving("notice", "no-reply@far.example", number, "Lamp")
    with desk.hub.store.write() as tx:
        states = {
            DeliveryState.FAILED: f"{sentence(550, NOBODY, LENA)} {GAVE_UP}",
            DeliveryState.UNCERTAIN: LOST,
            DeliveryState.SENT: stored("{address} was left out. {why}", address=LENA, why=TOLD["complaint"]),
        }
        for state, why in states.items():
            sent = reply(tx, desk.ines, number, text="On Thursday.", tokens=desk.hub.tokens, undo_seconds=0)
            move_message(tx, sent.id or 0, state, why)
        assert not may_leave(tx, desk.hub.settings, leaving)
        quarantine(tx, b"?", EMPTY_MAIL)
        hook = add_endpoint(tx, desk.ines, name="crm", url="https://crm.example.com/hooks", events=[])
        send_test(tx, desk.ines, hook.id or 0)
        gone = stored("The endpoint answered {status}; it has to answer 2xx.", status=500)
        tx.sql("UPDATE webhook_endpoint SET problem = ?", f"Switched off after five days of failure. {gone}")
        tx.sql("UPDATE delivery SET state = 'failed', error = ? WHERE sender = 'webhook'", gone)
    browser = Browser(app)
    browser.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = MADE_UP
    browser.sign_in("ines@desk.example")
    data, pages = rows_of(desk), (f"/inbox/c/{number}?view=all", "/inbox/unreadable", "/inbox/ledger",
        "/inbox/settings/webhooks", f"/inbox/settings/webhooks/{hook.id}")  # fmt: skip
    shown = {path: Page(browser.get(path).text) for path in pages}
    assert {path: bare(page, data) for path, page in shown.items()} == {path: set() for path in pages}
    text = " ".join(page.body.text() for page in shown.values() if page.body)
    for part in ("does not exist there", "for as long as we try", "no such user", "line to Twilio broke",
                 "reported an earlier", "Nobody reads", "not even a header", "to answer 2xx", "five days"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_how_a_channels_test_went_and_what_is_wrong_with_its_settings_is_told(
    app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    invent(monkeypatch)
    with desk.hub.store.write() as tx:
        number, chat = (tx.exec(select(ChannelAccount.id).where(ChannelAccount.kind == kind)).one() for kind in KINDS)
        tx.sql("UPDATE channel SET settings = ? WHERE kind = 'form'", {"feilds": {}})
        touch_desk(tx)
    browser = Browser(app)
    browser.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = MADE_UP
    browser.sign_in("ines@desk.example")
    data = rows_of(desk)
    for path in (f"/inbox/settings/channels/{number}", f"/inbox/settings/channels/{chat}"):
        browser.get(path)
        page = Page(browser.post(f"{path}/test").text)
        assert page.css_first(".test-steps") is not None and bare(page, data) == set()
    with desk.hub.store.read() as tx:
        problem = tx.get_one(ChannelAccount, number).problem
    assert problem.startswith("IMAP server 127.0.0.1:993: nothing listens there.")
    listed = Page(browser.get("/inbox/settings/channels").text)
    assert "nothing listens there" in listed.text() and "unknown setting" in listed.text()
    assert bare(listed, data) == set()
    typed: dict[str, Any] = {
        "name": "hello", "address": "hello@shop.example", "settings-username": "hello", "settings-password": "x",
        "settings-imap_host": "127.0.0.1", "settings-smtp_host": "127.0.0.1", "do": "try",
    }  # fmt: skip
    for more in ("", "hello"):
        typed["settings-smtp_username"] = more
        browser.get("/inbox/settings/channels/new/email")
        tried = Page(browser.post("/inbox/settings/channels/new/email", **typed).text)
        assert bare(tried, data + " hello") == set()


HOSTILE = ("! " * 250, "a. " * 166 + "x", "ics " * 125, "Refused: " + "! " * 200, ": (" * 160, "a) b. c! " * 50)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_stranger_made_up_costs_little_and_stops_no_page(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What servers answer and forms call themselves is stored, too, and pages are deep in the stack."""
    tried: list[str] = []
    whole = _Reading._whole

    def counted(self: _Reading, each: str, depth: int) -> Any:
        tried.append(each)
        return whole(self, each, depth)

    monkeypatch.setattr(_Reading, "_whole", counted)

    def deep(more: int) -> str:
        return deep(more - 1) if more else retold(text)

    _said.cache_clear()
    with speaking("de"):
        assert deep(600) == text
    assert len(tried) <= MOST_TRIES + 1


def test_a_sentence_is_known_although_a_strange_one_stands_beside_it() -> None:
    with speaking("de"):
        assert retold(f"{AGAIN} x y z.") != f"{AGAIN} x y z."
