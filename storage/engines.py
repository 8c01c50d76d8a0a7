"""How a connection to either database is made and how long it waits."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
import sqlalchemy
from psycopg.abc import PQGen
from sqlalchemy import Engine, event

T = TypeVar("T")

SQLITE_CONNECTIONS = 40  # they cost a file handle each
# A network that swallows packets is noticed in about ten seconds, a row that somebody holds is not waited for longer
# than a web server's caller has patience, and no statement takes longer than callers of the writer wait. A page that is
# looked up costs what a page of a disk costs today: with the old price tables nobody has counted yet are read whole.
# Source: postgresql.org/docs/current/libpq-connect.html
POSTGRES_CONNECTION: dict[str, Any] = {
    "connect_timeout": 3, "tcp_user_timeout": 8000, "keepalives_idle": 4, "keepalives_interval": 2,
    "keepalives_count": 2,
    "options": "-c timezone=UTC -c lock_timeout=5000 -c statement_timeout=8000 -c random_page_cost=1.1",
}  # fmt: skip
ANSWER_SECONDS = 9.0  # a little longer than a server that is well takes to cancel a statement


def sqlite(url: sqlalchemy.URL) -> Engine:
    """A file that this process writes alone; every connection is set for durability."""
    engine = sqlalchemy.create_engine(
        url, pool_size=SQLITE_CONNECTIONS, max_overflow=0, pool_timeout=10, pool_use_lifo=True, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=5000",
            "cache_size=-16000",
            "temp_store=MEMORY",
            "wal_autocheckpoint=4000",  # pages: what is written again and again goes to the file once
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: sqlalchemy.Connection) -> None:
        # A deferred transaction that reads first and writes later fails at once when another one wrote meanwhile.
        reading = connection.get_execution_options().get("read_only")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def postgresql(url: sqlalchemy.URL, pool_size: int) -> Engine:
    """A server that may be slow, silent or gone: nothing waits for it without an end."""
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        pool_pre_ping=True,
        hide_parameters=True,  # messages' text must not get into logs
        connect_args=POSTGRES_CONNECTION,
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, args: Any, settings: Any) -> PatientConnection:
        return PatientConnection.connect(*args, **settings)

    return engine


class PatientConnection(psycopg.Connection[Any]):
    """A connection that waits for an answer, but not for ever; it is closed then.

    A server that is stopped, or whose disk hangs, keeps its sockets open: neither keepalives nor its own
    `statement_timeout` end the waiting.
    """

    patience: float | None = ANSWER_SECONDS

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Raises OperationalError when the server has said nothing for `patience` seconds."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as silence:
            if timeout is not None:
                raise  # whoever set it knows what it means
            self.pgconn.finish()
            raise psycopg.OperationalError("the database has not answered in time") from silence
