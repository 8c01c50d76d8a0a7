"""Processes that route one floor, killed and frozen at random, and the race for a wake-up.

On PostgreSQL several; on SQLite one, which is killed in the middle of its work and followed by another.

Everything that happens is held against the tables, never against what a router thinks of itself.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from signal import SIGCONT, SIGKILL
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from routing.engine import Decision
from routing.router import LEASE_SECONDS, Router
from routing.work import close, set_status
from storage import Store
from storage.checks import last_check
from storage.conversations import Conversation
from storage.facts import ConversationResolved
from storage.listener import Listener
from tests.processes import ROOT
from tests.prove.routing_node import SharedClock
from tests.routing_desk import Desk
from tests.test_routing_machine import IDLE_BESIDE_WORK, Floor, random_desk

NODES = 4
PATIENCE = 20.0  # seconds in which everything that can be matched has to be
IDLE_ON_POSTGRESQL = (
    IDLE_BESIDE_WORK.replace(
        "json_each(item.skills) AS needed WHERE needed.value >",
        "jsonb_each_text(item.skills) AS needed WHERE needed.value::int >",
    )
    .replace("json_each(item.labels) AS label", "jsonb_array_elements_text(item.labels) AS label(value)")
    .replace("json_each(other.labels) AS one", "jsonb_array_elements_text(other.labels) AS one(value)")
    .replace("json_each(routing_profile.limits, '$.labels')", "jsonb_each_text(routing_profile.limits->'labels')")
    .replace("most.value <=", "most.value::int <=")
)
ENDED = "SELECT id, conversation_id FROM work_item WHERE state IN ('queued','offered','assigned') ORDER BY id"


class Crew:
    """The processes, on one database and one clock."""

    def __init__(self, url: str, folder: Path, number: int):
        self.url, self.folder = url, folder
        self.clock = SharedClock(folder)
        self.store = Store(url, self.clock)
        self.counts: Counter[str] = Counter()
        self._made = 0
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.frozen: set[str] = set()
        for _ in range(number):
            self.start()

    def start(self) -> None:
        """One more process."""
        self._made += 1
        name = f"node-{self._made}"
        command = [sys.executable, "-m", "tests.prove.routing_node", self.url, name, str(self.folder)]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.nodes[name] = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def leader(self) -> str | None:
        """Who leads, if that is one of ours that runs."""
        with self.store.read() as tx:
            row = tx.sql("SELECT holder FROM lease WHERE name = 'router' AND expires_at >= ?", tx.now).fetchone()
        return row[0] if row and row[0] in self.nodes and row[0] not in self.frozen else None

    def kill_leader(self) -> None:
        """SIGKILL; another process comes in its place, and its lease runs out."""
        name = self.wait_for(self.leader, "a leader")
        node = self.nodes.pop(name)
        node.send_signal(SIGKILL)
        node.wait()
        self.counts["leaders killed"] += 1
        self.clock.forward(LEASE_SECONDS + 1)
        self.start()

    def freeze_next(self) -> None:
        """Whoever decides next stops before it writes, unless nobody would be left."""
        self.see_frozen()
        if len(self.frozen) + 1 < len(self.nodes):
            (self.folder / "freeze").touch()

    def see_frozen(self) -> str | None:
        """Who has stopped with decisions in hand since the last look; the lease runs out."""
        for found in self.folder.glob("frozen-*"):
            name = found.name.removeprefix("frozen-")
            found.unlink()
            if name not in self.nodes:  # killed in its sleep
                continue
            self.frozen.add(name)
            self.counts["leaders frozen with decisions in hand"] += 1
            self.clock.forward(LEASE_SECONDS + 1)
            return name
        return None

    def thaw(self) -> None:
        """They wake, long after somebody else began to lead."""
        for name in self.frozen:
            self.nodes[name].send_signal(SIGCONT)
        self.frozen.clear()

    def deposed(self) -> int:
        """How often a write was refused because somebody else led by then."""
        log = self.folder / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def wait_for(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Until it holds. Raises AssertionError with what the processes said."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} within {seconds:g} s: {self.said()}")
            time.sleep(0.01)
        return found

    def said(self) -> str:
        """The last words of each process."""
        return "; ".join(path.read_text()[-300:] for path in sorted(self.folder.glob("*.log")) if path.stat().st_size)

    def close(self) -> None:
        """End everything."""
        for node in self.nodes.values():
            node.kill()
            node.wait()
        self.store.close()


@contextmanager
def crew(url: str, folder: Path, number: int = NODES) -> Iterator[Crew]:
    """On SQLite a single process, whatever the number: there is no other way to run it."""
    running = Crew(url, folder, 1 if url.startswith("sqlite") else number)
    try:
        yield running
    finally:
        running.close()


def idle_beside_work(store: Store) -> list[Any]:
    """Agents with room beside work that they could take; asked of the tables."""
    statement = IDLE_BESIDE_WORK if store.embedded else IDLE_ON_POSTGRESQL
    with store.read() as tx:
        return list(tx.sql(statement, tx.now, tx.now).fetchall())


class ManyNodes(Floor):
    """The machine of tests/test_routing_machine.py, with processes in place of the router."""

    crew: Crew
    desk_of_all: Desk

    def open(self) -> None:
        self.store, self.desk, self.missed = self.crew.store, self.desk_of_all, []
        with self.store.write() as tx:
            for _, conversation_id in tx.sql(ENDED).fetchall():
                close(tx, "system", conversation_id, "resolve")
                tx.get_one(Conversation, conversation_id).state = "resolved"
                tx.emit(ConversationResolved(conversation_id, "system"))
            for who, agent_id in self.desk.agents.items():
                if who != "Ines":
                    set_status(tx, self.desk.actor(tx, who), agent_id, "offline")
        self.crew.counts["floors"] += 1

    def teardown(self) -> None:
        self.crew.thaw()
        (self.crew.folder / "freeze").unlink(missing_ok=True)

    @invariant()
    def every_promise_is_kept(self) -> None:
        try:
            self.desk.is_sound()
        except AssertionError:
            self.crew.counts["capacity exceeded or two owners"] += 1
            raise

    @rule(seconds=st.sampled_from([1, 20, 40, 70, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.crew.clock.forward(seconds)

    @rule()
    def the_router_runs(self) -> None:
        self.crew.see_frozen()
        self.crew.counts["quiet moments"] += 1
        deadline = time.monotonic() + PATIENCE
        while idle := idle_beside_work(self.store):
            self.crew.see_frozen()
            if time.monotonic() > deadline:
                self.crew.counts["stranded beside an idle agent"] += len(idle)
                raise AssertionError(f"{idle} after {PATIENCE} s: {self.crew.said()}")
            time.sleep(0.01)

    @precondition(lambda self: self.conversations)
    @rule(how=st.sampled_from(["freeze", "wake", "kill"]))
    def something_breaks(self, how: str) -> None:
        self.crew.see_frozen()
        if how == "kill":
            self.crew.kill_leader()
        elif how == "freeze":
            self.crew.freeze_next()
            self.conversations.append(self.desk.comes_in())
        elif self.crew.frozen:
            self.crew.wait_for(self.crew.leader, "leader in place of the frozen one")
            self.crew.thaw()


def machine(crew: Crew, examples: int, steps: int, *, thorough: bool = True) -> None:
    """Run it; print what was counted. Raises AssertionError at the first violation.

    When `thorough`, also when the worst has not been tried: then it proves nothing.
    """
    floor = type("ManyNodes", (ManyNodes,), {"crew": crew, "desk_of_all": random_desk(crew.store)})
    began, counts = time.monotonic(), crew.counts
    try:
        run_state_machine_as_test(
            floor,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
        crew.thaw()
    finally:
        with crew.store.read() as tx:
            check, facts = last_check(tx), tx.sql("SELECT count(*) FROM fact").fetchone()[0]
            matched = tx.sql("SELECT count(*) FROM offer").fetchone()[0]
        told = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        took = time.monotonic() - began
        drift = "not checked" if check is None else str(check.ever)
        database = crew.store.url.get_backend_name()
        print(f"\n{len(crew.nodes)} routers on {database}, {took:.0f} s: {told}; {matched} matches, {facts} facts")
        print(
            f"violations: capacity exceeded or two owners {counts['capacity exceeded or two owners']}, "
            f"stranded beside an idle agent {counts['stranded beside an idle agent']}, "
            f"router wrong about the database {drift}; writes of deposed routers refused {crew.deposed()}"
        )
    assert check is None or check.ever == 0, "the index is what the database is"
    if not thorough:
        return
    assert check is not None, "somebody compared"
    assert counts["leaders killed"], "the worst was tried"
    if len(crew.nodes) > 1:
        assert counts["leaders frozen with decisions in hand"] and crew.deposed(), "somebody woke late and was refused"


def drained_in_order(crew: Crew, mails: int) -> None:
    """Mails wait, then agents come; leaders die or freeze in between. Each is given out once, the oldest first."""
    desk = Desk(crew.store)
    with crew.store.write() as tx:
        names = [f"Agent{number}" for number in range(20)]
        for name in names:
            desk.agents[name] = desk.add_agent(tx, name, f"{name}@example.com", queues=("Billing",))
        tx.sql("UPDATE agent SET capacity = 400")
        tx.sql("UPDATE queue SET is_default = (name = 'Billing')")
        tx.sql("UPDATE desk_version SET version = version + 1")
    waiting: list[int] = []
    while len(waiting) < mails:
        with crew.store.write() as tx:
            waiting += [desk.arrive(tx) for _ in range(min(100, mails - len(waiting)))]
    for number, name in enumerate(names):
        desk.signs_in(name)
        if number % 4 == 1:
            crew.freeze_next()
        elif number % 4 == 3:
            crew.kill_leader()
        crew.see_frozen()
    seats = min(mails, len(names) * 20)

    def done() -> bool:
        crew.see_frozen()
        with crew.store.read() as tx:
            return bool(tx.sql("SELECT count(*) FROM assignment").fetchone()[0] >= seats)

    crew.wait_for(done, "end of the queue", 60)
    before = crew.deposed()
    woken = len(crew.frozen)
    crew.thaw()
    crew.wait_for(lambda: crew.deposed() >= before + woken, "refusal of those who woke late")
    with crew.store.read() as tx:
        rows = tx.sql("SELECT conversation_id, started_at FROM assignment ORDER BY id").fetchall()
        over = tx.sql("SELECT count(*) FROM agent WHERE load > capacity").fetchone()[0]
    given = [row[0] for row in rows]
    inversions = sum(later < earlier for earlier, later in pairwise(given))
    twice = len(given) - len(set(given))
    desk.is_sound()
    told = ", ".join(f"{number} {what}" for what, number in sorted(crew.counts.items()))
    print(f"\n{len(given)} of {mails} mails given out in order under fire: {told}, {crew.deposed()} writes refused")
    print(f"violations: out of order {inversions}, given twice {twice}, agents over capacity {over}")
    assert (inversions, twice, over, len(given)) == (0, 0, 0, seats)


class Racing(Router):
    """Somebody commits after this router has looked and before it waits: the moment at which a wake-up can be lost."""

    act: Callable[[], object] | None = None

    def decide(self) -> list[Decision]:
        made = super().decide()
        if not made and self.act is not None:
            act, self.act = self.act, None
            act()
        return made


def raced(desk: Desk, theirs: Store, races: int, seconds: float = 2.0) -> int:
    """So many races of a commit against a router that is about to wait; how many were lost. Sweeps don't help here.

    `theirs` is the store of whoever commits: another process's, where there can be one.
    """
    lost, router, stop = 0, Racing(desk.store, "racing"), threading.Event()
    listener = Listener(desk.store)
    listener.start()
    thread = threading.Thread(target=router.loop, args=(stop,))
    thread.start()
    other = Desk.__new__(Desk)
    other.__dict__.update(desk.__dict__ | {"store": theirs})
    desk.signs_in("Jonas")
    for _ in range(races):
        came: list[int] = []
        raced = threading.Event()

        def commit(came: list[int] = came, raced: threading.Event = raced) -> None:
            came.append(other.comes_in())
            raced.set()

        router.act = commit
        desk.store.bell.ring()
        if not raced.wait(10):
            raise AssertionError("the router did not look")
        deadline = time.monotonic() + seconds
        while desk.owner(came[0]) is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        lost += desk.owner(came[0]) is None
        with desk.store.write() as tx:
            close(tx, "system", came[0], "resolve")
            tx.emit(ConversationResolved(came[0], "system"))
    stop.set()
    desk.store.bell.ring()
    thread.join(10)
    listener.stop()
    return lost
