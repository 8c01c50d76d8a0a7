"""Names that look like other names: domains a reader would take for one he trusts, people written with other letters.

The look of a text is its skeleton, in the manner of Unicode TS 39: texts that are confused have the same one.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import idna
from publicsuffix2 import get_sld

# From Unicode's confusables.txt what looks like one Latin letter, as far as a domain can carry it (IDNA 2008).
LOWER = {
    "a": "ɑαаᎪᗅꓮ", "b": "ᏏᏴᑲᖯᗷꓐ", "c": "сᏟᴄⲥꓚ", "d": "ԁᎠᏧᑯᗞᗪꓒꓓ", "e": "еҽᎬꓰꬲ", "f": "քᖴẝꓝꞙꬵ", "g": "ƍɡցᏀᏳᶃꓖ",
    "h": "һհᎻᏂᕼꓧ", "i": "ıɩɪιіӏᎥꙇ", "j": "ϳјᎫᒍꓙ", "k": "Ꮶꓗĸк", "l": "ǀᏞᒪꓡꓲł", "m": "Ꮇᗰꓟ", "n": "ոռꓠ",
    "o": "οσоօဝ၀ჿዐᴏᴑⲟ〇ꓳꬽø", "p": "ρрᏢᑭⲣꓑ", "q": "ԛգզ", "r": "гᎡᏒᖇᴦⲅꓣꭇꭈ", "s": "ƽѕᏕᏚꓢꜱ", "t": "Ꭲꓔ",
    "u": "ʋυսሀᑌᴜꓴꞟꭎꭒ", "v": "νѵᏙᐯᴠꓦ", "w": "ɯѡԝաᎳᏔᴡꓪ", "x": "хᕁᕽꓫ", "y": "ɣʏγуүყᎩᎽᶌỿꓬꭚ", "z": "Ꮓᴢꓜ",
}  # fmt: skip
UPPER = {
    "a": "ΑА", "b": "ΒВЬ", "c": "ϹС", "e": "ΕЕ", "g": "Ԍ", "h": "ΗН", "i": "ΙІ", "j": "ͿЈ", "k": "ΚК", "m": "ΜϺМ",
    "n": "Ν", "o": "ΟОՕ", "p": "ΡР", "s": "ЅՏ", "t": "ΤТ", "u": "Ս", "v": "Ѵ", "w": "Ԝ", "x": "ΧХ", "y": "ΥУҮ",
    "z": "Ζ",
}  # fmt: skip
LETTERS = {sign: letter for table in (LOWER, UPPER) for letter, signs in table.items() for sign in signs}
FOLDED = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l"})
PAIRS = (("rn", "m"), ("vv", "w"))
ONE_EDIT_FROM = 5  # letters of a name: of shorter ones too many differ in a single letter
OTHER_ENDING_FROM = 4
# Mailbox providers under several endings or one letter apart: all of them are what they seem.
PROVIDERS = frozenset(
    f"{name}.{ending}"
    for names, endings in (
        (
            ("hotmail", "live", "outlook", "yahoo"),
            ("at", "be", "ca", "ch", "co.uk", "com", "de", "dk", "es", "fr", "it"),
        ),
        (("hotmail", "live", "outlook", "yahoo"), ("co.in", "co.jp", "com.au", "com.br", "ie", "nl", "no", "pt", "se")),
        (("gmail", "googlemail", "ymail", "mail", "email", "icloud", "protonmail", "yandex", "aol", "gmx"), ("com",)),
        (("gmx",), ("at", "ch", "de", "net")),
        (("mail", "yandex"), ("ru",)),
        (("aol", "posteo", "web"), ("de",)),
        (("posteo",), ("net",)),
        (("proton",), ("me",)),
    )
    for name in names
    for ending in endings
)
NAME_ENDS = re.compile(r"[(|/\[<@]| [-–—] | via ", re.I)  # what follows the name: a firm, a department
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]{3,}")  # scripts that write a full name as one word


def skeleton(content: str) -> str:
    """Equal for what looks equal: accents, other alphabets' twins, 0 and o, 1 and l and i, rn and m."""
    if not content.isascii():
        content = "".join(map(_letter, unicodedata.normalize("NFKC", content)))
    plain = content.casefold().translate(FOLDED)
    for seen, meant in PAIRS:
        plain = plain.replace(seen, meant)
    return plain


@lru_cache(10_000)
def looks_like(domain: str, known: str) -> bool:
    """Whether a domain could be taken for a known one of other people: twins, one edit, another ending, a prefix.

    Both as in mail, lower case and IDNA. A domain never looks like its own subdomains.
    """
    one, other = registrable(domain), registrable(known)
    if not one or not other or one == other or one in PROVIDERS:
        return False
    if _dotted(domain).startswith(f"{_dotted(other)}."):
        return True  # desk.example.evil.net, desk-example.net
    (name, _, ending), (own, _, own_ending) = (shown(each).partition(".") for each in (one, other))
    if skeleton(name) == skeleton(own):
        return ending == own_ending or len(own) >= OTHER_ENDING_FROM
    slipped = one_edit(name, own) or one_edit(skeleton(name), skeleton(own))
    return slipped and ending == own_ending and len(own) >= ONE_EDIT_FROM


@lru_cache(10_000)
def registrable(domain: str) -> str:
    """The part that somebody owns: example.co.uk of mail.example.co.uk; of unknown endings the last two labels."""
    domain = domain.strip(".").lower()
    found = get_sld(domain) or ""
    return str(found) if "." in found else ".".join(domain.split(".")[-2:]) if "." in domain else ""


def shown(domain: str) -> str:
    """As a mail program shows it: punycode decoded where that is possible."""
    labels = []
    if "xn--" not in domain:
        return domain.lower()
    for label in domain.lower().split("."):
        try:
            labels.append(idna.decode(label) if label.startswith("xn--") else label)
        except (idna.IDNAError, UnicodeError):
            labels.append(label)
    return ".".join(labels)


def one_edit(one: str, other: str) -> bool:
    """Whether a letter too many, too few, another one, or two that changed places make one word of the other."""
    if abs(len(one) - len(other)) > 1 or one == other:
        return False
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def names_of(displayed: str) -> frozenset[tuple[str, ...]]:
    """A person's full name in comparable forms: any order of words, any case, without initials and additions.

    Empty for less than a full name: a first name is nobody's alone.
    """
    bare = NAME_ENDS.split(displayed.strip(), maxsplit=1)[0]
    first = bare.partition(",")[0]
    bare = first if " " in first.strip() else bare  # "Mara Lindqvist, Lamps Ltd", but not "Lindqvist, Mara"
    forms = (re.findall(r"\w+", skeleton(each)) for each in (bare, bare.casefold()))
    words = (sorted(word for word in form if len(word) > 1) for form in forms)
    return frozenset(tuple(form) for form in words if len(form) > 1 or (form and UNSPACED.fullmatch(form[0])))


def _letter(sign: str) -> str:
    if sign in LETTERS:
        return LETTERS[sign]
    bare = (each for each in unicodedata.normalize("NFD", sign) if unicodedata.category(each) not in ("Mn", "Cf"))
    return "".join(LETTERS.get(each, each) for each in bare)


def _dotted(domain: str) -> str:
    return skeleton(shown(domain)).replace("-", ".")
