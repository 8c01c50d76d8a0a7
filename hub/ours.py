"""Who we are to the outside: our addresses, domains and the people who answer, and whoever writes as if he were one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from channels.mail.headers import normalised
from channels.mail.lookalikes import looks_like, names_of, registrable
from hub.recipients import untagged

# Flags of a message, followed by whom the sender resembles.
NAMED_COLLEAGUE, NAMED_ADDRESS, LOOKS_LIKE_US = "named_colleague:", "named_address:", "looks_like_us:"
LOOKS_LIKE_CUSTOMER = "looks_like_customer:"  # followed by the customer's domain
LOOKS_LIKE_CONTACT = "looks_like_contact:"  # the same, for the domain of a person of the same name
SPOOFED_COLLEAGUE = "spoofed_colleague"  # our own address, and nothing proves it
POSES = (SPOOFED_COLLEAGUE, NAMED_COLLEAGUE, NAMED_ADDRESS, LOOKS_LIKE_US, LOOKS_LIKE_CUSTOMER, LOOKS_LIKE_CONTACT)


@dataclass(frozen=True, slots=True)
class Ours:
    """As of one version of the desk."""

    addresses: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    colleagues: dict[tuple[str, ...], str] = field(default_factory=dict)  # full names in comparable form

    def suspicions(self, name: str, address: str) -> list[str]:
        """Flags for a sender who shows one of our names or addresses, or whose domain looks like one of ours."""
        if untagged(address) in self.addresses:
            return []
        flags = []
        if twin := next((self.colleagues[form] for form in names_of(name) if form in self.colleagues), ""):
            flags.append(f"{NAMED_COLLEAGUE}{twin}")
        if "@" in name and (shown := next((each for each in sorted(self.addresses) if _contains(name, each)), "")):
            flags.append(f"{NAMED_ADDRESS}{shown}")
        domain = address.rpartition("@")[2]
        others = () if registrable(domain) in self.domains else sorted(self.domains)
        if like := next((each for each in others if looks_like(domain, each)), ""):
            flags.append(f"{LOOKS_LIKE_US}{like}")
        return flags


def ours_of(mailboxes: Iterable[str], agents: Iterable[tuple[str, str]]) -> Ours:
    """From our mailboxes' addresses and the agents' (name, address)."""
    people = list(agents)
    written = (normalised(each) for each in (*mailboxes, *(address for _, address in people)))
    addresses = frozenset(untagged(each) for each in written if each)
    domains = frozenset(filter(None, (registrable(each.rpartition("@")[2]) for each in addresses)))
    return Ours(addresses, domains, {form: name for name, _ in people for form in names_of(name)})


def _contains(name: str, address: str) -> bool:
    before, found, after = name.lower().partition(address)
    return bool(found) and not before[-1:].isalnum() and not after[:1].isalnum()
