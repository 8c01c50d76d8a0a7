"""A mail exactly as it arrived (RFC 5322, MIME, and what mailers make of them) to an Inbound."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesFeedParser, BytesHeaderParser

from channels.base import ContactPoint, File, Inbound, Raw, Sender, Strength, Unreadable
from channels.mail import boundaries
from channels.mail.automatic import automatic, marks, wants_no_answer
from channels.mail.bounces import report_of
from channels.mail.forwarded import original_sender
from channels.mail.headers import Mailbox, addresses, date, line, message_id, references, text, value, values
from channels.mail.language import language_of
from channels.mail.parts import Body, body_of, charset_hint
from channels.mail.quotes import Cut, cut
from channels.mail.sanitise import VERSION
from config.language import N_

MAX_BYTES = 40 * 1024 * 1024  # the standard library needs about 7 MB of memory per MB of mail
BEGINNING = 2 * 1024 * 1024  # of a larger one: its header and, nearly always, its text
MAX_SUBJECT = 1000
MAX_OTHERS = 100
MAX_TOKENS = 20
HEADER = re.compile(rb"[!-9;-~]+[ \t]*:")
ENVELOPE = ("Delivered-To", "X-Original-To", "Envelope-To")
SEALED = frozenset(("encrypted", "smime"))
CLOCK_SLACK = timedelta(days=1)

boundaries.match_cheaply()


def parse(raw: Raw) -> Inbound:
    """Read a mail. `raw.headers` may carry what the mailbox knows: our `address` and the `internaldate` (ISO 8601).

    Whatever can't be understood is left out and named in `flags`; the raw mail stays the reference. Raises Unreadable
    only where there is nothing to read.
    """
    if not raw.body.strip():
        raise Unreadable(N_("The mail is empty: not even a header arrived. Ask the sender to send it again."))
    message, body = _structure(raw)
    sender, flags = _sender(message)
    own = raw.headers.get("address", "").lower()
    envelope = _recipients(message, ENVELOPE)
    written = _recipients(message, ("To", "Cc"))
    to = _written_to(own, envelope, written)
    address = sender.points[0].value if sender.points else ""
    content = body.text
    found = Cut(None, len(content)) if SEALED & set(body.flags) else cut(content)
    subject = text(value(message, "subject"), charset_hint(message))[:MAX_SUBJECT]
    sent_at, odd_date = _sent_at(message, raw)
    machine = automatic(message, address)
    flags += ["no_auto_answer"] if wants_no_answer(message) and not machine else []
    return Inbound(
        sender=sender,
        text=content,
        to=to,
        subject=subject,
        html=body.html,
        safe_html=body.safe_html,
        safe_version=VERSION if body.htmls else 0,
        sent_at=sent_at,
        external_id=message_id(message),
        references=references(message),
        tokens=_tokens(envelope + written),
        others=tuple(each for each in written if _untagged(each) not in (_untagged(own), _untagged(to)))[:MAX_OTHERS],
        files=tuple(body.files),
        fields={**body.fields, **odd_date, **_forwarded(content, subject), **_reply_to(message, address)},
        quoted_at=found.quoted,
        signature_at=found.signature,
        language=language_of(content[: found.new], raw.headers.get("languages", "")),
        automatic=machine,
        flags=tuple(flags + body.flags),
        marks=marks(message),
        results=tuple(line(each[:2000].decode("utf-8", "replace")) for each in _results(message)),
        report=report_of(message) if machine in ("bounce", "report") else None,
    )


def _results(message: Message) -> list[bytes]:
    return values(message, "authentication-results")[:10]


def _reply_to(message: Message, sender: str) -> dict[str, str]:
    """Where answers are wanted, if that is elsewhere."""
    asked = _recipients(message, ("Reply-To",))[:1]
    return {"reply_to": asked[0]} if asked and asked[0] != sender else {}


def _structure(raw: Raw) -> tuple[Message, Body]:
    """The parsed mail, or its header alone where the rest is too large or too deep to be taken apart."""
    too_large = raw.headers.get("too_large") or len(raw.body) > MAX_BYTES
    try:
        parser = BytesFeedParser()  # all at once: message_from_bytes hands over piece by piece, and each costs
        parser.feed(_from_header(raw.body[:BEGINNING] if too_large else raw.body))
        message = parser.close()
        body = body_of(message)
        if too_large:
            body.files = []  # cut off somewhere: the raw mail has them whole
            body.flag("too_large")
        return message, body
    except RecursionError:
        whole = File(name="message.eml", content_type="message/rfc822", data=raw.body)
        return BytesHeaderParser().parsebytes(_from_header(raw.body)), Body(files=[whole], flags=["unparsed_structure"])


def _from_header(body: bytes) -> bytes:
    """Without what some relays put before the first header line: blank lines, a byte order mark, a line of noise."""
    body = body.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    lines = body[:2000].splitlines(keepends=True)[:3]
    for number, each in enumerate(lines):
        if HEADER.match(each) or (number == 0 and each.startswith(b"From ")):
            return body[sum(map(len, lines[:number])) :]
        if not each.strip():
            break
    return body


def _sender(message: Message) -> tuple[Sender, list[str]]:
    """Who wrote, and flags. Without a From the envelope sender is only a claim; without both nobody is named."""
    hint = charset_hint(message)
    fields = values(message, "from")
    named = addresses(fields, hint)
    reachable = [each for each in named if each.address]
    flags = ["multi_from"] if len(fields) > 1 or len({each.address for each in reachable}) > 1 else []
    if reachable:
        return _person(reachable[0], Strength.MAIL), flags
    name = named[0].name if named else ""
    for each in addresses(values(message, "sender"), hint) + addresses(values(message, "return-path")):
        if each.address:
            return _person(each._replace(name=name or each.name), Strength.CLAIMED), [*flags, "no_from"]
    return Sender(points=(), name=name), [*flags, "no_from"]


def _person(mailbox: Mailbox, strength: Strength) -> Sender:
    return Sender(points=(ContactPoint("email", mailbox.address, strength, mailbox.shown),), name=mailbox.name)


def _recipients(message: Message, names: tuple[str, ...]) -> list[str]:
    found = addresses([field for name in names for field in values(message, name)])
    return list(dict.fromkeys(each.address for each in found if each.address))


def _written_to(own: str, envelope: list[str], written: list[str]) -> str:
    if own and (_untagged(own) in map(_untagged, envelope + written) or not envelope):
        return own
    return next(iter(envelope + written), own)


def _untagged(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _tokens(recipients: list[str]) -> tuple[str, ...]:
    locals_ = (address.rpartition("@")[0] for address in recipients)
    return tuple(dict.fromkeys(local.partition("+")[2] for local in locals_ if local.partition("+")[2]))[:MAX_TOKENS]


def _sent_at(message: Message, raw: Raw) -> tuple[datetime | None, dict[str, str]]:
    """When it was written; where the sender's clock can't be right, when it arrived, and what the mail says."""
    latest = _latest(raw)
    written = date(message, latest)
    said = line(value(message, "date")[:200].decode("ascii", "replace"))
    if written is not None or not said:
        return written, {}
    return latest and latest - CLOCK_SLACK, {"date": said}


def _forwarded(content: str, subject: str) -> dict[str, str]:
    original = original_sender(content, subject)
    named = {"forwarded.name": original.name, "forwarded.address": original.address} if original else {}
    return {name: each for name, each in named.items() if each}


def _latest(raw: Raw) -> datetime | None:
    """No sender's clock may be more than a day ahead of the mailbox's."""
    arrived = raw.headers.get("internaldate")
    return datetime.fromisoformat(arrived).astimezone(UTC) + CLOCK_SLACK if arrived else None
