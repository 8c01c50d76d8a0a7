"""A disk that forgets: what SQLite wrote and did not sync may be gone, whole or in part, when the power goes.

SQLite's own file layer is wrapped (https://sqlite.org/vfs.html, a "shim"): every write, truncation and sync of the
running hub is recorded in its order, together with what was acknowledged. A cut at any point of that record gives the
files as a machine would find them: everything up to a file's last sync, and of the rest any part, in sectors.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import ctypes.util
import random
import shutil
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy

from channels.base import Raw
from hub.intake import take_in
from tests.clock import Clock
from tests.desk import OUR_NUMBER, open_desk

HALVES = (
    "SELECT count(*) FROM receipt r LEFT JOIN message m ON m.receipt_id = r.id "
    "WHERE r.state = 'accepted' AND m.id IS NULL"
)
SECTOR = 512  # bytes that a disk writes whole or not at all; sqlite.org/psow.html
ROUTINES = ctypes.c_void_p
Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)  # the name by its address: SQLite keeps it
Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
Truncate = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        ("iVersion", ctypes.c_int), ("szOsFile", ctypes.c_int), ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p), ("zName", ctypes.c_char_p), ("pAppData", ctypes.c_void_p),
        ("xOpen", ctypes.c_void_p), ("others", ROUTINES * 15),
    ]  # fmt: skip


class Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = [
        ("iVersion", ctypes.c_int), ("xClose", ROUTINES), ("xRead", ROUTINES), ("xWrite", ROUTINES),
        ("xTruncate", ROUTINES), ("xSync", ROUTINES), ("others", ROUTINES * 13),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `data` is what was written or acknowledged.

    `offset` is where it was written, the size that is left, or before which event a sync began.
    """

    what: str  # write, truncate, sync, said
    path: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Recorder:
    """Wraps the default VFS while it is installed; connections opened then are recorded."""

    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open: dict[int, tuple[str, Methods]] = {}  # by the address of the sqlite3_file
        self._wrapped: dict[int, tuple[Methods, Methods]] = {}  # by the address of the original methods
        self._recording = threading.Lock()
        self._kept: list[Any] = []  # what C points to must outlive it

    def said(self, words: str) -> None:
        """Somebody was told that this is durable."""
        self._note(Event("said", data=words.encode()))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Skips where Python brings a SQLite of its own inside, which can't be reached."""
        library = ctypes.CDLL(_sqlite3.__file__)
        if not hasattr(library, "sqlite3_vfs_find"):
            library = ctypes.CDLL(ctypes.util.find_library("sqlite3") or "")
        if not hasattr(library, "sqlite3_vfs_find"):
            pytest.skip("this Python's SQLite can't be wrapped: it is linked in without its names")
        library.sqlite3_vfs_find.restype = ctypes.POINTER(Vfs)
        self._default = library.sqlite3_vfs_find(None)
        assert self._default.contents.iVersion >= 3
        wrapped = Vfs.from_buffer_copy(self._default.contents)
        opened = Open(self._opened)
        wrapped.zName, wrapped.xOpen = b"recorded", ctypes.cast(opened, ctypes.c_void_p)
        self._kept += [wrapped, opened]
        library.sqlite3_vfs_register(ctypes.byref(wrapped), 1)
        try:
            yield
        finally:
            library.sqlite3_vfs_unregister(ctypes.byref(wrapped))
            library.sqlite3_vfs_register(self._default, 1)

    def _opened(self, _vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        original = Open(self._default.contents.xOpen)
        answer = original(ctypes.cast(self._default, ctypes.c_void_p).value, name, file, flags, out)
        slot = ctypes.c_void_p.from_address(file)
        if answer == 0 and slot.value and name:
            original_methods, ours = self._methods(slot.value)
            self._open[file] = (ctypes.string_at(name).decode(), original_methods)
            slot.value = ctypes.addressof(ours)
        return int(answer)

    def _methods(self, address: int) -> tuple[Methods, Methods]:
        if address not in self._wrapped:
            original = Methods.from_address(address)
            ours = Methods.from_buffer_copy(original)
            routines = Write(self._written), Truncate(self._truncated), Sync(self._synced)
            ours.xWrite, ours.xTruncate, ours.xSync = (ctypes.cast(each, ctypes.c_void_p) for each in routines)
            self._kept += [ours, *routines]
            self._wrapped[address] = original, ours
        return self._wrapped[address]

    def _written(self, file: int, data: int, length: int, offset: int) -> int:
        path, methods = self._open[file]
        with self._recording:  # in the order in which it happens
            self.events.append(Event("write", path, offset, ctypes.string_at(data, length)))
            return int(Write(methods.xWrite)(file, data, length, offset))

    def _truncated(self, file: int, size: int) -> int:
        path, methods = self._open[file]
        self._note(Event("truncate", path, size))
        return int(Truncate(methods.xTruncate)(file, size))

    def _synced(self, file: int, flags: int) -> int:
        """Noted when it is over, because only then it is certain; what was written since it began is not."""
        path, methods = self._open[file]
        covers = len(self.events)
        answer = int(Sync(methods.xSync)(file, flags))
        self._note(Event("sync", path, covers))
        return answer

    def _note(self, event: Event) -> None:
        with self._recording:
            self.events.append(event)


def after_a_cut(events: list[Event], base: dict[str, bytes], dice: random.Random) -> dict[str, bytes]:
    """The files as they are found: what was synced, and of what was not any part."""
    synced: dict[str, int] = defaultdict(int)
    for event in events:
        if event.what == "sync":
            synced[event.path] = event.offset
    files = {path: bytearray(content) for path, content in base.items()}
    for number, event in enumerate(events):
        if event.what not in ("write", "truncate"):
            continue
        certain = number < synced[event.path]
        content = files.setdefault(event.path, bytearray())
        if event.what == "truncate":
            if certain or dice.random() < 0.5:
                del content[event.offset :]
            continue
        for start, piece in [(event.offset, event.data)] if certain else _sectors(event):
            if certain or dice.random() < 0.5:
                content.extend(bytes(max(0, start - len(content))))
                content[start : start + len(piece)] = piece
    return {path: bytes(content) for path, content in files.items()}


def _sectors(event: Event) -> Iterator[tuple[int, bytes]]:
    """The pieces of a write that reach the disk one by one."""
    position, end = event.offset, event.offset + len(event.data)
    while position < end:
        until = min(end, (position // SECTOR + 1) * SECTOR)
        yield position, event.data[position - event.offset : until - event.offset]
        position = until


@dataclass
class Verdict:
    """What was found after all cuts."""

    cuts: int = 0
    said: int = 0  # acknowledged before the cut, over all cuts
    lost: int = 0
    doubled: int = 0
    halves: int = 0  # receipts called accepted without their message
    broken: int = 0  # databases that SQLite calls damaged


def judge(recorder: Recorder, base: dict[str, bytes], database: Path, folder: Path, cuts: int) -> Verdict:
    """Cut at `cuts` random points and look at what is there."""
    dice, verdict = random.Random(17), Verdict()
    for number in range(cuts):
        cut = dice.randrange(len(recorder.events) + 1)
        before = recorder.events[:cut]
        said = {event.data.decode() for event in before if event.what == "said"}
        place = folder / f"cut{number}"
        place.mkdir()
        for path, content in after_a_cut(before, base, dice).items():
            (place / Path(path).name).write_bytes(content)
        verdict.cuts, verdict.said = verdict.cuts + 1, verdict.said + len(said)
        connection = sqlite3.connect(place / database.name)
        try:
            found = dict(connection.execute("SELECT text, count(*) FROM message WHERE kind = 'inbound' GROUP BY text"))
            healthy = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            halves = connection.execute(HALVES).fetchone()[0]
        except sqlite3.DatabaseError:
            found, healthy, halves = {}, False, 0
        finally:
            connection.close()
        verdict.broken += not healthy
        verdict.halves += halves
        verdict.lost += len(said - set(found))
        verdict.doubled += sum(times > 1 for times in found.values())
        shutil.rmtree(place)
    return verdict


def power_cuts(template: Path, folder: Path, synchronous: str, texts: int, cuts: int) -> Verdict:
    """Texts come in from four sides at once, each said to be durable when the hub says so; then the power goes."""
    database = folder.resolve() / "hub.db"
    shutil.copy(template, database)
    base, recorder = {str(database): database.read_bytes()}, Recorder()
    with recorder.installed():
        desk = open_desk(f"sqlite:///{database}", folder, Clock())
        opened = desk.hub.channel_named("support-sms")

        def weaken(connection: Any, _record: Any) -> None:
            connection.execute(f"PRAGMA synchronous={synchronous}")

        sqlalchemy.event.listen(desk.hub.store.engine, "connect", weaken)
        desk.hub.store.engine.dispose()

        def take(number: int) -> None:
            who, body = f"+4670174{number % 40:04d}", f"text {number}"
            form = {"MessageSid": f"SM{number}", "From": who, "To": OUR_NUMBER, "NumMedia": "0", "Body": body}
            raw = Raw(f"SM{number}", urlencode(form).encode(), "application/x-www-form-urlencoded")
            assert take_in(desk.hub, opened, raw).state == "accepted"
            recorder.said(body)

        with ThreadPoolExecutor(4) as senders:
            list(senders.map(take, range(texts)))
        events = list(recorder.events)  # what is written when the program ends in peace is not of interest
        desk.hub.stop()
    recorder.events = events
    kinds = Counter(event.what for event in events)
    wrote = f"{texts} texts, {kinds['write']} writes, {kinds['sync']} syncs"
    verdict = judge(recorder, base, database, folder, cuts)
    found = f"{verdict.lost} lost, {verdict.doubled} doubled, {verdict.halves} halves, {verdict.broken} damaged"
    print(
        f"\nsynchronous={synchronous}: {wrote}; {verdict.cuts} power cuts, {verdict.said} acknowledged before: {found}"
    )
    return verdict
