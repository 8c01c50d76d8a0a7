"""Records from the DNS: cached, within a time limit, an answer or the word that there was none."""

from __future__ import annotations

import math
import time
from copy import copy
from typing import Literal

import dns.exception
import dns.name
import dns.resolver

SECONDS = 3.0  # for one name, all servers and tries together
PATIENCE = 10.0  # for all names of one mail: servers that answer slowly hold up the mails behind it
KEPT = 10_000  # names


class Unanswered(Exception):
    """No server answered in time: ask again another day (temperror)."""


class Lookups:
    """Asks the system's servers, or `server` ("127.0.0.1:5353"), for at most `seconds` a name.

    What was found is kept as long as it may be.
    """

    def __init__(self, server: str = "", seconds: float = SECONDS):
        try:
            self._resolver = dns.resolver.Resolver(configure=not server)
        except dns.resolver.NoResolverConfiguration:  # no /etc/resolv.conf: nobody answers
            self._resolver = dns.resolver.Resolver(configure=False)
        if server:
            host, _, port = server.partition(":")
            self._resolver.nameservers = [host]
            self._resolver.port = int(port or 53)
        self._resolver.lifetime = seconds
        self._resolver.timeout = seconds / 2
        self._resolver.cache = dns.resolver.LRUCache(KEPT)
        self._until = math.inf

    def for_one_mail(self, seconds: float = PATIENCE) -> Lookups:
        """The same, as long as it does not take too long in all: then nobody answers any more."""
        bounded = copy(self)
        bounded._until = time.monotonic() + seconds
        return bounded

    def text(self, name: str) -> str:
        """The first TXT record of a name, its strings joined; empty where there is none. Raises Unanswered."""
        return next(iter(self.records(name, "TXT")), "")

    def records(self, name: str, kind: Literal["A", "AAAA", "MX", "PTR", "TXT"]) -> list[str]:
        """Addresses, names (of mail servers the preferred first) or texts. Raises Unanswered."""
        if not possible(name):
            return []
        if time.monotonic() >= self._until:
            raise Unanswered(name)
        try:
            answer = self._resolver.resolve(name.rstrip("."), kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise Unanswered(name) from error
        if kind == "TXT":
            return [b"".join(each.strings).decode("utf-8", "replace") for each in answer]
        if kind == "MX":
            exchanges = sorted((each.preference, each.exchange.to_text(omit_final_dot=True)) for each in answer)
            return [name for _, name in exchanges]
        return [each.target.to_text(omit_final_dot=True) if kind == "PTR" else each.address for each in answer]


def possible(name: str) -> bool:
    """Whether a name could exist: no empty or overlong label."""
    try:
        return len(dns.name.from_text(name.rstrip("."))) > 1
    except (dns.exception.DNSException, UnicodeError):
        return False
