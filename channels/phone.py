"""Phone numbers: what a person typed or a provider sent, as the one E.164 value that identifies the number."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_PUNCTUATION = re.compile(r"[\s.\-/]")
_MEXICO_MOBILE = re.compile(r"\+521([0-9]{10})", re.ASCII)
_BRAZIL_OLD_MOBILE = re.compile(r"\+55([1-9][1-9])([6-9][0-9]{7})", re.ASCII)


@lru_cache(maxsize=16384)
def normalise(text: str, region: str = "") -> str | None:
    """The E.164 form of a number as people write it, or None when it can't be a phone number.

    `region` is the ISO 3166 country of numbers without a country code. A number only needs to be possible, not
    assigned: number plans change faster than libraries. One that works only inside its own area is refused, because
    it would name somebody else in the next town.
    """
    try:
        number = phonenumbers.parse(_current_form(_dialled(text, region)), region or None)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def from_provider(address: str, region: str = "") -> str:
    """The value of a number that a carrier or provider reports, verbatim when it is no E.164 number.

    Providers send E.164 already, so the usual case skips the parser (some 30 µs); short codes and sender names
    ("72345", "BANK") stay as they came.
    """
    if _E164.fullmatch(address):
        return _current_form(address)
    return normalise(address, region) or address


def _dialled(text: str, region: str) -> str:
    """Digits without the punctuation around them; "00" means "+" where no region says what its own prefix is."""
    digits = _PUNCTUATION.sub("", text)
    return "+" + digits[2:] if digits.startswith("00") and not region else digits


def _current_form(number: str) -> str:
    """Numbers as they are dialled today.

    WhatsApp still names Mexican mobiles with the "1" that was abolished in 2019 and old Brazilian mobiles without
    the "9" that was added by 2016; texts and address books have the current form.
    """
    if mexican := _MEXICO_MOBILE.fullmatch(number):
        return f"+52{mexican[1]}"
    if brazilian := _BRAZIL_OLD_MOBILE.fullmatch(number):
        return f"+55{brazilian[1]}9{brazilian[2]}"
    return number
