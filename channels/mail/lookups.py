"""Text records from the DNS: cached, within a time limit, an answer or the word that there was none."""

from __future__ import annotations

import dns.exception
import dns.name
import dns.resolver

SECONDS = 3.0  # for one name, all servers and tries together
KEPT = 10_000  # names


class Unanswered(Exception):
    """No server answered in time: ask again another day (temperror)."""


class Lookups:
    """Asks the system's servers, or `server` ("127.0.0.1:5353"). What was found is kept as long as it may be."""

    def __init__(self, server: str = ""):
        self._resolver = dns.resolver.Resolver(configure=not server)
        if server:
            host, _, port = server.partition(":")
            self._resolver.nameservers = [host]
            self._resolver.port = int(port or 53)
        self._resolver.lifetime = SECONDS
        self._resolver.timeout = SECONDS / 2
        self._resolver.cache = dns.resolver.LRUCache(KEPT)

    def text(self, name: str) -> str:
        """The first TXT record of a name, its strings joined; empty where there is none. Raises Unanswered."""
        try:
            answer = self._resolver.resolve(name.rstrip("."), "TXT", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ""
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, UnicodeError):
            return ""  # no name that could exist
        except (dns.exception.DNSException, OSError) as error:
            raise Unanswered(name) from error
        return b"".join(answer[0].strings).decode("utf-8", "replace")
