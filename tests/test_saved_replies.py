"""Saved replies: filled with what is known, gaps marked, everybody's and one's own, in the file and by the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub import savedreplies
from hub.desk import DeskError, apply, export, read
from hub.refusals import FieldRefused
from hub.savedreplies import Wanted
from hub.slots import fill, gaps, values_of
from storage.access import Actor, Conflict, Forbidden, NotFound
from storage.conversations import Conversation
from storage.desk import SavedReply
from tests.browser.room import Browser, attr, words
from tests.desk import Desk
from tests.doors import Client, compose, served
from tests.test_api import Program
from tests.test_inbox_actions import send

SAVED = "/inbox/settings/replies"


@pytest.fixture
def server(desk: Desk) -> Iterator[Client]:
    with served(compose(desk.hub)) as client:
        yield client


def add(desk: Desk, actor: Actor, shortcut: str, text: str, title: str = "", own: bool = False) -> int:
    with desk.hub.store.write() as tx:
        return savedreplies.create(tx, actor, Wanted(shortcut, text, title, own)).id or 0


def test_what_is_known_is_filled_in_and_the_rest_is_a_gap(desk: Desk) -> None:
    number = desk.mail("Order 48213", "Where is it?").conversation_id or 0
    with desk.hub.store.write() as tx:
        tx.sql("UPDATE contact SET attributes = ?", {"city": "Malmö", "orders": 4})
        tx.flush()
        values = values_of(tx, desk.jonas, tx.get_one(Conversation, number))
    text = (
        "Hi {{contact.first_name}} ({{ contact.name }}) of {{contact.company|your company}} in {{contact.city}}, "
        "about #{{conversation.number}} {{conversation.subject}}: it comes on {{arrival date}}. "
        "{{agent.first_name}}, {{today}}"
    )
    assert fill(text, values) == (
        f"Hi Mara (Mara Lindqvist) of your company in Malmö, about #{number} Order 48213: it comes on "
        "⟦arrival date⟧. Jonas, 24 November 2026"
    )
    assert gaps(fill(text, values)) == ["arrival date"]
    assert fill("Hi {name}, {{contact.phone}}", values) == "Hi Mara, ⟦phone⟧"
    assert fill("{{contact.company|}}.", values) == "."
    assert fill("{{}} {{ }} {x} {{a}b}}", values) == "{{}} {{ }} {x} {{a}b}}"


def test_what_a_customer_is_called_is_never_read_as_a_slot(desk: Desk) -> None:
    number = desk.mail("{{agent.email}}", "x", sender='"{{agent.email}} ⟦x⟧" <m@example.com>').conversation_id or 0
    with desk.hub.store.read() as tx:
        values = values_of(tx, desk.jonas, tx.get_one(Conversation, number))
    assert "jonas@" not in fill("{{contact.name}}: {{conversation.subject}}", values)


def test_a_few_letters_find_it(desk: Desk) -> None:
    number = desk.text("Where is my lamp?").conversation_id or 0
    for shortcut, title in (("express", "Moved to express"), ("exchange", ""), ("refund", "Money back"), ("label", "")):
        add(desk, desk.ines, shortcut, f"This is about {shortcut}s.", title)
    add(desk, desk.amara, "exam", "Amara's own", own=True)

    def found(typed: str, actor: Actor = desk.jonas) -> list[str]:
        with desk.hub.store.read() as tx:
            return [one.reply.shortcut for one in savedreplies.found(tx, actor, number, typed)]

    assert found("") == ["exchange", "express", "label", "refund"]
    assert found("ex", desk.amara) == ["exam", "exchange", "express"]
    assert found("EXP") == ["express"]
    assert found("epr") == ["express"]
    assert found("mon") == ["refund"]
    assert found("labels") == ["label"]
    assert found("zzz") == []
    with desk.hub.store.read() as tx, pytest.raises(NotFound):
        savedreplies.found(tx, desk.tomas, number, "")


def test_an_own_one_may_have_the_word_of_a_shared_one_and_is_nobody_elses(desk: Desk) -> None:
    shared = add(desk, desk.ines, "hi", "Hello!")
    own = add(desk, desk.jonas, "hi", "Hi there!", own=True)
    with desk.hub.store.read() as tx:
        assert [row.id for row in savedreplies.saved_replies(tx, desk.jonas)] == [own, shared]
        assert [row.id for row in savedreplies.saved_replies(tx, desk.amara)] == [shared]
        with pytest.raises(NotFound):
            savedreplies.saved_reply(tx, desk.ines, own)
    with pytest.raises(FieldRefused, match="/hi is taken"):
        add(desk, desk.jonas, "/hi", "Again", own=True)
    with pytest.raises(Forbidden):
        add(desk, desk.jonas, "all", "For everybody")


@pytest.mark.parametrize(
    ("shortcut", "text", "field"),
    [
        ("", "x", "shortcut"),
        ("two words", "x", "shortcut"),
        ("a" * 33, "x", "shortcut"),
        ("a", "  ", "text"),
        ("a", "{{agent.nmae}}", "text"),
        ("a", "x" * 20_001, "text"),
    ],
)
def test_what_can_not_be_kept_is_refused_with_its_field(desk: Desk, shortcut: str, text: str, field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        add(desk, desk.ines, shortcut, text)
    assert refused.value.field == field


def test_a_change_by_somebody_else_is_not_overwritten(desk: Desk) -> None:
    number = add(desk, desk.ines, "hi", "Hello!")
    with desk.hub.store.read() as tx:
        seen = savedreplies.stamp(tx.get_one(SavedReply, number))
    with desk.hub.store.write() as tx:
        savedreplies.change(tx, desk.ines, number, Wanted("hi", "Hello you!"), seen)
    with desk.hub.store.write() as tx, pytest.raises(Conflict, match="meanwhile"):
        savedreplies.change(tx, desk.ines, number, Wanted("hi", "Bye!"), seen)


def test_the_file_has_everybodys_and_leaves_ones_own_alone(desk: Desk) -> None:
    own = add(desk, desk.jonas, "mine", "Only I say so", own=True)
    text = "replies:\n- {shortcut: hi, title: Greeting, text: 'Hi {{contact.first_name}}'}\n"
    for expected in (["+ saved reply hi"], []):
        with desk.hub.store.write() as tx:
            assert [str(one) for one in apply(tx, desk.ines, read(text))] == expected
    with desk.hub.store.read() as tx:
        written = export(tx)
        assert "title: Greeting" in written and "Only I say so" not in written
    with desk.hub.store.write() as tx:
        assert apply(tx, desk.ines, read(written)) == []
        assert [str(one) for one in apply(tx, desk.ines, read("replies: []"))] == ["- saved reply hi"]
        assert [row.id for row in tx.exec(select(SavedReply))] == [own]
    with pytest.raises(DeskError, match=r"replies\[1\].text: \{\{agent.nam\}\} is nothing we know; did you mean"):
        read("replies: [{shortcut: a, text: '{{agent.nam}}'}]")


def test_programs_read_them_filled_for_a_conversation(desk: Desk, server: Client) -> None:
    number = desk.mail("Order", "Hello").conversation_id or 0
    add(desk, desk.ines, "hi", "Hi {{contact.first_name}}, by {{date}}")
    own = add(desk, desk.jonas, "mine", "Mine", own=True)
    crm, his = Program(desk, server), Program(desk, server, "agent", desk.jonas)

    assert [one["shortcut"] for one in crm.get("/saved-replies")["replies"]] == ["hi"]
    first, second = his.get("/saved-replies", conversation_id=number)["replies"]
    assert (first["text"], first["gaps"], first["own"]) == ("Hi Mara, by ⟦date⟧", ["date"], False)
    assert (second["shortcut"], second["own"]) == ("mine", True)
    assert his.get(f"/saved-replies/{own}")["text"] == "Mine"
    assert crm.ask("GET", f"/saved-replies/{own}").status_code == 404
    assert his.ask("GET", "/saved-replies?conversation_id=999").status_code == 404


def test_the_menu_carries_what_would_be_inserted(desk: Desk, jonas: Browser) -> None:
    number = desk.mail("Order", "Hello").conversation_id or 0
    add(desk, desk.ines, "hi", 'Hi {{contact.first_name}}, <b>"you"</b>', "Greeting")
    page = jonas.page(f"/inbox/c/{number}/suggest?q=h", hx=True)
    assert words(page, "[role=option] b") == ["/hi"]
    assert attr(page, "[role=option]", "data-insert") == 'Hi Mara, <b>"you"</b>'
    assert page.css("b b") == []
    assert "No saved reply has these letters" in jonas.get(f"/inbox/c/{number}/suggest?q=zzz", hx=True).text


def test_nothing_is_sent_with_a_gap(desk: Desk, jonas: Browser) -> None:
    number = desk.mail("Order", "Hello").conversation_id or 0
    jonas.page(f"/inbox/c/{number}")
    held = send(jonas, number, "It comes on ⟦arrival date⟧.")
    assert held.status_code == 409
    assert words(Page(held.text), ".guard span") == ["There is a gap to fill in: ⟦arrival date⟧."]
    assert words(Page(held.text), "#reply") == ["It comes on ⟦arrival date⟧."]
    assert len(desk.messages(number)) == 1


def test_a_supervisor_writes_one_and_an_agent_one_of_his_own(desk: Desk, ines: Browser, jonas: Browser) -> None:
    desk.mail("Order 48213", "Hello")
    ines.page(f"{SAVED}/new")
    typed: dict[str, Any] = {
        "shortcut": "hi",
        "title": "Greeting",
        "text": "Hi {{contact.first_name}}, by {{date}}",
        "own": "0",
    }
    shown = Page(ines.post(f"{SAVED}/new", do="preview", **typed).text)
    assert words(shown, ".said") == ["Hi Mara, by ⟦date⟧"]
    assert words(Page(ines.post(f"{SAVED}/preview", hx=True, text="{{contact.email}}").text), ".said") == [
        "mara.lindqvist@example.com"
    ]
    wrong = ines.post(f"{SAVED}/new", **(typed | {"text": "{{agent.nmae}}"}))
    assert wrong.status_code == 422 and "did you mean" in words(Page(wrong.text), "#wrong-text")[0]
    assert words(Page(wrong.text), "#text") == ["{{agent.nmae}}"], "nothing typed is lost"
    assert ines.post(f"{SAVED}/new", **typed).location == SAVED
    assert words(ines.page(SAVED), ".rule-name") == ["/hi"]

    page = jonas.page(SAVED)
    assert page.css_first(".rule-acts .btn") is None
    row = attr(page, ".rule-name", "href")
    assert jonas.page(row).css_first("button.primary") is None
    assert jonas.post(f"{row}/delete").status_code == 403
    assert jonas.post(f"{SAVED}/new", shortcut="my", text="Mine", own="0").status_code == 303
    page = jonas.page(SAVED)
    assert words(page, ".rule-name") == ["/hi", "/my"]
    mine = page.css(".rule-name")[1].attributes["href"] or ""
    form = jonas.page(mine)
    assert (
        jonas.post(mine, shortcut="my", text="Mine!", own="1", seen=attr(form, "[name=seen]", "value")).status_code
        == 303
    )
    assert jonas.post(mine, shortcut="my", text="Mine?", own="1", seen="0").status_code == 409
    assert "Delete /my?" in jonas.get(f"{mine}/delete").text
    assert jonas.post(f"{mine}/delete").location == SAVED
    assert words(jonas.page(SAVED), ".rule-name") == ["/hi"]
