"""What the signatures on a mail amount to (DKIM, RFC 6376; ARC, RFC 8617), given the keys that their domains publish.

For a reader's process: a stranger chooses the bytes, the keys and how much work both are. Whoever has the keys looked
up gets the names from `key_names` and `seal_names`; nothing here asks the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import dkim

from channels.base import Raw
from channels.mail.bounded import MAX_KEY, SIGNATURE, head_of, verifiable
from channels.seals import CHAIN, Seals

MAX_SIGNATURES, MAX_SEALS = 5, 10

Keys = Mapping[str, str | None]  # a key's record by its name, empty where there is none; None where nobody answered


def key_names(body: bytes) -> list[str]:
    """Where the keys of a mail's signatures are."""
    return _names(body, b"dkim-signature")[:MAX_SIGNATURES] if verifiable(body) else []


def seal_names(body: bytes) -> list[str]:
    """Where the keys of a chain of seals are."""
    names = _names(body, b"arc-seal", b"arc-message-signature") if verifiable(body) else []
    return list(dict.fromkeys(names))[: 2 * MAX_SEALS]


def signatures(body: bytes, keys: Keys) -> Seals:
    """The signing domain and result of each signature; whatever the library stumbles over is a permerror."""
    found = []
    for index in range(len(key_names(body))):
        signature, answers = dkim.DKIM(body, timeout=5), _Answers(keys)
        try:
            result = "pass" if signature.verify(index, dnsfunc=answers) else "fail"
        except dkim.ValidationError:  # the body was changed, or there is no such key
            result = "fail"
        except Exception:  # a stranger's bytes in a library that raises what it likes
            result = "permerror"
        signer = (signature.domain or b"").decode("ascii", "replace").lower()
        found.append((signer, "temperror" if answers.away else result))
    return Seals(signatures=tuple(found))


def chain(body: bytes, keys: Keys) -> Seals:
    """Whether every seal and the newest signature hold, and what each sealer saw, the newest first."""
    try:
        sealed = dkim.ARC(body, timeout=5)
        if sealed.sorted_arc_headers()[0] > MAX_SEALS:
            return Seals(chain="fail")
        result, sets, _ = sealed.verify(dnsfunc=_Answers(keys))
        if result != dkim.CV_Pass:
            return Seals(chain="fail")
        return Seals(chain="pass", seen=tuple(_seen(sets)))
    except Exception:  # a stranger's bytes in a library that raises what it likes
        return Seals(chain="fail")


def verified(raw: Raw, question: str, keys: Keys) -> Seals:
    """What is asked about a mail: its "signatures" or its "chain"."""
    return chain(raw.body, keys) if question == CHAIN else signatures(raw.body, keys)


def _seen(sets: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str]]:
    for each in sets:
        yield each["as-domain"].decode("ascii", "replace").lower(), each["aar-value"].decode("utf-8", "replace")


def _names(body: bytes, *fields: bytes) -> list[str]:
    found = []
    for match in SIGNATURE.finditer(head_of(body)):
        field, _, content = match.group().partition(b":")
        if field.strip().lower() in fields:
            tags = dict(_tag(each) for each in re.sub(rb"\r?\n", b"", content).split(b";"))
            found.append(_name(f"{tags.get('s', '')}._domainkey.{tags.get('d', '')}"))
    return found


def _tag(written: bytes) -> tuple[str, str]:
    name, _, value = written.decode("ascii", "replace").partition("=")
    return name.strip(), value.strip()


def _name(written: str) -> str:
    return written.rstrip(".").lower()


class _Answers:
    """Keys as the library asks for them; `away` tells whether it wanted one that nobody answered for."""

    def __init__(self, keys: Keys):
        self._keys = keys
        self.away = False

    def __call__(self, name: bytes, timeout: int = 5) -> bytes | None:
        key = self._keys.get(_name(name.decode("ascii", "replace")))
        self.away |= key is None
        return key.encode()[:MAX_KEY] or None if key else None
