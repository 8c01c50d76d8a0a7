"""Group commit: one thread runs the units of many callers in one transaction and answers them after the commit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from storage.outages import Outage, is_outage

T = TypeVar("T")

RETRY_STATES = {"40P01", "40001"}  # PostgreSQL: deadlock detected, serialization failure
TRIES = 5


class Busy(Outage):
    """More units wait than the writer can take soon: answer 503 with Retry-After, the sender tries again."""


class Job:
    """One unit on its way through the writer."""

    __slots__ = ("done", "error", "result", "unit")

    def __init__(self, unit: Callable[[Any], Any]):
        self.unit = unit
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()  # a held lock is the cheapest gate Python has
        self.done.acquire()


class Writer:
    """`run(units)` commits all of them in one transaction and returns their results, or raises and leaves nothing.

    There are no savepoints: when a batch fails, its units run again one by one, so a failing unit fails alone.
    When the database itself is away the whole batch fails at once: each unit would only wait in vain again.
    """

    def __init__(
        self, run: Callable[[Sequence[Callable[[Any], Any]]], list[Any]], batch: int = 64, waiting: int = 2000
    ):
        self._run = run
        self._batch = batch
        self._waiting = waiting
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit_all(self, units: Sequence[Callable[[Any], T]]) -> list[T]:
        """Queue the units and wait until each is durable or has failed."""
        if self._queue.qsize() > self._waiting:
            raise Busy("too much is waiting to be stored; try again in a few seconds")
        if self._thread is None:
            self._start()
        jobs = [Job(unit) for unit in units]
        for job in jobs:
            self._queue.put(job)
        for job in jobs:
            job.done.acquire()
        for job in jobs:
            if job.error is not None:
                raise job.error
        return [job.result for job in jobs]

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(10)
            self._thread = None

    def _start(self) -> None:
        # Started by the first unit, never at import or in create_app: threads don't survive a fork.
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            jobs, ending = [first], False
            while len(jobs) < self._batch:
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break  # never wait to fill a batch: under load it fills itself
                if job is None:
                    ending = True
                    break
                jobs.append(job)
            self._commit(jobs)
            for job in jobs:
                job.done.release()
            if ending:
                return

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
