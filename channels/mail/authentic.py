"""Where a mail really comes from: the word of a mail server that we trust (RFC 8601), else our own look (RFC 6376).

Anybody can write an Authentication-Results field. Only the topmost one with a trusted authserv-id counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from channels.base import Inbound, Raw, Strength
from channels.mail.bounded import MAX_KEY, head_of
from channels.mail.lookalikes import registrable
from channels.mail.lookups import Lookups, Unanswered
from channels.mail.relays import NO_RELAYS, Client, Relays, client_of
from channels.mail.seals import key_names, seal_names, verified
from channels.mail.spf import check_host
from channels.seals import CHAIN, SIGNATURES, Authenticity, Seals, Verify

RESULTS = ("pass", "fail", "none", "temperror", "permerror")
SAME = {"softfail": "fail", "hardfail": "fail", "neutral": "none", "policy": "fail", "bestguesspass": "none"}
COMMENT = re.compile(r"\([^()]{0,1000}\)")
METHOD = re.compile(r"\s*(?:x-)?(spf|dkim|dmarc|arc)\s*=\s*([a-z]+)", re.I)
PROPERTY = re.compile(r"([a-z]+\.[a-z_\-]+)\s*=\s*\"?([^\s;\"]+)", re.I)
TAG = re.compile(r"([A-Za-z]{1,10})\s*=\s*([^;\s]*)")
MAX_SILENT = 2  # name servers that are waited for: a mail with many slow ones would hold up those behind it
STRENGTHS = {"pass": Strength.MAIL_PROVED, "fail": Strength.DOUBTED}


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whose word counts: mail servers by their authserv-id, our own relays, and those whose ARC seals are believed."""

    servers: tuple[str, ...] = ()
    relays: Relays = NO_RELAYS
    sealers: frozenset[str] = frozenset()


def signing_keys(raw: Raw, lookups: Lookups) -> dict[str, str | None]:
    """The keys of a mail's signatures as the DNS has them, for `signatures`."""
    return _keys(key_names(raw.body), lookups.for_one_mail())


def authenticated(
    raw: Raw, inbound: Inbound, trusted: Trusted, lookups: Lookups | None, verify: Verify = verified,
    judged: Seals | None = None,
) -> Inbound:  # fmt: skip
    """The mail with what is known of its origin. Without `lookups` only trusted servers are believed.

    Records are looked up here; what a stranger's bytes cost to verify is up to `verify`, unless what its signatures
    amount to is known.
    """
    point = next((each for each in inbound.sender.points if each.kind == "email"), None)
    if point is None or point.strength != Strength.MAIL:
        return inbound  # nobody named himself in From: nothing can be proved about him
    domain = point.value.rpartition("@")[2]
    found = read_results(inbound.results, trusted.servers, domain)
    lookups = lookups and lookups.for_one_mail()
    if found is None and lookups is not None:
        found = _looked_at(raw, domain, trusted.relays, lookups, verify, judged)
    found = found or Authenticity()
    if "multi_from" in inbound.flags:
        found = replace(found, verdict="fail", dmarc="fail")
    elif found.verdict != "pass" and trusted.sealers and lookups is not None:
        found = sealed(found, raw, domain, trusted.sealers, lookups, verify)
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


def _looked_at(
    raw: Raw, domain: str, relays: Relays, lookups: Lookups, verify: Verify, judged: Seals | None
) -> Authenticity | None:
    """Our own look, where there is anything to look at: a signature, or a client whom our own servers wrote down."""
    client = client_of(head_of(raw.body), relays) if relays.names else None
    known = client is not None and client.mail_from is not None
    if not known and not _has(raw.body, b"dkim-signature"):
        return None
    if judged is None and (names := key_names(raw.body)):
        judged = verify(raw, SIGNATURES, _keys(names, lookups))
    return _evaluated(judged or Seals(), domain, lookups, client if known else None)


def _evaluated(seals: Seals, domain: str, lookups: Lookups, client: Client | None) -> Authenticity:
    """DMARC as the domain in From asks for it (RFC 7489), by the signatures and, where a client is known, by SPF.

    Without a client a mail that no signature speaks for is left open, unless a signature of its own domain is broken.
    """
    results: dict[str, str] = {}
    for signer, result in seals.signatures:
        if results.get(signer) != "pass":
            results[signer] = result
    own = next((result for signer, result in results.items() if aligned(signer, domain)), "none")
    shown = own if own != "none" else next(iter(results.values()), "none")
    spf, envelope = _spf(client, lookups)
    try:
        policy = None
        passed = [signer for signer, result in results.items() if result == "pass" and aligned(signer, domain)]
        sent = envelope if spf == "pass" and aligned(envelope, domain) else ""
        undecided = passed or sent or own == "fail" or client is not None
        if undecided and domain not in (*passed, sent):  # its policy tells whether a relative will do, and what fails
            policy = _policy(domain, lookups)
        passed = [signer for signer in passed if signer == domain or not (policy and policy.get("adkim") == "s")]
        sent = sent if sent == domain or not (policy and policy.get("aspf") == "s") else ""
    except Unanswered:
        return Authenticity("temperror", spf=spf, dkim=shown, dmarc="temperror", source="own")
    if vouching := next(iter(sorted(passed, key=lambda each: each != domain)), sent):
        shown = "pass" if passed else shown
        return Authenticity("pass", spf=spf, dkim=shown, dmarc="pass", source="own", domain=vouching)
    unsure = "temperror" in (spf, *results.values())
    failed = policy is not None and (own == "fail" or (client is not None and not unsure))
    dmarc = "fail" if failed else "temperror" if policy is not None and client is not None else "none"
    return Authenticity(dmarc, spf=spf, dkim=shown, dmarc=dmarc, source="own")


def _spf(client: Client | None, lookups: Lookups) -> tuple[str, str]:
    """What the envelope's domain says about the client, and that domain."""
    if client is None or client.mail_from is None:
        return "none", ""
    result = check_host(lookups, client.address, client.mail_from, client.helo)
    return SAME.get(result, result), (client.mail_from.rpartition("@")[2] or client.helo).lower().rstrip(".")


def sealed(
    found: Authenticity, raw: Raw, domain: str, sealers: frozenset[str], lookups: Lookups, verify: Verify
) -> Authenticity:
    """What a forwarder says that it saw before it changed the mail (ARC, RFC 8617), if we trust it.

    Its word counts where the chain holds and everybody who sealed after it is trusted as well.
    """
    names = seal_names(raw.body)
    if not names:
        return found
    chain = verify(raw, CHAIN, _keys(names, lookups))
    found = replace(found, arc=chain.chain)
    for sealer, results in chain.seen:  # the newest first
        if sealer not in sealers:
            return found
        statements = _without_comments(results).partition(";")[2]
        seen = _stated(statements.partition(";")[2], sealer, domain)
        if seen.verdict == "pass":
            return replace(found, verdict="pass", source=found.source or "own", domain=seen.domain, sealer=sealer)
    return found


def aligned(one: str, other: str) -> bool:
    """Whether two domains belong to one organisation (relaxed alignment, RFC 7489 3.1)."""
    one, other = one.rstrip(".").lower(), other.rstrip(".").lower()
    return bool(one and other) and (one == other or registrable(one) == registrable(other) != "")


def _has(body: bytes, field: bytes) -> bool:
    return re.search(rb"(?im)^" + field + rb"[ \t]*:", head_of(body)) is not None


def _keys(names: Sequence[str], lookups: Lookups) -> dict[str, str | None]:
    """Their records; None for those that nobody answered for, and for the rest once too many have not."""
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(names):
        try:
            silent = sum(each is None for each in found.values())
            found[name] = lookups.text(name)[:MAX_KEY] if silent < MAX_SILENT else None
        except Unanswered:
            found[name] = None
    return found


def _policy(domain: str, lookups: Lookups) -> dict[str, str] | None:
    """What the domain, or its organisation, publishes (RFC 7489 section 6.6.3); None where it asks for nothing."""
    for name in dict.fromkeys((domain, registrable(domain) or domain)):
        records = [each for each in lookups.records(f"_dmarc.{name}", "TXT") if re.match(r"v\s*=\s*DMARC1\b", each)]
        if len(records) == 1:
            return {tag.lower(): value.lower() for tag, value in TAG.findall(records[0][:5000])}
        if records:
            return None
    return None


def _without_comments(field: str) -> str:
    for _ in range(5):
        field, count = COMMENT.subn(" ", field)
        if not count:
            break
    return field
