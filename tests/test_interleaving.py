"""Units side by side: they share round trips, not each other's mistakes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from storage import Interleaved, Store, Tx
from storage.interleaving import Standstill
from tests.desk import Desk
from tests.processes import until


@pytest.fixture
def counters(store: Store) -> Store:
    """A table of numbers that units read and write back."""
    with store.write() as tx:
        tx.sql("CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
        for name in ("a", "b"):
            tx.sql("INSERT INTO counter VALUES(?, 0)", name)
    return store


def value(store: Store, name: str) -> int:
    with store.read() as tx:
        return int(tx.sql("SELECT value FROM counter WHERE name = ?", name).fetchone()[0])


def add_one(tx: Tx, name: str, *, held: bool = True) -> int:
    """Read, think, write: what goes wrong when two do it at once."""
    if held:
        tx.hold("counter", name)
    before = int(tx.sql("SELECT value FROM counter WHERE name = ?", name).fetchone()[0])
    tx.sql("UPDATE counter SET value = ? WHERE name = ?", before + 1, name)
    return before


def abreast(unit: Callable[[Tx], Any], count: int) -> list[Interleaved[Any]]:
    return [Interleaved(unit) for _ in range(count)]


def test_units_that_hold_what_they_change_lose_nothing(counters: Store) -> None:
    answers = counters.submit_all(abreast(lambda tx: add_one(tx, "a"), 20))
    assert sorted(answers) == list(range(20))
    assert value(counters, "a") == 20


def test_without_holding_units_of_one_transaction_would_overwrite_one_another(counters: Store) -> None:
    counters.submit_all(abreast(lambda tx: add_one(tx, "a", held=False), 20))
    assert value(counters, "a") == (20 if counters.embedded else 1), "the test above could not fail"


def test_each_unit_gets_its_own_rows_whatever_the_others_ask(counters: Store) -> None:
    def ask(number: int) -> Callable[[Tx], tuple[int, int, str | None]]:
        def unit(tx: Tx) -> tuple[int, int, str | None]:
            tx.sql("INSERT INTO counter VALUES(?, ?)", f"n{number}", number)
            changed = tx.sql("UPDATE counter SET value = value + 100 WHERE name = ?", f"n{number}").rowcount
            if number % 2:
                return (
                    changed,
                    int(tx.sql("SELECT value FROM counter WHERE name = ?", f"n{number}").fetchone()[0]),
                    None,
                )
            row = tx.sql("SELECT value, name FROM counter WHERE name = ?", f"n{number}").fetchall()[0]
            return changed, int(row[0]), str(row[1])

        return unit

    answers = counters.submit_all([Interleaved(ask(number)) for number in range(9)])
    assert answers == [(1, 100 + n, None if n % 2 else f"n{n}") for n in range(9)]


def test_a_unit_that_fails_fails_alone(counters: Store) -> None:
    def refuse(tx: Tx) -> None:
        add_one(tx, "a")
        raise ValueError("not this one")

    units = [*abreast(lambda tx: add_one(tx, "a"), 3), Interleaved(refuse), *abreast(lambda tx: add_one(tx, "a"), 3)]
    with pytest.raises(ValueError, match="not this one"):
        counters.submit_all(units)
    assert value(counters, "a") == 6


def test_a_statement_that_fails_stops_only_its_unit(counters: Store) -> None:
    def twice(tx: Tx) -> None:
        tx.sql("INSERT INTO counter VALUES('a', 1)")

    with pytest.raises(Exception, match=r"(?i)unique"):
        counters.submit_all([*abreast(lambda tx: add_one(tx, "b"), 2), Interleaved(twice)])
    assert value(counters, "b") == 2


def test_units_that_wait_for_each_other_are_run_one_by_one(counters: Store) -> None:
    def crosswise(first: str, second: str) -> Callable[[Tx], None]:
        def unit(tx: Tx) -> None:
            add_one(tx, first)
            tx.sql("SELECT 1").fetchone()  # both hold their first one now
            add_one(tx, second)

        return unit

    counters.submit_all([Interleaved(crosswise("a", "b")), Interleaved(crosswise("b", "a"))])
    assert (value(counters, "a"), value(counters, "b")) == (2, 2)


def test_a_standstill_is_noticed(counters: Store) -> None:
    if counters.embedded:
        return  # nothing is interleaved there

    def crosswise(first: str, second: str) -> Callable[[Tx], None]:
        def unit(tx: Tx) -> None:
            tx.hold(first)
            tx.sql("SELECT 1").fetchone()
            tx.hold(second)

        return unit

    with pytest.raises(Standstill), counters.write() as tx:
        tx.run_interleaved([crosswise("a", "b"), crosswise("b", "a")])


def test_what_a_unit_wrote_last_is_there_for_the_one_that_waited_for_it(counters: Store) -> None:
    """The last statement of a unit is sent after it has ended; who waits must not read before."""
    answers = counters.submit_all(abreast(lambda tx: add_one(tx, "b"), 5))
    assert answers == [0, 1, 2, 3, 4]


def test_plain_units_run_in_their_order_between_interleaved_ones(counters: Store) -> None:
    seen: list[str] = []

    def plain(tx: Tx) -> int:
        seen.append("plain")
        return add_one(tx, "a")

    units: list[Callable[[Tx], int]] = [
        *abreast(lambda tx: add_one(tx, "a"), 2),
        plain,
        *abreast(lambda tx: add_one(tx, "a"), 2),
    ]
    assert counters.submit_all(units) == [0, 1, 2, 3, 4]
    assert seen == ["plain"]


def test_units_of_one_call_keep_their_order_beside_other_calls(counters: Store) -> None:
    """Several writers work on PostgreSQL; a call's units must not be shared out among them."""

    def locked(tx: Tx) -> int:
        lock = "" if counters.embedded else " FOR UPDATE"
        before = int(tx.sql("SELECT value FROM counter WHERE name = 'a'" + lock).fetchone()[0])
        tx.sql("UPDATE counter SET value = ? WHERE name = 'a'", before + 1)
        return before

    results: list[list[int]] = []
    threads = [threading.Thread(target=lambda: results.append(counters.submit_all([locked] * 10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(counters, "a") == 80
    assert all(answers == sorted(answers) for answers in results)


def keep_busy(store: Store, go: threading.Event) -> threading.Thread:
    """A call that occupies one writer until told to go on."""
    begun = threading.Event()

    def unit(tx: Tx) -> None:
        begun.set()
        go.wait(10)

    thread = threading.Thread(target=store.submit, args=(unit,))
    thread.start()
    begun.wait(10)
    return thread


def test_first_texts_that_land_in_one_batch_make_one_conversation(desk: Desk) -> None:
    """Row locks don't keep units of one transaction apart: holding must."""
    store, go = desk.hub.store, threading.Event()
    busy = [keep_busy(store, go) for _ in range(1 if store.embedded else 2)]  # every writer
    senders = ["+46701112233", "+46704445566"]
    texts = [
        threading.Thread(
            target=desk.text, args=(f"Hello {n}",), kwargs={"sender": senders[n % 2], "sid": f"SM{n:032x}"}
        )
        for n in range(20)
    ]
    for thread in texts:
        thread.start()
    until(lambda: store.writer.waiting >= 20, "twenty texts that wait for a writer")
    go.set()
    for thread in (*busy, *texts):
        thread.join()
    conversations = desk.conversations()
    assert len(conversations) == 2
    assert all(len(desk.messages(conversation.id or 0)) == 10 for conversation in conversations)
    with store.read() as tx:
        assert tx.sql("SELECT count(*) FROM work_item").fetchone()[0] == 2


def test_rows_may_be_read_after_a_later_statement_in_any_unit(store: Store) -> None:
    def unit(tx: Tx) -> list[int]:
        first, second = tx.sql("SELECT 1"), tx.sql("SELECT 2 UNION SELECT 3 ORDER BY 1")
        return [first.fetchone()[0], *(row[0] for row in second.fetchall())]

    assert store.submit(unit) == store.submit(Interleaved(unit)) == [1, 2, 3]
