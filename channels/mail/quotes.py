"""Where a reply ends, and its signature and the quoted history begin, in some twenty languages."""

from __future__ import annotations

import re
from typing import NamedTuple

from channels.mail import quotewords as words

MAX_CHARS = 64_000
MAX_LINES = 1_500
MAX_LINE = 500
MAX_INTRO = 600
MAX_ADDRESSES = 6
MAX_WORD = 150
CLOSING_ROOM = 8

# Every pattern is applied to short lines and must stay linear on runs of blanks, dashes and words: no two
# neighbouring repetitions may match the same text.
RULES = "-_=—–*~"
ORIGINAL = re.compile(words.ORIGINAL, re.IGNORECASE)
ON_WROTE_RULED = re.compile(r"^\s*-+ ?on .{4,80} wrote ?-+\s*$", re.IGNORECASE)
FORWARDED = re.compile(words.FORWARDED, re.IGNORECASE)
WORD = re.compile(r"[^\W_]")
VERB = re.compile(words.WROTE, re.I)
INTRO = re.compile(
    rf"^[\s>*_]*(?:{words.ON}).{{0,400}}?(?:{words.WROTE})[\s\S]{{0,90}}?[:：]\s*[*_]*\s*(?:>.*)?$", re.I
)
INTRO_END = re.compile(rf"^[\s>*_]*[^:\n]{{0,300}}?(?:\d|@).{{0,300}}?(?:{words.WROTE})\s*[:：]?\s*-*\s*$", re.I)
DATED = re.compile(
    rf"^[\s>*_]*(?:\w{{2,12}}\.?,? )?(?:\w{{2,6}} )?(?:{words.DATE}).{{0,200}}?"
    rf"[<(\[]\s*(?:mailto:)?\S+@\S+\s*[>)\]].{{0,30}}[:：]\s*$"
    rf"|^[\s>*_]*(?:\w{{2,12}}\.?,? )?(?:\w{{2,6}} )?(?:{words.DATE}).{{0,200}}?\S+@\S+[:：]\s*$"
    rf"|^[\s>*_]*(?:{words.ON}).{{0,200}}(?:{words.DATE}).{{0,200}}[<]\S+@\S+[>]\s*(?:{words.WROTE})\s*$",
    re.I,
)
QUOTE_BEHIND = re.compile(r"[:：][ *_]*>")
TRACE = re.compile(r"\d|@")  # of a date or an address
SENTENCE = re.compile(r"[.!?] [A-Z]")
DELIMITER = re.compile(r"^\s*(?:--|—|––|_{2,3}|-- ?)\s*$")
SENT_FROM = re.compile(rf"^\W*(?:{words.SENT_FROM})", re.I)
CLOSING = re.compile(rf"^(?:{words.CLOSING})\W{{0,3}}$", re.I)
QUOTED = re.compile(r"^\s*(?:[A-Za-z]{0,3}>|\|)")
RULE = re.compile(r"^[\s_\-=*]{5,}$")
ODD_SPACES = str.maketrans({"\xa0": " ", "\u202f": " ", "\u2009": " ", "\u200b": "", "\ufeff": "", "\r": ""})


def _label(names: str) -> re.Pattern[str]:
    return re.compile(rf"^[\s>*_|]*(?:{names})\s{{0,3}}[*_]{{0,4}}\s{{0,3}}[:：]", re.I)


FROM, SENT, TO, SUBJECT = map(_label, (words.FROM, words.SENT, words.TO, words.SUBJECT))


class Cut(NamedTuple):
    """Offsets in a text: `signature` begins there (None without one), `quoted` history there (len(text) without).

    What is new stands before both; a signature reaches up to the history.
    """

    signature: int | None
    quoted: int

    @property
    def new(self) -> int:
        """Where what is new ends."""
        return self.quoted if self.signature is None else self.signature


def cut(text: str) -> Cut:
    """Find what a reply carries along. Looks at the first 64,000 characters and 1,500 lines.

    Never leaves nothing to read, never cuts a forwarded mail.
    """
    starts, lines = _lines(text)
    history = _history(lines)
    if any(is_forwarding(each) for each in lines[: history + 1]):
        return Cut(None, len(text))
    end = _without_tail(lines, history)
    signature = _without_tail(lines, _without_signature(lines, end))
    if not any(_is_new(each) for each in lines[:signature]):
        return Cut(None, len(text))
    quoted = starts[end] if end < len(lines) and any(map(str.strip, lines[end:])) else len(text)
    return Cut(starts[signature] if signature < end else None, quoted)


def _lines(text: str) -> tuple[list[int], list[str]]:
    starts, lines, position = [], [], 0
    for each in text[:MAX_CHARS].split("\n")[:MAX_LINES]:
        starts.append(position)
        plain = each.isascii() and "\r" not in each
        lines.append(each[:MAX_LINE] if plain else each[:MAX_LINE].translate(ODD_SPACES))
        position += len(each) + 1
    return starts, lines


def _is_new(content: str) -> bool:
    return bool(content.strip()) and not content.lstrip().startswith(">")


def _history(lines: list[str]) -> int:
    """The first line that introduces history to the end of the mail, or the number of lines."""
    number = 0
    while number < len(lines):
        if not _is_new(lines[number]):
            number += 1
            continue
        if _is_ruled_title(lines[number]) or _is_header_block(lines, number):
            return number
        length = intro(lines, number)
        if length:
            after = _after_quote(lines, number, number + length)
            if after is None:
                return number
            number = after
            continue
        number += 1
    return number


def _after_quote(lines: list[str], intro: int, number: int) -> int | None:
    """Where to read on after an introduced quote; None when nothing of the sender's follows it."""
    while number < len(lines) and not lines[number].strip():
        number += 1
    if number == len(lines) or not QUOTED.match(lines[number]):
        return None
    while number < len(lines) and (QUOTED.match(lines[number]) or not lines[number].strip()):
        number += 1
    rest = [each for each in lines[number:] if each.strip()]
    if not rest or DELIMITER.match(rest[0]) or re.match(r"^\s*_{5,}", rest[0]):
        return None
    before = [each for each in lines[:intro] if each.strip() and not each.rstrip().endswith(",")]
    interleaved = any(each.lstrip().startswith(">") for each in rest)
    short = len(rest) <= 3 and sum(map(len, rest)) < 80  # a name or a footer below the quote, not an answer
    if before and (short or (not interleaved and len(rest) <= 2 and len(before) > 2)):
        return None
    return number


def lines_of(text: str) -> list[str]:
    """The lines that are looked at, with ordinary spaces."""
    return _lines(text)[1]


def _is_ruled_title(content: str) -> bool:
    """ "----- Original message -----" in any language, or a ruler before it alone."""
    title = _first_words(ORIGINAL, content)
    if title is None:
        return bool(ON_WROTE_RULED.match(content))
    before, after = content[: title.start()], content[title.end() :]
    if WORD.search(after):
        return False
    left, right = (sum(each in RULES for each in side) for side in (before, after))
    return (left >= 2 and right >= 2) or (left >= 3 and after.strip() in ("", ":"))


def is_forwarding(content: str) -> bool:
    """Does this line say that a forwarded mail begins, in any language?"""
    return _first_words(FORWARDED, content) is not None


def _first_words(pattern: re.Pattern[str], content: str) -> re.Match[str] | None:
    """The pattern where the words of a line begin: looking for it everywhere would cost the most of all."""
    first = WORD.search(content)
    return pattern.match(content, first.start()) if first else None


def _is_header_block(lines: list[str], number: int) -> bool:
    """Do From, Date, To and Subject labels of a quoted mail stand here, close together?"""
    first = lines[number]
    if not (FROM.match(first) or SENT.match(first)):
        return False
    seen, blank = set(), 0
    for each in lines[number : number + 9]:
        blank += not each.strip()
        if blank > 2:
            break
        seen |= {name for name, label in zip("fsto", (FROM, SENT, TO, SUBJECT), strict=True) if label.match(each)}
    return "f" in seen and (len(seen) >= 3 or (bool(FROM.match(first)) and "s" in seen))


def intro(lines: list[str], number: int) -> int:
    """How many lines from here on say "On ... wrote:", 0 when they don't. Mailers wrap it over up to four."""
    joined = ""
    for length, each in enumerate(lines[number : number + 4], start=1):
        if not each.strip():
            break
        joined = " ".join(words := f"{joined} {each.strip(' >')}".split())
        longest = max(map(len, words), default=0)  # a line may hold nothing but marks of quoting
        if len(joined) > MAX_INTRO or joined.count("@") > MAX_ADDRESSES or longest > MAX_WORD:
            break  # and the patterns below would take cubic time
        if not (TRACE.search(joined) and _ends_like_intro(joined)):
            continue
        if DATED.match(joined) and not SENTENCE.search(joined):
            return length
        if not VERB.search(joined):
            continue
        if INTRO.match(joined):
            return length
        if length == 1 and joined.rstrip(" -").endswith((":", "：")) and INTRO_END.match(joined):
            return length
    return 0


def _ends_like_intro(joined: str) -> bool:
    """A cheap look at the end, because the patterns are dear and most lines end otherwise."""
    if joined.rstrip(" *_-").endswith((":", "：")):
        return True
    return bool(QUOTE_BEHIND.search(joined) or VERB.search(joined[-40:]))


def _without_tail(lines: list[str], end: int) -> int:
    """Without quoted and blank lines and rulers at the end."""
    while end and (not _is_new(lines[end - 1]) or RULE.match(lines[end - 1])):
        end -= 1
    return end


def _without_signature(lines: list[str], end: int) -> int:
    for number in range(1, end):
        room = _signature_room(lines[number])
        if not room:
            continue
        below = [each for each in lines[number + 1 : end] if each.strip()]
        if len(below) <= room and not (room == CLOSING_ROOM and any(len(each) > 90 for each in below)):
            return number
    return end


def _signature_room(content: str) -> int:
    """How many lines may follow for this line to begin a signature; 0 when it doesn't begin one."""
    if DELIMITER.match(content):
        return 15
    if SENT_FROM.match(content):
        return 3
    return CLOSING_ROOM if CLOSING.match(content.strip()) else 0
