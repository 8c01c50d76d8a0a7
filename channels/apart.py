"""Reading and verifying in a process of its own: what strangers sent may crash, hang or fill memory only there.

`python -m channels.apart module:Class FD SECONDS CPU_SECONDS MEMORY_MB` is the nursery: one thread that has loaded
what reading needs and forks a reader for every socket it is handed over FD, so that a new one costs milliseconds and
shares its memory. A reader answers one request after the other until its socket ends. The kernel ends it when one of
them takes too long, and with it everything when the nursery's parent is gone. It is told nothing and keeps nothing:
no settings, no environment, no files. What it answers is data and is checked as such.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter

from channels.base import Inbound, Raw, Unreadable
from channels.seals import Seals

HELLO = b"\x06"  # a nursery or a reader is there
READINGS = 2000  # of one reader; memory that C libraries lose is given back with it
GROWTH = 256 * 1024 * 1024  # bytes of resident memory, likewise
OPEN_FILES = 64
PDEATHSIG = 1  # prctl(2)
LENGTHS = struct.Struct("!II")
PAGE = resource.getpagesize()


@dataclass(frozen=True, slots=True)
class Caps:
    """What one reading may take: seconds on the wall, seconds of CPU, bytes of memory beside what was loaded."""

    seconds: int
    cpu_seconds: int
    memory: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader says. `sizes` are those of the files' bytes, which follow."""

    inbound: Inbound | None = None
    sizes: tuple[int, ...] = ()
    seals: Seals | None = None
    unreadable: str = ""
    error: str = ""  # a bug of ours, with its trace


_ANSWERS = TypeAdapter(Answer)


class NotBegun(Exception):
    """The reader was gone before it had heard all of it, so that what it was to read can't be the reason."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a reader is to do as well: to verify signatures by keys that were looked up; or, if `only`, nothing else."""

    about: str
    keys: Mapping[str, str | None]
    only: bool = False


def ask(line: socket.socket, raw: Raw, question: Question | None = None) -> tuple[Answer, bool]:
    """Have a reader read and answer a question; with True no other answer will come.

    Raises NotBegun when the reader was gone before, EOFError or OSError when it went over this, ValueError on nonsense.
    """
    asked = [question.about, dict(question.keys), question.only] if question else None
    head = json.dumps([asked, raw.dedupe_key, raw.content_type, dict(raw.headers)]).encode()
    try:
        line.sendall(LENGTHS.pack(len(head), len(raw.body)) + head)
        line.sendall(raw.body)
        received(line, len(HELLO))
    except (OSError, EOFError) as error:
        raise NotBegun from error
    length, last = LENGTHS.unpack(received(line, LENGTHS.size))
    answer = _ANSWERS.validate_json(received(line, length))
    if answer.inbound is not None and answer.sizes:
        blobs = [received(line, size) for size in answer.sizes]
        files = tuple(replace(file, data=blob) for file, blob in zip(answer.inbound.files, blobs, strict=True))
        answer = replace(answer, inbound=replace(answer.inbound, files=files))
    return answer, bool(last)


def received(line: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes. Raises EOFError when the line ends before."""
    parts: list[bytes] = []
    while count:
        part = line.recv(min(count, 1 << 20))
        if not part:
            raise EOFError("the reader is gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def main(place: str, control: socket.socket, caps: Caps) -> None:
    """Load what reading needs, then fork readers until the parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the parent, which still has to finish what it holds
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):  # the parent may be pinned to one core, and waits there meanwhile
        with suppress(OSError):
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
    module, _, name = place.partition(":")
    kind = getattr(import_module(module), name)
    kind.rehearse()
    gc.collect()
    gc.freeze()  # what is loaded stays shared between the readers
    control.sendall(HELLO)
    while True:
        order, numbers, _, _ = socket.recv_fds(control, 1, 1)
        if not order:
            return
        if os.fork() == 0:
            control.close()
            _serve(socket.socket(fileno=numbers[0]), kind, caps)
            os._exit(0)
        os.close(numbers[0])


def _serve(line: socket.socket, kind: Any, caps: Caps) -> None:
    with suppress(EOFError, OSError):
        _cap_process(caps)
        line.sendall(HELLO)
        heaviest = _resident() + GROWTH
        for number in range(1, READINGS + 1):
            raw, question = _asked(line)
            line.sendall(HELLO)
            _allow(caps)
            blobs, data = _answered(kind, raw, question)
            signal.setitimer(signal.ITIMER_REAL, 0)
            last = number == READINGS or _resident() > heaviest
            line.sendall(LENGTHS.pack(len(data), last) + data)
            for blob in blobs:
                line.sendall(blob)
            if last:
                return


def _asked(line: socket.socket) -> tuple[Raw, Question | None]:
    head, body = LENGTHS.unpack(received(line, LENGTHS.size))
    asked, dedupe_key, content_type, headers = json.loads(received(line, head))
    return Raw(dedupe_key, received(line, body), content_type, headers), Question(*asked) if asked else None


def _answered(kind: Any, raw: Raw, question: Question | None) -> tuple[list[bytes], bytes]:
    """The bytes of the files, and an Answer without them."""
    try:
        seals = kind.verify(raw, question.about, question.keys) if question is not None else None
        if question is not None and question.only:
            return [], _ANSWERS.dump_json(Answer(seals=seals))
        inbound = kind.parse(raw)
        blobs = [file.data for file in inbound.files]
        bare = replace(inbound, files=tuple(replace(file, data=b"") for file in inbound.files))
        return blobs, _ANSWERS.dump_json(Answer(bare, tuple(map(len, blobs)), seals))
    except Unreadable as error:
        return [], _ANSWERS.dump_json(Answer(unreadable=str(error) or "It can't be read."))
    except MemoryError:
        os._exit(1)  # the same as being ended by the kernel
    except Exception:
        return [], _ANSWERS.dump_json(Answer(error=traceback.format_exc()[-4000:]))


def _cap_process(caps: Caps) -> None:
    """Once for a reader: memory, no core dumps, no written files; and it ends with the nursery, even when busy."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
        limit = _pages(0) * PAGE + caps.memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for what, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES)):
        resource.setrlimit(what, (limit, limit))


def _allow(caps: Caps) -> None:
    """For one reading. Both end the process by the kernel's hand, also where Python would not get to run."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + caps.cpu_seconds, hard))
    signal.setitimer(signal.ITIMER_REAL, caps.seconds)


def _resident() -> int:
    return _pages(1) * PAGE if sys.platform == "linux" else 0


def _pages(column: int) -> int:
    with open("/proc/self/statm", "rb") as statistics:
        return int(statistics.read().split()[column])


if __name__ == "__main__":
    _place, _fd, _seconds, _cpu, _memory = sys.argv[1:]
    main(_place, socket.socket(fileno=int(_fd)), Caps(int(_seconds), int(_cpu), int(_memory) * 1024 * 1024))
