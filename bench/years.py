"""A desk with years behind it: conversations with their messages, made up and always the same, and their index."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from sqlmodel import select

from storage import Store
from storage.desk import Queue
from storage.people import Agent

MESSAGES = 10  # of a conversation
LATELY = 60  # conversations of an agent that are open now, and as many that nobody has
CHUNK = 5000
COMMON = (
    "the order lamp arrived broken please send another one invoice refund thank you delivery address wrong colour "
    "still waiting since last week could you check what happened to my parcel number again"
)
FIRST = "Mara Olof Inga Piet Jonas Amara Tomas Lena Yusuf Mei Aiko Noor Ivo Carla Nils Freya"
LAST = "Lindqvist Berg Haddad Okafor Novak Tanaka Silva Moreau Keller Rossi Larsen Byrne Costa Weber"


def live_through(store: Store, conversations: int, seed: int = 7) -> None:
    """Fill an empty desk. Nearly all of it is resolved; a rare word, `zanzibar`, stands in one message of 10,000."""
    dice = Random(seed)
    with store.read() as tx:
        now = tx.now
        agents = sorted(number or 0 for number in tx.exec(select(Agent.id)))
        queues = sorted(number or 0 for number in tx.exec(select(Queue.id)))
    open_ones = min(conversations // 2, LATELY * (len(agents) + 1))
    made = _matters(dice, conversations, open_ones, agents, queues, now)
    while chunk := list(islice(made, CHUNK)):
        _write(store, chunk)
    with store.write() as tx:
        if tx.dialect == "sqlite":
            tx.sql("INSERT INTO message_search(message_search) VALUES('rebuild')")
    with store.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE").close()
        connection.commit()


def _write(store: Store, chunk: list[tuple[Any, list[Any]]]) -> None:
    with store.write() as tx:
        people = sorted({row[1] for row, _ in chunk} - {row[0] for row in tx.sql("SELECT id FROM contact").fetchall()})
        first, last = FIRST.split(), LAST.split()
        names = [f"{first[n % len(first)]} {last[n // len(first) % len(last)]}" for n in people]
        tx.sql_many(
            "INSERT INTO contact(id, person_id, name, language, company, attributes, created_at) "
            "VALUES(?, ?, ?, 'en', '', '{}', ?)",
            [(n, n, name, tx.now) for n, name in zip(people, names, strict=True)],
        )
        tx.sql_many(
            "INSERT INTO identity(contact_id, kind, value, shown, strength, created_at) VALUES(?, 'email', ?, ?, 1, ?)",
            [(n, f"customer.{n}@example.org", f"customer.{n}@example.org", tx.now) for n in people],
        )
        tx.sql_many(
            "INSERT INTO conversation(id, contact_id, subject, state, channel, queue_id, assignee_id, priority, "
            "waiting_since, due_at, last_at, last_message_id, last_inbound_id, preview, message_count, created_at) "
            "VALUES(?, ?, ?, ?, 'email', ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
            [row for row, _ in chunk],
        )
        tx.sql_many(
            "INSERT INTO message(id, conversation_id, kind, channel, contact_id, agent_id, to_address, cc, subject, "
            "text, html, fields, external_id, refs, why, automatic, flags, state, state_why, created_at) "
            "VALUES(?, ?, ?, 'email', ?, ?, '', '[]', '', ?, '', '{}', '', '[]', '', '', '[]', ?, '', ?)",
            [message for _, messages in chunk for message in messages],
        )


def _matters(
    dice: Random, count: int, open_ones: int, agents: list[Any], queues: list[Any], now: datetime
) -> Iterator[tuple[Any, list[Any]]]:
    """A conversation's row and those of its messages; the newest come last."""
    common = COMMON.split()
    for number in range(1, count + 1):
        contact, queue = dice.randrange(1, max(2, count // 3)), dice.choice(queues)
        left = count - number  # how many are newer
        is_open = left < open_ones
        owner = dice.choice([*agents, None]) if is_open else dice.choice(agents)
        last_at = now - timedelta(minutes=3 * left + 1)
        first = (number - 1) * MESSAGES + 1
        messages = []
        for index in range(MESSAGES):
            theirs = index % 2 == (MESSAGES - 1) % 2 if is_open else index % 2 == 0
            words = dice.choices(common, k=dice.randrange(8, 40))
            if (first + index) % 10_000 == 0:
                words.append("zanzibar")
            at = last_at - timedelta(minutes=40 * (MESSAGES - 1 - index))
            messages.append(
                (first + index, number, "inbound" if theirs else "outbound", contact, None if theirs else owner,
                 " ".join(words), "" if theirs else "sent", at)
            )  # fmt: skip
        last = messages[-1]
        waiting = last_at if is_open else None
        due = last_at + timedelta(hours=dice.randrange(1, 9)) if is_open else None
        subject = " ".join(dice.choices(common, k=4))
        inbound = max(message[0] for message in messages if message[2] == "inbound")
        yield (
            (number, contact, subject, "open" if is_open else "resolved", queue, owner, waiting, due, last_at, last[0],
             inbound, last[5][:80], MESSAGES, messages[0][-1]), messages,
        )  # fmt: skip
