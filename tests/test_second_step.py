"""The second step of signing in: codes that count once, recovery codes, no guessing, a desk that wants it."""

from __future__ import annotations

import base64
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub import secondstep
from hub.sealing import Envelope
from hub.secondstep import PERIOD, code_at
from hub.throttle import SignInRefused
from storage.access import Conflict, Forbidden
from storage.doors import RecoveryCode, SecondStep
from storage.factrows import FactRow
from storage.people import Agent
from tests.browser.room import PASSWORD, Browser, attr, words
from tests.desk import Desk

STEP = "/inbox/account/second-step"


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6238 appendix B, for SHA-1 with eight digits."""
    secret = b"12345678901234567890"
    for moment, code in (
        (59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"),
        (2000000000, "69279037"), (20000000000, "65353130"),
    ):  # fmt: skip
        assert code_at(secret, moment // PERIOD, 8) == code
        assert code_at(secret, moment // PERIOD) == code[2:]


def secret_of(desk: Desk, agent_id: int) -> bytes:
    with desk.hub.store.read() as tx:
        found = secondstep.pending(tx, desk.hub.envelope, tx.get_one(Agent, agent_id))
    assert found is not None
    assert parse_qs(urlsplit(found.uri).query)["secret"] == [found.secret]
    return base64.b32decode(found.secret)


def now_code(desk: Desk, secret: bytes, later: int = 0) -> str:
    return code_at(secret, int(desk.clock().timestamp()) // PERIOD + later)


def set_up(desk: Desk, browser: Browser, agent_id: int) -> tuple[bytes, list[str]]:
    """As a person does: begin, read the key, type the first code, keep the recovery codes."""
    browser.page(STEP)
    assert browser.post(STEP).status_code == 303
    page = browser.page(STEP)
    assert page.css_first("svg.qr path") is not None
    secret = secret_of(desk, agent_id)
    assert words(page, "code.secret")[0].replace(" ", "") == base64.b32encode(secret).decode()
    done = browser.post(f"{STEP}/confirm", code=now_code(desk, secret))
    assert done.status_code == 200, done.text[:500]
    codes = words(Page(done.text), ".codes code")
    assert len(codes) == 10 and all(re.fullmatch("([a-z2-7]{4}-){3}[a-z2-7]{4}", code) for code in codes)
    return secret, codes


def owes_code(app: Flask, email: str = "jonas@desk.example") -> Browser:
    browser = Browser(app)
    answer = browser.sign_in(email)
    assert answer.status_code == 303 and answer.location.startswith("/sign-in/code")
    assert browser.get("/inbox/mine").status_code == 302  # the password alone opens nothing
    browser.get("/sign-in/code")
    return browser


def test_jonas_sets_it_up_and_signs_in_with_a_code_of_his_app(app: Flask, desk: Desk, jonas: Browser) -> None:
    elsewhere = Browser(app)
    elsewhere.sign_in("jonas@desk.example")
    secret, codes = set_up(desk, jonas, desk.jonas.agent_id or 0)
    assert elsewhere.get("/inbox/mine").status_code == 302, "who was in by the password alone is out"
    assert "10 of 10" in " ".join(words(jonas.page("/inbox/account"), ".fact-line"))

    desk.clock.forward(seconds=PERIOD)
    phone = owes_code(app)
    wrong = phone.post("/sign-in/code", code="000 000")
    assert wrong.status_code == 403 and "does not fit" in wrong.text
    code = now_code(desk, secret)
    right = phone.post("/sign-in/code", code=f"{code[:3]} {code[3:]}", next="/inbox/all")
    assert (right.status_code, right.location) == (303, "/inbox/all")
    assert phone.get("/inbox/mine").status_code == 200

    again = owes_code(app)
    assert again.post("/sign-in/code", code=code).status_code == 403, "a code that was seen counts once"
    desk.clock.forward(seconds=PERIOD)
    assert again.post("/sign-in/code", code=now_code(desk, secret)).status_code == 303

    lost = owes_code(app)
    assert lost.post("/sign-in/code", code=codes[3].upper()).status_code == 303
    assert "9 of 10" in " ".join(words(lost.page("/inbox/account"), ".fact-line"))
    assert owes_code(app).post("/sign-in/code", code=codes[3]).status_code == 403
    with desk.hub.store.read() as tx:
        kept = [*tx.exec(select(SecondStep.sealed)), *tx.exec(select(RecoveryCode.code_hash))]
        hows = [row.data["how"] for row in tx.exec(select(FactRow).where(FactRow.name == "SignedIn"))]
    assert not any(secret.hex() in row or code.replace("-", "") in row for row in kept for code in codes)
    assert hows[-3:] == ["second step", "second step", "recovery code"]


def test_guessing_codes_is_stopped_also_from_many_places_at_once(app: Flask, desk: Desk, jonas: Browser) -> None:
    agent_id = desk.jonas.agent_id or 0
    secret, _ = set_up(desk, jonas, agent_id)
    desk.clock.forward(seconds=PERIOD)

    def guess(number: int) -> str:
        try:
            return secondstep.prove(desk.hub.store, desk.hub.envelope, agent_id, "123456", ip=f"192.0.2.{number}")
        except SignInRefused as refused:
            return str(refused)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(guess, range(24)))
    assert sum("does not fit" in answer for answer in answers) == 5
    assert sum("Wait 15 minutes" in answer for answer in answers) == 19
    waits = owes_code(app)
    refused = waits.post("/sign-in/code", code=now_code(desk, secret))
    assert refused.status_code == 429 and "Too many tries" in refused.text
    desk.clock.forward(minutes=16)
    assert owes_code(app).post("/sign-in/code", code=now_code(desk, secret)).status_code == 303
    with desk.hub.store.read() as tx:
        (stopped,) = tx.exec(select(FactRow).where(FactRow.name == "SignInStopped"))
    assert stopped.data == {"agent_id": agent_id, "what": "code", "by": "system"}


def test_one_code_typed_in_two_browsers_at_once_lets_one_in(desk: Desk, jonas: Browser) -> None:
    agent_id = desk.jonas.agent_id or 0
    secret, codes = set_up(desk, jonas, agent_id)
    desk.clock.forward(seconds=PERIOD)
    for code in (now_code(desk, secret), codes[0]):

        def enter(number: int, code: str = code) -> bool:
            try:
                secondstep.prove(desk.hub.store, desk.hub.envelope, agent_id, code, ip=f"192.0.2.{number}")
            except SignInRefused:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(enter, range(4))) == 1


def test_a_first_code_that_is_wrong_switches_nothing_on(app: Flask, desk: Desk, jonas: Browser) -> None:
    jonas.page(STEP)
    jonas.post(STEP)
    wrong = jonas.post(f"{STEP}/confirm", code="12345")
    assert wrong.status_code == 422
    page = Page(wrong.text)
    assert "does not fit" in words(page, "#wrong-code")[0] and attr(page, "#code", "aria-describedby") == "wrong-code"
    assert page.css_first("svg.qr") is not None, "the picture is still there"
    assert Browser(app).sign_in("jonas@desk.example").location == "/inbox"


def test_switching_it_off_and_new_codes_need_the_password(app: Flask, desk: Desk, jonas: Browser) -> None:
    secret, codes = set_up(desk, jonas, desk.jonas.agent_id or 0)
    refused = jonas.post(f"{STEP}/codes", codes_password="not his")
    assert refused.status_code == 422 and "not your password" in words(Page(refused.text), "#wrong-codes_password")[0]
    renewed = words(Page(jonas.post(f"{STEP}/codes", codes_password=PASSWORD).text), ".codes code")
    assert len(renewed) == 10 and not set(renewed) & set(codes)
    assert owes_code(app).post("/sign-in/code", code=codes[0]).status_code == 403
    assert owes_code(app).post("/sign-in/code", code=renewed[0]).status_code == 303
    assert jonas.post(f"{STEP}/off", off_password="not his").status_code == 422
    assert jonas.post(f"{STEP}/off", off_password=PASSWORD).status_code == 303
    assert Browser(app).sign_in("jonas@desk.example").location == "/inbox"
    assert secret


def test_a_desk_that_wants_it_of_everybody(app: Flask, desk: Desk, jonas: Browser, ines: Browser) -> None:
    store = desk.hub.store
    with pytest.raises(Forbidden), store.write() as tx:
        secondstep.require_of_all(tx, desk.jonas, True)
    with pytest.raises(Conflict, match="your own second step first"), store.write() as tx:
        secondstep.require_of_all(tx, desk.ines, True)
    set_up(desk, ines, desk.ines.agent_id or 0)
    with store.write() as tx:
        secondstep.require_of_all(tx, desk.ines, True)

    held = jonas.get("/inbox/mine")
    assert held.status_code == 302 and held.location.startswith(STEP)
    assert jonas.get("/inbox/live", hx=True).headers["HX-Redirect"] == STEP
    assert jonas.get("/inbox/account").status_code == 302
    assert "Set yours up to go on" in jonas.get(STEP).text
    secret, _ = set_up(desk, jonas, desk.jonas.agent_id or 0)
    assert jonas.get("/inbox/mine").status_code == 200
    assert "Everybody here" in jonas.post(f"{STEP}/off", off_password=PASSWORD).text

    with pytest.raises(Forbidden), store.write() as tx:
        secondstep.reset(tx, desk.amara, desk.jonas.agent_id or 0)
    with store.write() as tx:
        secondstep.reset(tx, desk.ines, desk.jonas.agent_id or 0)
    assert jonas.get("/inbox/mine").location.startswith("/sign-in"), "and is signed out"
    newly = Browser(app)
    assert newly.sign_in("jonas@desk.example").location == "/inbox"
    assert newly.get("/inbox/mine").location.startswith(STEP)
    assert secret


def test_half_a_sign_in_ends_by_itself(app: Flask, desk: Desk, jonas: Browser) -> None:
    secret, _ = set_up(desk, jonas, desk.jonas.agent_id or 0)
    waits = owes_code(app)
    desk.clock.forward(minutes=11)
    late = waits.post("/sign-in/code", code=now_code(desk, secret))
    assert late.status_code == 403 and "took too long" in late.text
    assert Browser(app).get("/sign-in/code").status_code == 302


def test_another_secret_key_leaves_the_recovery_codes(app: Flask, desk: Desk, jonas: Browser) -> None:
    secret, codes = set_up(desk, jonas, desk.jonas.agent_id or 0)
    desk.clock.forward(seconds=PERIOD)
    desk.hub.envelope = Envelope("another key", "second step")
    browser = owes_code(app)
    assert "SECRET_KEY" in browser.post("/sign-in/code", code=now_code(desk, secret)).text
    assert browser.post("/sign-in/code", code=codes[0]).status_code == 303
