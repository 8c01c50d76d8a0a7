"""The unit of work: all or nothing, acknowledged means durable, and facts in the order of their commits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, StatementError
from sqlmodel import col, select

from storage import Busy, Store, Tx
from storage.blobs import Blobs
from storage.facts import ContactCreated, FactRow
from storage.fairlock import FairLock
from storage.leases import drop_lease, holds_lease, take_lease
from storage.people import Contact
from storage.writer import Writer
from tests.clock import Clock


def add_contact(tx: Tx, name: str) -> int:
    contact = Contact(name=name, created_at=tx.now)
    tx.add(contact)
    tx.flush()
    tx.emit(ContactCreated(contact.id or 0))
    return contact.id or 0


def names(store: Store) -> list[str]:
    with store.read() as tx:
        return [contact.name for contact in tx.exec(select(Contact).order_by(col(Contact.id)))]


def test_a_unit_lands_whole_or_not_at_all(store: Store) -> None:
    with store.write() as tx:
        add_contact(tx, "Mara")
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        add_contact(tx, "Eve")
        raise ZeroDivisionError
    assert names(store) == ["Mara"]
    with store.read() as tx:
        assert [fact.name for fact in tx.exec(select(FactRow))] == ["ContactCreated"]


def test_everything_in_a_unit_happens_at_one_moment(store: Store, clock: Clock) -> None:
    with store.write() as tx:
        add_contact(tx, "Mara")
        clock.forward(minutes=5)
        add_contact(tx, "Paul")
    with store.read() as tx:
        moments = {c.created_at for c in tx.exec(select(Contact))} | {f.at for f in tx.exec(select(FactRow))}
    assert moments == {clock.moment - timedelta(minutes=5)}


def test_units_do_not_nest(store: Store) -> None:
    with store.write(), pytest.raises(RuntimeError, match="nest"), store.write():
        raise AssertionError("never reached")
    with store.write(), pytest.raises(RuntimeError, match="nest"):
        store.submit(lambda tx: None)


def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises((StatementError, ValueError), match="time zone"), store.write() as tx:
        tx.add(Contact(name="Mara", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"), store.write() as tx:
        tx.sql("UPDATE contact SET created_at = ?", datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_unit_that_fails_in_a_batch_fails_alone(store: Store) -> None:
    def unit(number: int) -> int:
        def run(tx: Tx) -> int:
            if number % 7 == 3:
                raise ValueError(f"unit {number} is broken")
            if number % 7 == 5:
                tx.sql("INSERT INTO identity(contact_id) VALUES(1)")  # breaks a constraint of the database
            return add_contact(tx, f"contact {number}")

        try:
            return store.submit(run)
        except (ValueError, IntegrityError, Exception) as error:
            assert number % 7 in (3, 5), error
            return 0

    with ThreadPoolExecutor(32) as pool:
        done = list(pool.map(unit, range(140)))
    assert len([number for number in done if number]) == 100
    assert len(names(store)) == 100
    with store.read() as tx:
        assert len(tx.exec(select(FactRow)).all()) == 100


def test_units_submitted_together_keep_their_order(store: Store) -> None:
    store.submit_all([partial(add_contact, name=f"contact {n}") for n in range(100)])
    assert names(store) == [f"contact {n}" for n in range(100)]


def test_a_writer_that_can_not_keep_up_says_so() -> None:
    held = threading.Event()

    def run(units: object) -> list[None]:
        held.wait(10)
        return [None] * len(list(units))  # type: ignore[call-overload]

    writer = Writer(run, batch=1, waiting=3)
    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(writer.submit_all, [lambda tx: None]) for _ in range(5)]
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and writer._queue.qsize() < 4:
            time.sleep(0.001)
        with pytest.raises(Busy):
            writer.submit_all([lambda tx: None])
        held.set()
        assert [job.result(5) for job in waiting] == [[None]] * 5
    writer.close()


def test_a_reader_of_facts_never_skips_a_late_commit(store: Store) -> None:
    """A slow unit holds its transaction open while others commit: whoever read up to N has missed nothing below."""
    slow_may_end, slow_has_begun = threading.Event(), threading.Event()

    def slow() -> None:
        with store.write() as tx:
            add_contact(tx, "slow")
            slow_has_begun.set()
            slow_may_end.wait(10)

    thread = threading.Thread(target=slow)
    thread.start()
    assert slow_has_begun.wait(5)
    seen: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        fast = pool.submit(lambda: [store.submit(partial(add_contact, name=f"fast {n}")) for n in range(5)])
        if not store.embedded:  # on SQLite writers wait for one another, so there is nothing to overtake
            fast.result(10)
            with store.read() as tx:
                seen = [fact.id or 0 for fact in tx.exec(select(FactRow).order_by(col(FactRow.id)))]
            assert len(seen) == 5
        slow_may_end.set()
        thread.join(10)
        fast.result(10)
    with store.read() as tx:
        facts = [fact.id or 0 for fact in tx.exec(select(FactRow).order_by(col(FactRow.id)))]
    assert len(facts) == 6
    assert facts[: len(seen)] == seen, "a fact appeared below one that was already read"


CHILD = """
import sys
from storage import Store
from tests.test_store import add_contact
from concurrent.futures import ThreadPoolExecutor
store = Store(sys.argv[1])
def one(n):
    store.submit(lambda tx: add_contact(tx, f"contact {n}"))
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
with ThreadPoolExecutor(16) as pool:
    list(pool.map(one, range(100000)))
"""


@pytest.mark.parametrize("acknowledged_before_the_kill", [1, 40])
def test_what_was_acknowledged_survives_kill_9(store: Store, acknowledged_before_the_kill: int) -> None:
    root = str(Path(__file__).parent.parent)
    url = store.url.render_as_string(hide_password=False)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, url], cwd=root, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(acknowledged_before_the_kill)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().splitlines() if line.strip().isdigit()]
    child.wait(10)

    kept = names(store)
    assert {f"contact {n}" for n in acknowledged[:-1]} <= set(kept)  # the last line may be cut in two
    assert len(kept) == len(set(kept))
    with store.read() as tx:
        assert len(tx.exec(select(FactRow)).all()) == len(kept)


def test_a_lease_has_one_holder_and_a_rising_epoch(store: Store, clock: Clock) -> None:
    first = store.submit(lambda tx: take_lease(tx, "router", "a", 10))
    assert store.submit(lambda tx: take_lease(tx, "router", "b", 10)) is None
    clock.forward(seconds=5)
    assert store.submit(lambda tx: take_lease(tx, "router", "a", 10)) == first
    clock.forward(seconds=11)
    second = store.submit(lambda tx: take_lease(tx, "router", "b", 10))
    assert second is not None and first is not None and second > first
    assert not store.submit(lambda tx: holds_lease(tx, "router", "a", first))
    store.submit(lambda tx: drop_lease(tx, "router", "b"))
    assert store.submit(lambda tx: take_lease(tx, "router", "a", 10)) == second + 1


def test_the_fair_lock_serves_in_the_order_of_asking() -> None:
    lock, order, started = FairLock(), [], []

    def want(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        for number in range(20):
            thread = threading.Thread(target=want, args=(number,))
            thread.start()
            started.append(thread)
            deadline = time.monotonic() + 5
            while len(lock._waiting) <= number and time.monotonic() < deadline:
                time.sleep(0.0005)
    for thread in started:
        thread.join(5)
    assert order == list(range(20))


def test_blobs_are_named_by_their_content_and_nothing_else(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    digest = blobs.put(b"one lamp")
    assert blobs.put(b"one lamp") == digest
    assert blobs.get(digest) == b"one lamp"
    assert [p.name for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == [digest]
    with pytest.raises(FileNotFoundError):
        blobs.get("../../etc/passwd")
