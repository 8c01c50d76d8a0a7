"""What keeps a stranger's signed mail from costing more than its size: bounds around dkimpy, which has none.

The library's own reading of white space takes minutes for a line of 200 KB, and a key of 300,000 bits, as a TXT record
can hold, takes days: a reader's process would be ended over it, and the mail left unproved.
"""

from __future__ import annotations

import re

from dkim import canonicalization

MAX_HEAD = 256_000
MAX_LINES = 2000  # of a header
MAX_FIELD = 4096  # of a signature, unfolded
MAX_KEY = 1200  # characters of a key's record: RSA with 4096 bits takes 760, and more need not be read (RFC 8301)
SIGNATURE = re.compile(rb"(?im)^(?:dkim-signature|arc-seal|arc-message-signature)[ \t]*:.*(?:\n[ \t].*)*")


class Relaxed(canonicalization.Relaxed):
    """RFC 6376 3.4.4 with the same result in linear time."""

    @staticmethod
    def canonicalize_body(body: bytes) -> bytes:
        *lines, rest = body.split(b"\r\n")
        stripped = b"\r\n".join([*(line.rstrip(b"\t ") for line in lines), rest])
        whole = canonicalization.strip_trailing_lines(canonicalization.compress_whitespace(stripped))
        return bytes(canonicalization.correct_empty_body(whole))


canonicalization.ALGORITHMS[b"relaxed"] = Relaxed


def head_of(body: bytes, most: int = MAX_HEAD) -> bytes:
    """The header, with bare line feeds."""
    return body[:most].replace(b"\r\n", b"\n").partition(b"\n\n")[0]


def verifiable(body: bytes) -> bool:
    """Whether a mail's header is of a size that the library can be given."""
    head = head_of(body, MAX_HEAD + 2)
    fits = len(head) < MAX_HEAD and head.count(b"\n") < MAX_LINES
    return fits and all(len(found.group()) <= MAX_FIELD for found in SIGNATURE.finditer(head))
