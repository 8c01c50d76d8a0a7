"""A closed loop of keep-alive connections: each sends its next request when the last one is answered."""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from base64 import b64decode, b64encode
from pathlib import Path
from typing import cast


def drive(port: int, requests: list[bytes], connections: int) -> dict[str, float]:
    """Send every request once; requests per second, latencies in milliseconds, and answers that were not 200."""
    chooser = selectors.DefaultSelector()
    pending = iter(requests)
    began: dict[socket.socket, float] = {}
    received: dict[socket.socket, bytes] = {}  # answers that came in more than one piece
    latencies, refused = [], 0
    open_sockets = 0
    for _ in range(connections):
        body = next(pending, None)
        if body is None:
            break
        link = socket.create_connection(("127.0.0.1", port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chooser.register(link, selectors.EVENT_READ)
        began[link] = time.perf_counter()
        link.sendall(body)
        open_sockets += 1
    start = time.perf_counter()
    while open_sockets:
        for key, _ in chooser.select():
            link = cast(socket.socket, key.fileobj)
            piece = link.recv(65536)
            answer = received.pop(link, b"") + piece
            if piece and not is_whole(answer):
                received[link] = answer
                continue
            now = time.perf_counter()
            latencies.append(now - began[link])
            refused += not answer.startswith(b"HTTP/1.1 200")
            body = next(pending, None)
            if body is None or not answer:
                chooser.unregister(link)
                link.close()
                open_sockets -= 1
                continue
            began[link] = now
            link.sendall(body)
    seconds = time.perf_counter() - start
    latencies.sort()
    return {
        "per_second": len(latencies) / seconds,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[int(len(latencies) * 0.99)] * 1000,
        "refused": refused,
    }


def is_whole(answer: bytes) -> bool:
    """Whether headers and body are there; both sides send a Content-Length."""
    head, gap, body = answer.partition(b"\r\n\r\n")
    if not gap:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length or 0)


def store(file: Path, requests: list[bytes]) -> None:
    """Requests for another process to send: made beforehand, so that signing costs nothing while measuring."""
    file.write_bytes(b"\n".join(b64encode(request) for request in requests))


if __name__ == "__main__":
    port, connections, file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps(drive(port, [b64decode(line) for line in file.read_bytes().splitlines()], connections)))
