"""Web forms: whatever a site posts, mapped to a message; the answers are claims and nothing more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import File as FilePart

from channels import phone
from channels.base import (
    Accepted,
    ContactPoint,
    File,
    Inbound,
    Limits,
    Outbound,
    Raw,
    Sender,
    SendFailed,
    Settings,
    Strength,
    Unreadable,
)
from channels.mail.acknowledgement import KEYS, read_acknowledgement
from channels.mail.charset import decode
from channels.mail.filenames import safe_name
from channels.mail.headers import line, normalised
from channels.multipart import parts, urlencoded
from channels.settings import checked, unfit
from channels.text import storable
from config.language import N_
from config.retold import stored

MEANINGS = ("email", "name", "phone", "subject", "text")
USUAL = {"email": "email", "name": "name", "phone": "phone", "subject": "subject", "text": "message || text"}
FOR_THE_DOOR = ("_id", "_redirect")  # say how to take the form, not what was answered
MAX_ANSWERS = 500
MAX_LINE = 300  # characters of a name or subject
_FIELD_NAME = re.compile(r"[\w .\-\[\]]+")

Answers = dict[str, Any]


class FormChannel:
    """One form, hosted by us or on somebody's site.

    Settings: `fields` says where `email`, `name`, `phone`, `subject` and `text` are, each by a field's name or a
    JMESPath expression; `honeypot` names a field that people don't see; `redirects` are addresses that a browser may
    be sent on to; `region` is the country of phone numbers without a country code; `title`, `intro`, `thanks` and
    `origins` are for the door; `acknowledge…` says what the address is told at once. Raises NotConfigured.
    """

    kind: ClassVar[str] = "form"
    limits: ClassVar[Limits] = Limits(max_chars=0)

    def __init__(self, *, name: str, address: str, settings: Settings):
        known = ("fields", "honeypot", "redirects", "region", "title", "intro", "thanks", "origins")
        checked(name, settings, optional=(*known, *KEYS))
        self.acknowledgement = read_acknowledgement(name, settings, sends=False)
        self.name, self.address = name, address
        fields: Mapping[str, str] = settings.get("fields") or {}
        for meaning, where in fields.items():
            if meaning not in MEANINGS:
                raise unfit(
                    name,
                    stored(
                        "fields knows {known}, but not {meaning}.", known=", ".join(MEANINGS), meaning=repr(meaning)
                    ),
                )
            if _expression(where) is None and not _FIELD_NAME.fullmatch(where):
                raise unfit(
                    name,
                    stored(
                        "fields.{meaning} is no field name and no JMESPath: {where}.",
                        meaning=meaning,
                        where=repr(where),
                    ),
                )
        self._redirects: tuple[str, ...] = tuple(settings.get("redirects") or ())
        self._headers = {
            "fields": json.dumps({**USUAL, **fields}),
            "honeypot": settings.get("honeypot") or "",
            "region": settings.get("region") or "",
        }

    def raw(self, dedupe_key: str, body: bytes, content_type: str) -> Raw:
        """What the door received, together with the mapping that reads it, so that parsing needs nothing else."""
        return Raw(dedupe_key, body, content_type, self._headers)

    def redirect(self, target: str) -> str:
        """`target` when a browser may be sent there, else "". Same origin and path prefix as a `redirects` entry."""
        if not target.isprintable() or "\\" in target:
            return ""
        try:
            wanted = urlsplit(target)
            for allowed in map(urlsplit, self._redirects):
                same = (wanted.scheme, wanted.netloc) == (allowed.scheme, allowed.netloc)
                if same and wanted.scheme in ("http", "https") and _within(wanted.path, allowed.path):
                    return target
        except ValueError:
            return ""
        return ""

    @staticmethod
    def parse(raw: Raw) -> Inbound:
        """The answers as a message. JSON, urlencoded and multipart bodies are understood. Raises Unreadable."""
        answers, files = _read(raw)
        mapping: dict[str, str] = json.loads(raw.headers.get("fields") or "{}") or USUAL
        found = {meaning: _shown(_find(answers, where)) for meaning, where in mapping.items()}
        trap = raw.headers.get("honeypot", "")
        fields = {storable(name): _shown(value) for name, value in answers.items() if name not in (trap, *FOR_THE_DOOR)}
        points = _claims(found.get("email", ""), found.get("phone", ""), raw.headers.get("region", ""))
        text = found.get("text", "") or "\n".join(f"{name}: {value}" for name, value in fields.items() if value)
        return Inbound(
            Sender(points or (_nobody(raw),), line(found.get("name", ""))[:MAX_LINE]),
            text,
            subject=line(found.get("subject", ""))[:MAX_LINE],
            files=files,
            fields=fields,
            automatic="spam" if trap and _shown(answers.get(trap)).strip() else "",
            flags=(() if points else ("no_address",)) + (() if text.strip() or files else ("empty",)),
        )

    def send(self, message: Outbound) -> Accepted:
        """Always raises SendFailed: whoever filled in a form is answered on another channel."""
        raise SendFailed(N_("A form has no way back; reply by e-mail."), permanent=True)


def _within(path: str, allowed: str) -> bool:
    if ".." in path.split("/") or "%2e" in path.lower():
        return False
    folder = allowed if allowed.endswith("/") else f"{allowed}/"
    return path.rstrip("/") == allowed.rstrip("/") or path.startswith(folder)


def _claims(email: str, number: str, region: str) -> tuple[ContactPoint, ...]:
    points = []
    address = normalised(email)
    if address and len(address) <= 320:
        points.append(ContactPoint("email", address, Strength.CLAIMED, line(email)))
    if len(number) <= 60 and (value := phone.normalise(number, region)):
        points.append(ContactPoint("phone", value, Strength.CLAIMED, line(number)))
    return tuple(points)


def _nobody(raw: Raw) -> ContactPoint:
    """Whoever left no address is only known by this one submission."""
    return ContactPoint("external", f"form:{raw.dedupe_key}"[:320], Strength.COOKIE)


@lru_cache(maxsize=512)
def _expression(where: str) -> ParsedResult | None:
    try:
        return jmespath.compile(where)
    except JMESPathError:
        return None


def _find(answers: Answers, where: str) -> Any:
    if where in answers:
        return answers[where]
    expression = _expression(where)
    if expression is None:
        return None
    try:
        return expression.search(answers)
    except (JMESPathError, RecursionError) as odd:
        raise Unreadable(
            stored(
                "The mapping {where} does not fit these answers; correct it in the form's fields.", where=repr(where)
            )
        ) from odd


def _shown(value: Any) -> str:
    """An answer as text: several choices by commas, anything deeper as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return ", ".join(_shown(each) for each in value)
    try:
        return storable(json.dumps(value, ensure_ascii=False))
    except RecursionError as deep:
        raise Unreadable(N_("The JSON is nested too deeply.")) from deep


def _read(raw: Raw) -> tuple[Answers, tuple[File, ...]]:
    content_type, options = parse_options_header(raw.content_type)
    charset = options.get("charset")
    looks_like_json = raw.body[:64].lstrip().startswith(b"{")
    if content_type == "application/json" or content_type.endswith("+json"):
        return _json(raw.body, charset), ()
    if content_type == "multipart/form-data":
        return _multipart(raw.body, options.get("boundary", ""), charset)
    if content_type == "application/x-www-form-urlencoded" and not looks_like_json:
        return _urlencoded(raw.body, charset), ()
    if looks_like_json:  # a body that calls itself text or a form, as hand-made senders do
        return _json(raw.body, charset), ()
    named = repr(line(content_type) or "nothing named")
    raise Unreadable(stored("A form can't be read as {type}; send JSON or a form post.", type=named))


def _json(body: bytes, charset: str | None) -> Answers:
    try:
        try:
            content = json.loads(body)
        except UnicodeDecodeError:
            content = json.loads(decode(body, charset))
    except json.JSONDecodeError as broken:
        raise Unreadable(
            stored("The JSON breaks off at line {line}, column {column}.", line=broken.lineno, column=broken.colno)
        ) from broken
    except (ValueError, RecursionError) as odd:
        raise Unreadable(N_("The JSON is nested too deeply or holds a number out of range.")) from odd
    if not isinstance(content, dict):
        raise Unreadable(N_("The JSON is no object; send the answers as names with values."))
    if len(content) > MAX_ANSWERS:
        raise Unreadable(stored("The form has more than {most} answers.", most=MAX_ANSWERS))
    return content


def _urlencoded(body: bytes, charset: str | None) -> Answers:
    """Percent escapes are bytes in the page's charset, which `_charset_` names when the header doesn't (HTML 4.10)."""
    try:
        pairs = urlencoded(body, MAX_ANSWERS)
    except ValueError as many:
        raise Unreadable(stored("The form has more than {most} answers.", most=MAX_ANSWERS)) from many
    label = charset or next((value.decode("latin-1") for name, value in pairs if name == b"_charset_"), None)
    return _gathered((decode(name, label), decode(value, label)) for name, value in pairs)


def _multipart(body: bytes, boundary: str, charset: str | None) -> tuple[Answers, tuple[File, ...]]:
    pairs: list[tuple[str, str]] = []
    files: list[File] = []
    try:
        for part, data in parts(body, boundary, MAX_ANSWERS):
            content_type, options = parse_options_header(part.headers.get("content-type", ""))
            if isinstance(part, FilePart):
                if part.filename or data:
                    name = safe_name(part.filename, content_type, len(files) + 1)
                    files.append(File(name, content_type or "application/octet-stream", data))
            else:
                pairs.append((storable(part.name or ""), decode(data, options.get("charset") or charset)))
    except ValueError as broken:
        raise Unreadable(N_("The multipart form is incomplete or has too many parts.")) from broken
    return _gathered(iter(pairs)), tuple(files)


def _gathered(pairs: Iterator[tuple[str, str]]) -> Answers:
    """Names in their order; a name that comes several times (checkboxes) has a list of values."""
    answers: Answers = {}
    for name, value in pairs:
        if name == "_charset_":
            continue
        known = answers.get(name)
        if known is None:
            answers[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            answers[name] = [known, value]
    return answers
