"""An Outbound to the bytes of a mail, safe against two faults of the standard library's header writing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from email import policy
from email.headerregistry import Address, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, cast

from channels.base import File, Outbound, SendFailed
from channels.mail.automatic import LOOP_HEADER
from channels.mail.filenames import PLAIN_BYTES, safe_name, safe_type
from channels.mail.headers import line, normalised, sendable
from channels.mail.letter import Style, letter
from config.language import N_
from config.retold import stored

MAX_REFERENCES = 10  # besides the first, which starts the thread
FOLD_AT = 76
MAX_LOCAL = 64
ID = re.compile(r"<[!-;=?-~]{3,900}>")
PLAIN = Style(html=False)
MIME_NAMES = ("Content-Type", "Content-Transfer-Encoding", "MIME-Version")


class IdsHeader(UnstructuredHeader):
    """Message ids and addresses of the web, broken between them only.

    The standard library writes one of more than 70 characters as an encoded word, which no mailer reads back
    (cpython issues 79986 and 100991); every id of Microsoft 365 is that long.
    """

    name: str
    max_count = 1

    def fold(self, *, policy: policy.Policy) -> str:
        lines = [f"{self.name}:"]
        for each in str(self).split():
            if len(lines[-1]) + 1 + len(each) > FOLD_AT and lines[-1] != f"{self.name}:":
                lines.append("")
            lines[-1] += f" {each}"
        return policy.linesep.join(lines) + policy.linesep


def _registry() -> HeaderRegistry:
    registry = HeaderRegistry()
    for name in ("message-id", "in-reply-to", "references", "list-unsubscribe"):
        registry.map_to_type(name, cast(Any, IdsHeader))  # it becomes a BaseHeader when it is mixed in
    return registry


# 7bit: so that the mail passes servers without 8BITMIME and keeps a DKIM signature.
POLICY = policy.SMTP.clone(header_factory=_registry(), cte_type="7bit")


def compose(
    message: Outbound, from_name: str, address: str, now: datetime, reply_to: str = "", style: Style = PLAIN, *,
    own_copy: bool = False,
) -> bytes:  # fmt: skip
    """The mail as it goes over the wire, CRLF lines, 7 bit.

    `address` is our own; `message.external_id` becomes the Message-ID; `reply_to` is where answers go if elsewhere.
    `own_copy` is for our own folder: it names the blind copies too. Raises SendFailed (permanent) where an address or
    the Message-ID can't stand in a header.
    """
    mail = EmailMessage(policy=POLICY)
    fields = _fields(message, from_name, address, now, reply_to, own_copy)
    for name, content in fields.items():
        mail[name] = content
    written = letter(message, style, from_name, address)
    mail.set_content(_lines(written.text))
    files = list(message.files)
    if written.html:
        mail.add_alternative(_lines(written.html), subtype="html")
        inline = [each for each in files if each.cid and f"cid:{each.cid}" in written.html]
        for each in inline:
            _embed(mail, each)
        files = [each for each in files if each not in inline]
    for each in files:
        _attach(mail, each)
    data = mail.as_bytes()
    _check_names(data, fields)
    return data


def _fields(
    message: Outbound, from_name: str, address: str, now: datetime, reply_to: str, own_copy: bool
) -> dict[str, str | Address | tuple[Address, ...]]:
    chain = [each for each in message.references if ID.fullmatch(each)]
    fields: dict[str, str | Address | tuple[Address, ...]] = {
        "From": _address(message.sender_name or from_name, address),
        "To": tuple(_address("", each) for each in message.to),
        "Cc": tuple(_address("", each) for each in message.cc),
        "Bcc": tuple(_address("", each) for each in message.bcc) if own_copy else (),
        "Reply-To": (_address(message.sender_name or from_name, reply_to),) if reply_to else "",
        "Subject": _title(message.subject),
        "Date": format_datetime(now),
        "Message-ID": own_id(message, address),
        "In-Reply-To": chain[-1] if chain else "",
        "References": " ".join(_capped(chain)),
        "Auto-Submitted": message.automatic,
        "Precedence": "bulk" if message.automatic else "",  # what older answering machines look at, and only that
        "X-Auto-Response-Suppress": "All" if message.automatic or message.bulk else "",
        LOOP_HEADER: line(message.mark),
        **(_way_out(message) if message.bulk else {}),
    }
    return {name: content for name, content in fields.items() if content or name == "Subject"}


def _way_out(message: Outbound) -> dict[str, str]:
    """What lets a mail program offer "unsubscribe" with one click (RFC 8058); for bulk only, never on an answer."""
    if message.references or not re.fullmatch(r"https?://[!-~]+", message.unsubscribe_url):
        raise SendFailed(N_("A mail to many needs its unsubscribe link and can't be an answer."), permanent=True)
    return {
        "Auto-Submitted": "auto-generated",
        "Precedence": "bulk",
        "List-Unsubscribe": f"<{message.unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def plus_address(address: str, token: str) -> str:
    """`address` with a token in its local part, or as it is where that grows past 64 octets (RFC 5321 4.5.3.1.1)."""
    local, _, domain = address.rpartition("@")
    longer = f"{local}+{token}"
    return f"{longer}@{domain}" if token and local and len(longer.encode()) <= MAX_LOCAL else address


def _capped(chain: list[str]) -> list[str]:
    return chain if len(chain) <= MAX_REFERENCES + 1 else [chain[0], *chain[-MAX_REFERENCES:]]


def own_id(message: Outbound, address: str) -> str:
    """The Message-ID: the one chosen before the first try, or one made of the message's uuid. Raises SendFailed."""
    own = message.external_id or f"<{message.id}@{address.rpartition('@')[2]}>"
    if not ID.fullmatch(own):
        raise SendFailed(
            stored("The Message-ID {id} can't stand in a header; write the reply anew.", id=repr(own[:100])),
            permanent=True,
        )
    return own


def _title(written: str) -> str:
    """Text for a header. Whatever looks like an encoded word is broken up with a zero-width space.

    Otherwise `=?utf-8?q?a=0D=0ABcc:_x@y?=`, quoted from a customer's subject, writes a Bcc field (CVE-2024-6923).
    """
    return line(written).replace("=?", "=\u200b?")


def _address(name: str, written: str) -> Address:
    address = normalised(written)
    local, _, domain = address.rpartition("@")
    if not sendable(address):
        raise SendFailed(
            stored(
                "{address} is no address that mail can be sent to; correct it in the contact.",
                address=repr(written[:100]),
            ),
            permanent=True,
        )
    return Address(display_name=_title(name), username=local, domain=domain)


def _lines(content: str) -> str:
    return content.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").rstrip("\n") + "\n"


def _kind(file: File) -> tuple[str, str]:
    """Type and subtype; what MIME would have us nest or encode otherwise travels as plain bytes."""
    written = safe_type(file.content_type)
    if written.startswith(("multipart/", "message/")):
        written = PLAIN_BYTES
    maintype, _, subtype = written.partition("/")
    return maintype, subtype


def _embed(mail: EmailMessage, file: File) -> None:
    maintype, subtype = _kind(file)
    html = cast(list[EmailMessage], mail.get_payload())[-1]
    name = _title(safe_name(file.name, file.content_type))
    html.add_related(file.data, maintype, subtype, cid=f"<{line(file.cid)}>", filename=name, disposition="inline")


def _attach(mail: EmailMessage, file: File) -> None:
    maintype, subtype = _kind(file)
    mail.add_attachment(file.data, maintype, subtype, filename=_title(safe_name(file.name, file.content_type)))


def _check_names(data: bytes, fields: Iterable[str]) -> None:
    """The last gate against header injection, whatever the interpreter's version does."""
    head = data.partition(b"\r\n\r\n")[0]
    written = [
        each.partition(b":")[0].decode("ascii") for each in head.split(b"\r\n") if not each.startswith((b" ", b"\t"))
    ]
    allowed = {*fields, *MIME_NAMES}
    if len(written) != len(set(written)) or not set(written) <= allowed:
        raise SendFailed(
            N_(
                "The mail's header came out with fields that nobody asked for; shorten the subject or the sender's "
                "name."
            ),
            permanent=True,
        )
