"""Who wrote the mail that somebody hands on to us. The one who hands it on stays the sender."""

from __future__ import annotations

import re
from typing import NamedTuple

from channels.mail import quotewords as words
from channels.mail.headers import line, normalised
from channels.mail.quotes import FROM, SENT, SUBJECT, TO, intro, is_forwarding, lines_of

PREFIX = re.compile(rf"^\W*(?:{words.FORWARD_PREFIX})\W*\s?[:：\]]", re.I)
ADDRESS = re.compile(r"(?:mailto:)?([^\s<>\[\]()\"',;:*]+@[^\s<>\[\]()\"',;:*]+)", re.I)
LABELS = 12  # lines in which the labels of a forwarded mail stand
DECORATION = " \t>*_|\"'“”«»<[("


class Original(NamedTuple):
    """Who is named as the author of a forwarded mail; nothing of it is proved."""

    name: str
    address: str


def original_sender(text: str, subject: str) -> Original | None:
    """The author of the mail that `text` forwards, or None where it forwards none."""
    lines = lines_of(text)
    marker = next((number for number, each in enumerate(lines) if is_forwarding(each)), None)
    if marker is None and not PREFIX.match(subject):
        return None
    for number in range(marker or 0, len(lines)):
        if FROM.match(lines[number]) and (marker is not None or _has_company(lines, number)):
            found = _named(lines, number)
            if found is not None:
                return found
    return _in_marker(lines, marker) if marker is not None else _introduced(lines)


def _has_company(lines: list[str], number: int) -> bool:
    """Without a marker a From label counts only beside a second label."""
    near = lines[max(0, number - 3) : number + LABELS]
    return any(label.match(each) for each in near for label in (SENT, TO, SUBJECT))


def _named(lines: list[str], number: int) -> Original | None:
    """The name and address behind a label, on its line or, wrapped, on the next two."""
    label = FROM.match(lines[number])
    assert label is not None
    written = lines[number][label.end() :]
    for more in ("", *lines[number + 1 : number + 3]):
        if more and (not more.strip() or any(each.match(more) for each in (FROM, SENT, TO, SUBJECT))):
            break
        written = f"{written} {more.strip(DECORATION)}" if more else written
        address = ADDRESS.search(written)
        if address is not None and normalised(address.group(1)):
            return Original(_name(written[: address.start()]), normalised(address.group(1)))
    name = _name(lines[number][label.end() :])
    return Original(name, "") if name else None


def _name(written: str) -> str:
    return line(written.strip(DECORATION + "-,;:")).strip(DECORATION)[:200]


def _in_marker(lines: list[str], marker: int) -> Original | None:
    """Some write it behind the marker: "----- Forwarded message ----- From: Mara <…>To: …"."""
    return _first(" ".join(lines[marker : marker + 2]).rpartition("---")[2])


def _introduced(lines: list[str]) -> Original | None:
    """Outlook on a Mac hands on as others quote: "On … Mara <…> wrote:"."""
    for number in range(len(lines)):
        if length := intro(lines, number):
            return _first(" ".join(lines[number : number + length]))
    return None


def _first(written: str) -> Original | None:
    address = ADDRESS.search(written)
    if address is None or not normalised(address.group(1)):
        return None
    label = re.match(rf"\s*(?:{words.FROM})\s*[:：]", written, re.I)
    return Original(_name(written[label.end() : address.start()]) if label else "", normalised(address.group(1)))
