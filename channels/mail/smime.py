"""What lies in an S/MIME packet (RFC 8551 3): the mail that was signed, inside of its signature (CMS, RFC 5652).

The packet is BER, of which mail programs use all forms: lengths that are left open, and content cut into pieces.
Signatures are not judged: they prove somebody only to whoever has chosen whom to trust.
"""

from __future__ import annotations

from contextlib import suppress

SEQUENCE, SET, INTEGER, OCTETS, CONTENT = 0x30, 0x31, 0x02, 0x04, 0xA0
PIECES = 0x24  # octets in pieces
OID = 0x06
DATA = bytes.fromhex("2a864886f70d010701")
SIGNED = bytes.fromhex("2a864886f70d010702")
MAX_DEPTH = 8
MAX_PIECES = 200_000  # programs cut at a thousand bytes and more


def signed_content(packet: bytes) -> bytes | None:
    """The mail that was signed, as far as it arrived.

    None where the packet is encrypted, is a signature alone, or makes no sense.
    """
    try:
        reader = _Reader(packet)
        reader.enter(SEQUENCE)
        if reader.octets(OID) != SIGNED:
            return None
        for tag in (CONTENT, SEQUENCE):
            reader.enter(tag)
        reader.skip(INTEGER)  # version
        reader.skip(SET)  # digest algorithms
        reader.enter(SEQUENCE)
        if reader.octets(OID) != DATA:
            return None
        reader.enter(CONTENT)
        return reader.content() or None
    except (ValueError, IndexError):
        return None


class _Reader:
    """Elements one after the other (X.690 8); what follows the one that is wanted is never looked at."""

    def __init__(self, data: bytes):
        self._data = data
        self._at = 0
        self._pieces = 0

    def enter(self, tag: int) -> None:
        """Go into a constructed element."""
        self._header(tag)

    def octets(self, tag: int) -> bytes:
        """A primitive element."""
        length = self._header(tag)
        if length is None:
            raise ValueError("a primitive element without a length")
        self._at += length
        return self._data[self._at - length : self._at]

    def skip(self, tag: int) -> None:
        """Step over an element."""
        length = self._header(tag)
        if length is not None:
            self._at += length
        else:
            self._skip_open(MAX_DEPTH)

    def content(self) -> bytes:
        """Octets, in one or in pieces."""
        found: list[bytes] = []
        with suppress(IndexError):  # the rest was cut off
            self._collect(found, MAX_DEPTH)
        return b"".join(found)

    def _collect(self, found: list[bytes], depth: int) -> None:
        self._pieces += 1
        if not depth or self._pieces > MAX_PIECES:
            raise ValueError("cut into too many pieces")
        if self._data[self._at] == OCTETS:
            found.append(self.octets(OCTETS))
            return
        length = self._header(PIECES)
        end = None if length is None else self._at + length
        while not self._ended(end):
            self._collect(found, depth - 1)

    def _skip_open(self, depth: int) -> None:
        while not self._ended(None):
            self._pieces += 1
            if not depth or self._pieces > MAX_PIECES:
                raise ValueError("nested too deeply")
            length = self._header(self._data[self._at])
            if length is None:
                self._skip_open(depth - 1)
            else:
                self._at += length

    def _ended(self, end: int | None) -> bool:
        """Whether the element is over; one of open length ends with two zeros."""
        if end is not None:
            return self._at >= end
        if self._data[self._at] or self._data[self._at + 1]:
            return False
        self._at += 2
        return True

    def _header(self, tag: int) -> int | None:
        """Past tag and length; None for a length that is left open. Raises ValueError on another tag."""
        if self._data[self._at] != tag:
            raise ValueError("another element")
        length = self._data[self._at + 1]
        self._at += 2
        if length == 0x80:
            if not tag & 0x20:
                raise ValueError("a primitive element without a length")
            return None
        if length > 0x80:
            count = length & 0x7F
            if count > 4:
                raise ValueError("longer than any mail")
            length = int.from_bytes(self._data[self._at : self._at + count], "big")
            self._at += count
        return length
