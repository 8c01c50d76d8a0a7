"""Records from the DNS: cached, within a time limit, an answer or the word that there was none."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from copy import copy
from typing import Any, Literal

import dns.exception
import dns.name
import dns.resolver

SECONDS = 3.0  # for one name, all servers and tries together
PATIENCE = 10.0  # for all names that one mail asks at once: servers that answer slowly hold up the mails behind it
SILENCE = 30.0  # seconds in which nobody is asked again for what was not answered (RFC 9520 3.2: at most 5 minutes)
NOTHING = 3600.0  # seconds at most in which a name that has no record is not asked for again (RFC 2308 5)
LONGEST = 86_400.0  # seconds at most for which an answer is kept, whatever a stranger's server says
KEPT = 10_000  # names

Kind = Literal["A", "AAAA", "MX", "PTR", "TXT"]


class Unanswered(Exception):
    """No server answered in time: ask again another day (temperror)."""


class Lookups:
    """Asks the system's servers, or `server` ("127.0.0.1:5353"), for at most `seconds` a name.

    What was found is kept as long as it may be, also that there is nothing, and for a while that nobody has answered.
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
        # The library's own cache takes a tenth of a millisecond to say what it knows: ten times as long as the rest.
        self._known: dict[tuple[str, Kind], tuple[float, tuple[str, ...] | None]] = {}
        self._keeping = threading.Lock()
        self._until = math.inf

    def for_one_mail(self, seconds: float = PATIENCE) -> Lookups:
        """The same, as long as it does not take too long in all: then nobody answers any more."""
        bounded = copy(self)
        bounded._until = time.monotonic() + seconds
        return bounded

    def text(self, name: str) -> str:
        """The first TXT record of a name, its strings joined; empty where there is none. Raises Unanswered."""
        return next(iter(self.records(name, "TXT")), "")

    def records(self, name: str, kind: Kind) -> list[str]:
        """Addresses, names (of mail servers the preferred first) or texts. Raises Unanswered."""
        name, now = name.lower().rstrip("."), time.monotonic()
        until, found = self._known.get((name, kind), (0.0, None))
        if now >= until:
            if not possible(name):
                return []
            if now >= self._until:
                raise Unanswered(name)
            seconds, found = self._resolved(name, kind)
            with self._keeping:
                self._known.pop((name, kind), None)  # what is renewed is the newest
                while len(self._known) >= KEPT:
                    del self._known[next(iter(self._known))]
                self._known[name, kind] = time.monotonic() + seconds, found
        if found is None:
            raise Unanswered(name)
        return list(found)

    def _resolved(self, name: str, kind: Kind) -> tuple[float, tuple[str, ...] | None]:
        """For how many seconds that holds, and what was found; None where nobody answered."""
        try:
            answer = self._resolver.resolve(name, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as missing:
            answers = missing.responses().values()  # type: ignore[no-untyped-call]
            return min([NOTHING, *(each.resolve_chaining().minimum_ttl for each in answers)]), ()
        except (dns.exception.DNSException, OSError):
            return SILENCE, None
        holds = min(LONGEST, answer.chaining_result.minimum_ttl)
        return (min(NOTHING, holds), ()) if answer.rrset is None else (holds, tuple(_told(answer.rrset, kind)))


def _told(answer: Iterable[Any], kind: Kind) -> list[str]:
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
