"""Full text: the same answers on both databases, never more than an agent may see."""

from __future__ import annotations

import sqlite3
from datetime import UTC

import pytest
from selectolax.lexbor import LexborHTMLParser as Page
from sqlmodel import select

from hub.tags import tag
from inbox.excerpts import excerpt
from inbox.screen import Place, list_for
from inbox.session import Viewer
from routing import work
from storage import Store, Tx
from storage.access import SYSTEM, Actor
from storage.conversations import Conversation, Message
from storage.desk import Queue
from storage.people import Contact, Identity
from storage.search import MOST_ENDINGS, Query, index_new_messages, parse_query, search
from tests.browser.room import Browser, attr, words
from tests.browser.scene import rich_mail
from tests.clock import Clock
from tests.desk import Desk


def write(
    tx: Tx, name: str, email: str, *messages: str, queue: str = "", state: str = "open", channel: str = "email"
) -> int:
    person = Contact(name=name, created_at=tx.now)
    tx.add(person)
    tx.flush()
    person.person_id = person.id
    assert person.id is not None
    tx.add(Identity(contact_id=person.id, kind="email", value=email, strength=60, created_at=tx.now))
    queue_id = None
    if queue:
        found = tx.exec(select(Queue).where(Queue.name == queue)).first() or Queue(name=queue)
        tx.add(found)
        tx.flush()
        queue_id = found.id
    conversation = Conversation(
        contact_id=person.id, state=state, channel=channel, queue_id=queue_id, last_at=tx.now, created_at=tx.now
    )
    tx.add(conversation)
    tx.flush()
    assert conversation.id is not None
    for text in messages:
        message = Message(
            conversation_id=conversation.id,
            kind="inbound",
            channel=channel,
            subject="Order 48213",
            text=text,
            created_at=tx.now,
        )
        tx.add(message)
        tx.flush()
        conversation.last_message_id = message.id or 0
    return conversation.id


def found(store: Store, typed: str, actor: Actor = SYSTEM) -> list[int]:
    index_new_messages(store)
    with store.read() as tx:
        return [hit.conversation.id or 0 for hit in search(tx, actor, parse_query(typed))]


@pytest.fixture
def mara(store: Store) -> int:
    with store.write() as tx:
        return write(
            tx, "Mara Lindqvist", "mara.lindqvist@example.com", "One lamp is missing", "Kommt sie vor Freitag?"
        )


@pytest.mark.parametrize(
    "typed",
    ["lamp", "LAMP", "lam", "lamp missing", '"lamp is missing"', "48213", "from:mara lamp", "from:lindqvist@ex",
     "is:open missing", "channel:email freitag", "Mara", "mara.lindqvist@example.com", "(lamp)",
     "lamp & missing", "lamp ?", "- lamp :)", 'lamp "&"', "_ € # lamp"],
)  # fmt: skip
def test_mara_is_found(store: Store, mara: int, typed: str) -> None:
    with store.write() as tx:
        write(
            tx,
            "Devon Clarke",
            "devon@example.org",
            "Invoice shows the wrong VAT number",
            channel="sms",
            state="resolved",
        )

    assert mara in found(store, typed)


@pytest.mark.parametrize("endings", [3, MOST_ENDINGS, MOST_ENDINGS + 20])
def test_every_word_that_begins_so_is_found_however_many_there_are(store: Store, mara: int, endings: int) -> None:
    with store.write() as tx:
        texts = [f"Parcel{number:03} has come" for number in range(endings)]
        own = [write(tx, f"Person {number}", f"p{number}@example.org", text) for number, text in enumerate(texts)]
        write(tx, "Priya Raman", "priya@example.net", "a parcem and a parce and a parce1")

    assert found(store, "parcel") == own[::-1][:50]
    assert found(store, "PARCEL001 come") == [own[1]]
    assert found(store, "parcel com has") == own[::-1][:50]
    assert found(store, "parcel lamp") == []


@pytest.mark.parametrize(
    "typed",
    ["lantern", "lamp invoice", '"missing lamp"', "is:resolved lamp", "channel:sms lamp", "from:devon lamp", "issing",
     "", "  ", '"', "*", "'", "\\", "lamp AND NEAR(", "(", "'':*", "!", "a:b:c", "\x00", "%", "_"],
)  # fmt: skip
def test_nothing_is_found_and_nothing_breaks(store: Store, mara: int, typed: str) -> None:
    assert found(store, typed) == []


def test_the_newest_comes_first_and_each_conversation_once(store: Store, mara: int) -> None:
    with store.write() as tx:
        later = write(tx, "Priya Raman", "priya@example.net", "lamp", "the lamp again", "and again the lamp")

    assert found(store, "lamp") == [later, mara]
    with store.read() as tx:
        first = search(tx, SYSTEM, parse_query("lamp"), limit=1)
        assert first[0].message is not None
        rest = search(tx, SYSTEM, parse_query("lamp"), before=first[0].message.id)
        assert mara in [hit.conversation.id for hit in rest]


def test_a_page_is_full_though_a_long_conversation_says_the_word_often(store: Store, mara: int) -> None:
    with store.write() as tx:
        long = write(tx, "Priya Raman", "priya@example.net", *["the lamp again"] * 15)

    index_new_messages(store)
    with store.read() as tx:
        assert [hit.conversation.id for hit in search(tx, SYSTEM, parse_query("lamp"), limit=2)] == [long, mara]


def test_tomas_finds_nothing_of_another_team(store: Store, mara: int) -> None:
    with store.write() as tx:
        secret = write(tx, "Claire Fontaine", "claire@example.com", "My secret lamp", queue="Billing")
        billing = tx.exec(select(Queue.id).where(Queue.name == "Billing")).one()
    tomas = Actor("agent:9", "agent", 9, frozenset({(billing or 0) + 1}))
    amara = Actor("agent:8", "agent", 8, frozenset({billing or 0}))

    assert found(store, "secret", tomas) == []
    assert found(store, "from:claire", tomas) == []
    assert found(store, "claire", tomas) == []
    assert found(store, "secret", amara) == [secret]


def test_a_script_without_spaces_is_found_anywhere(store: Store, mara: int) -> None:
    with store.write() as tx:
        haruto = write(tx, "佐藤 陽翔", "haruto@example.jp", "注文したランプが届きません")

    assert found(store, "ランプ") == [haruto]
    assert found(store, "陽翔") == [haruto]


def test_a_very_long_message_is_indexed_too(store: Store, mara: int) -> None:
    with store.write() as tx:
        long = write(tx, "Sam Okafor", "sam@example.com", "beginning " + " ".join(f"w{n}" for n in range(200_000)))

    assert found(store, "beginning") == [long]


def test_a_taken_back_reply_is_not_found(store: Store, mara: int, clock: Clock) -> None:
    with store.write() as tx:
        tx.add(Message(conversation_id=mara, kind="outbound", state="draft", text="embarrassing", created_at=clock()))

    assert found(store, "embarrassing") == []


def test_indexing_goes_on_where_it_stopped(store: Store, mara: int) -> None:
    assert index_new_messages(store) == (2 if store.embedded else 0)
    assert index_new_messages(store) == 0
    with store.write() as tx:
        write(tx, "Priya Raman", "priya@example.net", *[f"number {n}" for n in range(3)])
    assert index_new_messages(store) == (3 if store.embedded else 0)


def test_who_indexes_at_every_ring_comes_to_rest(store: Store, mara: int) -> None:
    index_new_messages(store)
    rung = store.bell.rung
    index_new_messages(store)
    assert store.bell.rung == rung


def test_a_query_is_taken_apart() -> None:
    assert parse_query(
        'is:Open from:"Mara Lindqvist" channel:SMS lamp "two words" has:file has:bones tag:VIP'
    ) == Query(
        words=("lamp", "two words"),
        state="open",
        sender="Mara Lindqvist",
        channel="sms",
        tag="vip",
        files=True,
        unknown=("has:bones",),
    )
    assert parse_query("is:lost").unknown == ("is:lost",)
    assert parse_query("https://example.com/a").words == ("https://example.com/a",)
    assert len(parse_query("word " * 50).words) == 12


@pytest.mark.parametrize(
    ("text", "words", "shown"),
    [
        ("One lamp is missing", ["lamp"], "One [lamp] is missing"),
        ("One LAMP,\n\n two lamps", ["lamp"], "One [LAMP], two [lamp]s"),
        ("a clamp and a lamp", ["lamp"], "a c[lamp] and a [lamp]"),
        ("注文したランプが届きません", ["ランプ"], "注文した[ランプ]が届きません"),
        ("a.b and (x)", ["(x"], "a.b and [(x])"),
        ("nothing", ["lamp"], ""), ("nothing", [], ""), ("", ["lamp"], ""),
        ("word " * 40 + "lamp" + " word" * 80, ["lamp"], "…word word word word [lamp]" + " word" * 23),
    ],
)  # fmt: skip
def test_a_row_shows_where_the_words_stand(text: str, words: list[str], shown: str) -> None:
    assert "".join(f"[{part}]" if hit else part for part, hit in excerpt(text, words)) == shown


def test_owner_queue_tag_and_files_narrow_a_search_down(desk: Desk) -> None:
    mara = desk.raw_mail(rich_mail("Order 48213")).conversation_id or 0
    lamp = desk.mail("Lamp order", "Where is it?", sender="Devon <d@example.org>").conversation_id or 0
    with desk.hub.store.write() as tx:
        work.claim(tx, desk.jonas, lamp)
        tag(tx, desk.jonas, mara, "vip")

    def hits(typed: str, actor: Actor) -> set[int]:
        return set(found(desk.hub.store, typed, actor))

    assert hits("agent:me", desk.jonas) == hits("agent:jonas order", desk.amara) == {lamp}
    assert (
        hits("agent:nobody", desk.jonas) == hits("tag:VIP", desk.jonas) == hits("has:file order", desk.jonas) == {mara}
    )
    assert hits("queue:ship", desk.jonas) == {mara, lamp}
    assert hits("queue:ship", desk.tomas) == hits("agent:me", Actor("token:1", "admin")) == set()


def test_what_is_typed_is_answered_in_place(jonas: Browser, desk: Desk) -> None:
    number = desk.mail("Order 48213", "One <b>lamp</b> is missing").conversation_id
    jonas.page("/inbox/all")
    answer = jonas.get("/inbox/search/typed?q=lamp&from=all", hx=True)
    page = Page(answer.text)
    assert words(page, "mark") == ["lamp"] and "<b>" not in answer.text
    assert attr(page, "#rows", "data-view") == "search lamp"
    assert answer.headers["HX-Push-Url"] == "/inbox/search?q=lamp"
    jonas.at = f"/inbox/c/{number}?view=search&q=lamp"
    further = jonas.get("/inbox/search/typed?q=lamps&from=all", hx=True)
    assert further.headers["HX-Replace-Url"] == f"/inbox/c/{number}?view=search&q=lamps"
    assert "Nothing found" in further.text
    back = jonas.get("/inbox/search/typed?q=&from=all", hx=True)
    assert attr(Page(back.text), "#rows", "data-view") == "all "
    assert jonas.get("/inbox/search/typed?q=&from=nowhere", hx=True).headers["HX-Replace-Url"].endswith("view=mine")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # whose driver tells what it is asked
def test_where_nothing_is_found_nothing_is_looked_up_of_it(desk: Desk) -> None:
    desk.mail("Order 48213", "Where is my lamp?")
    index_new_messages(desk.hub.store)
    who = Viewer(desk.agent(desk.jonas), desk.jonas, UTC)
    asked: list[str] = []
    with desk.hub.store.read() as tx:
        driver = tx.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(asked.append)
        nothing = list_for(tx, who, Place("search", query="zebra"))
        driver.set_trace_callback(None)
    assert nothing is not None and nothing.count == 0
    statements = [each for each in asked if each.startswith("SELECT")]
    assert statements and all("zebra" in each for each in statements), "by words, and by names"
