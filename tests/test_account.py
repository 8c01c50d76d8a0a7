"""One's own account: where one is signed in, signing other browsers out, a new password."""

from __future__ import annotations

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub.desk import apply, export, read
from inbox.account import device
from storage.access import SYSTEM
from storage.factrows import FactRow
from tests.browser.room import PASSWORD, Browser, attr, words
from tests.desk import Desk

ACCOUNT = "/inbox/account"
NEW = "a loud evening"


@pytest.mark.parametrize(
    ("user_agent", "told"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 "
         "Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "Version/18.5 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36",
         "Chrome on Android"),
        ("", "A browser"),
    ],
)  # fmt: skip
def test_a_browser_is_called_what_people_call_it(user_agent: str, told: str) -> None:
    assert device(user_agent) == told


def test_jonas_sees_where_he_is_signed_in_and_ends_it(app: Flask, desk: Desk, jonas: Browser) -> None:
    desk.clock.forward(hours=2)
    phone, tablet, stranger = Browser(app), Browser(app), Browser(app)
    for browser, agent in ((phone, "Firefox Android"), (tablet, "Safari iPad")):
        browser.client.environ_base["HTTP_USER_AGENT"] = agent
        browser.sign_in("jonas@desk.example")
    stranger.sign_in("amara@desk.example")
    jonas.get("/inbox/mine")  # seen again
    page = jonas.page(ACCOUNT)
    assert sorted(words(page, ".card-row b")) == ["A browser", "Firefox on Android", "Safari on iPad"]
    assert next(word for word in words(page, ".card-row") if "This browser" in word).startswith("A browser")
    assert "127.0.0.1 · since Tue 24 Nov, 10:00 · last seen Tue 24 Nov, 12:00" in " ".join(words(page, ".card-row p"))

    (end,) = [row for row in page.css(".card-row") if "iPad" in row.text()]
    address = attr(end, "form", "action")
    assert stranger.post(address).status_code == 404, "somebody else's browser is nobody's business"
    assert jonas.post(address).status_code == 303
    assert tablet.get("/inbox/mine").status_code == 302
    assert "signed out already" in jonas.post(address).text
    assert jonas.post(f"{ACCOUNT}/sign-ins/end").status_code == 303
    assert "1 other browser is signed out" in jonas.get(ACCOUNT).text
    assert phone.get("/inbox/mine").status_code == 302
    assert stranger.get("/inbox/mine").status_code == 200 and jonas.get("/inbox/mine").status_code == 200
    with desk.hub.store.read() as tx:
        ended = [row.data["why"] for row in tx.exec(select(FactRow).where(FactRow.name == "SignInsEnded"))]
    assert ended == ["revoked", "revoked"]


def test_a_new_password_signs_every_other_browser_out(app: Flask, desk: Desk, jonas: Browser) -> None:
    phone = Browser(app)
    phone.sign_in("jonas@desk.example")
    jonas.page(ACCOUNT)
    wrong = jonas.post(f"{ACCOUNT}/password", current="not his", new=NEW)
    assert wrong.status_code == 422
    page = Page(wrong.text)
    assert "not your password" in words(page, "#wrong-current")[0] and attr(page, "#current", "aria-invalid") == "true"
    short = jonas.post(f"{ACCOUNT}/password", current=PASSWORD, new="short")
    assert "at least 10 characters" in words(Page(short.text), "#wrong-new")[0]
    assert phone.get("/inbox/mine").status_code == 200

    assert jonas.post(f"{ACCOUNT}/password", current=PASSWORD, new=NEW).status_code == 303
    assert "Your password is changed" in jonas.get(ACCOUNT).text, "this browser goes on"
    assert phone.get("/inbox/mine").status_code == 302
    assert Browser(app).sign_in("jonas@desk.example").status_code == 403
    assert Browser(app).sign_in("jonas@desk.example", NEW).location == "/inbox"


def test_whoever_sits_at_an_open_browser_can_not_guess_the_password(desk: Desk, jonas: Browser) -> None:
    jonas.page(ACCOUNT)
    for _ in range(5):
        jonas.post(f"{ACCOUNT}/password", current="a guess", new=NEW)
    assert "Wait 15 minutes" in jonas.post(f"{ACCOUNT}/password", current=PASSWORD, new=NEW).text


def test_an_account_that_is_switched_off_and_on_again_has_to_sign_in_again(desk: Desk, jonas: Browser) -> None:
    with desk.hub.store.write() as tx:
        whole = read(export(tx))
        without = {"agents": [each for each in whole["agents"] if each["email"] != "jonas@desk.example"]}
        apply(tx, SYSTEM, without)
    assert jonas.get("/inbox/mine").status_code == 302
    with desk.hub.store.write() as tx:
        apply(tx, SYSTEM, {"agents": whole["agents"]})
    assert jonas.get("/inbox/mine").status_code == 302
