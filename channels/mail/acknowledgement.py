"""What a customer is told at once when a matter begins: an account's own words, with a few names filled in.

Whoever sends a mail or fills in a form chooses where the answer goes and, by name and subject, what stands in it. So
that nobody can send others his advertisement through us, what looks like an address of the web is never repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from channels.base import Settings
from channels.mail.headers import line
from channels.settings import unfit
from config.language import N_
from config.retold import stored

KEYS = ("acknowledge", "acknowledge_subject", "acknowledge_by")
SUBJECT = "Auto: {subject} [#{ticket}]"  # RFC 3834 3.1.5
VARIABLES = ("ticket", "name", "first_name", "subject")
VARIABLE = re.compile(r" ?\{(\w*)\}")
LINK = re.compile(r"://|www\.|@|[^\W\d_][\w\-]*\.[^\W\d_]{2,}", re.I)
DIGIT = re.compile(r"\d")  # a telephone number is no name
MAX_NAME, MAX_SUBJECT = 60, 120


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The words; `by` names the mail channel that sends them where it is another one."""

    text: str
    subject: str = SUBJECT
    by: str = ""

    def filled(self, ticket: int, name: str, subject: str) -> tuple[str, str]:
        """Subject and text for one matter. A name that is missing takes the blank before it along."""
        name = "" if DIGIT.search(name) else _harmless(name, MAX_NAME)
        values = {
            "ticket": str(ticket),
            "name": name,
            "first_name": name.split()[0] if name else "",
            "subject": _harmless(subject, MAX_SUBJECT),
        }

        def value(found: re.Match[str]) -> str:
            content = values.get(found.group(1), "")
            return found.group(0).partition("{")[0] + content if content else ""

        return line(VARIABLE.sub(value, self.subject)), VARIABLE.sub(value, self.text).strip()


@runtime_checkable
class Acknowledges(Protocol):
    """A kind of channel whose accounts may say so."""

    @property
    def acknowledgement(self) -> Acknowledgement | None:
        """What this one says; None where its settings don't ask for any."""
        ...


def read_acknowledgement(name: str, settings: Settings, *, sends: bool) -> Acknowledgement | None:
    """What the channel `name` sends; None where it sends nothing. Raises NotConfigured.

    `sends` says that the channel can send mail itself.
    """
    text, subject, by = (settings.get(key) or "" for key in KEYS)
    if not all(isinstance(each, str) for each in (text, subject, by)):
        raise unfit(name, stored("{known} have to be texts.", known=", ".join(KEYS)))
    if not text:
        if subject or by:
            raise unfit(name, N_("acknowledge has the words that are sent; set it as well."))
        return None
    for unknown in (each for each in VARIABLE.findall(text + subject) if each not in VARIABLES):
        known = ", ".join(f"{{{each}}}" for each in VARIABLES)
        raise unfit(
            name,
            stored(
                "acknowledge names {unknown}; what is filled in are {known}.", unknown=f"{{{unknown}}}", known=known
            ),
        )
    if not sends and not by:
        raise unfit(name, N_("acknowledge_by has to name the mail channel that sends it."))
    return Acknowledgement(text, subject or SUBJECT, by)


def _harmless(written: str, longest: int) -> str:
    shown = line(written)
    return "" if LINK.search(shown) else shown[:longest].rstrip()
