"""Numbers of payment cards made unreadable but for their last four digits, in whatever a message arrives in.

A number counts as a card's when it has 13 to 19 digits, begins as those of the international schemes do (ISO/IEC 7812:
3 to 6; 2200-2204 and 2221-2720 with 16 digits, which keeps out moments written as 20261124100000), is written in one
piece or in groups of three and more with spaces or hyphens between, and passes the Luhn check. Masked bytes are as long
as they were wherever that is possible, so that what is around them still fits.

Files stay as they are, and so does text that is not ASCII-compatible (UTF-16) or encoded twice; of JSON the strings are
looked at as they are written, without their escapes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from email.message import Message
from email.parser import BytesHeaderParser
from io import BytesIO
from urllib.parse import quote_from_bytes, unquote_to_bytes

MOST_DEPTH, MOST_PARTS = 20, 1000
MOST_GROUPS = 6  # of three digits, in 19
FORM = "application/x-www-form-urlencoded"
MOST_HEADER = 256 * 1024  # bytes; what has more before its first empty line is no mail but text
ADDRESSES = (b"From", b"To", b"WaId")  # of Twilio's: numbers of telephones
WHOLE_MAILS = ("email", "body-mime")  # form fields in which SendGrid and Mailgun post a mail as it came
_GAP = rb"(?:[ -]|\xc2\xa0|&nbsp;|&#160;)"
_RUN = re.compile(rb"(?<![0-9A-Za-z+@_.<])[0-9]{3,19}(?:" + _GAP + rb"[0-9]{3,19})*(?![0-9A-Za-z@_]|[.][0-9])")
_GROUP = re.compile(rb"[0-9]+")
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_SUBJECT = re.compile(rb"^subject:.*(?:\r?\n[ \t].*)*", re.IGNORECASE | re.MULTILINE)
_QUOTED = re.compile(rb"=[0-9A-Fa-f]{2}|=[ \t]*\r?\n|.", re.DOTALL)
_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]|\\.)*"|(?<![\w.+-])[2-6][0-9]{12,18}(?![\w.])', re.DOTALL)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+")

Counted = tuple[bytes, int]


def masked(body: bytes, content_type: str) -> Counted:
    """A body as a provider or mailbox hands it over, and how many card numbers were masked in it."""
    head = BytesHeaderParser().parsebytes(b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\n\n")
    kind = head.get_content_type()
    if kind == FORM:
        return _form(body)
    if kind == "application/json" or kind.endswith("+json"):
        return _json(body)
    if kind.startswith("multipart/"):
        return _parts(body, head, 0)
    if kind == "message/rfc822":
        return _mail(body, 0)
    return masked_text(body) if kind.startswith("text/") else (body, 0)


def masked_words(text: str) -> tuple[str, int]:
    """The same for text that is understood already; no character moves."""
    found, count = masked_text(text.encode("utf-8", "surrogatepass"))
    return (found.decode("utf-8", "surrogatepass"), count) if count else (text, 0)


def masked_text(text: bytes) -> Counted:
    """Text in any charset that contains ASCII."""
    places = _digits(text)
    if not places:
        return text, 0
    made = bytearray(text)
    for place in (place for card in places for place in card[:-4]):
        made[place] = ord("*")
    return bytes(made), len(places)


def _digits(text: bytes) -> list[list[int]]:
    """Where the digits of each card number stand."""
    found: list[list[int]] = []
    for run in _RUN.finditer(text):
        groups = [list(range(*group.span())) for group in _GROUP.finditer(text, *run.span())]
        first = 0
        while first < len(groups):
            taken = _card_from(text, groups[first : first + MOST_GROUPS])
            if taken:
                found.append([place for group in groups[first : first + taken] for place in group])
            first += taken or 1
    return found


def _card_from(text: bytes, groups: list[list[int]]) -> int:
    """How many of the first groups make one card number; the longest wins."""
    digits, best = "", 0
    for number, group in enumerate(groups, 1):
        digits += "".join(chr(text[place]) for place in group)
        if len(digits) > 19:
            break
        if len(digits) >= 13 and _begins_like_one(digits) and _passes(digits):
            best = number
    return best


def _begins_like_one(digits: str) -> bool:
    if digits[0] == "2":
        return len(digits) == 16 and ("2200" <= digits[:4] <= "2204" or "2221" <= digits[:4] <= "2720")
    return digits[0] in "3456"


def _passes(digits: str) -> bool:
    """The check that Luhn made (ISO/IEC 7812-1 annex B)."""
    doubled = [int(d) * (1 + at % 2) for at, d in enumerate(reversed(digits))]
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0


def _form(body: bytes) -> Counted:
    total, pairs = 0, body.split(b"&")
    for at, pair in enumerate(pairs):
        name, equals, value = pair.partition(b"=")
        if name in ADDRESSES:
            continue
        told, count = masked_text(unquote_to_bytes(value.replace(b"+", b" ")))
        if count:
            pairs[at] = name + equals + quote_from_bytes(told, safe=" *").replace(" ", "+").encode()
            total += count
    return (b"&".join(pairs), total) if total else (body, 0)


def _json(body: bytes) -> Counted:
    total = 0

    def told(found: re.Match[bytes]) -> bytes:
        nonlocal total
        made, count = masked_text(found[0])
        total += count
        return made if found[0][:1] == b'"' or not count else b'"' + made + b'"'  # a number can't hold asterisks

    made = _STRING_OR_NUMBER.sub(told, body)
    return (made, total) if total else (body, 0)


def _mail(mail: bytes, depth: int) -> Counted:
    """A mail with its subject and its texts; everything else stays to the byte."""
    end = _HEADER_END.search(mail, 0, MOST_HEADER)
    if end is None:
        return masked_text(mail)
    head = mail[: end.end()]
    rest, total = _part(mail[end.end() :], BytesHeaderParser().parsebytes(head), depth)
    subject = _SUBJECT.search(head)
    if subject:
        told, count = masked_text(subject[0])
        head, total = head[: subject.start()] + told + head[subject.end() :], total + count
    return (head + rest, total) if total else (mail, 0)


def _part(body: bytes, fields: Message, depth: int) -> Counted:
    kind = fields.get_content_type()
    if depth > MOST_DEPTH:
        return body, 0
    if kind.startswith("multipart/"):
        return _parts(body, fields, depth)
    coding = str(fields.get("Content-Transfer-Encoding", "")).strip().lower()
    if kind == "message/rfc822":
        return _mail(body, depth + 1) if coding in ("", "7bit", "8bit", "binary") else (body, 0)
    if fields.get_filename() is not None:
        return body, 0
    if fields.get_param("name", header="Content-Disposition") in WHOLE_MAILS:
        return _mail(body, depth + 1)
    if not kind.startswith("text/"):
        return body, 0
    return _CODINGS.get(coding, masked_text)(body)


def _parts(body: bytes, fields: Message, depth: int) -> Counted:
    """Each part between the lines that separate them (RFC 2046 5.1.1)."""
    boundary = fields.get_boundary()
    if not boundary:
        return body, 0
    line = rb"^--" + re.escape(boundary.encode("latin-1", "replace")) + rb"(?:--)?[ \t]*\r?(?:\n|\Z)"
    pieces = re.split(rb"(" + line + rb")", body, maxsplit=MOST_PARTS, flags=re.MULTILINE)
    total = 0
    for at in range(2, len(pieces), 2):
        pieces[at], count = _piece(pieces[at], depth)
        total += count
    return (b"".join(pieces), total) if total else (body, 0)


def _piece(piece: bytes, depth: int) -> Counted:
    if piece.startswith((b"\r\n", b"\n")):  # a part without header fields is text
        return masked_text(piece)
    end = _HEADER_END.search(piece)
    if end is None:
        return piece, 0
    told, count = _part(piece[end.end() :], BytesHeaderParser().parsebytes(piece[: end.end()]), depth + 1)
    return piece[: end.end()] + told, count


def _quoted(text: bytes) -> Counted:
    """Quoted-printable (RFC 2045 6.7): digits may be written =34, and a line may break within a number."""
    if not _digits(binascii.a2b_qp(text)):
        return text, 0
    tokens: list[tuple[int, int]] = []
    plain = bytearray()
    for token in _QUOTED.finditer(text):
        if token[0][-1:] == b"\n" and token[0][:1] == b"=":
            continue
        tokens.append(token.span())
        plain += binascii.unhexlify(token[0][1:]) if len(token[0]) == 3 else token[0]
    cards = _digits(bytes(plain))
    made = bytearray(text)
    for place in (place for card in cards for place in card[:-4]):
        start, end = tokens[place]
        made[start:end] = b"*" if end - start == 1 else b"=2A"
    return (bytes(made), len(cards)) if cards else (text, 0)


def _base64(text: bytes) -> Counted:
    """Base64 (RFC 2045 6.8): the same number of letters in the same lines, where it was written properly."""
    letters = b"".join(_BASE64.findall(text))
    try:
        plain = base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return text, 0
    told, count = masked_text(plain)
    if not count:
        return text, 0
    fresh = BytesIO(base64.b64encode(told))
    return _BASE64.sub(lambda found: fresh.read(len(found[0])), text), count


_CODINGS: dict[str, Callable[[bytes], Counted]] = {"quoted-printable": _quoted, "base64": _base64}
