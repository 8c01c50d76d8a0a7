"""A small sample of tests/prove/badlines.py, and that its dice do what they say."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.prove.badlines import over_bad_lines
from tests.prove.faulty import Lines
from tests.prove.ground import ground

LETTER = bytes(range(256)) * 400


def sent(port: int) -> tuple[bytes, str]:
    """What a server that echoes gave back through the line, and how it ended."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        try:
            line.sendall(LETTER)
            while len(got) < len(LETTER) and (piece := line.recv(65536)):
                got += piece
        except ConnectionError as error:
            return got, type(error).__name__
    return got, "end"


def echo(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            line, _ = listener.accept()
            with line, suppress(OSError):
                while piece := line.recv(65536):
                    line.sendall(piece)


def test_a_calm_line_carries_everything_and_a_rough_one_breaks() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Lines(seed=1).running() as lines:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        port = lines.through("echo", listener.getsockname()[1])
        assert [sent(port) for _ in range(3)] == [(LETTER, "end")] * 3
        with lines.rough(echo=0.3):
            results = [sent(port) for _ in range(40)]
        assert sent(port) == (LETTER, "end")
    assert {how for _, how in results} >= {"end", "ConnectionResetError"}
    assert all(LETTER.startswith(got) for got, _ in results), "bytes may be missing at the end, never in between"
    assert set(lines.all["echo"].met) == {"cut", "delay", "reset", "truncate"}


def test_a_line_that_is_open_at_the_end_is_hung_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Lines().running() as lines:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        line = socket.create_connection(("127.0.0.1", lines.through("echo", listener.getsockname()[1])), timeout=10)
        line.sendall(b"!")
        assert line.recv(1) == b"!"
    with line:
        assert line.recv(1) == b""


@pytest.mark.parametrize("database", ["sqlite"])  # PostgreSQL's turn is in tests/prove/test_long.py
def test_messages_arrive_and_answers_leave_over_lines_that_break(database: str, tmp_path: Path) -> None:
    with Lines().running() as lines, ground(database, tmp_path, lines) as hub:
        over_bad_lines(hub, lines, 24)
