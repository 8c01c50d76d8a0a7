"""The router: matches waiting work with agents as soon as anything changes, from one process at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from routing import parking
from routing.climb import BATCH as STEPS
from routing.climb import climb, is_due, mistimed, retime
from routing.disconnect import is_lost, let_go
from routing.engine import Decision
from routing.live import LiveFloor
from routing.presence import expire_offers, rings_too_long
from routing.settling import settle
from routing.targets import is_overdue, note_overdue
from routing.wrapups import end_over, is_over
from storage import Store, Tx
from storage.checks import note_check
from storage.desk import desk_version
from storage.failpoints import step
from storage.leases import drop_lease, holds_lease, take_lease

log = logging.getLogger(__name__)

LEASE = "router"
LEASE_SECONDS = 10
RENEW = timedelta(seconds=3)
SWEEP_SECONDS = 1.0  # how long a missed wake-up, a cooldown's end or an offer's end may go unnoticed
LONGEST_PAUSE = 0.25
SHORTEST_WAIT = 0.01
CHECK_EVERY = timedelta(minutes=1)
CHECK_SHARE = 200  # of its time, a router spends no more than one part in so many on checks
SHOWN = 10  # differences that are told one by one
BATCH = 200
CHAIN = 5  # batches that are decided one on top of the other before what happened meanwhile is looked at
TRIES = 3


class Deposed(Exception):
    """Another process leads by now: nothing of this batch was written."""


class Router:
    """One per process; the one that holds the lease decides, the others stand by. `holder` names the process."""

    def __init__(self, store: Store, holder: str):
        self.store = store
        self.holder = holder
        self._epoch: int | None = None
        self._since: datetime | None = None  # when this process began to lead
        self._renew_at: datetime | None = None
        self._floor = LiveFloor()
        self._timed: int | None = None  # the state of the desk by which the next steps of ladders are written down
        self._parked: int | None = None  # and the moments at which parking is looked at
        self._check_at = store.clock() + CHECK_EVERY

    def run_once(self) -> int:
        """Match everything that can be matched now; how many decisions were written. 0 without the lease."""
        epoch = self.lead()
        if epoch is None:
            return 0
        total, beaten = 0, 0
        while beaten < TRIES and (decisions := self.decide()):
            try:
                made, held = self._settle(epoch, decisions)
            except Deposed:
                self._epoch = None
                break
            total += made
            beaten += not held  # somebody was faster: look again, but not for ever
        return total

    def _settle(self, epoch: int, decisions: list[Decision]) -> tuple[int, bool]:
        """Write a batch, and decide the next while it is on its way; how many were written, and whether all held.

        What was decided on top of a batch that did not hold is dropped, unwritten.
        """
        total = 0
        for left in reversed(range(CHAIN)):
            step("router.decided")
            written = self.store.begin(partial(self.write, epoch=epoch, decisions=decisions))
            more = left and len(decisions) == BATCH
            following = self._floor.go_on(self.store.clock().timestamp(), BATCH) if more else []
            made = written()
            step("router.durable")
            total += made
            if not self._floor.wrote(len(decisions), made) or not following:
                return total, made == len(decisions)
            decisions = following
        return total, True

    def expire_once(self) -> int:
        """Take back offers that rang too long; how many."""
        return self._when(rings_too_long, expire_offers)

    def breach_once(self) -> int:
        """Note targets that are about to run out or did; how many."""
        return self._when(is_overdue, note_overdue)

    def climb_once(self) -> int:
        """Take the steps of ladders whose time has come; how many pieces of work took one."""
        with self.store.read() as tx:
            version, due = desk_version(tx), is_due(tx)
            wrong = [] if version == self._timed else mistimed(tx)
        for some in range(0, len(wrong), STEPS):
            self.store.submit(partial(retime, items=wrong[some : some + STEPS]))
        self._timed = version
        return self.store.submit(climb) if due or wrong else 0

    def park_once(self) -> int:
        """Park what rests long enough and unpark what the customer came back to; how many that were."""
        with self.store.read() as tx:
            version, due = desk_version(tx), parking.is_due(tx)
            wrong = [] if version == self._parked else parking.mistimed(tx)
        for some in range(0, len(wrong), STEPS):
            self.store.submit(partial(parking.retime, wrong=wrong[some : some + STEPS]))
        self._parked = version
        return self.store.submit(parking.park) if due or wrong else 0

    def wrap_up_once(self) -> int:
        """End wrapping up that has had its time; how much that was."""
        return self._when(is_over, end_over)

    def let_go_once(self) -> int:
        """Set away who has lost the connection, and give their waiting customers to others; how many that were.

        While nobody led, nobody may have been served either: whoever was connected then has the time to come back.
        """
        return self._when(partial(is_lost, since=self._since), partial(let_go, since=self._since))

    def check_once(self) -> int:
        """Compare what is kept in memory with the database, and write down what differs; how much did.

        Nothing should: it would be a change that left no fact. What did differ is mended by reading everything anew.
        """
        began = time.monotonic()
        with self.store.read() as tx:
            found = self._floor.differences(tx)
        took = time.monotonic() - began
        for difference in found[:SHOWN]:
            log.error("the router was wrong: %s", difference)
        if found:
            log.error("the router was wrong about %s agents or pieces of work: it reads everything anew", len(found))
            self._floor.forget()
        self._check_at = self.store.clock() + max(CHECK_EVERY, timedelta(seconds=took) * CHECK_SHARE)
        self.store.submit(partial(note_check, holder=self.holder, took_ms=round(took * 1000), differing=len(found)))
        return len(found)

    def sweep(self) -> None:
        """What time alone brings about."""
        self.expire_once()
        self.breach_once()
        self.climb_once()
        self.wrap_up_once()
        self.park_once()
        self.let_go_once()
        if self.store.clock() >= self._check_at:
            self.check_once()

    def loop(self, stop: threading.Event) -> None:
        """Work until `stop` is set: at once after every commit, and every second whatever happens."""
        swept, timed_out = self.store.clock(), True
        while not stop.is_set():
            rung, began = self.store.bell.rung, time.monotonic()
            try:
                now = self.store.clock()
                if (timed_out or abs((now - swept).total_seconds()) >= SWEEP_SECONDS) and self.lead() is not None:
                    swept = now
                    self.sweep()
                self.run_once()
            except Exception:
                # A database that is away comes back; the lease may have gone to somebody else meanwhile.
                log.exception("a router pass failed; the next try is in a second")
                self._epoch = None
                stop.wait(SWEEP_SECONDS)
            # Under load changes are taken together: never more than half of the time is spent deciding.
            stop.wait(min(time.monotonic() - began, LONGEST_PAUSE))
            timed_out = self.store.bell.wait(rung, self._longest_wait()) == rung
        self.resign()

    def lead(self) -> int | None:
        """The epoch of our lease, taken or renewed when it is time; None while another process leads."""
        now = self.store.clock()
        if self._epoch is not None and self._renew_at is not None and now < self._renew_at:
            return self._epoch
        if self._epoch is None and self._is_led_by_another():
            self._floor.forget()
            return None
        before = self._epoch
        self._epoch = self.store.submit(lambda tx: take_lease(tx, LEASE, self.holder, LEASE_SECONDS))
        if self._epoch != before:
            self._floor.forget()
            self._since = now
        self._renew_at = now + RENEW
        return self._epoch

    def resign(self) -> None:
        """Give the lease back, so that another process leads at once."""
        if self._epoch is None:
            return
        self._epoch = None
        try:
            self.store.submit(lambda tx: drop_lease(tx, LEASE, self.holder))
        except Exception:
            log.exception("the router's lease could not be given back: it runs out in %s seconds", LEASE_SECONDS)

    def look(self) -> None:
        """Bring the index up to date, decide nothing."""
        with self.store.read() as tx:
            self._floor.follow(tx)

    def decide(self) -> list[Decision]:
        """Look at what has changed, write nothing."""
        with self.store.read() as tx:
            return self._floor.decide(tx, BATCH)

    def write(self, tx: Tx, epoch: int, decisions: Sequence[Decision]) -> int:
        """Write what still holds; how many did. Raises Deposed when the lease has moved on."""
        if not holds_lease(tx, LEASE, self.holder, epoch):
            raise Deposed(f"{self.holder} no longer leads")
        made = settle(tx, decisions)
        step("router.written")
        return made

    def _when(self, is_due: Callable[[Tx], bool], unit: Callable[[Tx], int]) -> int:
        """Run a unit if a look finds something for it to do: a unit takes the writer's turn and wakes everybody."""
        with self.store.read() as tx:
            if not is_due(tx):
                return 0
        return self.store.submit(unit)

    def _longest_wait(self) -> float:
        """Until time alone makes something possible, or the next sweep."""
        left = self._floor.next_at - self.store.clock().timestamp()
        return min(max(left, SHORTEST_WAIT), SWEEP_SECONDS)

    def _is_led_by_another(self) -> bool:
        # Asked without writing: a stand-by that tried to take the lease each second would wake everybody.
        with self.store.read() as tx:
            row = tx.sql(
                "SELECT 1 FROM lease WHERE name = ? AND holder <> ? AND expires_at >= ?", LEASE, self.holder, tx.now
            )
            return row.fetchone() is not None
