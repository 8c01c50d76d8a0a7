"""Group commit: a thread runs the units of many callers in one transaction and answers them after the commit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from storage.outages import Outage, is_outage

T = TypeVar("T")

RETRY_STATES = {"40P01", "40001"}  # PostgreSQL: deadlock detected, serialization failure
TRIES = 5


class Busy(Outage):
    """Too much waits, the database is silent or the program ends: answer 503, the sender tries again."""


class Job:
    """One unit on its way through the writer."""

    __slots__ = ("abandoned", "done", "error", "result", "unit")

    def __init__(self, unit: Callable[[Any], Any]):
        self.unit = unit
        self.result: Any = None
        self.error: BaseException | None = None
        self.abandoned = False  # whoever waited has gone: not worth beginning
        self.done = threading.Lock()  # a held lock is the cheapest gate Python has
        self.done.acquire()


class Writer:
    """`run(units)` commits all of them in one transaction and returns their results, or raises and leaves nothing.

    There are no savepoints: when a batch fails, its units run again one by one, so a failing unit fails alone.
    When the database itself is away the whole batch fails at once: each unit would only wait in vain again.
    Callers wait at most `patience` seconds for each unit. What had begun by then may still land; its sender tries
    again, and units are re-runnable and know what they have seen before, so that nothing is doubled.

    While more keeps coming, a batch is left open for `gather` seconds at a time.
    With several `threads` one batch computes while another waits for its server. Units of one call stay together and
    in their order; those of different calls keep apart by the database's locks, as those of different nodes do.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Callable[[Any], Any]]], list[Any]],
        batch: int = 64,
        waiting: int = 2000,
        patience: float = 10.0,
        threads: int = 1,
        gather: float = 0.001,
    ):
        self._run = run
        self._batch = batch
        self._limit = waiting
        self._patience = patience
        self._gather_seconds = gather
        self._queue: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._door = threading.Lock()  # nothing enters the queue behind the mark that ends it
        self._since = time.monotonic()
        self._closed = False
        self._wanted = threads
        self._threads: list[threading.Thread] = []

    def submit_all(self, units: Sequence[Callable[[Any], T]]) -> list[T]:
        """Queue the units and wait until each is durable or has failed. Raises Busy, or the first unit's error."""
        return self.outcome(self.begin(units))

    def begin(self, units: Sequence[Callable[[Any], Any]]) -> list[Job]:
        """Queue the units; `outcome` waits for them. Raises Busy."""
        self.must_have_room()
        jobs = [Job(unit) for unit in units]
        with self._door:
            if self._closed:
                raise Busy("the program is ending; try again in a few seconds")
            if not self._threads:
                self._start()
            if self._queue.empty():
                self._since = time.monotonic()
            self._queue.put(jobs)
        return jobs

    def outcome(self, jobs: Sequence[Job]) -> list[Any]:
        """Wait until each is durable or has failed. Raises Busy, or the first unit's error."""
        for job in jobs:
            if not job.done.acquire(timeout=self._patience):
                for late in jobs:
                    late.abandoned = True
                raise Busy("the database does not answer; try again in a few seconds")
        for job in jobs:
            if job.error is not None:
                raise job.error
        return [job.result for job in jobs]

    def must_have_room(self) -> None:
        """Raises Busy when so much waits that nothing more is taken."""
        if self.waiting > self._limit:
            raise Busy("too much is waiting to be stored; try again in a few seconds")

    @property
    def waiting(self) -> int:
        """Calls that no writer has taken up yet."""
        return self._queue.qsize()

    @property
    def behind(self) -> float:
        """Seconds that the calls at the head have waited since a writer last took some up; 0 when none wait."""
        return time.monotonic() - self._since if self.waiting else 0.0

    def close(self) -> None:
        """Finish what is queued, refuse what comes later, end the threads."""
        with self._door:
            if not self._closed:
                for _ in self._threads:
                    self._queue.put(None)
            self._closed = True
        for thread in self._threads:
            thread.join(10)

    def _start(self) -> None:
        # Started by the first unit, never at import or in create_app: threads don't survive a fork.
        for number in range(self._wanted):
            thread = threading.Thread(target=self._loop, name=f"writer-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _loop(self) -> None:
        while True:
            jobs = self._queue.get()
            if jobs is None:
                return
            jobs = list(jobs)
            ending = self._gather(jobs)
            self._since = time.monotonic()
            wanted = [job for job in jobs if not job.abandoned]
            for start in range(0, len(wanted), self._batch):
                batch = wanted[start : start + self._batch]
                self._commit(batch)
                for job in batch:
                    job.done.release()
            if ending:
                return

    def _gather(self, jobs: list[Job]) -> bool:
        """Add what is queued, and what comes while more keeps coming; True at the mark that ends the loop.

        A call that comes alone never waits. Among many, a moment's sleep lets the others get as far as the queue:
        they need the interpreter, which a batch would give back to them statement by statement.
        """
        size = len(jobs)
        while len(jobs) < self._batch:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                if len(jobs) == size:
                    return False
                size = len(jobs)
                time.sleep(self._gather_seconds)
                continue
            if more is None:
                return True
            jobs += more
        return False

    def _commit(self, jobs: list[Job]) -> None:
        try:
            results = self._run([job.unit for job in jobs])
        except Exception as error:
            if not _is_retryable(error) and (is_outage(error) or len(jobs) == 1):
                for job in jobs:
                    job.error = error
                return
            for job in jobs:
                self._commit_alone(job)
            return
        for job, result in zip(jobs, results, strict=True):
            job.result = result

    def _commit_alone(self, job: Job) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                job.result = self._run([job.unit])[0]
                return
            except Exception as error:
                if attempt == TRIES or not _is_retryable(error):
                    job.error = error
                    return


def _is_retryable(error: BaseException) -> bool:
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None) in RETRY_STATES
