"""What routing costs until it is durable: the live router beside the same rows by bare driver statements, in one run.

Three questions, on SQLite (`synchronous=FULL`) and on PostgreSQL (`fsync=on`): how many assignments a second become
durable, how long one arrival or one freed slot takes on a large full floor, and how long work waits for a new leader.
"""

from __future__ import annotations

import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from routing.router import BATCH, Router  # noqa: E402
from routing.work import Arrival, close, enqueue  # noqa: E402
from storage import Store, Tx  # noqa: E402
from storage.migrations import upgrade  # noqa: E402
from tests.support import postgres  # noqa: E402

QUEUES, SKILLS = 20, 40
WEIGHTS = {"chat": 30, "email": 20, "sms": 25}
KINDS = 300
LONGEST = 3600.0  # seconds that work has waited already
IDLE = 101 + QUEUES
FREE = 20  # agents of a queue in which nothing waits


@dataclass(frozen=True)
class Size:
    """A desk: its agents, and the work that waits."""

    agents: int
    waiting: int


def furnish(store: Store, size: Size, seed: int = 1) -> None:
    """Random people with room for everything, random work that waits, and a queue of people with nothing to do."""
    dice = Random(seed)
    sorts = [_sort(dice) for _ in range(KINDS)]
    with store.write() as tx:
        now = tx.now
        tx.sql("UPDATE queue SET active = ?, is_default = ?", False, False)
        tx.sql_many(
            "INSERT INTO queue(id, name, first_reply_seconds, offer_seconds, hold_when_closed, is_default, active) "
            "VALUES(?, ?, 3600, 30, ?, ?, ?)",
            [(number, f"Queue {number}", False, number == 101, True) for number in range(101, 102 + QUEUES)],
        )
        tx.sql_many("INSERT INTO skill(id, name) VALUES(?, ?)", [(n, f"skill {n}") for n in range(1, SKILLS + 1)])
        people = range(1, size.agents + FREE + 1)
        tx.sql_many(
            "INSERT INTO agent(id, name, email, role, password_hash, active, status, idle_since, load, capacity, "
            "missed_offers, preferences, created_at) VALUES(?, ?, ?, 'agent', '', ?, 'available', ?, 0, 100, 0, ?, ?)",
            [(n, f"Agent {n}", f"a{n}@example.com", True, now, {}, now) for n in people],
        )
        serves: list[tuple[int, int]] = []
        knows: list[tuple[int, int, int]] = []
        for n in people:
            if n > size.agents:
                serves.append((n, IDLE))
                continue
            serves += [(n, queue) for queue in dice.sample(range(101, 101 + QUEUES), dice.randint(2, 6))]
            knows += [(n, skill, dice.randint(1, 5)) for skill in dice.sample(range(1, SKILLS + 1), dice.randint(3, 8))]
        tx.sql_many("INSERT INTO agent_queue(agent_id, queue_id) VALUES(?, ?)", serves)
        tx.sql_many("INSERT INTO agent_skill(agent_id, skill_id, level) VALUES(?, ?, ?)", knows)
        tx.sql(
            "INSERT INTO contact(id, name, language, company, attributes, created_at) "
            "VALUES(1, 'Mara', '', '', ?, ?)", {}, now,
        )  # fmt: skip
        conversations, items = [], []
        for n in range(1, size.waiting + 1):
            queue, channel, skills, priority = dice.choice(sorts)
            since = now.fromtimestamp(now.timestamp() - dice.random() * LONGEST, now.tzinfo)
            conversations.append((n, channel, queue, priority, since, since, since))
            items.append((n, n, queue, channel, WEIGHTS[channel], skills, priority, since, since))
        tx.sql_many(
            "INSERT INTO conversation(id, contact_id, subject, state, channel, queue_id, priority, waiting_since, "
            "last_at, last_message_id, last_inbound_id, preview, message_count, created_at) "
            "VALUES(?, 1, '', 'open', ?, ?, ?, ?, ?, 0, 0, '', 1, ?)",
            conversations,
        )
        tx.sql_many(
            "INSERT INTO work_item(id, conversation_id, queue_id, channel, weight, skills, priority, state, "
            "enqueued_at, order_time, trace, version) VALUES(?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, '[]', 0)",
            items,
        )
        tx.sql("UPDATE desk_version SET version = version + 1")
        if tx.dialect == "postgresql":
            for table in ("queue", "skill", "agent", "contact", "conversation", "work_item"):
                tx.sql(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")


def _sort(dice: Random) -> tuple[int, str, dict[str, int], int]:
    names = dice.sample(range(1, SKILLS + 1), dice.choice([1, 1, 2]))
    skills = {f"skill {name}": dice.randint(1, 4) for name in sorted(names)}
    return dice.randint(101, 100 + QUEUES), dice.choice(list(WEIGHTS)), skills, dice.choice([0, 0, 5])


# --- how many a second --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """The rows that the live router left behind, commit by commit."""

    items: Sequence[Any]
    agents: Sequence[Any]
    offers: Sequence[Any]
    assignments: Sequence[Any]
    facts: Sequence[Any]

    @classmethod
    def read(cls, store: Store) -> Written:
        with store.read() as tx:
            return cls(
                tx.sql(
                    "SELECT id, state, agent_id, version, conversation_id FROM work_item WHERE version > 0"
                ).fetchall(),
                tx.sql("SELECT id, idle_since, last_offer_at FROM agent").fetchall(),
                tx.sql(
                    "SELECT work_item_id, conversation_id, agent_id, state, weight, offered_at, expires_at, ended_at, "
                    "explanation FROM offer ORDER BY id"
                ).fetchall(),
                tx.sql(
                    "SELECT conversation_id, work_item_id, agent_id, weight, via, over_capacity_by, by, started_at, "
                    "ended_why, explanation FROM assignment ORDER BY id"
                ).fetchall(),
                tx.sql("SELECT name, at, conversation_id, contact_id, data FROM fact ORDER BY id").fetchall(),
            )


BARE = {
    "items": "UPDATE work_item SET state = ?, agent_id = ?, version = ? WHERE id = ?",
    "agents": "UPDATE agent SET load = load + ?, idle_since = ?, last_offer_at = ? WHERE id = ?",
    "offers": "INSERT INTO offer(work_item_id, conversation_id, agent_id, state, weight, offered_at, expires_at, "
    "ended_at, explanation) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "assignments": "INSERT INTO assignment(conversation_id, work_item_id, agent_id, weight, via, over_capacity_by, by, "
    "started_at, ended_why, explanation) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "conversations": "UPDATE conversation SET assignee_id = ? WHERE id = ?",
    "facts": "INSERT INTO fact(name, at, conversation_id, contact_id, data) VALUES(?, ?, ?, ?, ?)",
}


def bare(store: Store, written: Written) -> float:
    """Write the same rows in as many commits by nothing but the driver; assignments a second."""
    plan = _plan(written, store.embedded)
    raw = store.engine.raw_connection()
    connection: Any = raw.driver_connection
    began = time.perf_counter()
    for batch in plan:
        cursor = connection.cursor()
        if store.embedded:
            cursor.execute("BEGIN IMMEDIATE")
        for name, rows in batch.items():
            cursor.executemany(BARE[name] if store.embedded else BARE[name].replace("?", "%s"), rows)
        if store.embedded:
            cursor.execute("COMMIT")
        else:
            connection.commit()
    took = time.perf_counter() - began
    raw.close()
    return len(written.offers) / took


def _plan(written: Written, embedded: bool) -> list[dict[str, list[Any]]]:
    items = {row[0]: row for row in written.items}
    agents = {row[0]: row for row in written.agents}
    assigned = {row[1]: row for row in written.assignments}
    facts = {row[2]: row for row in written.facts}
    plan = []
    for start in range(0, len(written.offers), BATCH):
        batch: dict[str, list[Any]] = {name: [] for name in BARE}
        for offer in written.offers[start : start + BATCH]:
            item, agent = items[offer[0]], agents[offer[2]]
            batch["items"].append((item[1], item[2], item[3], item[0]))
            batch["agents"].append((offer[4], agent[1], agent[2], agent[0]))
            batch["offers"].append(_bound(offer, embedded))
            batch["facts"].append(_bound(facts[offer[1]], embedded))
            if owned := assigned.get(offer[0]):
                batch["assignments"].append(_bound(owned, embedded))
                batch["conversations"].append((offer[2], offer[1]))
        plan.append({name: rows for name, rows in batch.items() if rows})
    return plan


def _bound(row: Any, embedded: bool) -> tuple[Any, ...]:
    if embedded:
        return tuple(row)
    from psycopg.types.json import Jsonb

    return tuple(Jsonb(value) if isinstance(value, dict) else value for value in row)


def live(store: Store) -> tuple[float, float]:
    """Let the router hand out all that fits: seconds until its index stood, then assignments a second."""
    router = Router(store, "bench")
    router.lead()
    began = time.perf_counter()
    router.look()
    built = time.perf_counter() - began
    began = time.perf_counter()
    made = router.run_once()
    return built, made / (time.perf_counter() - began)


BUSY = (
    "SELECT assignment.conversation_id FROM assignment JOIN work_item ON work_item.id = assignment.work_item_id "
    "WHERE ended_at IS NULL AND assignment.id < ? AND work_item.channel = 'sms' ORDER BY assignment.id LIMIT 1"
)

# --- how long one takes -------------------------------------------------------------------------------------------


def fill_up(store: Store) -> None:
    """Everybody but those with nothing to do is full of what does not belong to the waiting work."""
    router = Router(store, "bench")
    router.run_once()
    router.resign()


def arrival(tx: Tx, queue_id: int) -> int:
    """A customer writes; the conversation's id."""
    row = tx.sql(
        "INSERT INTO conversation(contact_id, subject, state, channel, queue_id, priority, waiting_since, last_at, "
        "last_message_id, last_inbound_id, preview, message_count, created_at) "
        "VALUES(1, '', 'open', 'email', ?, 0, ?, ?, 0, 0, '', 1, ?) RETURNING id",
        queue_id, tx.now, tx.now, tx.now,
    ).fetchone()  # fmt: skip
    enqueue(tx, Arrival(row[0], 1, "email", "support", "", "Hello", {}))
    tx.sql("UPDATE work_item SET queue_id = ? WHERE conversation_id = ?", queue_id, row[0])
    return int(row[0])


def one_by_one(store: Store, number: int) -> dict[str, list[float]]:
    """Milliseconds from the commit of an arrival, or of a resolved conversation, to that of the assignment."""
    router, stop = Router(store, "bench"), threading.Event()
    thread = threading.Thread(target=router.loop, args=(stop,), daemon=True)
    thread.start()
    took: dict[str, list[float]] = {"arrival": [], "freed slot": []}

    def until(found: Callable[[Tx], bool]) -> float:
        began = time.perf_counter()
        seen = -1
        while True:
            seen = store.bell.wait(seen, 0.05)
            with store.read() as tx:
                if found(tx):
                    return (time.perf_counter() - began) * 1e3
            if time.perf_counter() - began > 30:
                raise TimeoutError("nothing was assigned")

    def matched(last: int) -> Callable[[Tx], bool]:
        return lambda tx: tx.sql("SELECT 1 FROM offer WHERE id > ?", last).fetchone() is not None

    for step in range(number + 1):
        last = _last(store)
        came = store.submit(lambda tx: arrival(tx, IDLE))
        waited = until(matched(last))
        last = _last(store)
        store.submit(partial(_resolve, conversation_id=came))
        with store.read() as tx:
            (busy,) = tx.sql(BUSY, last).fetchone()
        store.submit(partial(_resolve, conversation_id=busy))
        freed = until(matched(last))
        if step:  # the first builds the index
            took["arrival"].append(waited)
            took["freed slot"].append(freed)
    stop.set()
    store.bell.ring()
    thread.join()
    return took


def _last(store: Store) -> int:
    with store.read() as tx:
        return int(tx.sql("SELECT max(id) FROM offer").fetchone()[0])


def _resolve(tx: Tx, conversation_id: int) -> None:
    close(tx, "system", conversation_id, "resolve")
    tx.sql("UPDATE conversation SET state = 'resolved' WHERE id = ?", conversation_id)


# --- who leads next -----------------------------------------------------------------------------------------------


def fail_over(url: str, how: signal.Signals) -> float:
    """Seconds from the leader's end until work that arrives then has its owner, decided by another process."""
    store = Store(url)
    nodes = {name: _node(url, name) for name in ("one", "two")}
    try:
        _owned(store, store.submit(lambda tx: arrival(tx, IDLE)))
        with store.read() as tx:
            leader = str(tx.sql("SELECT holder FROM lease WHERE name = 'router'").fetchone()[0])
        nodes[leader].send_signal(how)
        began = time.perf_counter()
        _owned(store, store.submit(lambda tx: arrival(tx, IDLE)))
        return time.perf_counter() - began
    finally:
        for node in nodes.values():
            node.kill()
            node.wait()
        store.close()


def _node(url: str, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.prove.routing_node", url, name], cwd=ROOT)


def _owned(store: Store, conversation_id: int, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with store.read() as tx:
            if tx.sql("SELECT 1 FROM assignment WHERE conversation_id = ?", conversation_id).fetchone():
                return
        if time.monotonic() > deadline:
            raise TimeoutError("nobody leads")
        time.sleep(0.005)


# --- the report ---------------------------------------------------------------------------------------------------


@contextmanager
def databases(kind: str) -> Iterator[Callable[[], str]]:
    """Makes empty, migrated databases of a kind."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
            count = iter(range(1000))
            template = f"{folder}/template.db"
            _migrate(f"sqlite:///{template}")

            def copy() -> str:
                path = f"{folder}/{next(count)}.db"
                shutil.copy(template, path)
                return f"sqlite:///{path}"

            yield copy
        return
    with postgres.server(durable=True) as server:
        first = postgres.database(server)
        _migrate(first)
        yield lambda: postgres.database(server, first)


def _migrate(url: str) -> None:
    store = Store(url)
    upgrade(store)
    store.close()


def report(kind: str, size: Size, rounds: int = 3, singles: int = 30) -> None:
    """Measure one kind of database and print it."""
    print(f"durable on {kind}: {size.agents:,} agents, {size.waiting:,} waiting")
    with databases(kind) as fresh:
        rates = [_one_round(fresh, size) for _ in range(rounds)]
        live_rate, limit = (statistics.median(rate[side] for rate in rates) for side in (0, 1))
        ratios = sorted(rate[0] / rate[1] for rate in rates)
        print(
            f"  assignments {live_rate:,.0f}/s, the same rows bare {limit:,.0f}/s: {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f}-{ratios[-1]:.2f}); index built in {statistics.median(rate[2] for rate in rates):.1f} s",
            flush=True,
        )
        store = Store(fresh())
        furnish(store, size)
        fill_up(store)
        for what, took in one_by_one(store, singles).items():
            ordered = sorted(took)
            p50, p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
            print(f"  {what} until its assignment is durable: p50 {p50:.1f} ms, p95 {p95:.1f} ms", flush=True)
        store.close()
        if kind == "postgresql":
            store = Store(url := fresh())
            furnish(store, Size(40, 100))
            store.close()
            for how, told in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "frozen")):
                waited = fail_over(url, how)
                print(f"  leader {told}: what arrives then has its owner after {waited:.1f} s", flush=True)


def _one_round(fresh: Callable[[], str], size: Size) -> tuple[float, float, float]:
    """The live router's rate, that of the bare rows, and how long the index took."""
    ours, theirs = Store(fresh()), Store(fresh())
    furnish(ours, size)
    furnish(theirs, size)
    built, rate = live(ours)
    limit = bare(theirs, Written.read(ours))
    ours.close()
    theirs.close()
    return rate, limit, built
