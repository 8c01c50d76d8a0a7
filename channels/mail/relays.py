"""Which machine handed a mail to our own servers, as they wrote it into their Received fields (RFC 5321 section 4.4).

Anybody can put Received fields into a mail. They are read from the top as long as one of our own servers wrote them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser

from channels.mail.headers import addresses, normalised
from config.retold import stored

MAX_FIELDS = 30
COMMENT = r"\((?:[^()]|\([^()]*\))*\)"
RECEIVED = re.compile(rf"from\s+(\S+)((?:\s+{COMMENT})*)\s+by\s+([^\s();]+)", re.I)
BY = re.compile(r"by\s+([^\s();]+)", re.I)
GREETED = re.compile(r"\b(?:helo|ehlo)[=\s]\s*([^\s()]+)", re.I)  # Exim's and qmail's note of what the client claims
BRACKETED = re.compile(r"\[(?:ipv6:)?([0-9a-f:.]{2,45})\]", re.I)
BARE = re.compile(r"(?<![0-9a-f:.\w\-])([0-9a-f:.]{7,45})(?![\w.\-])", re.I)
LMTP = re.compile(r"\bwith LMTPS?A?\b", re.I)
ENVELOPE = re.compile(r"envelope-from\s+<([^<>\s]*)>", re.I)
FOLDED = re.compile(r"[\r\n\t ]+")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Client:
    """Who connected, what it called itself, and the envelope's sender: None where nobody of ours wrote it down."""

    address: str
    helo: str
    mail_from: str | None


@dataclass(frozen=True, slots=True)
class Relays:
    """Our own mail servers: the names by which they sign Received fields, and the networks they are in."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def is_inside(self, address: Address) -> bool:
        """Whether a mail from there was handed on by ourselves."""
        return address.is_loopback or any(address in network for network in self.networks)


NO_RELAYS = Relays()


def read_relays(written: Sequence[str]) -> Relays:
    """From names, addresses and networks. Raises ValueError with the entry that is none of them."""
    names, networks = set(), []
    for each in written:
        if re.fullmatch(r"[0-9.]+(/\d+)?|[0-9a-fA-F.]*:[0-9a-fA-F:.]*(/\d+)?", each):
            networks.append(ipaddress.ip_network(each, strict=False))
        elif re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._\-]*", each):
            names.add(each.lower())
        else:
            raise ValueError(stored("{name} is neither a host name nor an address", name=repr(each)))
    return Relays(frozenset(names), tuple(networks))


def client_of(head: bytes, ours: Relays) -> Client | None:
    """The machine outside that connected to the first of our servers; None where that can't be told for certain."""
    message = BytesHeaderParser().parsebytes(head)
    returned: str | None = None
    for number, (name, value) in enumerate(message.raw_items()):
        field = FOLDED.sub(" ", str(value)[:4000]).strip()
        if name.lower() == "return-path" and returned is None:
            returned = _path(field)
        elif name.lower() == "received":
            found = _read(field, ours)
            if found is not INSIDE:
                return found and Client(found.address, found.helo, _first(returned, found.mail_from))
        if number > MAX_FIELDS * 10:
            break
    return None


INSIDE = Client("", "", None)  # handed on between our own servers: the next field tells more


def _read(field: str, ours: Relays) -> Client | None:
    match = RECEIVED.match(field)
    by = BY.match(field) if match is None else None
    if (match.group(3) if match else by.group(1) if by else "").lower() not in ours.names:
        return None  # written by somebody else, or by a program that writes it in a way of its own
    if match is None:
        return INSIDE  # "by us": a step within the server
    named, notes = match.group(1), match.group(2)
    claims = GREETED.search(notes)
    found = _addresses(GREETED.sub(" ", notes)) or _addresses(named)
    if not found:  # delivered to the mailbox over a socket of the same machine
        return INSIDE if LMTP.search(field, match.end()) else None
    if len(found) > 1:
        return None
    address = found.pop()
    if ours.is_inside(address):
        return INSIDE
    envelope = ENVELOPE.search(field)
    helo = (claims.group(1) if claims else named).strip("[]").lower()
    return Client(str(address), helo, _path(f"<{envelope.group(1)}>") if envelope else None)


def _addresses(notes: str) -> set[Address]:
    for pattern in (BRACKETED, BARE):
        found = set()
        for written in pattern.findall(notes):
            try:
                found.add(ipaddress.ip_address(written))
            except ValueError:
                continue
        if found:
            return found
    return set()


def _path(field: str) -> str | None:
    if field.strip() == "<>":
        return ""
    named = next(iter(addresses([field.encode("utf-8", "surrogateescape")])), None)
    return normalised(named.address) if named and named.address else None


def _first(*known: str | None) -> str | None:
    return next((each for each in known if each is not None), None)
