"""The unit of work: all or nothing, acknowledged means durable, and facts in the order of their commits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError, StatementError
from sqlmodel import col, select

from config import Settings
from hub import Hub
from hub.hub import AlreadyRunning
from storage import Busy, Interleaved, Store, Tx
from storage.blobs import Blobs, Unkept
from storage.engines import PatientConnection
from storage.facts import ContactCreated, FactRow
from storage.fairlock import FairLock
from storage.leases import drop_lease, holds_lease, take_lease
from storage.outages import OUTAGES, is_outage
from storage.people import Contact
from storage.writer import Writer
from tests.clock import Clock
from tests.desk import Desk


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


def test_a_unit_in_the_writer_does_not_nest_either(store: Store) -> None:
    """It would wait for itself, and everybody behind it for ever."""

    def nested(tx: Tx) -> None:
        with store.write():
            raise AssertionError("never reached")

    with pytest.raises(RuntimeError, match="nest"):
        store.submit(nested)
    with pytest.raises(RuntimeError, match="nest"):
        store.submit(lambda tx: store.submit(lambda inner: None))
    assert store.submit(partial(add_contact, name="Mara"))


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
    held, began = threading.Event(), threading.Event()

    def run(units: object) -> list[None]:
        began.set()
        held.wait(10)
        return [None] * len(list(units))  # type: ignore[call-overload]

    writer = Writer(run, batch=1, waiting=3)
    with ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(writer.submit_all, [lambda tx: None])]
        assert began.wait(5)
        waiting += [pool.submit(writer.submit_all, [lambda tx: None]) for _ in range(4)]
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and writer._queue.qsize() < 4:
            time.sleep(0.001)
        with pytest.raises(Busy):
            writer.submit_all([lambda tx: None])
        held.set()
        assert [job.result(5) for job in waiting] == [[None]] * 5
    writer.close()


def test_nobody_waits_for_ever_for_a_silent_database() -> None:
    """What had begun may land later; what had not is never begun after its caller was told to come again."""
    held, began = threading.Event(), []

    def run(units: Sequence[Callable[[Tx], int]]) -> list[int]:
        began.append(len(units))
        held.wait(10)
        return [1] * len(units)

    writer = Writer(run, batch=1, patience=0.1)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(writer.submit_all, [lambda tx: 1]) for _ in range(3)]
        for job in asked:
            with pytest.raises(Busy, match="does not answer"):
                job.result(5)
    held.set()
    assert writer.submit_all([lambda tx: 1]) == [1]
    writer.close()
    assert began == [1, 1]


def test_batches_keep_to_the_connection_whose_cache_is_warm(store: Store) -> None:
    def connection(tx: Tx) -> int:
        return id(tx.connection().connection.driver_connection)

    with store.read() as one, store.read() as other:
        assert connection(one) != connection(other), "the pool has a choice"
    assert len({store.submit(connection) for _ in range(5)}) == 1


def test_who_comes_while_the_writer_ends_is_refused_and_nobody_hangs(database_url: str) -> None:
    for _ in range(5):
        store = Store(database_url)
        done: list[int] = []

        def knock(store: Store = store, done: list[int] = done) -> None:
            while True:
                try:
                    done.append(store.submit(lambda tx: 1))
                except Busy:
                    return

        knocking = [threading.Thread(target=knock, daemon=True) for _ in range(8)]
        for thread in knocking:
            thread.start()
        deadline = time.monotonic() + 5
        while len(done) < 20 and time.monotonic() < deadline:
            time.sleep(0.001)
        store.close()
        for thread in knocking:
            thread.join(5)
        assert not [thread for thread in knocking if thread.is_alive()]


def test_a_value_that_fits_no_index_is_no_outage(store: Store) -> None:
    with pytest.raises(Exception) as caught:
        store.submit(lambda tx: tx.sql("SELECT 1 FROM nowhere"))
    assert not is_outage(caught.value)
    if store.embedded:
        return
    with store.write() as tx:
        tx.sql("CREATE TABLE odd(value text UNIQUE)")
    text = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(4000))
    for put in (
        lambda tx: tx.sql("INSERT INTO odd VALUES(?)", text),
        Interleaved(lambda tx: tx.sql("INSERT INTO odd VALUES(?)", text)),
    ):
        with pytest.raises(psycopg.errors.ProgramLimitExceeded) as limit:
            store.submit(put)
        assert isinstance(limit.value, OUTAGES) and not is_outage(limit.value)


def test_an_outage_is_told_once_however_many_meet_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "hub.db"
    path.mkdir()
    store = Store(f"sqlite:///{path}")
    for _ in range(20):
        with pytest.raises(OUTAGES) as caught:
            store.submit(lambda tx: tx.sql("SELECT 1").fetchone())
        assert is_outage(caught.value)
    path.rmdir()
    for _ in range(20):
        store.submit(lambda tx: tx.sql("SELECT 1").fetchone())
    store.close()
    told = [record.getMessage() for record in caplog.records if record.name == "storage.outages"]
    assert len(told) == 2
    assert "fails" in told[0] and "works again" in told[1]


def test_a_server_that_is_not_there_is_an_outage() -> None:
    store = Store("postgresql://hub@127.0.0.1:9/hub")
    with pytest.raises(OUTAGES) as caught:
        store.submit(lambda tx: tx.sql("SELECT 1").fetchone())
    assert is_outage(caught.value)
    store.close()


def test_postgresql_ends_what_takes_longer_than_callers_wait(store: Store) -> None:
    if store.embedded:
        return  # it has five seconds of its own
    assert store.submit(lambda tx: tx.sql("SHOW statement_timeout").fetchone()) == ("8s",)
    with store.read() as tx:
        assert tx.sql("SHOW lock_timeout").fetchone() == ("5s",)
        assert tx.sql("SHOW statement_timeout").fetchone() == ("8s",)


def test_a_reader_gives_up_on_a_frozen_server_and_the_next_one_is_served(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.embedded:
        return  # no server that could freeze
    monkeypatch.setattr(PatientConnection, "patience", 0.3)
    backend = 0
    try:
        with pytest.raises(OUTAGES) as silence, store.read() as tx:
            (backend,) = tx.sql("SELECT pg_backend_pid()").fetchone()
            os.kill(backend, signal.SIGSTOP)  # its sockets stay open: nothing but a clock of our own notices
            tx.sql("SELECT 1")
        assert is_outage(silence.value)
        with store.read() as tx:
            assert tx.sql("SELECT pg_backend_pid()").fetchone() != (backend,)
    finally:
        os.kill(backend, signal.SIGCONT)


def test_what_customers_write_is_in_no_error(store: Store) -> None:
    with pytest.raises(IntegrityError) as caught, store.write() as tx:
        for number in (1, 1):
            tx.add(Contact(id=number, name="Mara's secret", created_at=tx.now))
            tx.flush()
            tx.expunge_all()
    assert "secret" not in str(caught.value)


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


def test_a_new_folder_of_blobs_is_as_durable_as_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, sync = [], os.fsync

    def note(number: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{number}")))
        sync(number)

    monkeypatch.setattr(os, "fsync", note)
    folder = tmp_path / "data" / "blobs"
    digest = Blobs(folder).put(b"one lamp")
    assert {tmp_path, tmp_path / "data", folder, folder / digest[:2]} <= set(synced)


def test_a_mail_whose_files_can_not_be_kept_is_sent_again_not_set_aside(desk: Desk) -> None:
    folder = desk.hub.blobs.folder
    folder.write_text("not a folder")
    mail = (
        b"From: mara.lindqvist@example.com\r\nSubject: Photo\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee the photo\r\n--b\r\n"
        b"Content-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\nabc\r\n--b--\r\n"
    )
    for body in (mail, mail + b"x" * 100_000):
        with pytest.raises(Unkept) as caught:
            desk.raw_mail(body, "mail:photo")
        assert isinstance(caught.value, OUTAGES) and is_outage(caught.value)
    folder.unlink()
    assert desk.raw_mail(mail, "mail:photo").state == "accepted"


def test_two_data_folders_do_not_share_one_database_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    (tmp_path / "link.db").symlink_to(tmp_path / "hub.db")
    first = Hub(Settings(database_url=url, data_dir=tmp_path / "a", secret_key="x"))
    first.occupy()
    for other in (url, f"sqlite:///{tmp_path / 'link.db'}"):
        second = Hub(Settings(database_url=other, data_dir=tmp_path / "b", secret_key="x"))
        with pytest.raises(AlreadyRunning, match="stop the other one"):
            second.occupy()
        second.stop()
    first.stop()


def test_blobs_are_named_by_their_content_and_nothing_else(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    digest = blobs.put(b"one lamp")
    assert blobs.put(b"one lamp") == digest
    assert blobs.get(digest) == b"one lamp"
    assert [p.name for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == [digest]
    with pytest.raises(FileNotFoundError):
        blobs.get("../../etc/passwd")
