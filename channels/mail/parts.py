"""The body of a mail: which parts are its text, which its HTML, which its files."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.errors import MessageError
from email.generator import BytesGenerator
from email.message import Message
from io import BytesIO
from itertools import islice

from channels.base import File
from channels.mail.charset import codec_name, decode
from channels.mail.filenames import safe_name, safe_type
from channels.mail.headers import line, parameter, text, token, value
from channels.mail.htmltext import MAX_CHARS, text_of
from channels.mail.invitation import invitation
from channels.mail.sanitise import clean
from channels.mail.smime import signed_content
from channels.mail.tnef import opened

MAX_PARTS = 200
MAX_DEPTH = 30
META = re.compile(rb"<meta[^>]{0,200}charset\s{0,9}=\s{0,9}[\"']?([A-Za-z0-9_\-:]+)", re.I)
HINT = "_charset_hint"
MAX_NESTED = 5  # levels of mails in mails that are counted for the reader
PGP = {"-----BEGIN PGP MESSAGE-----": "encrypted", "-----BEGIN PGP SIGNED MESSAGE-----": "signed"}
# Types that a reader has to be told about. None of them is opened, but for what is signed with S/MIME in one piece.
NOTABLE = {
    "multipart/encrypted": "encrypted",
    "multipart/signed": "signed",
    "application/pkcs7-mime": "smime",
    "application/x-pkcs7-mime": "smime",
    "message/partial": "partial",
    "message/external-body": "external",
}


@dataclass(slots=True)
class Body:
    """What a mail says and carries. `flags` tell what was left out and why."""

    texts: list[str] = field(default_factory=list)
    htmls: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    safe_html: str = ""

    def flag(self, name: str) -> None:
        if name not in self.flags:
            self.flags.append(name)

    @property
    def html(self) -> str:
        return "\n".join(self.htmls)

    @property
    def text(self) -> str:
        """The text parts, or the HTML's text where there is none."""
        plain = "\n".join(self.texts)
        content = plain if plain.strip() or not self.htmls else text_of(self.html)
        if len(content) > MAX_CHARS:
            self.flag("text_cut")
        return content[:MAX_CHARS]


def body_of(message: Message) -> Body:
    """Take a parsed mail apart. Raises RecursionError on nesting that the standard library can't write back."""
    body, hint = Body(), charset_hint(message)
    for number, part in enumerate(_leaves(message, body), start=1):
        if number > MAX_PARTS:
            body.flag("too_many_parts")
            break
        _take(part, body, hint, number)
    _guard_html(body)
    _note_pgp(body)
    html = body.html
    body.files = [replace(file, inline=_is_inline(file, html)) for file in body.files]
    return body


def charset_hint(message: Message) -> str | None:
    """The first charset that the mail names: what its raw 8-bit headers and file names are probably written in."""
    if HINT not in message.__dict__:  # asked for by several who read it
        labels = (parameter(value(part, "content-type"), "charset") for part in islice(message.walk(), MAX_DEPTH))
        message.__dict__[HINT] = next(filter(None, labels), None)
    hint: str | None = message.__dict__[HINT]
    return hint


def _leaves(message: Message, body: Body) -> Iterator[Message]:
    """Parts that hold content, in the order of the mail."""
    waiting = [(message, 0)]
    while waiting:
        part, depth = waiting.pop()
        kind = part.get_content_type()
        signed = _signed(part, kind)
        if signed is not None and depth < MAX_DEPTH:
            body.flag("smime_opened")
            waiting.append((signed, depth + 1))
            continue
        if kind in NOTABLE:
            body.flag(_notable(part, kind))
        if kind.startswith("message/") or not part.is_multipart():
            yield part
        elif depth >= MAX_DEPTH:
            body.flag("too_deep")
        else:
            waiting += [(child, depth + 1) for child in reversed(_children(part))]


def _signed(part: Message, kind: str) -> Message | None:
    """The mail inside an S/MIME signature, which some gateways relabel as any file (RFC 8551 3.9)."""
    if NOTABLE.get(kind) != "smime" and not (
        kind == "application/octet-stream" and _written_name(part, None).lower().endswith(".p7m")
    ):
        return None
    content = signed_content(payload(part))
    return None if content is None else message_from_bytes(content)


def _children(part: Message) -> list[Message]:
    inner = part.get_payload()
    return [each for each in inner if isinstance(each, Message)] if isinstance(inner, list) else []


def _take(part: Message, body: Body, hint: str | None, number: int) -> None:
    kind = part.get_content_type()
    if kind.startswith("multipart/"):  # its boundary is missing or never comes: what stands there is the text
        kind = "text/plain"
    if kind.startswith("message/"):
        _note_depth(part, body)
        body.files.append(_file(part, kind, nested(part), hint, number))
        return
    data = payload(part)
    if kind == "application/ms-tnef" or _written_name(part, hint).lower() == "winmail.dat":
        _take_tnef(part, body, data, hint, number)
        return
    if kind in ("text/calendar", "application/ics") and not body.fields:
        body.fields |= invitation(data, parameter(value(part, "content-type"), "method"))
    if kind in ("text/plain", "text/html") and not _is_attached(part, body, hint):
        content = decode(data, _label(part, data)).replace("\r\n", "\n").replace("\r", "\n")
        (body.htmls if kind == "text/html" else body.texts).append(content)
    else:
        body.files.append(_file(part, kind, data, hint, number))


def _notable(part: Message, kind: str) -> str:
    if NOTABLE[kind] == "smime" and parameter(value(part, "content-type"), "smime-type").lower() == "signed-data":
        return "smime_signed"
    return NOTABLE[kind]


def _take_tnef(part: Message, body: Body, data: bytes, hint: str | None, number: int) -> None:
    """What Outlook packed; the packet itself where it can't be opened."""
    found = opened(data)
    if found is None:
        body.flag("tnef")
        body.files.append(_file(part, part.get_content_type(), data, hint, number))
        return
    body.flag("tnef_opened")
    body.files += found.files
    if not body.texts and not body.htmls:
        body.texts += [found.text] if found.text.strip() else []
        body.htmls += [found.html] if found.html.strip() else []


def _note_depth(part: Message, body: Body) -> None:
    """How many mails lie in one another, where it is more than one."""
    depth, inner = 0, part
    while depth < MAX_NESTED and inner.get_content_type().startswith("message/rfc822"):
        children = _children(inner)
        if not children:
            break
        depth, inner = depth + 1, children[0]
    if depth > max(1, int(body.fields.get("nested", "0"))):
        body.fields["nested"] = str(depth)


def _note_pgp(body: Body) -> None:
    """PGP written into the text, without MIME saying so."""
    start = body.texts[0].lstrip()[:40] if body.texts else ""
    for mark, flag in PGP.items():
        if start.startswith(mark):
            body.flag(flag)


def _is_attached(part: Message, body: Body, hint: str | None) -> bool:
    disposition = token(part, "content-disposition")
    if disposition == "attachment":
        return True
    return bool(disposition and _written_name(part, hint) and (body.texts or body.htmls))


def _label(part: Message, data: bytes) -> str:
    label = parameter(value(part, "content-type"), "charset")
    if codec_name(label) is None and part.get_content_type() == "text/html":
        meta = META.search(data[:4096])
        return meta.group(1).decode("ascii") if meta else label
    return label


def _written_name(part: Message, hint: str | None) -> str:
    return parameter(value(part, "content-disposition"), "filename", hint) or parameter(
        value(part, "content-type"), "name", hint
    )


def _file(part: Message, kind: str, data: bytes, hint: str | None, number: int) -> File:
    fallback = "message/rfc822" if kind.startswith("message/") and kind != "message/delivery-status" else kind
    name = _written_name(part, hint) or (_nested_name(part, number) if fallback == "message/rfc822" else "")
    if kind == "message/rfc822" and not name.lower().endswith(".eml"):
        name += ".eml"
    cid = line(value(part, "content-id")[:500].decode("ascii", "ignore")).strip("<>")
    inline = token(part, "content-disposition") == "inline"
    return File(name=safe_name(name, kind, number), content_type=safe_type(kind), data=data, cid=cid, inline=inline)


def _nested_name(part: Message, number: int) -> str:
    """A mail within a mail is called by its subject."""
    inner = _children(part)
    subject = text(value(inner[0], "subject"), charset_hint(inner[0])) if inner else ""
    return f"{subject[:80] or f'message-{number}'}.eml".replace("/", "_").replace("\\", "_")


def _is_inline(file: File, html: str) -> bool:
    if file.cid:
        return f"cid:{file.cid}" in html
    return file.inline and file.content_type.startswith("image/")


def _guard_html(body: Body) -> None:
    """HTML that would choke a sanitiser is kept as a file, and only its text is shown."""
    html = body.html
    if not body.htmls:
        return
    safe = clean(html)
    if safe is not None:
        body.safe_html = safe
        return
    body.flag("html_too_complex")
    if not "".join(body.texts).strip():
        body.texts = [text_of(html)]
    body.files.append(File(name="message.html", content_type="text/html", data=html.encode()))
    body.htmls = []


def payload(part: Message) -> bytes:
    """The decoded content, or as it arrived where its transfer encoding is broken beyond the library's patience."""
    coding = token(part, "content-transfer-encoding")
    if coding and str(part.get("content-transfer-encoding")).lower() != coding:
        part.replace_header("Content-Transfer-Encoding", coding)  # a blank behind it, and the library gives up
    try:
        data = part.get_payload(decode=True)
    except (ValueError, LookupError, AttributeError, TypeError, binascii.Error):
        data = None
    if isinstance(data, bytes):
        return data
    written = part.get_payload()
    return written.encode("utf-8", "surrogateescape") if isinstance(written, str) else b""


def nested(part: Message) -> bytes:
    """A mail within a mail, as a file."""
    if not part.is_multipart():
        return payload(part)
    data = b"\r\n".join(_written_back(each) for each in _children(part))
    if token(part, "content-transfer-encoding") == "base64":  # forbidden by RFC 2046 section 5.2, and common
        try:
            return base64.b64decode(data)
        except binascii.Error:
            return data
    return data


def _written_back(message: Message) -> bytes:
    buffer = BytesIO()
    try:
        BytesGenerator(buffer, mangle_from_=False, maxheaderlen=0, policy=policy.compat32).flatten(message)
    except (ValueError, LookupError, AttributeError, TypeError, MessageError):
        fields = "".join(f"{name}: {content}\n" for name, content in message.raw_items())
        return f"{fields}\n".encode("utf-8", "surrogateescape") + payload(message)
    return buffer.getvalue()
