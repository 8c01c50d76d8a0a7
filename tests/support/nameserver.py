"""A name server on 127.0.0.1 with the records that a test writes down."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


@dataclass
class NameServer:
    """`texts` by name, lower case, and `zone` for the rest: a name's records as (type, content), such as
    ("MX", "10 mx.example.com."). A name in `silent` is never answered, one with ("TIMEOUT", "") only about what it
    has; `asked` is what was asked for."""

    address: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    zone: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def answer(self, query: bytes) -> bytes | None:
        asked = dns.message.from_wire(query)
        name = b".".join(asked.question[0].name.labels).decode("latin-1").rstrip(".").lower()
        self.asked.append(name)
        if name in self.silent:
            return None
        reply = dns.message.make_response(asked)
        reply.flags |= dns.flags.RA
        wanted = dns.rdatatype.to_text(asked.question[0].rdtype)
        for _ in range(10):
            records = self._records(name)
            if not records:
                reply.set_rcode(dns.rcode.NXDOMAIN)
            found = [content for kind, content in records if kind == wanted]
            if found:
                reply.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", wanted, *found))
            elif ("TIMEOUT", "") in records:
                return None
            alias = next((content for kind, content in records if kind == "CNAME"), "")
            if found or not alias:
                break
            reply.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", "CNAME", alias))
            name = alias.rstrip(".").lower()
        return reply.to_wire(max_size=65_535)

    def _records(self, name: str) -> list[tuple[str, str]]:
        text = self.texts.get(name)
        return [*self.zone.get(name, []), *([("TXT", quoted(text))] if text is not None else [])]


def quoted(text: str) -> str:
    """A TXT record's content as zone files write it: strings of at most 255 bytes."""
    data = text.encode()
    pieces = [data[at : at + 200] for at in range(0, len(data), 200)] or [b""]
    return " ".join('"' + "".join(f"\\{byte:03d}" for byte in piece) + '"' for piece in pieces)


@contextmanager
def name_server() -> Iterator[NameServer]:
    """A running one, gone with the block."""
    server = NameServer()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        line.settimeout(0.2)
        server.address = f"127.0.0.1:{line.getsockname()[1]}"
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    query, caller = line.recvfrom(4096)
                except TimeoutError:
                    continue
                if (reply := server.answer(query)) is not None:
                    line.sendto(reply, caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            stop.set()
            thread.join(5)
