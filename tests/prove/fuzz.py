"""Damaged mails and request bodies by the thousand: only Unreadable may be said, within the caps, and storably.

`python -m tests.prove.fuzz --mails 1000000` is the long form; what fails is kept as a file to look at.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from channels import KINDS
from channels.base import Inbound, Raw, Unreadable
from config import Settings
from hub.reading import Readers, caps_of
from tests.corpus import HOME
from tests.support.damage import BODY_FRAGMENTS, MAIL_FRAGMENTS, damaged
from tests.test_channels import CASES

FIXTURES = Path(__file__).parents[1] / "mail"
LARGEST = 200_000  # bytes: what a round costs is the reading, not the size
READERS = 2


@dataclass
class Figures:
    """What became of the damaged: how many were read or refused, the slowest, and files of those that failed."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items()))
        return f"{said}; slowest {self.slowest:.2f} s; failed: {self.failed or 'none'}"


def whole_mails() -> list[bytes]:
    """What is damaged: our fixtures and, where they are on this machine, other people's mails."""
    endings = (".eml", ".msg", ".raw", ".txt")
    found = chain(FIXTURES.glob("*.eml"), (path for path in HOME.rglob("*") if path.suffix in endings))
    return [path.read_bytes() for path in sorted(found) if path.stat().st_size < LARGEST]


def fuzz_mails(count: int, seed: int = 1) -> Figures:
    """Through readers with the caps of production, as the hub reads them."""
    figures, whole = Figures(), whole_mails()
    readers = Readers(KINDS["email"], caps_of(Settings()), READERS)
    try:
        with ThreadPoolExecutor(READERS) as pool:
            shares = [
                (count // READERS + (number < count % READERS), seed * 1000 + number) for number in range(READERS)
            ]
            for _ in pool.map(lambda share: _read_damaged(readers, whole, figures, *share), shares):
                pass
    finally:
        readers.close()
    return figures


def _read_damaged(readers: Readers, whole: list[bytes], figures: Figures, count: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(count):
        body = damaged(chance.choice(whole), chance, MAIL_FRAGMENTS)
        raw = Raw("fuzz", body, "message/rfc822", {"address": "support@shop.example"})
        _judge(figures, raw, "mail", readers.read)


def fuzz_bodies(count: int, seed: int = 1) -> Figures:
    """What providers and visitors post, for every kind, damaged: read where the hub reads it, in this process."""
    figures, chance = Figures(), random.Random(seed)
    kinds = [kind for kind in CASES if kind != "email"]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        arrived = CASES[kind].arrived
        raw = replace(arrived, body=damaged(arrived.body, chance, BODY_FRAGMENTS))
        module, _, name = KINDS[kind].partition(":")
        _judge(figures, raw, kind, getattr(import_module(module), name).parse)
    return figures


def _judge(figures: Figures, raw: Raw, kind: str, read: Any) -> None:
    started = time.perf_counter()
    try:
        inbound = read(raw)
        outcome = "read" if is_sound(inbound) else "unfit"
    except Unreadable:
        outcome = "unreadable"
    except Exception as error:
        outcome = type(error).__name__
    figures.slowest = max(figures.slowest, time.perf_counter() - started)
    figures.outcomes[f"{kind} {outcome}"] += 1
    if outcome not in ("read", "unreadable"):
        file = Path(tempfile.gettempdir()) / f"switchyard-fuzz-{hashlib.sha256(raw.body).hexdigest()[:12]}"
        file.write_bytes(raw.body)
        figures.failed.append(f"{outcome}: {file}")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if is_dataclass(value):
        return [text for each in fields(value) for text in _texts(getattr(value, each.name))]
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in _texts(each)]
    return [text for each in value for text in _texts(each)] if isinstance(value, tuple | list) else []


def is_storable(text: str) -> bool:
    """Can any database and JSON hold it?"""
    return "\x00" not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def is_sound(inbound: Inbound) -> bool:
    """Can it be stored, and do its offsets lie where they have to?"""
    quoted = len(inbound.text) if inbound.quoted_at is None else inbound.quoted_at
    signature = quoted if inbound.signature_at is None else inbound.signature_at
    return 0 <= signature <= quoted <= len(inbound.text) and all(map(is_storable, _texts(inbound)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mails", type=int, default=20_000)
    options.add_argument("--bodies", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    for name, fuzz, count in (("mails", fuzz_mails, given.mails), ("bodies", fuzz_bodies, given.bodies)):
        started = time.perf_counter()
        figures = fuzz(count, given.seed)
        print(f"{count} {name} in {time.perf_counter() - started:.0f} s: {figures}", flush=True)


if __name__ == "__main__":
    main()
