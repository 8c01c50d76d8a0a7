"""The unit of work: everything in it happens at one moment and lands together or not at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlmodel import Session

from config.language import carried
from storage import engines
from storage.binding import PLAIN, psycopg_statement, psycopg_values, sqlite_value
from storage.clock import Clock, utcnow
from storage.columns import sqlite_moment
from storage.facts import Fact
from storage.failpoints import step
from storage.fairlock import FairLock
from storage.interleaving import Answer, Interleaved, Lanes
from storage.outages import Watch
from storage.writer import Writer

T = TypeVar("T")

FACT_LOCK = 7_316_001  # pg_advisory_xact_lock: facts are inserted under it, so that id order is commit order
FACT_CHANNEL = "switchyard_facts"

POSTGRES_WRITERS = 2  # one computes while the other waits for the server

INSERT_FACT = "INSERT INTO fact(name, at, conversation_id, contact_id, data) VALUES(?, ?, ?, ?, ?)"
# All in one document: psycopg takes seven times as long to escape an array for each column.
INSERT_FACTS = (
    "INSERT INTO fact(name, at, conversation_id, contact_id, data) "
    "SELECT name, ?, (data->>'conversation_id')::bigint, (data->>'contact_id')::bigint, data "
    "FROM ROWS FROM (jsonb_to_recordset(?::jsonb) AS (name text, data jsonb)) "
    "WITH ORDINALITY AS f(name, data, position) ORDER BY position"
)


class Rows(Protocol):
    """The part of a driver's cursor that verbs use."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> Sequence[Any]: ...


class Inserted:
    """What became of an INSERT on SQLite, read like its RETURNING."""

    __slots__ = ("_row", "rowcount")

    def __init__(self, cursor: Any):
        self.rowcount: int = cursor.rowcount
        self._row = (cursor.lastrowid,) if self.rowcount else None

    def fetchone(self) -> Any:
        row, self._row = self._row, None
        return row

    def fetchall(self) -> Sequence[Any]:
        row = self.fetchone()
        return [row] if row else []


class Tx(Session):
    """A session with the moment it happens at and the facts it will leave behind."""

    def __init__(self, engine: Engine, now: datetime):
        super().__init__(engine, expire_on_commit=False, autoflush=False)
        self.now = now
        self.facts: list[Fact] = []
        self.memo: dict[str, Any] = {}  # what this transaction has looked up already
        self.dialect = engine.dialect.name
        self._now_text = sqlite_moment(now)
        self._driver: Any = None
        self._lanes: Lanes | None = None

    def emit(self, fact: Fact) -> None:
        """Record that something happened. Written last, just before the commit."""
        self.facts.append(fact)

    def sql(self, statement: str, *values: Any) -> Rows:
        """Run one statement with `?` marks on the driver's own cursor: the hot paths' way past the ORM.

        Pending ORM work is flushed first. Moments, dicts and lists are bound as the columns expect them; read moments
        back with `storage.columns.moment`. In an interleaved unit the statement is sent when its rows are read, or
        later with others, in their order.
        """
        if not self._is_clean():
            self.flush()
        if self._lanes is not None:
            return self._lanes.ask(statement, values)
        cursor = self._driver or self._open_driver()
        if self.dialect == "sqlite":
            bound = [v if type(v) in PLAIN else self._now_text if v is self.now else sqlite_value(v) for v in values]
            rows: Rows = cursor.execute(statement, bound)
            return rows
        cursor.execute(psycopg_statement(statement), psycopg_values(values))
        return Answer(cursor)

    def sql_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> list[Any]:
        """Run one statement for each of the rows of values, on PostgreSQL in one trip; what it returns, in order.

        For a unit that writes a batch of the same; not for interleaved units, which are bundled anyway.
        """
        if not self._is_clean():
            self.flush()
        cursor = self._driver or self._open_driver()
        returns = "RETURNING" in statement
        if self.dialect == "sqlite":
            bound = [
                [v if type(v) in PLAIN else self._now_text if v is self.now else sqlite_value(v) for v in values]
                for values in rows
            ]
            if returns:  # which executemany refuses
                return [row for values in bound for row in cursor.execute(statement, values).fetchall()]
            cursor.executemany(statement, bound)
            return []
        values = [psycopg_values(each) for each in rows]
        if not values:
            return []
        cursor.executemany(psycopg_statement(statement), values, returning=returns)
        found: list[Any] = []
        while returns:
            found += cursor.fetchall()
            if not cursor.nextset():
                break
        return found

    def insert(self, statement: str, *values: Any) -> Rows:
        """Like `sql` for an INSERT of one row into a table with an `id`, which comes back; no row where a conflict let
        nothing in. SQLite would take as long over RETURNING as over the row.
        """
        rows = self.sql(statement if self.dialect == "sqlite" else f"{statement} RETURNING id", *values)
        return Inserted(rows) if self.dialect == "sqlite" else rows

    def hold(self, *key: Hashable) -> bool:
        """In an interleaved unit, keep something to this unit until it ends; True when another had it until now.

        What was read about it before may then have changed. Everywhere else the transaction itself is enough.
        """
        return self._lanes is not None and self._lanes.hold(key)

    def run_interleaved(self, units: Sequence[Callable[[Tx], T]]) -> list[T]:
        """Several units side by side, on PostgreSQL. Raises what one of them raises, or Standstill."""
        self._lanes = Lanes(self._driver or self._open_driver())
        try:
            return self._lanes.run(self, units)
        finally:
            self._lanes = None

    def _open_driver(self) -> Any:
        driver: Any = self.connection().connection.driver_connection
        # One psycopg cursor for all statements: making one costs as much as binding ten values.
        self._driver = driver if self.dialect == "sqlite" else driver.cursor()
        return self._driver

    def write_facts(self) -> None:
        """Insert the buffered facts. On PostgreSQL under a lock that is held until the commit."""
        self.flush()
        if not self.facts:
            return
        written = [(type(fact).__name__, fact.data()) for fact in self.facts]
        cursor = self._driver or self._open_driver()
        if self.dialect == "postgresql":
            document = json.dumps([{"name": name, "data": data} for name, data in written])
            with cursor.connection.pipeline():  # one trip for both
                cursor.execute(f"SELECT pg_advisory_xact_lock({FACT_LOCK}), pg_notify('{FACT_CHANNEL}', '')")
                cursor.execute(psycopg_statement(INSERT_FACTS), [self.now, document])
        else:
            rows = [
                (name, self._now_text, data.get("conversation_id"), data.get("contact_id"), json.dumps(data))
                for name, data in written
            ]
            cursor.executemany(INSERT_FACT, rows)
        self.facts = []


class Bell:
    """Wakes whoever waits for something committed. A hint: the tables are the truth."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rung = 0

    def ring(self) -> None:
        with self._changed:
            self._rung += 1
            self._changed.notify_all()

    @property
    def rung(self) -> int:
        return self._rung

    def wait(self, seen: int, seconds: float) -> int:
        """Return at once when the bell rang after `seen`, else wait for it; answers the new count."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung != seen, seconds)
            return self._rung

    def rounds(self, stop: threading.Event, pause: float, seconds: float = 1.0) -> Iterator[None]:
        """The rounds of a duty until `stop` is set: now, after each ring and every `seconds` anyway.

        One begins `pause` seconds after the one before it at the earliest: a burst of commits is taken together.
        """
        while not stop.is_set():
            seen, began = self._rung, time.monotonic()
            yield
            stop.wait(max(0.0, began + pause - time.monotonic()))
            self.wait(seen, seconds)


class Store:
    """The database behind one URL: `sqlite:///path` embedded in one process, or PostgreSQL for any number."""

    def __init__(self, url: str, clock: Clock = utcnow, pool_size: int = 12):
        self.url = make_url(url)
        self.clock = clock
        self.bell = Bell()
        self.embedded = self.url.get_backend_name() == "sqlite"
        self.engine = engines.sqlite(self.url) if self.embedded else engines.postgresql(self.url, pool_size)
        self._reading = self.engine.execution_options(read_only=True)
        # SQLite's own waiting is unfair: without this lock its slowest writer waits twenty times longer.
        self._turn = FairLock() if self.embedded else nullcontext()
        self._inside = threading.local()
        self._writing, self._looking = Watch("writing to the database"), Watch("reading the database")
        # A commit of SQLite costs as much as ten units, so batches wait for more; a server's writers take turns.
        self.writer = (
            Writer(self._run_batch, gather=0.001)
            if self.embedded
            else Writer(self._run_batch, threads=POSTGRES_WRITERS, gather=0.0003)
        )

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A unit in the caller's thread: commits at the end, or rolls back on any exception. Never nested."""
        with self._unit() as tx:
            yield tx
            tx.write_facts()
            step("unit.written")
        step("unit.durable")
        self.bell.ring()

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent look at the data that never waits for a writer on SQLite."""
        with self._looking.look(), Tx(self._reading, self.clock()) as tx, tx.begin():
            yield tx

    def submit(self, unit: Callable[[Tx], T]) -> T:
        """Run a re-runnable unit in the writer thread together with others; returns after the commit.

        Raises whatever the unit raised (it then failed alone), or Busy when it was not stored in time: it may still be.
        """
        return self.submit_all([unit])[0]

    def submit_all(self, units: Sequence[Callable[[Tx], T]]) -> list[T]:
        """Like `submit` for several units in their order; the first error is raised after all have ended."""
        self._must_be_outside()
        with self._writing.look():
            return self.writer.submit_all([unit if isinstance(unit, Interleaved) else carried(unit) for unit in units])

    def begin(self, unit: Callable[[Tx], T]) -> Callable[[], T]:
        """Hand in a unit like `submit` and go on; what comes back waits for its commit when it is called."""
        self._must_be_outside()
        with self._writing.look():
            jobs = self.writer.begin([unit])

        def outcome() -> T:
            with self._writing.look():
                answered: T = self.writer.outcome(jobs)[0]
                return answered

        return outcome

    def close(self) -> None:
        """End the writer thread and drop every connection."""
        self.writer.close()
        self.engine.dispose()

    @contextmanager
    def _unit(self) -> Iterator[Tx]:
        """One at a time in each thread, the writer's too; on SQLite one at a time altogether."""
        self._must_be_outside()
        self._inside.unit = True
        try:
            with self._writing.look(), self._turn, Tx(self.engine, self.clock()) as tx, tx.begin():
                yield tx
        finally:
            self._inside.unit = False

    def _must_be_outside(self) -> None:
        if getattr(self._inside, "unit", False):
            raise RuntimeError("a unit of work is already open in this thread: units don't nest")

    def _may_interleave(self, unit: Callable[[Tx], Any]) -> bool:
        return isinstance(unit, Interleaved) and not self.embedded

    def _run_batch(self, units: Iterable[Callable[[Tx], Any]]) -> list[Any]:
        results = []
        with self._unit() as tx:
            for abreast, group in groupby(units, self._may_interleave):
                for turn in [list(group)] if abreast else ([unit] for unit in group):
                    results += tx.run_interleaved(turn) if abreast else [turn[0](tx)]
                    if tx.identity_map or not tx._is_clean():
                        tx.flush()
                        tx.expunge_all()  # the next unit must read what this one wrote by SQL
            tx.write_facts()
            step("batch.written")
        step("batch.durable")
        self.bell.ring()
        return results
