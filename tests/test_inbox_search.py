"""Full text: the same answers on both databases, never more than an agent may see."""

from __future__ import annotations

import pytest
from sqlmodel import select

from storage import Store, Tx
from storage.access import SYSTEM, Actor
from storage.conversations import Conversation, Message
from storage.desk import Queue
from storage.people import Contact, Identity
from storage.search import Query, index_new_messages, parse_query, search
from tests.clock import Clock


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
     "is:open missing", "channel:email freitag", "Mara", "mara.lindqvist@example.com", "(lamp)"],
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
    assert parse_query('is:Open from:"Mara Lindqvist" channel:SMS lamp "two words" has:file') == Query(
        words=("lamp", "two words"), state="open", sender="Mara Lindqvist", channel="sms", unknown=("has:file",)
    )
    assert parse_query("is:lost").unknown == ("is:lost",)
    assert parse_query("https://example.com/a").words == ("https://example.com/a",)
    assert len(parse_query("word " * 50).words) == 12
