"""A line to a server on which every line that comes back may be altered: a server that says what ours never would."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


def _as_it_is(line: bytes) -> bytes:
    return line


@contextmanager
def liar(port: int, alter: Callable[[bytes], bytes], ask: Callable[[bytes], bytes] = _as_it_is) -> Iterator[int]:
    """A port of 127.0.0.1 in front of `port`; lines of the server pass through `alter`, those to it through `ask`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_alter, args=(client, server, ask), daemon=True).start()
            threading.Thread(target=_alter, args=(server, client, alter), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _alter(source: socket.socket, target: socket.socket, alter: Callable[[bytes], bytes]) -> None:
    with suppress(OSError), source.makefile("rb") as lines:
        for line in lines:
            target.sendall(alter(line))
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
