"""What checks of the desk find and what a change does to it, told to whoever edits it in Settings."""

from __future__ import annotations

from config.retold import retold
from hub.deskchange import thing
from hub.rulecheck import Finding


def told_finding(finding: Finding) -> str:
    """A finding as a sentence of its own."""
    place = f", {finding.path}" if finding.path else ""
    return f"{begun(thing(finding.what))}{place}: {retold(finding.sentence)}"


def begun(sentence: str) -> str:
    """With a capital, as a sentence begins."""
    return sentence[:1].upper() + sentence[1:]
