"""Header fields of a received mail as text, parameters, addresses, ids and dates; nothing raises on bad input."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import idna

from channels.mail.charset import decode

MAX_TEXT = 16_000  # bytes of one field that are decoded for people; the raw mail keeps the rest
MAX_LIST = 256_000  # bytes of References
MAX_ADDRESSES = 64_000  # bytes of To or Cc
MAX_IDS = 200
MAX_ID = 998
FIELDS = "_fields_by_name"

WORD = re.compile(rb"=\?([^?\s]{1,60})\?([bBqQ])\?(.{0,8000}?)\?=(?=[^A-Za-z0-9+/]|$)", re.S)
FOLD = re.compile(rb"\r?\n[ \t]*|\r[ \t]*")
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
PARAMETER = re.compile(r'(?:^|[; ]) ?([\w.\-]+)(\*\d{0,6}\*?)? ?= ?("(?:[^"\\]|\\.)*"?|[^; ][^;]*)')
# RFC 5322 3.2.3. What needs quotes, or SMTPUTF8 (RFC 6531), is another address to many a server on the way.
LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~.\-]{1,256}", re.I)
# Nearly every field names one mailbox, whose name holds nothing that separates, groups, quotes or comments.
SIMPLE = re.compile(r'([^"\\(),:;<>@]*)<([^"\\(),:;<>\s]+)>')
MESSAGE_ID = re.compile(r"<([^<>\s]{1,996})>")


def values(message: Message, name: str) -> list[bytes]:
    """Every field of that name, unfolded, as the bytes that arrived.

    Reading a mail asks some sixty times, so its fields are sorted by name once, unfolded once, and kept with it.
    """
    fields: dict[str, list[Any]] | None = message.__dict__.get(FIELDS)
    if fields is None:
        fields = message.__dict__[FIELDS] = {}
        for field, content in message.raw_items():
            fields.setdefault(field.lower(), []).append(content)
    found = fields.get(name.lower(), [])
    if found and not isinstance(found[0], bytes):
        found[:] = [FOLD.sub(b" ", _bytes(content)).strip() for content in found]
    return list(found)


def value(message: Message, name: str) -> bytes:
    """The first field of that name, or nothing."""
    found = values(message, name)
    return found[0] if found else b""


def token(message: Message, name: str) -> str:
    """A field that holds protocol words rather than text: lower case, without comments or parameters."""
    words = value(message, name)[:MAX_TEXT].decode("ascii", "replace").split(";")[0].split("(")[0]
    return words.strip().lower()


def _bytes(field: object) -> bytes:
    return str(field).encode("utf-8", "surrogateescape")


def text(field: bytes, hint: str | None = None) -> str:
    """A field for people: encoded words (RFC 2047) decoded, raw 8-bit read by `hint`, one line, no control characters.

    Neighbouring words of one charset are joined before decoding, because mailers split inside a character.
    """
    field = FOLD.sub(b" ", field[:MAX_TEXT])
    joined = "".join(decode(data, label, guess=False) for data, label in _joined(field, hint))
    return line(joined)


def line(content: str) -> str:
    """One line that cannot disguise itself: no control characters, no bidirectional overrides."""
    return UNSEEN.sub(" ", BIDI.sub("", content)).strip()


def _joined(field: bytes, hint: str | None) -> Iterator[tuple[bytes, str | None]]:
    pending, label = b"", hint
    position, after_word = 0, False
    for match in WORD.finditer(field):
        gap = field[position : match.start()]
        name = match.group(1).split(b"*")[0].decode("ascii", "replace").lower()
        adjacent = after_word and not gap.strip()
        if after_word and not (adjacent and name == label):
            yield pending, label
            pending = b""
        if gap and not adjacent:
            yield gap, hint
        pending, label = pending + _word(match), name
        position, after_word = match.end(), True
    if after_word:
        yield pending, label
    if position < len(field):
        yield field[position:], hint


def _word(match: re.Match[bytes]) -> bytes:
    content = match.group(3)
    if match.group(2) in b"qQ":
        return quopri.decodestring(content.replace(b"_", b" "))
    content = re.sub(rb"[^A-Za-z0-9+/]", b"", content)
    content = content[: len(content) - (len(content) % 4 == 1)]
    try:
        return base64.b64decode(content + b"=" * (-len(content) % 4))
    except binascii.Error:
        return match.group(0)


def parameter(field: bytes, wanted: str, hint: str | None = None) -> str:
    """One parameter of a Content-Type or Content-Disposition field, in any of RFC 2231's and mailers' spellings."""
    content = re.sub(r"\s+", " ", field[:MAX_TEXT].decode("utf-8", "surrogateescape"))
    plain = extended = None
    segments: dict[int, tuple[bool, str]] = {}
    for name, star, quoted in PARAMETER.findall(content):
        if name.lower() != wanted:
            continue
        raw = _unquoted(quoted.strip())
        if not star:
            plain = raw if plain is None else plain
        elif star == "*":
            extended = raw
        else:
            segments.setdefault(int(star.strip("*") or 0), (star.endswith("*"), raw))
    if extended is not None:
        return line(_extended([(True, extended)]))
    if segments:
        decoded = _extended([segments[number] for number in sorted(segments)])
        return text(decoded.encode(), hint) if "=?" in decoded else line(decoded)
    return text(_bytes(plain), hint) if plain is not None else ""


def _unquoted(content: str) -> str:
    if not content.startswith('"'):
        return content
    return re.sub(r"\\(.)", r"\1", content[1:-1] if content.endswith('"') and len(content) > 1 else content[1:])


def _extended(segments: list[tuple[bool, str]]) -> str:
    label, data = None, b""
    for number, (encoded, content) in enumerate(segments):
        if encoded and number == 0 and content.count("'") >= 2:
            label, _, content = content.split("'", 2)
        data += unquote_to_bytes(_bytes(content)) if encoded else _bytes(content)
    return decode(data, label, guess=False)


class Mailbox(NamedTuple):
    """One entry of an address list: `address` is normalised, or "" where `shown` could not be sent to."""

    name: str
    address: str
    shown: str


def addresses(fields: list[bytes], hint: str | None = None) -> list[Mailbox]:
    """Who is named in address fields. Names are decoded, addresses never are (an encoded word could hide one)."""
    return [
        Mailbox(text(_bytes(phrase), hint).strip("\"' ")[:200], normalised(address), decode(_bytes(address))[:320])
        for field in fields
        for phrase, address in _split(field[:MAX_ADDRESSES].decode("utf-8", "surrogateescape"))
    ]


@dataclass(slots=True)
class _Entry:
    """One mailbox of a list while it is being read."""

    phrase: list[str] = field(default_factory=list)
    comment: list[str] = field(default_factory=list)
    angle: list[str] = field(default_factory=list)
    in_angle: bool = False

    def pair(self) -> tuple[str, str]:
        words, note = "".join(self.phrase).strip(), "".join(self.comment).strip()
        address = "".join(self.angle).partition(">")[0].strip()  # of several in one entry the first counts
        return (words or note, address) if address else _bare(words, note)


def _split(content: str) -> list[tuple[str, str]]:
    """(name, address) of an address list; linear in its length, so that neither depth nor a missing quote can hurt."""
    if simple := SIMPLE.fullmatch(content):
        return [(simple[1].strip(), simple[2])]
    pairs: list[tuple[str, str]] = []
    entry = _Entry()
    for kind, sign in _signs(content):
        if kind == "broken" or (kind == "end" and entry.in_angle):
            return pairs + _salvaged(content, {address for _, address in pairs})
        if kind == "end" or (kind == "plain" and sign in ",;" and not entry.in_angle):
            pairs.append(entry.pair())
            entry = _Entry()
        elif kind == "comment":
            entry.comment.append(sign)
        elif kind == "plain" and sign == "<":
            entry.in_angle = True
        elif kind == "plain" and sign == ">" and entry.in_angle:
            entry.in_angle = False
            entry.angle.append(sign)
        elif entry.in_angle:
            entry.angle.append(sign)
        elif kind == "plain" and sign == ":" and "@" not in entry.phrase:
            entry.phrase.clear()  # the name of a group, not of a person
        elif kind != "mark":
            entry.phrase.append(sign)
    return [pair for pair in pairs if any(pair)]


def _signs(content: str) -> Iterator[tuple[str, str]]:
    """Each character as plain, quoted, comment or (quotation) mark; then "end", or "broken" where one never ends."""
    quoted, depth, escaped = False, 0, False
    for sign in content:
        if escaped or (quoted and sign not in '"\\'):
            yield ("comment" if depth else "quoted"), sign
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign == '"' and not depth:
            quoted = not quoted
            yield "mark", sign
        elif sign in "()" and (depth or sign == "("):
            depth += 1 if sign == "(" else -1
        else:
            yield ("comment" if depth else "plain"), sign
    yield ("broken" if quoted or depth else "end"), ""


def _bare(words: str, note: str) -> tuple[str, str]:
    for word in words.split():
        if "@" in word:
            return (words.replace(word, "").strip() or note, word)
    return (words or note, "")


def _salvaged(content: str, known: set[str]) -> list[tuple[str, str]]:
    """What looks like an address in a field whose quotes, comments or angles never close."""
    words = re.split(r'[\s<>,;:"()\\]+', content)
    kept = [("", word) for word in words if "@" in word.strip("@") and word not in known]
    return kept or [(re.sub(r"\(+", "(", content)[:200], "")]


def normalised(address: str) -> str:
    """Lower case, an IDNA domain, no blanks; "" where that leaves nothing a mail could be sent to."""
    local, at, domain = address.strip().rpartition("@")
    domain = domain.strip().strip(".").lower()
    local = local.strip().lower()
    if (
        not at
        or not local
        or not domain
        or len(local) > 256
        or len(domain) > 253
        or re.search(r"[\s\x00-\x20\x7f<>,;:\ud800-\udfff]", local)
    ):
        return ""
    try:
        domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return ""
    return f"{local}@{domain}" if re.fullmatch(r"[a-z0-9._\-]+|\[[a-f0-9.:ipv]+\]", domain) else ""


def sendable(address: str) -> bool:
    """Whether mail to a normalised address reaches it, and nobody else, by the servers that there are."""
    local = address.rpartition("@")[0]
    return LOCAL.fullmatch(local) is not None and "=?" not in local


def message_id(message: Message) -> str:
    """The Message-ID in angle brackets, or "" where there is none that a header could carry back."""
    found = ids(value(message, "message-id"))
    return found[0] if found else ""


def references(message: Message) -> tuple[str, ...]:
    """Ids that this mail answers: In-Reply-To, then References from its end (RFC 5322 section 3.6.4); at most 200."""
    own = message_id(message)
    chain = ids(value(message, "in-reply-to")) + ids(b" ".join(values(message, "references")))[::-1]
    return tuple(dict.fromkeys(each for each in chain if each != own))[:MAX_IDS]


def ids(field: bytes) -> list[str]:
    """Message ids of a field in their order, also those written without angle brackets."""
    content = field[-MAX_LIST:].decode("utf-8", "replace").replace("\x00", "")
    found = [f"<{each}>" for each in MESSAGE_ID.findall(content)]
    if found:
        return found
    return [f"<{word}>" for word in re.split(r"[\s<>,;]+", content) if "@" in word and len(word) < MAX_ID - 1]


def date(message: Message, latest: datetime | None = None) -> datetime | None:
    """When the sender says that it was written, in UTC; None when absent, unreadable, before 1980 or after `latest`."""
    written = value(message, "date")[:200].decode("ascii", "replace")
    if not written:
        return None
    try:
        parsed = parsedate_to_datetime(written)
        when = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.year < 1980 or when.year > 2200 or (latest is not None and when > latest):
        return None
    return when
