"""Bytes of a mail to text, whatever the charset label says."""

from __future__ import annotations

import codecs

from charset_normalizer import from_bytes

from channels.text import storable

# Labels found in mail to what their senders mean: the WHATWG encoding names first, then what mailers invent.
# None stands for "says nothing".
ALIASES: dict[str, str | None] = {
    **dict.fromkeys(
        ("us-ascii", "ascii", "ansi-x3.4-1968", "iso-8859-1", "iso8859-1", "latin1", "latin-1", "ansi", "cp-1252"),
        "cp1252",
    ),
    "iso-8859-9": "cp1254",
    **dict.fromkeys(("gb2312", "gbk", "x-gbk", "gb-2312-80", "cp936", "chinese"), "gb18030"),
    **dict.fromkeys(("ks-c-5601-1987", "ks-c-5601", "euc-kr", "ksc5601"), "cp949"),
    **dict.fromkeys(("shift-jis", "sjis", "x-sjis", "ibm-943", "windows-31j"), "cp932"),
    **dict.fromkeys(("iso-2022-jp", "cp50220", "iso-2022-jp-ms"), "iso2022_jp_ext"),
    **dict.fromkeys(("iso-8859-8-i", "iso-8859-8-e"), "iso8859-8"),
    **dict.fromkeys(("iso-8859-6-i", "iso-8859-6-e"), "iso8859-6"),
    **dict.fromkeys(("tis-620", "iso-8859-11", "windows-874"), "cp874"),
    **dict.fromkeys(("big5", "big5-hkscs"), "big5hkscs"),
    **dict.fromkeys(("utf8", "uft-8", "utf-8mb4", "utf8mb4", "unicode-utf-8"), "utf-8"),
    **dict.fromkeys(("x-mac-roman", "macintosh"), "mac-roman"),
    "unicode-1-1-utf-7": "utf-7",
    "unicode": "utf-16",
    "cp-850": "cp850",
    "koi8-ru": "koi8-u",
    **dict.fromkeys(
        ("x-unknown", "unknown", "unknown-8bit", "8bit", "default", "x-user-defined", "binary", "none"), None
    ),
}
# Codecs of Python that are no charset, or that compute instead of decoding.
REFUSED = frozenset(
    ("base64", "hex", "quopri", "rot-13", "bz2", "zlib", "uu", "idna", "punycode", "charmap")
) | frozenset(
    ("mbcs", "oem", "undefined", "unicode_escape", "unicode-escape", "raw_unicode_escape", "raw-unicode-escape")
)
LATIN = frozenset(("cp1252", "cp1254", "iso8859-15", "cp437", "cp850"))
GUESS_FROM = 64  # with fewer bytes a statistical guess is worse than cp1252
GUESS_BYTES = 20_000


def codec_name(label: str | None) -> str | None:
    """Python's codec for a charset label as mailers write it, or None where it names nothing usable."""
    if not label:
        return None
    cleaned = label.strip().strip("\"'").lower().split("*")[0].replace("_", "-").strip()
    if cleaned in ALIASES:
        return ALIASES[cleaned]
    try:
        name = codecs.lookup(cleaned).name
    except (LookupError, ValueError, UnicodeError):
        return None
    return None if name in REFUSED else name


def decode(data: bytes, label: str | None = None, *, guess: bool = True) -> str:
    """The text in `data`: by its label, unless the bytes prove the label wrong. Never raises.

    Without NUL bytes and lone surrogates, so that any database and JSON can hold it.
    """
    return storable(_decoded(data, codec_name(label), guess))


def _decoded(data: bytes, codec: str | None, guess: bool) -> str:
    sniffed = _sniff(data, codec)
    if sniffed is not None:
        return sniffed
    if codec and codec != "utf-8":
        strict = _try(data, codec)
        if strict is not None:
            return strict
        strict = _try(data, "utf-8")
        if strict is not None:
            return strict
    if codec and codec not in LATIN:
        lossy = data.decode(codec, "replace")
        if _is_mostly_right(lossy, codec):
            return lossy
    if guess and len(data) >= GUESS_FROM:
        best = from_bytes(data[:GUESS_BYTES]).best()
        if best is not None:
            return data.decode(best.encoding, "replace")
    return data.decode("cp1252", "replace")


def _is_mostly_right(lossy: str, codec: str) -> bool:
    """Did a label that is wrong for some bytes still read the others?"""
    broken = lossy.count("\ufffd")
    if codec == "utf-8":  # a handful of Latin-1 letters under this label would otherwise pass for damage
        return broken <= sum(not each.isascii() for each in lossy) - broken
    return broken <= max(2, len(lossy) // 50)


def _sniff(data: bytes, codec: str | None) -> str | None:
    """Text whose bytes speak for themselves under a label that says little: ASCII, ISO-2022-JP escapes, UTF-8."""
    if codec is not None and codec != "utf-8" and codec not in LATIN:
        return None
    if data.isascii():
        if b"\x1b$" in data or b"\x1b(" in data:
            return _try(data, "iso2022_jp_ext") or data.decode("ascii")
        return data.decode("ascii")
    return _try(data, "utf-8")


def _try(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except (UnicodeError, LookupError, ValueError):
        return None
