"""A provider's request taken apart into the mails in it (RFC 5322), byte for byte wherever it carries them so.

Providers that only retell a mail (its header as a list, its text, its files) get it put together again, so that one
parser reads all mails. Sources: each provider's page on inbound mail, named at its function.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import File as FilePart

from channels.base import File, Unreadable
from channels.mail.charset import decode
from channels.mail.filenames import safe_name, safe_type
from channels.multipart import parts, urlencoded
from config.language import N_
from config.retold import stored

MOST_FIELDS = 2000
REWRITTEN = ("content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version")
SIGNERS = re.compile(r"@([\w.\-]{1,253})\s*:\s*([a-z]{1,10})")  # SendGrid's "{@example.com : pass}"
WORD = re.compile(r"[a-z]{1,10}")
VERDICTS = {"PASS": "pass", "FAIL": "fail", "PROCESSING_FAILED": "temperror"}
_BREAKS = re.compile(rb"[\r\n\x00]+[ \t]*")

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Arrived:
    """One mail and the envelope's recipients, as far as the provider tells them.

    `results` is what it found out about the sender, written like an Authentication-Results field (RFC 8601).
    """

    mail: bytes = field(repr=False)
    recipients: tuple[str, ...] = ()
    results: str = ""


@dataclass(frozen=True, slots=True)
class Posted:
    """The fields of a form (the last of a name counts) and its files by field name."""

    fields: Mapping[str, bytes]
    files: Mapping[str, File]

    def text(self, name: str, charset: str | None = None) -> str:
        """A field's text, empty where there is none."""
        return decode(self.fields.get(name, b""), charset)


def mails_in(provider: str, content_type: str, body: bytes) -> list[Arrived]:
    """The mails of one request. Pure; raises Unreadable."""
    try:
        return READERS[provider](content_type, body)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as odd:
        raise Unreadable(
            stored(
                "The request does not look like one of {provider}: {name}. Check the channel's provider.",
                provider=provider,
                name=type(odd).__name__,
            )
        ) from odd


def _raw(content_type: str, body: bytes) -> list[Arrived]:
    """The mail itself as the body, or as the field `message` of a form."""
    if parse_options_header(content_type)[0] in FORMS:
        return [Arrived(_field(read_form(content_type, body), "message"))]
    return [Arrived(body)]


def _sendgrid(content_type: str, body: bytes) -> list[Arrived]:
    """twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook"""
    form = read_form(content_type, body)
    recipients = _strings(_object(form.text("envelope")).get("to"))
    found = [f"dkim={result} header.d={domain}" for domain, result in SIGNERS.findall(form.text("dkim"))]
    found += [f"spf={result}" for result in WORD.findall(form.text("SPF"))[:1]]
    results = "; ".join(["sendgrid", *found]) if found else ""
    if "email" in form.fields:  # "POST the raw, full MIME message" is ticked
        return [Arrived(form.fields["email"], recipients, results)]
    charsets = _object(form.text("charsets"))
    header = form.fields.get("headers") or retold_header(
        (name, form.text(name.lower(), charsets.get(name.lower()))) for name in ("From", "To", "Cc", "Subject")
    )
    told = _object(form.text("attachment-info"))
    named = {name: str(about.get("content-id", "")) for name, about in told.items() if isinstance(about, dict)}
    texts = (form.text("text", charsets.get("text")), form.text("html", charsets.get("html")))
    return [Arrived(retold(header, *texts, _with_ids(form.files, named)), recipients, results)]


def _mailgun(content_type: str, body: bytes) -> list[Arrived]:
    """documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store"""
    form = read_form(content_type, body)
    recipients = tuple(filter(None, form.text("recipient").split(",")))
    if "body-mime" in form.fields:
        return [Arrived(form.fields["body-mime"], recipients)]
    pairs = json.loads(form.fields["message-headers"]) if "message-headers" in form.fields else None
    if pairs is None:
        pairs = [
            (name, form.text(name)) for name in ("From", "To", "Cc", "Subject", "Date", "Message-Id", "References")
        ]
    ids = {str(name): str(cid) for cid, name in _object(form.text("content-id-map")).items()}
    header = retold_header((str(name), str(value)) for name, value in pairs)
    return [
        Arrived(retold(header, form.text("body-plain"), form.text("body-html"), _with_ids(form.files, ids)), recipients)
    ]


def _postmark(_content_type: str, body: bytes) -> list[Arrived]:
    """postmarkapp.com/developer/webhooks/inbound-webhook"""
    told = _object(body)
    recipients = _strings(told.get("OriginalRecipient"))
    if told.get("RawEmail"):
        return [Arrived(str(told["RawEmail"]).encode("utf-8", "surrogateescape"), recipients)]
    more = [(str(each["Name"]), str(each["Value"])) for each in told.get("Headers") or ()]
    known = {name.lower() for name, _ in more}
    plain = [(name, str(told.get(name) or "")) for name in ("To", "Cc", "Subject", "Date")]
    sender = told.get("FromFull") or {}
    author = f'"{_quoted(sender.get("Name"))}" <{sender["Email"]}>' if sender.get("Email") else str(told["From"])
    header = retold_header([*more, *(each for each in [("From", author), *plain] if each[0].lower() not in known)])
    files = [
        _file(each.get("Name"), each.get("ContentType"), each.get("Content"), each.get("ContentID"), number)
        for number, each in enumerate(told.get("Attachments") or (), 1)
    ]
    return [
        Arrived(retold(header, str(told.get("TextBody") or ""), str(told.get("HtmlBody") or ""), files), recipients)
    ]


def _mandrill(content_type: str, body: bytes) -> list[Arrived]:
    """mailchimp.com/developer/transactional/guides/set-up-inbound-email-processing"""
    events = json.loads(_field(read_form(content_type, body), "mandrill_events"))
    inbound = [each["msg"] for each in events if each.get("event") == "inbound"]
    return [
        Arrived(str(msg["raw_msg"]).encode("utf-8", "surrogateescape"), _strings(msg.get("email"))) for msg in inbound
    ]


def _cloudmailin(content_type: str, body: bytes) -> list[Arrived]:
    """docs.cloudmailin.com/http_post_formats"""
    if parse_options_header(content_type)[0] == "application/json":
        told = _object(body)
        pairs = [(name, each) for name, value in told["headers"].items() for each in _strings(value)]
        files = [
            _elsewhere(each["file_name"], each["url"])
            if each.get("url")
            else _file(each.get("file_name"), each.get("content_type"), each.get("content"), each.get("content_id"), n)
            for n, each in enumerate(told.get("attachments") or (), 1)
        ]
        envelope = told.get("envelope") or {}
        header = retold_header((name.replace("_", "-"), value) for name, value in pairs)
        mail = retold(header, str(told.get("plain") or ""), str(told.get("html") or ""), files)
        return [Arrived(mail, _strings(envelope.get("recipients") or envelope.get("to")))]
    form = read_form(content_type, body)
    recipients = tuple(filter(None, (form.text("envelope[to]"), form.text("envelope[recipients][0]"))))[:1]
    if "message" in form.fields:
        return [Arrived(form.fields["message"], recipients)]
    named = ((re.fullmatch(r"headers\[([^\]]+)\](?:\[\d+\])?", name), name) for name in form.fields)
    header = retold_header((found[1], form.text(name)) for found, name in named if found)
    if not header:
        raise Unreadable(N_("The request has no header of a mail. Choose a format of CloudMailin with headers."))
    kept = ((form.text(f"attachments[{n}][file_name]"), form.text(f"attachments[{n}][url]")) for n in range(200))
    files = [*form.files.values(), *(_elsewhere(name, url) for name, url in kept if url)]
    return [Arrived(retold(header, form.text("plain"), form.text("html"), files), recipients)]


def _ses(_content_type: str, body: bytes) -> list[Arrived]:
    """docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html"""
    told = _object(_object(body)["Message"])
    receipt = told.get("receipt") or {}
    action = receipt.get("action") or {}
    if not told.get("content"):
        place = f"{action.get('bucketName', '')}/{action.get('objectKey', '')}".strip("/")
        raise Unreadable(
            stored(
                "The mail is not in the notification{elsewhere}. Let the receipt rule use an SNS action, which carries "
                "mails up to 150 KB.",
                elsewhere=stored(" but in S3 at {place}", place=place) if place else "",
            )
        )
    content = str(told["content"])
    whole = base64.b64decode(content) if str(action.get("encoding", "")).upper() == "BASE64" else content.encode()
    found = {name: (receipt.get(f"{name}Verdict") or {}).get("status") for name in ("spf", "dkim", "dmarc")}
    results = "; ".join(["ses", *(f"{name}={VERDICTS.get(each, 'none')}" for name, each in found.items() if each)])
    return [Arrived(whole, _strings(receipt.get("recipients")), results if any(found.values()) else "")]


FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
READERS: Mapping[str, Callable[[str, bytes], list[Arrived]]] = {
    "cloudmailin": _cloudmailin,
    "mailgun": _mailgun,
    "mandrill": _mandrill,
    "postmark": _postmark,
    "raw": _raw,
    "sendgrid": _sendgrid,
    "ses": _ses,
}


def read_form(content_type: str, body: bytes) -> Posted:
    """A form's fields and files. Raises ValueError."""
    kind, options = parse_options_header(content_type)
    if kind == "application/x-www-form-urlencoded":
        return Posted({name.decode("latin-1"): value for name, value in urlencoded(body, MOST_FIELDS)}, {})
    fields: dict[str, bytes] = {}
    files: dict[str, File] = {}
    for part, data in parts(body, options.get("boundary", ""), MOST_FIELDS):
        if isinstance(part, FilePart):
            kind = safe_type(parse_options_header(part.headers.get("content-type", ""))[0])
            files[part.name or str(len(files))] = File(safe_name(part.filename, kind, len(files) + 1), kind, data)
        else:
            fields[part.name or ""] = data
    return Posted(fields, files)


def retold_header(pairs: Headers) -> bytes:
    """Header lines in UTF-8 (RFC 6532); no value can end its line."""
    lines = [(_BREAKS.sub(b" ", _bytes(name)).strip(), _BREAKS.sub(b" ", _bytes(value))) for name, value in pairs]
    return b"".join(name + b": " + value.strip() + b"\r\n" for name, value in lines if name and value.strip())


def retold(header: bytes, text: str, html: str, files: Iterable[File]) -> bytes:
    """A mail with this header and content: the same bytes for the same content, so that a repetition is recognised."""
    blocks = [_block(b"text/plain; charset=utf-8", text.encode("utf-8", "replace"))] if text or not html else []
    blocks += [_block(b"text/html; charset=utf-8", html.encode("utf-8", "replace"))] if html else []
    inner = hashlib.sha256(b"".join(blocks)).hexdigest()
    whole = [_multipart(b"alternative", inner, blocks)] if len(blocks) > 1 else blocks
    for file in files:
        name = file.name.replace("\\", "_").replace('"', "'").encode()
        lines = b'Content-Disposition: attachment; filename="' + name + b'"\r\n'
        if file.cid:
            lines = b'Content-Disposition: inline; filename="' + name + b'"\r\n'
            lines += retold_header([("Content-ID", f"<{file.cid.strip('<> ')}>")])
        whole.append(_block(file.content_type.encode(), file.data, lines))
    outer = hashlib.sha256(header + b"".join(whole)).hexdigest()
    body = _multipart(b"mixed", outer, whole) if len(whole) > 1 else whole[0]
    return _without(header, REWRITTEN) + b"MIME-Version: 1.0\r\n" + body


def _block(kind: bytes, content: bytes, lines: bytes = b"") -> bytes:
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return b"Content-Type: " + kind + b"\r\n" + lines + b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded


def _multipart(kind: bytes, mark: str, blocks: list[bytes]) -> bytes:
    edge = b"--=_" + mark.encode()
    start = b"Content-Type: multipart/" + kind + b'; boundary="' + edge[2:] + b'"\r\n\r\n'
    return start + b"".join(edge + b"\r\n" + each + b"\r\n" for each in blocks) + edge + b"--\r\n"


def _without(header: bytes, names: tuple[str, ...]) -> bytes:
    """The header without these fields, folded lines included; every line ends in CRLF."""
    kept, keep = [], True
    for line in header.strip(b"\r\n").splitlines():
        if line[:1] not in (b" ", b"\t"):
            keep = line.partition(b":")[0].strip().lower().decode("latin-1") not in names
        if keep and line.strip():
            kept.append(line + b"\r\n")
    return b"".join(kept)


def _field(form: Posted, name: str) -> bytes:
    if name not in form.fields:
        raise Unreadable(stored("The request has no field {name}. Check the channel's provider.", name=repr(name)))
    return form.fields[name]


def _with_ids(files: Mapping[str, File], ids: Mapping[str, str]) -> list[File]:
    return [File(file.name, file.content_type, file.data, cid=ids.get(name, "")) for name, file in files.items()]


def _file(name: object, kind: object, content: object, cid: object, number: int) -> File:
    content_type = safe_type(str(kind or "").partition(";")[0])
    try:
        data = base64.b64decode(str(content or ""))
    except binascii.Error:
        data = str(content).encode("utf-8", "replace")
    return File(safe_name(str(name or ""), content_type, number), content_type, data, cid=str(cid or ""))


def _elsewhere(name: str, url: str) -> File:
    """What stands for a file that the provider put into a store of the desk's own: where it is."""
    return File(safe_name(f"{name}.txt", "text/plain"), "text/plain", f"{name} is kept at {url}\r\n".encode())


def _object(document: str | bytes) -> dict[str, Any]:
    """A JSON object; an empty document is an empty one. Raises ValueError."""
    if not document.strip():
        return {}
    content = json.loads(document)
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def _strings(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(each for each in values if isinstance(each, str) and each)


def _quoted(name: object) -> str:
    return str(name or "").replace("\\", "\\\\").replace('"', '\\"')


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
