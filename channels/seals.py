"""How far a message is proved to come from where it says, and what its signatures amount to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Authenticity:
    """What the sender's domain says about a mail: pass, fail, none, temperror or permerror for each method.

    `source` is whose word that is: a mail server that the account trusts, "own" for what we found out ourselves, or
    nothing. `domain` is the domain that vouches for it. `verdict` sums it up for the domain in the From field; where
    it rests on what a trusted forwarder saw (ARC), `sealer` is that forwarder's domain.
    """

    verdict: str = "none"
    spf: str = "none"
    dkim: str = "none"
    dmarc: str = "none"
    arc: str = "none"
    source: str = ""
    domain: str = ""
    sealer: str = ""


@dataclass(frozen=True, slots=True)
class Seals:
    """The domain and result of each signature; whether the chain of those who sealed it on its way holds, and then what
    each of them (by domain) says that it saw, the newest first."""

    signatures: tuple[tuple[str, str], ...] = ()
    chain: str = "none"
    seen: tuple[tuple[str, str], ...] = ()


SIGNATURES, CHAIN = "signatures", "chain"  # what can be asked

# `verify(raw, question, keys)` judges a message's SIGNATURES or the CHAIN of its seals by these keys, where that is
# safe: it is as heavy as a stranger makes it.
Verify = Callable[..., Seals]
