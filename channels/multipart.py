"""Bodies of HTML forms taken apart to the byte: urlencoded (WHATWG URL 5.1) and multipart/form-data (RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData


def urlencoded(body: bytes, most: int) -> list[tuple[bytes, bytes]]:
    """Names and values in their order, percent escapes resolved to bytes. Raises ValueError beyond `most`."""
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=most)
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def parts(body: bytes, boundary: str, most: int) -> Iterator[tuple[Field | File, bytes]]:
    """Each part with its bytes, as far as the body is whole. Raises ValueError when broken or beyond `most`."""
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), max_parts=most)
    decoder.receive_data(body)
    decoder.receive_data(None)
    part: Field | File | None = None
    data = bytearray()
    while not isinstance(event := decoder.next_event(), Epilogue | NeedData):
        if isinstance(event, Field | File):
            part, data = event, bytearray()
        elif isinstance(event, Data) and part is not None:
            data += event.data
            if not event.more_data:
                yield part, bytes(data)
