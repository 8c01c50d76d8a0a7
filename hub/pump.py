"""Live streams (WHATWG server-sent events): one thread writes the committed facts to every open browser.

A stream costs no thread: under gunicorn's gthread worker the view hands its socket over and is done. Other servers
get an ordinary generator, which holds a thread, so their number is capped.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from time import monotonic
from typing import Any

from flask import Request, Response

from hub.onlookers import Watch
from routing.disconnect import note_seen
from storage import Store, Tx
from storage.batches import placeholders
from storage.columns import moment, read_json

logger = logging.getLogger(__name__)

ENDLESS = str(1 << 50)  # a length, or gunicorn would frame the stream in chunks and end it with a terminator
BUFFER_BYTES = 256 * 1024  # a slower reader is cut; it comes back with Last-Event-ID
PING_SECONDS = 15
POLL_SECONDS = 1.0
BEAT_SECONDS = 10
SILENT_SECONDS = 20
REPLAY = 500  # facts read at once
REPLAY_MOST = 5000  # who has missed more is told that there is a gap, and reads its page anew
SKIPPED = "FactsSkipped"  # the name of that gap; nothing in the database is called so
PRESENCE = "PresenceChanged"  # the name of what is told of company; no fact either
COMPANY_SECONDS = 0.2  # between two looks at who is where
ID_DIGITS = 18
CLOSED = -1  # no file has this number
MAX_GENERATORS = 24

FACTS = "SELECT id, name, at, conversation_id, contact_id, data FROM fact WHERE id > ?{named} ORDER BY id LIMIT ?"


@dataclass(frozen=True, slots=True)
class Happened:
    """A committed fact as a stream sees it."""

    id: int
    name: str
    at: datetime
    conversation_id: int | None
    contact_id: int | None
    data: dict[str, Any]


Wants = Callable[[Happened], "bytes | None"]


def frame(fact: Happened, event: str, data: object) -> bytes:
    """One event on the wire; its id, if it has one, lets a browser resume where it was cut."""
    number = f"id: {fact.id}\n" if fact.id else ""
    return f"{number}event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def facts_after(tx: Tx, after: int, limit: int = REPLAY, names: Sequence[str] = ()) -> list[Happened]:
    """Committed facts in commit order, of any kind or of those that are named."""
    named = f" AND name IN ({placeholders(names)})" if names else ""
    rows = tx.sql(FACTS.format(named=named), after, *names, limit).fetchall()
    return [Happened(r[0], r[1], moment(r[2]) or tx.now, r[3], r[4], read_json(r[5])) for r in rows]


def latest_fact(tx: Tx) -> int:
    """The id of the newest fact; 0 when there is none."""
    row = tx.sql("SELECT max(id) FROM fact").fetchone()
    return int(row[0] or 0)


class _Stream:
    """An open browser: whose it is, where it is and what it has not taken yet."""

    def __init__(self, wants: Wants, after: int, agent_id: int | None = None):
        self.wants = wants
        self.after = after
        self.agent_id = agent_id
        self.waiting = bytearray()
        # A comment keeps the line open; an agent's page also has to notice when none comes any more.
        self.ping = b": ping\n\n" if agent_id is None else b"event: ping\ndata:\n\n"

    def take(self, facts: list[Happened]) -> bytes:
        fresh = [fact for fact in facts if fact.id > self.after]
        if fresh:
            self.after = fresh[-1].id
        return b"".join(data for fact in fresh if (data := self.wants(fact)))

    def hear(self, came: list[Happened]) -> bytes:
        return b"".join(data for one in came if (data := self.wants(one)))

    def is_lost(self, newest: int) -> bool:
        """Whether what it missed is too much to tell, or it comes from a database that was there before this one."""
        return not newest - REPLAY_MOST <= self.after <= newest

    def skip(self, gap: Happened) -> bytes:
        self.after = gap.id
        return self.wants(gap) or b""


class _SocketStream(_Stream):
    def __init__(self, wants: Wants, after: int, agent_id: int | None, connection: socket.socket):
        super().__init__(wants, after, agent_id)
        self.connection = connection


class _QueueStream(_Stream):
    def __init__(self, wants: Wants, after: int, agent_id: int | None = None):
        super().__init__(wants, after, agent_id)
        self.frames: queue.Queue[bytes | None] = queue.Queue(1000)


class Pump:
    """All live streams of one process. Frames of `wants` are made once per stream and fact."""

    def __init__(self, store: Store):
        self._store = store
        self._streams: dict[int, _SocketStream] = {}
        self._generators: set[_QueueStream] = set()
        self._new: deque[_SocketStream] = deque()
        self._lock = threading.Lock()
        self._stopping = False
        self._watch, self._looked = Watch(), 0.0
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    @property
    def open_streams(self) -> int:
        """How many browsers are listening."""
        return len(self._streams) + len(self._generators)

    @property
    def agents(self) -> set[int]:
        """Whose browsers are listening."""
        everyone: list[_Stream] = [*self._streams.copy().values(), *self._generators.copy()]
        return {stream.agent_id for stream in everyone if stream.agent_id is not None}

    def start(self) -> None:
        """Begin to feed streams; called in the process that serves, after any fork. Starting twice is harmless."""
        with self._lock:
            if self._threads or self._stopping:
                return
            self._threads = [
                threading.Thread(target=self._ring_on_commit, name="pump-bell", daemon=True),
                threading.Thread(target=self._loop, name="pump", daemon=True),
                threading.Thread(target=self._beat, name="pump-presence", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    def stop(self) -> None:
        """Close every stream; browsers reconnect by themselves."""
        self._stopping = True
        self._stopped.set()
        self._store.bell.ring()
        self._poke()
        for thread in self._threads:
            thread.join(5)
        if self._wake_read != CLOSED and not any(thread.is_alive() for thread in self._threads):
            for each in (self._wake_read, self._wake_write):
                os.close(each)
            self._wake_read = self._wake_write = CLOSED

    def response(
        self, request: Request, wants: Wants, after: int | None = None, *, agent_id: int | None = None
    ) -> Response:
        """The answer of a view that streams. `Last-Event-ID` (or `after`) replays what was missed first.

        While an agent's is open, `agent_id` is noted as connected, and it is also told who looks at what: values named
        PRESENCE with no id, since nobody resumes them.
        """
        self.start()
        resume = request.headers.get("Last-Event-ID", "") or request.args.get("after", "")
        if resume.isascii() and resume.isdecimal() and len(resume) <= ID_DIGITS:
            after = int(resume)
        if after is None:
            with self._store.read() as tx:
                after = latest_fact(tx)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        connection = request.environ.get("gunicorn.socket")
        if connection is None or (request.environ.get("wsgi.url_scheme") == "https" and _is_tls(connection)):
            return self._generated(wants, after, headers, agent_id)
        stream = _SocketStream(wants, after, agent_id, connection)
        headers |= {"Connection": "close", "Content-Length": ENDLESS}
        return Response(self._hand_over(stream), mimetype="text/event-stream", headers=headers)

    def _hand_over(self, stream: _SocketStream) -> Iterator[bytes]:
        yield b"retry: 1000\n: open\n\n"  # once this is out, the headers are, and the socket is ours
        stream.connection = socket.socket(fileno=os.dup(stream.connection.fileno()))
        if hasattr(socket, "TCP_USER_TIMEOUT") and stream.connection.family != socket.AF_UNIX:
            # A laptop that was shut says nothing: what is not acknowledged for so long has nobody at the other end.
            stream.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_SECONDS * 1000)
        self._new.append(stream)
        self._poke()

    def _generated(self, wants: Wants, after: int, headers: dict[str, str], agent_id: int | None) -> Response:
        if len(self._generators) >= MAX_GENERATORS:
            return Response("too many live streams; try again later\n", 503, {"Retry-After": "10"})
        stream = _QueueStream(wants, after, agent_id)

        def frames() -> Iterator[bytes]:
            with self._lock:
                self._generators.add(stream)
            self._poke()
            try:
                yield b"retry: 1000\n: open\n\n"
                while not self._stopping:
                    try:
                        data = stream.frames.get(timeout=PING_SECONDS)
                    except queue.Empty:
                        yield stream.ping
                        continue
                    if data is None:
                        return
                    yield data
            finally:
                with self._lock:
                    self._generators.discard(stream)

        return Response(frames(), mimetype="text/event-stream", headers=headers)

    def _poke(self) -> None:
        with suppress(OSError):  # it is awake already, or has ended
            os.write(self._wake_write, b"x")

    def _beat(self) -> None:
        """Note who is connected, every few seconds: other processes count from that when somebody is gone."""
        while not self._stopped.wait(BEAT_SECONDS):
            if agents := self.agents:
                try:
                    self._store.submit(partial(note_seen, agent_ids=agents))
                except Exception:
                    logger.exception("who is connected could not be noted; the next try is in a moment")

    def _ring_on_commit(self) -> None:
        seen = self._store.bell.rung
        while not self._stopping:
            seen = self._store.bell.wait(seen, POLL_SECONDS)
            self._poke()

    def _loop(self) -> None:
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        pinged = monotonic()
        while not self._stopping:
            for number, happened in poller.poll(PING_SECONDS * 1000):
                if number == self._wake_read:
                    _drain(self._wake_read)
                elif number in self._streams:
                    self._on_socket(poller, number, happened)
            self._welcome(poller)
            # The bell thread pokes at least once a second. Before feeding: a database that is away takes its time.
            if monotonic() - pinged >= PING_SECONDS:
                pinged = monotonic()
                for number, stream in list(self._streams.items()):
                    self._write(poller, number, stream.ping)
            self._feed(poller)
        for stream in self._streams.values():
            stream.connection.close()
        for waiting in list(self._generators):
            _offer(waiting, None)

    def _welcome(self, poller: select.poll) -> None:
        while self._new:
            stream = self._new.popleft()
            stream.connection.setblocking(False)
            number = stream.connection.fileno()
            self._streams[number] = stream
            poller.register(number, select.POLLIN)

    def _feed(self, poller: select.poll) -> None:
        """Bring everybody near the end up to it, and those far behind one page further: they must not delay others."""
        everyone: list[_Stream] = [*self._streams.values(), *self._generators]
        if not everyone:
            return
        try:
            with self._store.read() as tx:
                gap = Happened(latest_fact(tx), SKIPPED, tx.now, None, None, {})
                behind = [stream for stream in everyone if stream.after != gap.id]
                lost = [stream for stream in behind if stream.is_lost(gap.id)]
                near = [stream for stream in behind if gap.id - REPLAY <= stream.after < gap.id]
                far = [stream for stream in behind if gap.id - REPLAY_MOST <= stream.after < gap.id - REPLAY]
                pages = [(part, facts_after(tx, min(s.after for s in part))) for part in (near, far) if part]
                came = self._came(tx) if any(stream.agent_id is not None for stream in everyone) else []
        except Exception:  # the database is away: streams stay open and catch up when it is back
            return
        for part, facts in pages:
            for stream in part:
                self._give(poller, stream, partial(stream.take, facts))
        for stream in everyone if came else []:
            if stream.agent_id is not None:
                self._give(poller, stream, partial(stream.hear, came))
        for stream in lost:
            self._give(poller, stream, partial(stream.skip, gap))
        if far or any(len(facts) == REPLAY for _part, facts in pages):
            self._poke()

    def _came(self, tx: Tx) -> list[Happened]:
        """Who came to a conversation, began to reply or left, since it was looked last; a few times a second."""
        if monotonic() - self._looked < COMPANY_SECONDS:
            return []
        self._looked = monotonic()
        told = [
            (one, {"agent_id": one.agent_id, "name": one.name, "doing": one.doing}) for one in self._watch.changes(tx)
        ]
        return [Happened(0, PRESENCE, tx.now, one.conversation_id, None, data) for one, data in told]

    def _give(self, poller: select.poll, stream: _Stream, made: Callable[[], bytes]) -> None:
        data: bytes | None = None
        try:
            data = made()
        except Exception:  # it must not end the others, and its browser resumes where it was
            logger.exception("a live stream is closed, its browser will come back")
        if isinstance(stream, _SocketStream):
            number = stream.connection.fileno()
            if data is None:
                self._drop(poller, number)
            elif data:
                self._write(poller, number, data)
        elif isinstance(stream, _QueueStream) and (data is None or data):
            _offer(stream, data)

    def _on_socket(self, poller: select.poll, number: int, happened: int) -> None:
        stream = self._streams[number]
        if happened & select.POLLOUT and stream.waiting:
            self._write(poller, number, b"")
        if number in self._streams and happened & (select.POLLIN | select.POLLHUP | select.POLLERR):
            try:
                gone = not stream.connection.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                gone = True
            if gone:
                self._drop(poller, number)

    def _write(self, poller: select.poll, number: int, data: bytes) -> None:
        stream = self._streams[number]
        stream.waiting += data
        if len(stream.waiting) > BUFFER_BYTES:
            return self._drop(poller, number)
        try:
            sent = stream.connection.send(stream.waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self._drop(poller, number)
        del stream.waiting[:sent]
        poller.modify(number, select.POLLIN | (select.POLLOUT if stream.waiting else 0))
        return None

    def _drop(self, poller: select.poll, number: int) -> None:
        poller.unregister(number)
        self._streams.pop(number).connection.close()


def _offer(stream: _QueueStream, data: bytes | None) -> None:
    try:
        stream.frames.put_nowait(data)
    except queue.Full:
        # A reader that far behind is let go; it resumes by Last-Event-ID.
        while not stream.frames.empty():
            stream.frames.get_nowait()
        stream.frames.put_nowait(None)


def _drain(number: int) -> None:
    try:
        while os.read(number, 65536):
            pass
    except BlockingIOError:
        return


def _is_tls(connection: socket.socket) -> bool:
    return hasattr(connection, "cipher")
