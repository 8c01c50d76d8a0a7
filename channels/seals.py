"""What a process that may die found out about the signatures on a message."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seals:
    """The domain and result of each signature; whether the chain of those who sealed it on its way holds, and then what
    each of them (by domain) says that it saw, the newest first."""

    signatures: tuple[tuple[str, str], ...] = ()
    chain: str = "none"
    seen: tuple[tuple[str, str], ...] = ()
