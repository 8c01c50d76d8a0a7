"""Bad lines: a TCP proxy that delays, cuts, truncates and resets connections by dice, or is cut for a while."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

FAULTS = ("delay", "cut", "truncate", "reset")
LONGEST_DELAY = 0.4  # seconds; anything longer than a timeout is a cut
CHUNK = 16 * 1024
NO_LINGER = struct.pack("ii", 1, 0)  # close() then sends a reset

Result = TypeVar("Result")


@dataclass
class Line:
    """One way through: `hazard` is the chance of a fault for each chunk of bytes; `met` counts what happened.

    Every chunk takes `lag` seconds, and while the line is `down`, whoever calls is hung up on.
    """

    name: str
    target: str | int  # a port of 127.0.0.1, or the path of a socket
    seed: int
    hazard: float = 0.0
    lag: float = 0.0
    down: bool = False
    port: int = 0
    met: Counter[str] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=count)
    carried: set[asyncio.StreamWriter] = field(default_factory=set)
    mute: set[asyncio.StreamWriter] = field(default_factory=set)  # open as before, and nothing comes through

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection both ways until it ends or a fault ends it."""
        if self.down:
            writer.transport.abort()
            return
        self.carried.add(writer)
        try:
            await self._take(reader, writer)
        finally:
            self.carried.discard(writer)
            self.mute.discard(writer)

    async def hang_up(self) -> None:
        """End every connection that is carried now, without a word."""
        self.met["hang up"] += len(self.carried)
        for writer in self.carried:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dice = random.Random(f"{self.seed} {self.name} {next(self.numbers)}")
        try:
            if isinstance(self.target, int):
                there, thither = await asyncio.open_connection("127.0.0.1", self.target)
            else:
                there, thither = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._carry(reader, thither, dice, writer)),
            asyncio.create_task(self._carry(there, writer, dice, writer)),
        ]
        reset = False
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            reset = any(way.result() == "reset" for way in done)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, thither):
                line = end.get_extra_info("socket")
                if reset and line is not None and line.family == socket.AF_INET:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
                    end.transport.abort()
                else:
                    end.close()

    async def _carry(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        dice: random.Random,
        caller: asyncio.StreamWriter,
    ) -> str:
        with suppress(OSError, asyncio.CancelledError):
            while chunk := await source.read(CHUNK):
                await asyncio.sleep(self.lag)
                if caller in self.mute:
                    continue
                fault = dice.choice(FAULTS) if dice.random() < self.hazard else ""
                if fault:
                    self.met[fault] += 1
                if fault == "delay":
                    await asyncio.sleep(dice.uniform(0, LONGEST_DELAY))
                elif fault == "truncate":
                    target.write(chunk[: dice.randrange(len(chunk))])
                    await target.drain()
                if fault in ("cut", "truncate", "reset"):
                    return fault
                target.write(chunk)
                await target.drain()
        return ""


class Lines:
    """All proxies of one proof, on one thread. Calm until `rough` says otherwise."""

    def __init__(self, seed: int = 5):
        self.seed = seed
        self.all: dict[str, Line] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bad-lines", daemon=True)

    def through(self, name: str, target: str | int) -> int:
        """The port that leads to `target`."""
        line = Line(name, target, self.seed)

        async def listen() -> int:
            server = await asyncio.start_server(line.take, "127.0.0.1", 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        line.port = self._run(listen())
        self.all[name] = line
        return line.port

    @contextmanager
    def rough(self, **hazards: float) -> Iterator[None]:
        """Faults on the named lines for as long as the block runs."""
        for name, hazard in hazards.items():
            self.all[name].hazard = hazard
        try:
            yield
        finally:
            for line in self.all.values():
                line.hazard = 0.0

    @contextmanager
    def cut(self, name: str) -> Iterator[None]:
        """Nothing passes on a line for as long as the block runs, and what was on it is gone."""
        line = self.all[name]
        line.down = True
        self._run(line.hang_up())
        try:
            yield
        finally:
            line.down = False

    def silence(self, name: str) -> None:
        """What is on a line stays there and hears nothing any more; who calls anew gets through."""
        line = self.all[name]
        self._loop.call_soon_threadsafe(lambda: line.mute.update(line.carried))

    @contextmanager
    def running(self) -> Iterator[Lines]:
        self._thread.start()
        try:
            yield self
        finally:
            self._run(self._hang_up())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    async def _hang_up(self) -> None:
        """End every connection that is still carried, so that the loop ends with nothing under way."""
        for server in self._servers:
            server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
