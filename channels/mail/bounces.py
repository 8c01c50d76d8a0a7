"""What delivery reports say: RFC 3464 first, complaints (RFC 5965), then what mailers wrote before there was a form.

Reading one decides nothing. It is about a message of ours only where it returns an id that we issued, which the hub
looks up; a report without one changes nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from itertools import islice

from flufl.bounce import all_failures

from channels.mail.automatic import DAEMON, LOOP_HEADER
from channels.mail.charset import decode
from channels.mail.headers import addresses, ids, line, normalised, token, value, values
from channels.mail.parts import nested, payload
from channels.reports import Failing, Failure, Report

MAX_PARTS = 50
MAX_BLOCKS = 100
MAX_TEXT = 64_000  # bytes of a part that are searched
MAX_SAID = 300
STATUS_TYPES = ("message/delivery-status", "message/global-delivery-status")
RETURNED_TYPES = (
    *("message/rfc822", "message/global", "message/global-headers"),
    *("text/rfc822-headers", "message/rfc822-headers"),
)
DELIVERED = ("delivered", "relayed", "expanded")
ABUSE = ("abuse", "fraud", "virus", "opt-out", "opt-out-list", "other", "")

ENHANCED = re.compile(r"(?<![\d.])([245])[.](\d{1,3})[.](\d{1,3})(?![\d.])")
REPLY_CODE = re.compile(r"(?<![\d.\-])([45]\d\d)(?=[ \-#:])")
MAILBOX = re.compile(r"[<\"'(\[]?([^\s<>\"'()\[\],;:]{1,100}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8})")
STANDING = re.compile(rf"(?m)(?:^[ \t>*]{{0,8}}|[<:] ?|\bto ){MAILBOX.pattern}")
COPY = re.compile(
    r"(?im)^[ \t>]{0,4}(received: |return-path: |-+ ?(returned|original|message header|the following is a copy)"
    r"|message headers follow|below is a copy|-+ this is a copy)"
)
FULL = re.compile(
    r"(?i)\b(?:(?:over|exceeded?s?|out of|insufficient|above)[\w ']{0,30}(?:quota|storage|space|disk)"
    r"|(?:quota|storage|disk|mailbox)[\w ']{0,20}(?:exceed|full|limit)|mail ?box [\w<>@.\- ]{0,60}is full"
    r"|mailbox[- ]full"
    r"|mailfolder is full|inbox is full)"
)
NOBODY = re.compile(
    r"(?i)(?:(?:no such|unknown|invalid|non-?existent|bad)[\w ]{0,20}(?:user|address|recipient|mailbox|account|local)"
    r"|(?:user|address|recipient|mailbox|account|alias)[\w<>@.\-:\"' ]{0,80}"
    r"(?:unknown|not found|n[o']t exist|not exist|no longer|not known|unavailable|disabled|inactive|rejected|invalid"
    r"|not a valid|not listed|isn't|suspended|deactivated)"
    r"|n[o']t have (?:an?|any) [\w .]{0,40}account|no (?:mailbox|account|recipient)|not our customer)"
)
LATER = re.compile(
    r"(?i)(?:delivery[\w ]{0,20}delayed|will (?:retry|be retried|keep trying|continue)|warning: could not send"
    r"|still trying|not yet been delivered|message will be retried|temporary delivery problem)"
)
GAVE_UP = re.compile(
    r"(?i)(?:retry time(?:out)? exceeded|delivery time expired|message expired|too long|timed? ?out|connection refused"
    r"|can ?not connect|unable to connect|no route|greylist|try again later|host or domain name not found)"
)


def report_of(message: Message) -> Report | None:
    """What a mail that looks like a report says, or None where it reports nothing. Pure; never raises on bad input."""
    parts = list(islice(message.walk(), MAX_PARTS))
    returned = list(_returned(parts))
    failures = list(_complaints(parts)) or list(_statuses(parts)) or list(_told(message, parts, returned))
    found = [each for head in returned for each in ids(value(head, "message-id"))]
    marks = [each for head in returned for each in _marks(head)]
    for text in _texts(parts):
        found += [f"<{each}>" for each in re.findall(r"(?im)^[>\s]{0,8}message-id:\s{0,9}<([^<>\s]{1,900})>", text)]
        marks += re.findall(rf"(?im)^[>\s]{{0,8}}{LOOP_HEADER}:\s{{0,9}}([\w.\-]{{1,100}})", text)
    if not failures and not found:
        return None
    return Report(tuple(failures)[:MAX_BLOCKS], tuple(dict.fromkeys(found))[:20], tuple(dict.fromkeys(marks))[:20])


def kind_of(status: str, said: str, action: str = "failed") -> Failing:
    """The class of a failure by its enhanced status (RFC 3463), else by the SMTP code and the words beside it."""
    if action == "delayed":
        return Failing.DELAYED
    written = ENHANCED.search(status) or ENHANCED.search(said)
    code = REPLY_CODE.search(said)
    family = written.group(1) if written else code.group(1)[0] if code else ""
    detail = f"{written.group(2)}.{written.group(3)}" if written else ""
    if detail == "2.2" or FULL.search(said):
        return Failing.FULL
    if family == "4":
        return Failing.TIMEOUT
    if detail in ("1.1", "1.2", "1.3", "1.6", "1.10", "2.1", "7.129", "7.133") or (
        detail in ("", "0.0", "1.0", "2.0", "3.0", "7.1", "5.0", "4.1") and NOBODY.search(said)
    ):
        return Failing.ADDRESS
    if family == "5":
        return Failing.TIMEOUT if detail in ("4.1", "4.4", "4.7") else Failing.REFUSED
    return Failing.TIMEOUT if GAVE_UP.search(said) else Failing.REFUSED


def _statuses(parts: list[Message]) -> Iterator[Failure]:
    """RFC 3464: one block of fields for the message, then one for each recipient."""
    for part in parts:
        if part.get_content_type() not in STATUS_TYPES:
            continue
        for block in _blocks(part):
            action = token(block, "action")
            reached = _recipients(block, ("original-recipient", "final-recipient", "x-actual-recipient"))
            if not reached or action in DELIVERED:
                continue
            said = " ".join(_said(each) for each in values(block, "diagnostic-code"))[:MAX_SAID]
            status = token(block, "status")
            status = status if ENHANCED.fullmatch(status) else ""
            yield Failure(kind_of(status, said, action), reached, status, said)


def _blocks(part: Message) -> list[Message]:
    """The groups of fields of a status part, which the library leaves whole where it travels encoded."""
    inner = part.get_payload()
    if isinstance(inner, list) and not token(part, "content-transfer-encoding").startswith(("base64", "quoted")):
        return [each for each in inner if isinstance(each, Message)][:MAX_BLOCKS]
    groups = re.split(rb"(?:\r?\n){2,}", _content(part))
    return [BytesHeaderParser().parsebytes(group) for group in groups[:MAX_BLOCKS]]


def _complaints(parts: list[Message]) -> Iterator[Failure]:
    """Feedback loops: the recipient pressed the spam button. Providers often black the address out."""
    for part in parts:
        if part.get_content_type() != "message/feedback-report":
            continue
        for block in _blocks(part)[:3]:
            if values(block, "feedback-type") and token(block, "feedback-type") in ABUSE:
                reached = _recipients(block, ("original-rcpt-to",))
                yield Failure(Failing.COMPLAINT, reached, said=token(block, "feedback-type"))


def _told(message: Message, parts: list[Message], returned: list[Message]) -> Iterator[Failure]:
    """A bounce in prose: Exim's field, else what the detectors of Mailman find, else whom its text names."""
    said = "\n".join(_texts(parts))
    named = {each.address for each in addresses(values(message, "x-failed-recipients")) if each.address}
    later, final = (set[str](), named) if named else _detected(message)
    final = final or (set() if later else _named(message, said) or _written_to(returned))
    for address in sorted(later | final):
        near = _line_about(address, said)
        evidence = near if _tells(near) else said[:4000]
        delayed = address not in final or LATER.search(evidence) is not None
        yield Failure(kind_of("", evidence, "delayed" if delayed else "failed"), (address,), said=near)


def _named(message: Message, said: str) -> set[str]:
    """Addresses that stand by themselves before the copy of our mail begins, without those of the report itself."""
    before = said[: copy.start()] if (copy := COPY.search(said)) else said[:4000]
    own = {each.address for each in addresses([*values(message, "to"), *values(message, "from")])}
    found = [normalised(each) for each in STANDING.findall(before)]
    return {each for each in found[:MAX_BLOCKS] if each and each not in own and not DAEMON.match(each)}


def _written_to(returned: list[Message]) -> set[str]:
    """Whom the mail that came back was for, where that is one person."""
    found = {each.address for head in returned[:1] for each in addresses(values(head, "to")) if each.address}
    return found if len(found) == 1 else set()


# It logs the trace of every parser that a mail was too odd for before it raises; that is no news to an operator.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


def _detected(message: Message) -> tuple[set[str], set[str]]:
    """Recipients that are still tried and that failed, by flufl.bounce, which raises on what it has never seen."""
    try:
        later, final = all_failures(message)
    except Exception:  # any of its seventeen parsers, on bytes that a stranger chose
        return set(), set()
    return _plain(later), _plain(final)


def _plain(found: Iterable[object]) -> set[str]:
    written = (each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in found)
    return {address for each in written if (address := normalised(each.strip("<>\"' ")))}


def _line_about(address: str, said: str) -> str:
    """The other server's words about one address: its paragraph from there, or further where that has no reason."""
    at = said.lower().find(address)
    if at < 0:
        return ""
    start = said.rfind("\n", 0, at) + 1
    about = " ".join(said[start : at + 600].split("\n\n")[0].split())
    if not _tells(about):
        about = " ".join(said[start : at + 900].split())
    return line(about)[:MAX_SAID]


def _tells(words: str) -> bool:
    """Whether there is a reason in it that `kind_of` understands."""
    return any(each.search(words) for each in (ENHANCED, REPLY_CODE, NOBODY, FULL, GAVE_UP))


def _returned(parts: list[Message]) -> Iterator[Message]:
    """The header of the mail that came back, however it was wrapped."""
    for part in parts:
        if part.get_content_type() in RETURNED_TYPES:
            yield BytesHeaderParser().parsebytes(_content(part).lstrip())


def _marks(head: Message) -> list[str]:
    return [each[:100].decode("ascii", "replace").strip() for each in values(head, LOOP_HEADER)]


def _texts(parts: list[Message]) -> list[str]:
    shown = [
        part for part in parts if part.get_content_type() in ("text/plain", "text/html") and not part.is_multipart()
    ]
    return [decode(_content(part)[:MAX_TEXT], None) for part in shown[:5]]


def _content(part: Message) -> bytes:
    return nested(part) if part.is_multipart() else payload(part)


def _recipients(block: Message, names: Iterable[str]) -> tuple[str, ...]:
    """Normalised addresses of "rfc822; mara@example.com" fields, the one that we wrote to first."""
    found = []
    for name in names:
        for field in values(block, name):
            written = field.decode("utf-8", "replace").rpartition(";")[2]
            match = MAILBOX.search(written)
            found.append(normalised(match.group(1)) if match else "")
    return tuple(dict.fromkeys(each for each in found if each))


def _said(field: bytes) -> str:
    words = field.decode("utf-8", "replace")
    kind, mark, rest = words.partition(";")
    return line(rest if mark and len(kind) < 20 else words)
