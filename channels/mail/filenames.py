"""Names and types of attachments that are safe to show, to save under and to put into a header."""

from __future__ import annotations

import mimetypes
import re
from pathlib import PurePosixPath

from channels.mail.headers import line

MAX_BYTES = 150
PLAIN_BYTES = "application/octet-stream"
CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+\-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+\-]{0,60}")
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def safe_name(written: str, content_type: str = "", number: int = 1) -> str:
    """A base name of at most 150 bytes of UTF-8 without path, control, bidirectional or shell-hostile characters.

    `part-<number>` with an extension that fits `content_type` where nothing is left of what was written.
    """
    name = PurePosixPath(line(written).replace("\\", "/").rstrip("/")).name
    name = re.sub(r'[<>:"|?*]', "_", name).strip(" .")
    name = name.encode("utf-8", "replace").decode()
    if not name:
        return f"part-{number}{mimetypes.guess_extension(content_type) or '.bin'}"
    if RESERVED.match(name):
        name = f"_{name}"
    return _shortened(name)


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > 20:
        stem, extension = name, ""
    room = MAX_BYTES - len(extension.encode()) - len(dot)
    return stem.encode()[:room].decode("utf-8", "ignore") + (dot + extension if extension else "")


def guessed_type(name: str) -> str:
    """The content type that a file's name promises."""
    return mimetypes.guess_type(name)[0] or PLAIN_BYTES


def safe_type(written: str) -> str:
    """A content type without parameters, or plain bytes where it isn't one (RFC 6838 section 4.2)."""
    kind = written.lower()
    return kind if CONTENT_TYPE.fullmatch(kind) else PLAIN_BYTES
