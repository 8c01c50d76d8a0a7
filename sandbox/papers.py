"""Files that customers attach: a photo and a packing slip, drawn here so that nothing has to be shipped."""

from __future__ import annotations

import struct
import zlib
from functools import cache


@cache
def picture() -> bytes:
    """A small PNG: warm light on a wall (RFC 2083)."""
    width, height = 200, 125
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            glow = max(0.0, 1 - ((x - 100) ** 2 + 2.2 * (y - 38) ** 2) / 8600)
            rows += bytes((int(88 + 160 * glow), int(74 + 126 * glow), int(66 + 70 * glow)))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")


def sheet() -> bytes:
    """A one-page PDF that says what a packing slip says."""
    drawn = b"BT /F1 18 Tf 60 740 Td (Packing slip, order 48213) Tj 0 -30 Td (2 x Polaris pendant, brass) Tj ET"
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(body))
        body += b"%d 0 obj%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + b"xref\n0 6\n0000000000 65535 f \n" + table + end
