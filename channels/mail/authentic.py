"""Where a mail really comes from: the word of a mail server that we trust (RFC 8601), else our own look (RFC 6376).

Anybody can write an Authentication-Results field. Only the topmost one with a trusted authserv-id counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import dkim
from publicsuffix2 import get_sld

from channels.base import Authenticity, Inbound, Raw, Strength
from channels.mail.lookups import Lookups, Unanswered

RESULTS = ("pass", "fail", "none", "temperror", "permerror")
SAME = {"softfail": "fail", "hardfail": "fail", "neutral": "none", "policy": "fail", "bestguesspass": "none"}
COMMENT = re.compile(r"\([^()]{0,1000}\)")
METHOD = re.compile(r"\s*(?:x-)?(spf|dkim|dmarc|arc)\s*=\s*([a-z]+)", re.I)
PROPERTY = re.compile(r"([a-z]+\.[a-z_\-]+)\s*=\s*\"?([^\s;\"]+)", re.I)
MAX_SIGNATURES = 5
MAX_HEAD = 256_000
STRENGTHS = {"pass": Strength.MAIL_PROVED, "fail": Strength.DOUBTED}


def authenticated(raw: Raw, inbound: Inbound, trusted: Sequence[str], lookups: Lookups | None) -> Inbound:
    """The mail with what is known of its origin. Without `lookups` only trusted servers are believed."""
    point = next((each for each in inbound.sender.points if each.kind == "email"), None)
    if point is None or point.strength != Strength.MAIL:
        return inbound  # nobody named himself in From: nothing can be proved about him
    domain = point.value.rpartition("@")[2]
    found = read_results(inbound.results, trusted, domain)
    if found is None and lookups is not None and _is_signed(raw.body):
        found = evaluated(raw.body, domain, lookups)
    found = found or Authenticity()
    if "multi_from" in inbound.flags:
        found = replace(found, verdict="fail", dmarc="fail")
    points = (replace(point, strength=STRENGTHS.get(found.verdict, point.strength)), *inbound.sender.points[1:])
    return replace(inbound, authenticity=found, sender=replace(inbound.sender, points=points))


def read_results(fields: Sequence[str], trusted: Sequence[str], domain: str) -> Authenticity | None:
    """What the topmost field of a trusted server says about `domain`; None where none is there.

    Tolerant: a quarter of real fields break the grammar, and each of its statements can be read by itself.
    """
    wanted = {each.lower() for each in trusted}
    for field in fields:
        bare = _without_comments(field)
        server = bare.partition(";")[0].split()
        if server and server[0].strip('"').lower() in wanted:
            return _stated(bare.partition(";")[2], server[0].strip('"').lower(), domain)
    return None


def _stated(statements: str, server: str, domain: str) -> Authenticity:
    values = {"spf": "none", "dkim": "none", "dmarc": "none", "arc": "none"}
    vouching = ""
    for statement in statements.split(";")[:50]:
        method = METHOD.match(statement)
        if method is None:
            continue
        name, result = method.group(1).lower(), method.group(2).lower()
        result = SAME.get(result, result if result in RESULTS else "none")
        properties = {key.lower(): value.lower() for key, value in PROPERTY.findall(statement)}
        if name == "dmarc" and not aligned(properties.get("header.from", domain), domain):
            continue  # about another From than the one that is shown
        if values[name] != "pass":  # of several signatures one that holds is enough
            values[name] = result
        said = properties.get("header.d") or properties.get("header.i", "").rpartition("@")[2]
        if name == "dkim" and result == "pass" and aligned(said, domain):
            vouching = said
    verdict = values["dmarc"] if values["dmarc"] != "none" else "pass" if vouching else "none"
    return Authenticity(verdict, **values, source=server, domain=vouching or (domain if verdict == "pass" else ""))


def evaluated(body: bytes, domain: str, lookups: Lookups) -> Authenticity:
    """Our own look at the signatures, and at what the domain asks for where none of its own holds."""
    results: dict[str, str] = {}
    for signer, result in _signatures(body, lookups):
        if results.get(signer) != "pass":
            results[signer] = result
    vouching = next((signer for signer, result in results.items() if result == "pass" and aligned(signer, domain)), "")
    own = next((result for signer, result in results.items() if aligned(signer, domain)), "none")
    shown = "pass" if vouching else own if own != "none" else next(iter(results.values()), "none")
    if vouching:
        return Authenticity("pass", dkim="pass", dmarc="pass", source="own", domain=vouching)
    try:
        dmarc = "fail" if own == "fail" and _policy(domain, lookups) else "none"
    except Unanswered:
        dmarc = "temperror"
    return Authenticity(dmarc, dkim=shown, dmarc=dmarc, source="own")


def aligned(one: str, other: str) -> bool:
    """Whether two domains belong to one organisation (relaxed alignment, RFC 7489 3.1)."""
    one, other = one.rstrip(".").lower(), other.rstrip(".").lower()
    return bool(one and other) and (one == other or (get_sld(one) == get_sld(other) and "." in (get_sld(one) or "")))


def _is_signed(body: bytes) -> bool:
    head = body[:MAX_HEAD].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return re.search(rb"(?im)^dkim-signature[ \t]*:", head) is not None


def _signatures(body: bytes, lookups: Lookups) -> list[tuple[str, str]]:
    """The signing domain and result of each signature; whatever the library stumbles over is a permerror."""
    found = []
    away: list[str] = []

    def answer(name: bytes, timeout: int = 5) -> bytes | None:
        try:
            return lookups.text(name.decode("ascii", "replace")).encode() or None
        except Unanswered:
            away.append(name.decode("ascii", "replace"))
            return None

    count = len(re.findall(rb"(?im)^dkim-signature[ \t]*:", body[:MAX_HEAD]))
    for index in islice(range(count), MAX_SIGNATURES):
        signature = dkim.DKIM(body, timeout=5)
        away.clear()
        try:
            holds = signature.verify(index, dnsfunc=answer)
            result = "pass" if holds else "fail"
        except dkim.ValidationError:  # the body was changed, or there is no such key
            result = "fail"
        except Exception:  # a stranger's bytes in a library that raises what it likes
            result = "permerror"
        signer = (signature.domain or b"").decode("ascii", "replace").lower()
        found.append((signer, "temperror" if away else result))
    return found


def _policy(domain: str, lookups: Lookups) -> bool:
    """Whether the domain, or its organisation, publishes what to do with mail that is not from there."""
    for name in dict.fromkeys((domain, get_sld(domain) or domain)):
        if re.match(r"v=DMARC1\b", lookups.text(f"_dmarc.{name}")):
            return True
    return False


def _without_comments(field: str) -> str:
    for _ in range(5):
        field, count = COMMENT.subn(" ", field)
        if not count:
            break
    return field
