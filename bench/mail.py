"""Mails per second and CPU per mail, from a full mailbox to assigned conversations, beside the raw limit.

The raw limit fetches the same mails from the same Dovecot in the same run and stores their bytes, one durable commit
for fifty: nothing is parsed. `python bench/mail.py --help`.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from imapclient import IMAPClient

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.letters import letters  # noqa: E402
from storage import Store  # noqa: E402
from tests.processes import Processes, free_port  # noqa: E402
from tests.support import postgres  # noqa: E402
from tests.support.dovecot import PASSWORD, Dovecot, dovecot  # noqa: E402

BATCH = 50
LOOK = 0.2  # seconds between two looks at how far it is
PATIENCE = 1800.0  # seconds
DESK = """
queues: [{name: Shipping, first_reply: 30m, default: true}, {name: Billing, first_reply: 4h}]
skills: [orders, billing]
agents:
  - {name: Jonas Weber, email: jonas@desk.example, capacity: 10000, queues: [Shipping], skills: {orders: 4}}
  - {name: Amara Obi, email: amara@desk.example, capacity: 10000, queues: [Shipping, Billing], skills: {billing: 4}}
rules:
  - {name: Money, when: {field: item.text, op: has_any, value: [invoice, refund, Rechnung]}, then: {queue: Billing}}
channels:
"""
ACCOUNT = """  - name: mail-{name}
    kind: email
    address: support@desk.example
    settings: {{imap_host: 127.0.0.1, imap_port: {port}, imap_tls: none, username: {name},
               password: "env:MAIL_PASSWORD", smtp_host: 127.0.0.1, smtp_port: 9, smtp_tls: none, smtp_username: ""}}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What one side did: seconds, CPU seconds of its own processes, their peak of resident bytes together."""

    seconds: float
    cpu: float
    memory: int


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mails", type=int, default=10_000)
    options.add_argument("--databases", default="sqlite,postgresql")
    options.add_argument("--workers", default="1,2", help="worker processes on PostgreSQL, a mailbox for each")
    given = options.parse_args()
    made = list(letters(given.mails))
    sizes = sorted(map(len, made))
    print(
        f"{given.mails} mails, median {sizes[len(sizes) // 2] / 1000:.1f} kB, mean {sum(sizes) / len(sizes) / 1000:.1f}"
        f" kB, largest {sizes[-1] / 1000:.0f} kB\n"
    )
    print("| side | mails/s | CPU ms a mail | memory MB | of the raw limit |")
    print("|---|---|---|---|---|")
    with dovecot() as server:
        for name, share in (("all", made), ("one", made[::2]), ("two", made[1::2])):
            for mail in share:
                server.deliver(name, mail)
        fetch(server, "all", len(made), None)  # Dovecot makes its index now, for nobody's account
        for name in ("one", "two"):
            fetch(server, name, 1, None)
        with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
            raw = told(
                "raw limit: fetch and store bytes", fetch(server, "all", len(made), Path(folder)), len(made), None
            )
        for database in given.databases.split(","):
            for workers in [1] if database == "sqlite" else map(int, given.workers.split(",")):
                run = hub_run(server, database, workers, len(made))
                told(f"hub, {database}, {workers} worker{'s' * (workers > 1)}", run, len(made), raw)


def told(side: str, run: Run, mails: int, raw: float | None) -> float:
    """A line of the table; mails per second."""
    speed = mails / run.seconds
    share = f"{speed / raw:.2f}" if raw else "1"
    print(f"| {side} | {speed:.0f} | {run.cpu / mails * 1000:.2f} | {run.memory / 2**20:.0f} | {share} |", flush=True)
    return speed


def fetch(server: Dovecot, user: str, count: int, folder: Path | None) -> Run:
    """Fetch a mailbox in batches and store the bytes durably where a folder is given."""
    store = None
    if folder is not None:
        store = sqlite3.connect(folder / "raw.db", isolation_level=None)
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("PRAGMA synchronous=FULL")
        store.execute("CREATE TABLE raw(uid INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    began, before = time.perf_counter(), time.process_time()
    with IMAPClient(server.host, server.imap_port, ssl=False) as client:
        client.login(user, PASSWORD)
        client.select_folder("INBOX", readonly=True)
        uids = client.search()[:count]
        for start in range(0, len(uids), BATCH):
            bodies = client.fetch(uids[start : start + BATCH], ["BODY.PEEK[]"])
            if store is not None:
                store.execute("BEGIN")
                store.executemany("INSERT INTO raw VALUES(?, ?)", [(u, body[b"BODY[]"]) for u, body in bodies.items()])
                store.execute("COMMIT")
    return Run(time.perf_counter() - began, time.process_time() - before, psutil.Process().memory_info().rss)


def hub_run(server: Dovecot, database: str, workers: int, mails: int) -> Run:
    """Start a hub on the full mailbox and watch it until every conversation has its owner."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchyard-bench-")))
        url = f"sqlite:///{folder}/hub.db" if database == "sqlite" else stack.enter_context(a_postgres())
        names = ["all"] if workers == 1 else ["one", "two"]
        desk = folder / "desk.yaml"
        desk.write_text(DESK + "".join(ACCOUNT.format(name=name, port=server.imap_port) for name in names))
        hub = Processes(url, folder, {"MAIL_PASSWORD": PASSWORD, "LOG_LEVEL": "WARNING", "PIN_CPU": "on"}, free_port(),
                        cold=True)  # fmt: skip
        hub.command("apply", "--yes", str(desk))
        store = Store(url)
        stack.callback(store.close)
        with store.write() as tx:  # more than any person has: routing must not stop at a limit
            tx.sql("UPDATE agent SET status = 'available', capacity = ?", mails * 1000)
        stack.callback(hub.stop)
        began = time.perf_counter()
        hub.start(1, workers)
        run = watched(hub, store, mails, began)
        return run


@contextmanager
def a_postgres() -> Iterator[str]:
    with postgres.server(durable=True) as server:
        yield postgres.database(server)


def watched(hub: Processes, store: Store, mails: int, began: float) -> Run:
    """Until everything is filed and owned; the clock starts with the first mail that is stored."""
    peak, cpu, first = 0, 0.0, 0.0
    used: dict[int, float] = {}  # by process: readers come and go, and nobody inherits their times
    while True:
        with store.read() as tx:
            row = tx.sql(
                "SELECT (SELECT count(*) FROM receipt), (SELECT count(*) FROM receipt WHERE state = 'accepted'), "
                "(SELECT count(*) FROM conversation WHERE assignee_id IS NULL)"
            ).fetchone()
        now = time.perf_counter()
        family = [
            each for top in hub.running for each in [psutil.Process(top.pid), *psutil.Process(top.pid).children(True)]
        ]
        peak = max(peak, sum(each.memory_info().rss for each in family))
        used |= {each.pid: sum(each.cpu_times()[:2]) for each in family}
        spent = sum(used.values())
        if row[0] and not first:
            first, cpu = now, spent
        if tuple(row)[1:] == (mails, 0):
            return Run(now - first, spent - cpu, peak)
        if now - began > PATIENCE:
            raise SystemExit(f"only {row[1]} of {mails} mails were filed, {row[2]} have no owner; see {hub.folder}")
        time.sleep(LOOK)


if __name__ == "__main__":
    main()
