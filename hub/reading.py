"""Who reads what arrived: this process, or for kinds whose mail can be dangerous readers with caps on time and memory.

The readers (`channels.apart`) are started by the first mail, never at import or in create_app, and end with us.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from channels.apart import HELLO, Answer, Caps, NotBegun, Question, ask
from channels.base import Channel, Inbound, Raw, ReadsApart, Unreadable
from channels.seals import SIGNATURES, Seals
from config import Settings
from config.retold import stored
from storage.outages import Outage

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0  # a nursery on a busy machine
PATIENCE_SECONDS = 120.0  # for a reader to be free
HIRES = 8  # readers that may be found dead before one begins
SLACK_SECONDS = 30.0  # beyond the reader's own clock, which ends it: only a stopped process reaches this
IN_DOUBT = Seals(signatures=(("", "temperror"),))
# No settings and no secrets go to whom strangers' bytes are given.
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE")


class ReadingStopped(Exception):
    """A reader died over this or ran out of its time or memory. Nothing else was harmed; it may be tried again."""


class ReadingFailed(Exception):
    """A bug of ours met something new in it. The sentence is the error's own."""


class ReadersDown(Outage):
    """No reader can be started just now; it is not the fault of what was to be read."""


class Reading:
    """One process's way to understand what arrived."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._readers: dict[str, Readers] = {}
        self._starting = threading.Lock()

    def read(self, channel: Channel, raw: Raw, keys: Mapping[str, str | None]) -> tuple[Inbound, Seals | None]:
        """What it says and, by these keys, what the signatures on it amount to; None where that is still to be asked.

        Raises Unreadable, ReadingStopped, ReadersDown, or whatever a kind that is read here raises.
        """
        readers = self._for(channel)
        if readers is None:
            return channel.parse(raw), None
        if languages := self._settings.languages:
            raw = replace(raw, headers={**raw.headers, "languages": languages})
        if keys:
            try:
                return readers.read_and_verify(raw, Question(SIGNATURES, keys))
            except ReadingFailed as error:
                logger.warning("channel %s: a mail is read without its signatures first: %s", channel.name, error)
        return readers.read(raw), None

    def verify(self, channel: Any, raw: Raw, about: str, keys: Mapping[str, str | None]) -> Seals:
        """What the signatures on it amount to (`verify` of its kind), in doubt where a reader was stopped over it.

        Raises ReadersDown.
        """
        readers = self._for(channel)
        try:
            asked = Question(about, keys, only=True)
            found: Seals = readers.verify(raw, asked) if readers else channel.verify(raw, about, keys)
        except (ReadingStopped, ReadingFailed) as error:
            logger.warning("channel %s: a mail's %s could not be verified: %s", channel.name, about, error)
            return IN_DOUBT
        return found

    def ready(self, channel: Channel) -> None:
        """Make sure that reading is possible before a try at it is counted. Raises ReadersDown."""
        readers = self._for(channel)
        if readers is not None:
            readers.ready()

    def close(self) -> None:
        """End all readers. A later `read` would start new ones."""
        for readers in self._readers.values():
            readers.close()

    def _for(self, channel: Channel) -> Readers | None:
        kind = type(channel)
        if not hasattr(kind, ReadsApart.rehearse.__name__):
            return None
        place = f"{kind.__module__}:{kind.__qualname__}"
        found = self._readers.get(place)
        if found is None or found.pid != os.getpid():  # what a fork copied belongs to the parent
            with self._starting:
                found = self._readers.get(place)
                if found is None or found.pid != os.getpid():
                    found = self._readers[place] = Readers(place, caps_of(self._settings), self._settings.readers)
        return found


def caps_of(settings: Settings) -> Caps:
    """What one reading may take, as set for this process."""
    seconds = settings.reading_seconds
    return Caps(seconds, max(1, seconds // 2), settings.reading_memory_mb * 1024 * 1024)


class Readers:
    """A nursery and up to `most` readers of one kind, which any thread may use."""

    def __init__(self, place: str, caps: Caps, most: int):
        self.pid = os.getpid()
        self._place = place
        self._caps = caps
        self._seats = threading.BoundedSemaphore(most)
        self._idle: queue.LifoQueue[socket.socket] = queue.LifoQueue()
        self._nursery: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._hiring = threading.Lock()

    def read(self, raw: Raw) -> Inbound:
        """One thing, by a reader of its own meanwhile. Raises Unreadable, ReadingStopped or ReadersDown."""
        return self._understood(self._answer(raw, None))

    def read_and_verify(self, raw: Raw, question: Question) -> tuple[Inbound, Seals]:
        """Both at once. Raises Unreadable, ReadingStopped, ReadingFailed or ReadersDown."""
        answer = self._answer(raw, question)
        return self._understood(answer), answer.seals or IN_DOUBT

    def verify(self, raw: Raw, question: Question) -> Seals:
        """The signatures on it, likewise. Raises ReadingStopped, ReadingFailed or ReadersDown."""
        answer = self._answer(raw, question)
        if answer.seals is None:
            raise self._failed(answer)
        return answer.seals

    def _answer(self, raw: Raw, question: Question | None) -> Answer:
        if not self._seats.acquire(timeout=PATIENCE_SECONDS):
            raise ReadersDown("all readers are busy; try again in a few minutes")
        try:
            for _ in range(HIRES):
                with suppress(NotBegun):
                    return self._asked(self._take(), raw, question)
            raise self._stopped()
        finally:
            self._seats.release()

    def ready(self) -> None:
        """Have a nursery. Raises ReadersDown."""
        with self._hiring:
            self._started()

    def close(self) -> None:
        """Readers and nursery end when their sockets do."""
        while not self._idle.empty():
            with suppress(queue.Empty):
                self._idle.get_nowait().close()
        with self._hiring:
            self._drop_nursery()

    def _asked(self, line: socket.socket, raw: Raw, question: Question | None) -> Answer:
        try:
            answer, last = ask(line, raw, question)
        except (OSError, EOFError, ValueError) as error:
            line.close()
            raise self._stopped() from error
        except BaseException:
            line.close()
            raise
        if last:
            line.close()
        else:
            self._idle.put(line)
        return answer

    def _stopped(self) -> ReadingStopped:
        caps = self._caps
        return ReadingStopped(
            stored(
                "Reading it was stopped: it takes more than {work} s of work, {all} s in all or {memory} MB of memory. "
                "Its raw file is kept.",
                work=caps.cpu_seconds,
                all=caps.seconds,
                memory=caps.memory >> 20,
            )
        )

    def _understood(self, answer: Answer) -> Inbound:
        if answer.unreadable:
            raise Unreadable(answer.unreadable)
        if answer.inbound is None:
            raise self._failed(answer)
        return answer.inbound

    def _failed(self, answer: Answer) -> ReadingFailed:
        logger.error("a reader failed: %s", answer.error)
        return ReadingFailed(answer.error.strip().rpartition("\n")[2])

    def _take(self) -> socket.socket:
        while True:
            try:
                line = self._idle.get_nowait()
            except queue.Empty:
                return self._hire()
            if not _speaks(line):  # else it says that its reader has gone meanwhile
                return line
            line.close()

    def _hire(self) -> socket.socket:
        with self._hiring:
            for _ in range(2):  # the nursery may have been killed since it was last used
                ours, theirs = socket.socketpair()
                try:
                    socket.send_fds(self._started(), [b"r"], [theirs.fileno()])
                    theirs.close()
                    _expect_hello(ours, START_SECONDS)
                    ours.settimeout(self._caps.seconds + SLACK_SECONDS)
                    return ours
                except (OSError, EOFError):
                    ours.close()
                    theirs.close()
                    self._drop_nursery()
        raise ReadersDown("no process that reads mail can be started; is the machine out of memory or processes?")

    def _started(self) -> socket.socket:
        if self._nursery is not None and self._nursery[0].poll() is None:
            return self._nursery[1]
        self._drop_nursery()
        ours, theirs = socket.socketpair()
        caps = self._caps
        command = [sys.executable, "-m", "channels.apart", self._place, str(theirs.fileno())]
        command += [str(caps.seconds), str(caps.cpu_seconds), str(caps.memory >> 20)]
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**environment, "OPENBLAS_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
            theirs.close()
            self._nursery = process, ours
            _expect_hello(ours, START_SECONDS)
        except (OSError, EOFError) as error:
            ours.close()
            theirs.close()
            self._drop_nursery()
            raise ReadersDown(f"the process that reads mail does not start ({error})") from error
        return ours

    def _drop_nursery(self) -> None:
        if self._nursery is None:
            return
        process, control = self._nursery
        self._nursery = None
        control.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(2)
            return
        process.kill()
        process.wait()


def _speaks(line: socket.socket) -> bool:
    asked = select.poll()  # select() itself can't take descriptors beyond 1023
    asked.register(line, select.POLLIN)
    return bool(asked.poll(0))


def _expect_hello(line: socket.socket, seconds: float) -> None:
    line.settimeout(seconds)
    if line.recv(1) != HELLO:
        raise EOFError("it ended while it started")
