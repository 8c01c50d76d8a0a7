"""Which language a mail is written in: a guess that abstains rather than be wrong."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

# Told apart unless a site names fewer: among more of them short texts are taken for rare languages.
USUAL = "ar bg cs da de el en es et fi fr he hr hu it ja ko lt lv nl no pl pt ro ru sk sl sv tr uk vi zh"
MIN_LETTERS = 12
ENOUGH = 0.7  # probability
MAX_CHARS = 300  # more makes it slower and no surer
DIGITS = re.compile(r"\d+")


def language_of(text: str, known: str = "") -> str:
    """ISO 639-1 of one of the `known` languages (codes with blanks between), or "" where nothing is likely."""
    named = (each for each in text[:MAX_CHARS].split() if "@" not in each and "://" not in each)
    words = DIGITS.sub(" ", " ".join(named))
    # Ideographs and syllables say more than letters do.
    if sum(map(str.isalpha, words)) < MIN_LETTERS and sum(map(_is_syllable, words)) * 3 < MIN_LETTERS:
        return ""
    code, likely = _identifier(known or USUAL).classify(words)
    return str(code) if likely >= ENOUGH else ""


def _is_syllable(sign: str) -> bool:
    return sign > "\u2e80" and sign.isalpha()


@cache
def _identifier(known: str) -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    codes = set(known.replace(",", " ").lower().split()) & set(identifier.labels)
    identifier.set_languages(sorted(codes or USUAL.split()))
    # Every mail gathers some hundred rows of it, which lie apart in memory as it was loaded.
    identifier.nb_ptc = np.ascontiguousarray(identifier.nb_ptc, dtype=np.float32)
    return identifier
