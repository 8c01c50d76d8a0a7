"""Programs that begin with everything imported: the hub's own processes, forked from one that has loaded it.

A start costs seconds of imports, and proofs start one for each kill. This file is both sides: `ForkServer` in the test,
and the server, a program without threads that imports the product and forks for each order. What is forked runs the
script as `python <script>` does, with its arguments and output; `cold` ones are executed anew, as an operator starts
them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

LOADED = (
    "api", "app", "chatops", "cli", "cli.desk", "cli.serve", "gunicorn.app.wsgiapp", "gunicorn.arbiter",
    "gunicorn.workers.gthread", "inbox", "inbox.compiled", "sandbox.page", "webhooks.express", "worker",
)  # fmt: skip
LONGEST = 1 << 16  # bytes of an order
WIDTH = 12  # bytes of a process's number, and of how it ended


class Process:
    """A running program, with the part of `subprocess.Popen` that proofs need."""

    def __init__(self, args: list[str], status: int):
        self.args = args
        self.returncode: int | None = None
        self._status = status
        self._asking = threading.Lock()  # a supervisor's thread asks as well
        self.pid = self._told()

    def poll(self) -> int | None:
        """How it ended, as soon as it has: minus the signal's number for one that was killed."""
        with self._asking:
            if self.returncode is None and self._tells(0):
                self.returncode = self._told()
                os.close(self._status)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended. Raises subprocess.TimeoutExpired after so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            time.sleep(0.005)
        return self.returncode or 0

    def send_signal(self, number: int) -> None:
        """Nothing happens to one that has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _tells(self, seconds: float | None) -> bool:
        asked = select.poll()
        asked.register(self._status, select.POLLIN)
        return bool(asked.poll(None if seconds is None else seconds * 1000))

    def _told(self) -> int:
        """The number that it has, or with which it ended: each is written at once, as wide as the other."""
        self._tells(None)
        said = os.read(self._status, WIDTH)
        if len(said) < WIDTH:
            raise RuntimeError(f"the server that forks has ended; what became of {self.args} is unknown")
        return int(said)


class ForkServer:
    """Starts programs of the checkout `root` with this environment; ended, it ends what it started."""

    def __init__(self, root: Path, environment: Mapping[str, str], *, cold: bool = False):
        self.cold = cold
        self._orders, theirs = socket.socketpair()
        self._asking = threading.Lock()  # a supervisor's thread starts what has died
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), "cold" if cold else "warm"],
                cwd=root, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip

    def spawn(self, args: Sequence[str], more: Mapping[str, str], out: IO[bytes], err: IO[bytes]) -> Process:
        """Start `python …` with `more` environment and these files for its output."""
        order = json.dumps({"args": list(args), "more": dict(more)}).encode()
        read, write = os.pipe()
        with self._asking:  # until the server has told the number, so that it reads one order at a time
            try:
                socket.send_fds(self._orders, [order], [out.fileno(), err.fileno(), write])
            finally:
                os.close(write)
            return Process(list(args), read)

    def close(self) -> None:
        """End the server and what still runs."""
        self._orders.shutdown(socket.SHUT_RDWR)
        self._orders.close()
        self._server.wait()


def main(control: int, *, cold: bool) -> None:
    """The server's side; comes back as the forked program, which then runs to its own end."""
    sys.path[0] = os.getcwd()
    if not cold:
        for name in LOADED:
            with contextlib.suppress(ModuleNotFoundError):  # in an older checkout
                importlib.import_module(name)
    running: dict[int, int] = {}  # our children by number, and where to tell how they ended
    try:
        args = _serve(socket.socket(fileno=control), running)
    except BaseException:
        _end(running)
        raise
    if cold:
        os.execv(args[0], args)
    script, *words = args[1:]
    if script == "-m":
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [script, *words]
        runpy.run_path(script, run_name="__main__")


def _serve(orders: socket.socket, running: dict[int, int]) -> list[str]:
    """Fork for each order and tell how each child ended; comes back in a child, with its words."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)  # what `set_wakeup_fd` asks for
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl+C is for the test, which then ends us
    waiting = select.poll()  # which knows numbers of files above 1023, as `select` does not
    for each in (orders.fileno(), wake):
        waiting.register(each, select.POLLIN)
    while True:
        ready = [number for number, _ in waiting.poll()]
        if wake in ready:
            os.read(wake, LONGEST)
            _reap(running)
        if orders.fileno() in ready:
            said, files, *_ = socket.recv_fds(orders, LONGEST, 3)
            if not said:
                sys.exit()
            out, err, status = files
            order = json.loads(said)
            child = os.fork()
            if not child:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for each in (wake, woken, *running.values()):
                    os.close(each)
                orders.close()
                os.dup2(out, 1)
                os.dup2(err, 2)
                os.environ.update(order["more"])
                os.write(status, _wide(os.getpid()))
                for each in files:
                    os.close(each)
                return list(order["args"])
            running[child] = status
            os.close(out)
            os.close(err)


def _wide(number: int) -> bytes:
    return f"{number:{WIDTH}d}".encode()


def _reap(running: dict[int, int]) -> None:
    while running:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(running[child], _wide(os.waitstatus_to_exitcode(status)))
        os.close(running.pop(child))


def _end(running: dict[int, int]) -> None:
    for child in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]), cold=sys.argv[2] == "cold")
