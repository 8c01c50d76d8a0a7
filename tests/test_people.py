"""Settings about people: invited, changed, switched off, never without an admin, and all of it in the audit log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select
from werkzeug.test import TestResponse

from hub import staff
from hub.audit import TOPICS
from hub.desk import apply, export, read
from hub.deskfile import DeskError
from inbox.auditwords import told
from storage.access import SYSTEM, Conflict, Forbidden
from storage.factrows import AUDITED, Fact, FactRow
from storage.facts import ReceiptLeft
from storage.people import Agent
from tests.browser.room import Browser, attr, words
from tests.desk import Desk
from tests.support.autoreply import words as text_of
from tests.test_access_links import letters, link_in, posted

PEOPLE = "/inbox/people"
NEW = "a loud evening"


def add(ines: Browser, **typed: Any) -> TestResponse:
    ines.page(f"{PEOPLE}/new")
    given: dict[str, Any] = {"name": "Noor Haddad", "email": "noor@desk.example", "role": "agent",
                                "capacity": "100", "queue": ["Shipping"], "skill.orders": "3"}  # fmt: skip
    return ines.post(f"{PEOPLE}/new", **given | typed)


def test_ines_invites_noor_who_chooses_a_password(app: Flask, desk: Desk, ines: Browser) -> None:
    with posted(desk) as room:
        answer = add(ines)
        assert answer.status_code == 303
        (row,) = [each for each in words(ines.page(PEOPLE), ".card-row") if "Noor" in each]
        assert "Agent Invited noor@desk.example · Shipping" in row
        (mail,) = letters(room)
    assert mail["Subject"] == "Your account at desk.example" and mail["To"] == "noor@desk.example"
    assert "Ines Novak has made an account for you" in text_of(mail)
    noor = Browser(app)
    assert "Welcome, Noor" in words(noor.page(link_in(mail)), "h1")
    noor.post(link_in(mail), new=NEW)
    assert noor.sign_in("noor@desk.example", NEW).location == "/inbox"
    (row,) = [each for each in words(ines.page(PEOPLE), ".card-row") if "Noor" in each]
    assert "Invited" not in row and "last seen" in row
    with desk.hub.store.read() as tx:
        agent = tx.exec(select(Agent).where(Agent.email == "noor@desk.example")).one()
        form = staff.person(tx, desk.ines, agent.id or 0)[1]
    assert (form.queues, form.skills) == ({"Shipping"}, {"orders": 3})


def test_where_no_mail_is_sent_the_link_is_shown_once(app: Flask, desk: Desk, ines: Browser) -> None:
    answer = add(ines)
    page = Page(answer.text)
    (link,) = words(page, ".shown-once code")
    noor = Browser(app)
    assert noor.post(link.removeprefix("https://desk.example"), new=NEW).status_code == 403, "needs a form of ours"
    noor.page(link.removeprefix("https://desk.example"))
    assert noor.post(link.removeprefix("https://desk.example"), new=NEW).status_code == 303
    again = next(agent.id for agent in everybody(desk) if agent.name == "Noor Haddad")
    assert "have chosen a password" in ines.post(f"{PEOPLE}/{again}/invite").text


def everybody(desk: Desk) -> list[Agent]:
    with desk.hub.store.read() as tx:
        return list(tx.exec(select(Agent)))


@pytest.mark.parametrize(
    ("field", "typed", "sentence"),
    [
        ("name", " ", "Customers see this name"),
        ("email", "noor", "whole e-mail address"),
        ("email", "noor@desk example", "whole e-mail address"),
        ("email", "JONAS@desk.example", "somebody with this address"),
        ("role", "emperor", "Choose one of"),
        ("capacity", "lots", "from 0 to 10000"),
        ("capacity", "-1", "from 0 to 10000"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    desk: Desk, ines: Browser, field: str, typed: str, sentence: str
) -> None:
    answer = add(ines, **{field: typed})
    page = Page(answer.text)
    assert answer.status_code == 422
    assert sentence in words(page, f"#wrong-{field}")[0]
    kept = {"name": "Noor Haddad", "email": "noor@desk.example", "capacity": "100"}
    kept |= {field: typed} if field in kept else {}
    for name, value in kept.items():
        assert attr(page, f"#{name}", "value") == value
    assert attr(page, "input[name=queue][value=Shipping]", "checked") == ""
    assert len(everybody(desk)) == 4


def test_amara_becomes_a_supervisor_and_serves_billing(app: Flask, desk: Desk, ines: Browser) -> None:
    amara = Browser(app)
    amara.sign_in("amara@desk.example")
    number = desk.amara.agent_id
    assert amara.get("/inbox/floor").status_code == 403
    page = ines.page(f"{PEOPLE}/{number}")
    served = {node.attributes["value"] for node in page.css("input[name=queue][checked]")}
    assert served == {"Shipping", "General"}
    typed: dict[str, Any] = {"skill.billing": "5"}
    ines.post(f"{PEOPLE}/{number}", name="Amara Obi", email="amara@desk.example", role="supervisor", capacity="250",
              queue=["Billing"], **typed)  # fmt: skip
    assert amara.get("/inbox/floor").status_code == 200
    agent = desk.agent(desk.amara)
    assert (agent.role, agent.capacity) == ("supervisor", 250)
    (row,) = [each for each in words(ines.page(f"{PEOPLE}/audit"), ".audit li") if "Changed Amara Obi: role" in each]
    assert "role, capacity, queues, skills" in row and "Ines Novak" in row


def test_who_is_switched_off_is_out_and_their_work_goes_back(
    app: Flask, desk: Desk, jonas: Browser, ines: Browser
) -> None:
    desk.text("Where is my parcel?")
    number = desk.only_conversation().id
    jonas.page("/inbox/all")
    jonas.post(f"/inbox/c/{number}/claim")
    assert desk.only_conversation().assignee_id == desk.jonas.agent_id
    page = ines.page(f"{PEOPLE}/{desk.jonas.agent_id}")
    assert "1 open conversation goes back to its queue" in " ".join(words(page, ".fact-line"))
    assert ines.post(f"{PEOPLE}/{desk.jonas.agent_id}/switch", on="0").status_code == 303
    assert jonas.get("/inbox/mine").status_code == 302
    assert Browser(app).sign_in("jonas@desk.example").status_code == 403
    assert desk.only_conversation().assignee_id is None
    assert ines.post(f"{PEOPLE}/{desk.jonas.agent_id}/switch", on="1").status_code == 303
    assert Browser(app).sign_in("jonas@desk.example").status_code == 303


def test_there_is_always_an_admin_left(desk: Desk, ines: Browser) -> None:
    number = desk.ines.agent_id
    ines.page(PEOPLE)
    refused = ines.post(
        f"{PEOPLE}/{number}", name="Ines Novak", email="ines@desk.example", role="agent", capacity="100"
    )
    assert refused.status_code == 409 and "last admin" in refused.text
    assert "switch yourself off" in ines.post(f"{PEOPLE}/{number}/switch", on="0").text
    with pytest.raises(Conflict, match="last admin"), desk.hub.store.write() as tx:
        staff.switch_person(tx, SYSTEM, number or 0, False)
    with pytest.raises(DeskError, match="nobody who can sign in as an admin"), desk.hub.store.write() as tx:
        people = read(export(tx))["agents"]
        apply(tx, SYSTEM, {"agents": [each for each in people if each["role"] != "admin"]})
    with desk.hub.store.write() as tx:  # an admin who has been invited can't sign in yet
        invited = staff.Person("Noor", "noor@desk.example", "admin")
        staff.add_person(desk.hub, tx, desk.ines, invited)
    with pytest.raises(Conflict, match="last admin"), desk.hub.store.write() as tx:
        staff.switch_person(tx, SYSTEM, number or 0, False)


def test_two_admins_who_demote_each_other_at_once_leave_one(desk: Desk) -> None:
    with desk.hub.store.write() as tx:
        amara = staff.person(tx, desk.ines, desk.amara.agent_id or 0)[1]
        amara.role = "admin"
        staff.change_person(tx, desk.ines, desk.amara.agent_id or 0, amara)
    ids = [desk.ines.agent_id or 0, desk.amara.agent_id or 0]

    def demote(number: int) -> bool:
        try:
            with desk.hub.store.write() as tx:
                form = staff.person(tx, SYSTEM, number)[1]
                form.role = "agent"
                staff.change_person(tx, SYSTEM, number, form)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(demote, ids)) == [False, True]


def test_only_admins_are_let_in_here(desk: Desk, jonas: Browser) -> None:
    for path in ("", "/new", "/1", "/audit"):
        assert jonas.get(f"{PEOPLE}{path}").status_code == 403
    jonas.page("/inbox/mine")
    for path in ("/new", "/1", "/1/switch", "/1/invite", "/1/sign-out", "/1/reset-step", "/second-step"):
        assert jonas.post(f"{PEOPLE}{path}", on="0", wanted="1").status_code == 403
    with desk.hub.store.write() as tx:
        for verb in (staff.people, lambda tx, actor: staff.switch_person(tx, actor, 1, False)):
            with pytest.raises(Forbidden):
                verb(tx, desk.jonas)


def test_ines_signs_somebody_out_everywhere(desk: Desk, jonas: Browser, ines: Browser) -> None:
    ines.page(PEOPLE)
    ines.post(f"{PEOPLE}/{desk.jonas.agent_id}/sign-out")
    assert jonas.get("/inbox/mine").status_code == 302


def test_the_audit_log_is_sifted_by_person_topic_and_day(app: Flask, desk: Desk, ines: Browser) -> None:
    jonas = Browser(app)
    jonas.sign_in("jonas@desk.example", "wrong password")
    jonas.sign_in("jonas@desk.example")
    desk.clock.forward(days=1)
    ines.page(PEOPLE)
    ines.post(f"{PEOPLE}/{desk.jonas.agent_id}/sign-out")
    log = ines.page(f"{PEOPLE}/audit")
    first = words(log, ".audit li")[0]
    assert first == "A browser of Jonas Weber was signed out by hand Ines Novak Wed 25 Nov, 10:00"
    about = words(ines.page(f"{PEOPLE}/audit?about={desk.jonas.agent_id}"), ".audit li")
    assert [line.partition(" Jonas Weber Tue")[0] for line in about[:2]] == [first, "Signed in by password"]
    assert all("Jonas" in line for line in about)
    assert not [line for line in words(ines.page(f"{PEOPLE}/audit?topic=settings"), ".audit li") if "igned" in line]
    assert words(ines.page(f"{PEOPLE}/audit?since=2026-11-25"), ".audit li") == [first]
    assert "Nothing was done" in words(ines.page(f"{PEOPLE}/audit?until=2026-01-01"), ".audit li")[0]
    for odd in ("about=x", "topic=x", "since=x", "before=x", "about=99999999999999999999", "until=9999-12-31"):
        assert ines.get(f"{PEOPLE}/audit?{odd}").status_code == 200


def test_older_entries_are_on_the_next_page(desk: Desk, ines: Browser) -> None:
    with desk.hub.store.write() as tx:
        for number in range(60):
            tx.emit(ReceiptLeft(number, "agent:1"))
    first = ines.page(f"{PEOPLE}/audit")
    second = ines.page(attr(first, ".more a", "href"))
    assert len(words(first, ".audit li")) == 50
    assert "Left receipt 9 as it is" in words(second, ".audit li")[0]


def test_every_fact_of_the_log_has_its_topic_its_words_and_its_place_in_the_index(desk: Desk) -> None:
    listed = {name.strip("'") for name in AUDITED.partition("(")[2].rstrip(")").split(",")}
    assert listed == {name for names in TOPICS.values() for name in names}
    samples: dict[str, Any] = {"agent_id": 1, "number": 2, "why": "revoked", "how": "password", "what": "password",
               "on": True, "role": "Lead", "token_id": 1, "second_step_required": True, "reason": "lunch",
               "queue_id": 1, "contact_id": 1, "other_id": 2, "receipt_id": 3, "identity_id": 1,
               "conversations": 1, "messages": 2, "files": 3}  # fmt: skip
    own: dict[str, dict[str, Any]] = {"AgentChanged": {"what": ("role",)}, "RoleChanged": {"what": "made"}}
    for name in listed:
        values = samples | own.get(name, {})
        sentence = told(name, values, {"agent:1": "Jonas", "token:1": "API token crm"}, {1: "Billing"})
        assert "None" not in sentence and "{" not in sentence and len(sentence) > 5
        assert name in Fact.kinds


def test_the_log_is_read_by_its_index(desk: Desk) -> None:
    with desk.hub.store.read() as tx:
        if tx.dialect == "sqlite":
            plan = tx.sql(f"EXPLAIN QUERY PLAN SELECT * FROM fact WHERE {AUDITED} ORDER BY id DESC LIMIT 50").fetchall()
            assert "ix_fact_audited" in str(plan)
        assert tx.exec(select(FactRow)).first() is not None


def test_the_second_step_is_asked_of_everybody_from_the_page(desk: Desk, ines: Browser) -> None:
    ines.page(PEOPLE)
    refused = ines.post(f"{PEOPLE}/second-step", wanted="1")
    assert refused.status_code == 409 and "your own second step first" in refused.text
