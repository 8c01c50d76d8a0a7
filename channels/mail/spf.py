"""May this address send mail for that domain: Sender Policy Framework (RFC 7208), evaluated as its section 4 says."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from channels.mail.lookups import Lookups, Unanswered, possible

MAX_TERMS, MAX_VOID, MAX_NAMES = 10, 2, 10  # RFC 7208 section 4.6.4
MAX_WORD = 500  # characters of one term: no name is longer
SECONDS = 20.0  # for all lookups together, as that section wishes

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
RESULTS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
MACRO = r"%\{[slodiphvSLODIPHV](?:[1-9]\d{0,3})?[rR]?[.\-+,/_=]*\}"
LITERAL = r"%%|%_|%-|[!-$&-~]"
TOP_LABEL = r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9\-]*[A-Za-z0-9])\.?"
STRING = re.compile(rf"(?:{MACRO}|{LITERAL})*")
DOMAIN = re.compile(rf"(?:{MACRO}|{LITERAL})*?(?:{TOP_LABEL}|{MACRO})")
MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9\-_.]*)=(.*)", re.S)
MECHANISM = re.compile(r"([+\-?~]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?=[:/]|$)(.*)", re.I | re.S)
ARGUMENT = re.compile(r"(?::(.+?))?(?:/(0|[1-9]\d{0,2}))?(?://(0|[1-9]\d{0,2}))?", re.S)
EXPANSION = re.compile(r"%(?:\{([A-Za-z])(\d*)([rR]?)([.\-+,/_=]*)\}|([%_\-]))")
ESCAPES = {"%": "%", "_": " ", "-": "%20"}


class _Wrong(Exception):
    """The record breaks the rules: permerror."""


@dataclass(frozen=True, slots=True)
class _Term:
    """A mechanism. `value` is its domain or network as written."""

    result: str
    kind: str
    value: str
    bits: tuple[int, int]


@dataclass(slots=True)
class _Check:
    """One evaluation: who asks, and what it has cost so far."""

    lookups: Lookups
    address: Address
    sender: str
    helo: str
    now: Callable[[], float]
    until: float
    terms: int = 0
    voids: int = 0
    proved: dict[str, list[str]] = field(default_factory=dict)

    def records(self, name: str, kind: Literal["A", "AAAA", "MX", "PTR", "TXT"]) -> list[str]:
        """Of a name. Too many that are empty are an error of the record's author."""
        if self.now() > self.until:
            raise Unanswered(name)
        found = self.lookups.records(name, kind)
        if not found and kind != "TXT":
            self.voids += 1
            if self.voids > MAX_VOID:
                raise _Wrong("too many names that do not exist")
        return found

    def count(self) -> None:
        """One more term that asks the DNS."""
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise _Wrong("too many lookups")


def check_host(
    lookups: Lookups, address: str, sender: str, helo: str, now: Callable[[], float] = time.monotonic
) -> str:
    """pass, fail, softfail, neutral, none, temperror or permerror for a client at `address`.

    `sender` is the envelope's; where it is empty the name in HELO is asked about (section 2.4).
    """
    client = ipaddress.ip_address(address)
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped:
        client = client.ipv4_mapped
    sender = sender or f"postmaster@{helo}"
    local, _, domain = sender.rpartition("@")
    check = _Check(lookups, client, f"{local or 'postmaster'}@{domain}", helo, now, now() + SECONDS)
    try:
        return _evaluated(check, domain.lower())
    except Unanswered:
        return "temperror"
    except _Wrong:
        return "permerror"


def _evaluated(check: _Check, domain: str) -> str:
    domain = domain.rstrip(".")
    if "." not in domain or not possible(domain):
        return "none"
    records = [each for each in check.records(domain, "TXT") if re.match(r"v=spf1( |$)", each, re.I)]
    if not records:
        return "none"
    if len(records) > 1:
        raise _Wrong("several records")
    terms, redirect = _parsed(records[0])
    for term in terms:
        if _matches(check, term, domain):
            return term.result
    if not redirect:
        return "neutral"
    check.count()
    found = _evaluated(check, _expanded(check, redirect, domain))
    if found == "none":
        raise _Wrong("redirect to a domain without a record")
    return found


def _parsed(record: str) -> tuple[list[_Term], str]:
    terms: list[_Term] = []
    modifiers: dict[str, str] = {}
    for word in record.split(" ")[1:]:
        if not word:
            continue
        if len(word) > MAX_WORD:
            raise _Wrong(word[:MAX_WORD])
        if (mechanism := MECHANISM.fullmatch(word)) is not None:
            terms.append(_term(*mechanism.groups()))
        elif (modifier := MODIFIER.fullmatch(word)) is not None:
            name, value = modifier.group(1).lower(), modifier.group(2)
            known = name in ("redirect", "exp")
            if not (DOMAIN if known else STRING).fullmatch(value) or (known and name in modifiers):
                raise _Wrong(word)
            modifiers[name] = value
        else:
            raise _Wrong(word)
    return terms, modifiers.get("redirect", "")


def _term(sign: str, kind: str, rest: str) -> _Term:
    kind = kind.lower()
    if kind in ("ip4", "ip6"):
        return _Term(RESULTS[sign or "+"], kind, _network(kind, rest), (32, 128))
    argument = ARGUMENT.fullmatch(rest)
    if argument is None:
        raise _Wrong(rest)
    domain, four, six = argument.groups()
    bits = (int(four or 32), int(six or 128))
    if (
        (kind == "all" and rest)
        or (kind not in ("a", "mx") and (four or six))
        or (kind in ("include", "exists") and not domain)
        or (domain and not DOMAIN.fullmatch(domain))
        or bits[0] > 32
        or bits[1] > 128
    ):
        raise _Wrong(rest)
    return _Term(RESULTS[sign or "+"], kind, domain or "", bits)


def _network(kind: str, rest: str) -> str:
    network = re.fullmatch(r":([0-9A-Fa-f:.]+)(/(?:0|[1-9]\d{0,2}))?", rest)
    if network is None:
        raise _Wrong(rest)
    try:
        found = ipaddress.ip_network(rest[1:], strict=False)
    except ValueError as wrong:
        raise _Wrong(rest) from wrong
    if found.version != (4 if kind == "ip4" else 6):
        raise _Wrong(rest)
    return str(found)


def _matches(check: _Check, term: _Term, domain: str) -> bool:
    if term.kind == "all":
        return True
    if term.kind in ("ip4", "ip6"):
        return check.address in ipaddress.ip_network(term.value)
    check.count()
    target = _expanded(check, term.value, domain) if term.value else domain
    match term.kind:
        case "include":
            found = _evaluated(check, target)
            if found == "none":
                raise _Wrong(f"{target} has no record")
            return found == "pass"
        case "exists":
            return bool(check.records(target, "A"))
        case "ptr":
            return any(each == target or each.endswith(f".{target}") for each in _names(check))
        case "mx":
            hosts = check.records(target, "MX")
            if len(hosts) > MAX_NAMES:
                raise _Wrong("too many mail servers")
        case _:
            hosts = [target]
    return any(_within(check.address, each, term.bits) for host in hosts for each in _addresses(check, host))


def _addresses(check: _Check, host: str) -> list[str]:
    return check.records(host, "A" if check.address.version == 4 else "AAAA")


def _within(address: Address, found: str, bits: tuple[int, int]) -> bool:
    return address in ipaddress.ip_network((found, bits[0] if address.version == 4 else bits[1]), strict=False)


def _names(check: _Check) -> list[str]:
    """The client's names that lead back to its address (section 5.5)."""
    address = str(check.address)
    if address not in check.proved:
        try:
            names = check.records(check.address.reverse_pointer, "PTR")[:MAX_NAMES]
        except Unanswered:
            names = []
        check.proved[address] = [name.rstrip(".").lower() for name in names if _leads_back(check, name)]
    return check.proved[address]


def _leads_back(check: _Check, name: str) -> bool:
    try:
        return any(_within(check.address, each, (32, 128)) for each in _addresses(check, name))
    except Unanswered:
        return False


def _expanded(check: _Check, written: str, domain: str) -> str:
    name = "".join(_pieces(check, written, domain)).lower().rstrip(".")
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]
    return name


def _pieces(check: _Check, written: str, domain: str) -> Iterator[str]:
    position = 0
    for match in EXPANSION.finditer(written):
        yield written[position : match.start()]
        position = match.end()
        letter, digits, backwards, delimiters, escape = match.groups()
        if escape:
            yield ESCAPES[escape]
            continue
        parts = re.split(f"[{re.escape(delimiters or '.')}]", _macro(check, letter.lower(), domain))
        parts = parts[::-1] if backwards else parts
        value = ".".join(parts[-int(digits) :] if digits else parts)
        yield quote(value, safe="-._~") if letter.isupper() else value
    yield written[position:]


def _macro(check: _Check, letter: str, domain: str) -> str:
    local, _, sender_domain = check.sender.rpartition("@")
    match letter:
        case "s":
            return check.sender
        case "l":
            return local
        case "o":
            return sender_domain
        case "d":
            return domain
        case "i" if check.address.version == 4:
            return str(check.address)
        case "i":
            return ".".join(check.address.exploded.replace(":", ""))
        case "v":
            return "in-addr" if check.address.version == 4 else "ip6"
        case "h":
            return check.helo
        case _:
            names = _names(check)
            under = (each for each in names if each == domain or each.endswith(f".{domain}"))
            return next(under, names[0] if names else "unknown")
