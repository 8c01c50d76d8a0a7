"""Links by mail for choosing a password: once, in time, for whoever owns the address."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.message import EmailMessage

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub.accesslinks import choose_password, invite, send
from hub.delivery import Courier
from hub.outbound import reconcile_message
from hub.people import check_password, set_password
from storage.access import NotFound
from storage.deliveries import Delivery
from storage.doors import AccessLink
from storage.factrows import FactRow
from storage.people import Agent
from tests.browser.room import PASSWORD, Browser, attr, words
from tests.desk import Desk
from tests.support.autoreply import read
from tests.support.autoreply import words as text_of
from tests.support.mailroom import Mailroom, mailroom

NEW = "a loud evening"
FORGOT = "/sign-in/forgot"


@contextmanager
def posted(desk: Desk) -> Iterator[Mailroom]:
    with mailroom(desk) as room:
        desk.hub.settings = desk.hub.settings.changed(notices_by="support-mail")
        yield room


@pytest.fixture
def room(desk: Desk) -> Iterator[Mailroom]:
    with posted(desk) as opened:
        yield opened


def letters(room: Mailroom) -> list[EmailMessage]:
    courier = Courier(room.desk.hub, {"letter": send}, reconcile_message, threads=2)
    while courier.run_once():
        pass
    return [read(each.data) for each in room.sink.taken]


def link_in(mail: EmailMessage) -> str:
    (found,) = re.findall(r"https://desk\.example(/sign-in/choose/\S+)", text_of(mail))
    return str(found)


def asked(browser: Browser, email: str = "jonas@desk.example") -> str:
    browser.get(FORGOT)
    answer = browser.post(FORGOT, email=email)
    assert answer.status_code == 200, answer.text[:500]
    return " ".join(words(Page(answer.text), "main p"))


def test_jonas_forgot_his_password(app: Flask, desk: Desk, room: Mailroom, jonas: Browser) -> None:
    assert "a mail with a link is on its way" in asked(Browser(app), " Jonas@desk.example ")
    (mail,) = letters(room)
    assert (mail["To"], mail["Subject"]) == ("jonas@desk.example", "Choose a new password")
    assert mail["Auto-Submitted"] == "auto-generated" and "Hello Jonas Weber" in text_of(mail)

    browser, link = Browser(app), link_in(mail)
    page = browser.page(link)
    assert attr(page, "#email", "value") == "jonas@desk.example"
    assert browser.get(link).headers["Referrer-Policy"] == "no-referrer"
    short = browser.post(link, new="short")
    assert short.status_code == 422 and "at least 10 characters" in words(Page(short.text), "#wrong-new")[0]
    done = browser.post(link, new=NEW)
    assert (done.status_code, done.location) == (303, "/sign-in?email=jonas@desk.example")
    assert "Your password is kept" in browser.get(done.location).text
    assert jonas.get("/inbox/mine").status_code == 302, "every browser is signed out"
    assert Browser(app).sign_in("jonas@desk.example", PASSWORD).status_code == 403
    assert Browser(app).sign_in("jonas@desk.example", NEW).location == "/inbox"

    again = browser.get(link)
    assert again.status_code == 404 and "has been used" in again.text
    assert browser.post(link, new="another evening").status_code == 404
    with desk.hub.store.read() as tx:
        names = [row.name for row in tx.exec(select(FactRow).order_by(FactRow.id))]  # type: ignore[arg-type]
    assert names.index("PasswordResetAsked") < names.index("PasswordChanged")


def test_an_unknown_address_gets_the_same_answer_and_no_mail(app: Flask, room: Mailroom) -> None:
    known, unknown = asked(Browser(app)), asked(Browser(app), "nobody@desk.example")
    assert known.replace("jonas@", "nobody@") == unknown
    assert [mail["To"] for mail in letters(room)] == ["jonas@desk.example"]


def test_nobody_can_flood_a_mailbox_or_find_out_by_it_who_is_there(app: Flask, desk: Desk, room: Mailroom) -> None:
    answers = {}
    for email in ("jonas@desk.example", "nobody@desk.example"):
        browser = Browser(app)
        for _ in range(3):
            asked(browser, email)
        late = browser.post(FORGOT, email=email)
        assert late.status_code == 429
        answers[email] = words(Page(late.text), ".problem")
        assert attr(Page(late.text), "#email", "value") == email
    assert answers["jonas@desk.example"] == answers["nobody@desk.example"]
    assert len(letters(room)) == 1, "only the newest link counts, so only its mail leaves"


def test_a_link_ends_and_a_newer_one_takes_its_place(app: Flask, desk: Desk, room: Mailroom) -> None:
    asked(Browser(app))
    first = link_in(letters(room)[0])
    asked(Browser(app))
    second = link_in(letters(room)[1])
    assert Browser(app).get(first).status_code == 404
    assert Browser(app).get(second).status_code == 200
    desk.clock.forward(minutes=61)
    ended = Browser(app).get(second)
    assert ended.status_code == 404 and "too old" in ended.text
    assert Browser(app).get(second[:-1] + ("A" if second[-1] != "A" else "B")).status_code == 404
    for forged in ("1", "x-y", "1-", "-", "999999999999999999999999-abc", "１-abc"):
        assert Browser(app).get(f"/sign-in/choose/{forged}").status_code == 404


def test_who_asks_at_the_door_ends_no_invitation_and_either_link_ends_both(
    app: Flask, desk: Desk, room: Mailroom
) -> None:
    with desk.hub.store.write() as tx:
        invite(desk.hub, tx, tx.get_one(Agent, desk.jonas.agent_id), "agent:1")
    invitation = link_in(letters(room)[0])
    asked(Browser(app))
    reset = link_in(letters(room)[1])
    assert [Browser(app).get(each).status_code for each in (invitation, reset)] == [200, 200]
    browser = Browser(app)
    browser.get(invitation)
    assert browser.post(invitation, new=NEW).status_code == 303
    assert [Browser(app).get(each).status_code for each in (invitation, reset)] == [404, 404]


def test_the_database_does_not_know_a_link(app: Flask, desk: Desk, room: Mailroom) -> None:
    asked(Browser(app))
    token = link_in(letters(room)[0]).rpartition("/")[2]
    secret = token.partition("-")[2]
    with desk.hub.store.read() as tx:
        link, delivery = tx.exec(select(AccessLink)).one(), tx.exec(select(Delivery)).one()
        kept = json.dumps([link.model_dump(mode="json"), delivery.model_dump(mode="json")])
    assert secret not in kept and secret[:12] not in kept


def test_a_link_that_is_followed_twice_at_once_counts_once(desk: Desk, app: Flask, room: Mailroom) -> None:
    asked(Browser(app))
    token = link_in(letters(room)[0]).rpartition("/")[2]

    def choose(number: int) -> str:
        try:
            choose_password(desk.hub, token, f"evening number {number}")
        except NotFound:
            return ""
        return f"evening number {number}"

    with ThreadPoolExecutor(4) as pool:
        taken = [password for password in pool.map(choose, range(4)) if password]
    assert len(taken) == 1 and check_password(desk.agent(desk.jonas), taken[0])


def test_who_was_switched_off_meanwhile_gets_in_by_no_link(app: Flask, desk: Desk, room: Mailroom) -> None:
    asked(Browser(app))
    link = link_in(letters(room)[0])
    asked(Browser(app), "amara@desk.example")
    with desk.hub.store.write() as tx:
        for email in ("jonas@desk.example", "amara@desk.example"):
            agent = tx.exec(select(Agent).where(Agent.email == email)).one()
            agent.active = False
            tx.add(agent)
    assert Browser(app).get(link).status_code == 404
    assert len(letters(room)) == 1, "her mail has not left and does not any more"


def test_a_desk_without_mail_says_so(app: Flask) -> None:
    page = Browser(app).page(FORGOT)
    assert "sends no mail" in " ".join(words(page, "main p")) and page.css_first("form") is None


def test_a_form_of_another_site_asks_for_nothing(app: Flask, room: Mailroom) -> None:
    assert Browser(app).post(FORGOT, email="jonas@desk.example").status_code == 403
    assert letters(room) == []


def test_a_new_password_ends_the_links_that_were_sent_before(app: Flask, desk: Desk, room: Mailroom) -> None:
    asked(Browser(app))
    link = link_in(letters(room)[0])
    with desk.hub.store.write() as tx:
        set_password(tx, tx.get_one(Agent, desk.jonas.agent_id), NEW)
    with pytest.raises(NotFound):
        choose_password(desk.hub, link.rpartition("/")[2], "somebody else's")
