"""What Outlook packs into winmail.dat (MS-OXTNEF): a text and files."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass

from tnefparse import TNEF

from channels.base import File
from channels.mail.charset import decode
from channels.mail.filenames import PLAIN_BYTES, guessed_type, safe_name

SIGNATURE = struct.pack("<I", 0x223E9F78)
OBJECT = struct.Struct("<BIi")  # level, attribute, length; the data and two bytes of checksum follow
COUNTED = (0x9003, 0x9004, 0x9005)  # attributes that begin with how many properties they have
MAX_OBJECTS = 1000  # the library copies the rest of the file for each
MAX_PROPERTIES = 5000
MAX_FILES = 100

logging.getLogger("tnefparse").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Opened:
    """The contents; `text` and `html` are empty where there are none."""

    text: str
    html: str
    files: tuple[File, ...]


def opened(data: bytes) -> Opened | None:
    """Take it apart, or None where that can't be done or nothing is found: it stays a file then."""
    if not data.startswith(SIGNATURE) or not _is_walkable(data):
        return None
    try:
        tnef = TNEF(data, do_checksum=False)
        files = tuple(_file(each, number) for number, each in enumerate(tnef.attachments[:MAX_FILES], 1) if each.data)
        found = Opened(_text(tnef.body), _text(tnef.htmlbody), files)
        return found if found.text.strip() or found.html.strip() or found.files else None
    except Exception:  # of seven kinds and more: the library trusts its input
        return None


def _is_walkable(data: bytes) -> bool:
    """Few enough objects, each with a length that leads on."""
    at, count = 6, 0
    while at + OBJECT.size < len(data):
        _, attribute, length = OBJECT.unpack_from(data, at)
        start = at + OBJECT.size
        if not 0 <= length <= len(data) - start or count > MAX_OBJECTS:
            return False
        if attribute & 0xFFFF in COUNTED and int.from_bytes(data[start : start + 4], "little") > MAX_PROPERTIES:
            return False
        at, count = start + length + 2, count + 1
    return count > 0


def _text(body: object) -> str:
    while isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, bytes):
        return decode(body.rstrip(b"\x00"))
    return body.replace("\x00", "").encode("utf-8", "replace").decode() if isinstance(body, str) else ""


def _file(attachment: object, number: int) -> File:
    data = getattr(attachment, "data", b"")
    try:
        written = attachment.long_filename()  # type: ignore[attr-defined]
    except Exception:  # a name in a codepage that it isn't in
        written = ""
    name = safe_name(_text(written), PLAIN_BYTES, number)
    return File(name, guessed_type(name), data if isinstance(data, bytes) else bytes(str(data), "utf-8", "replace"))
