"""What a rule may ask about: every field with its kind, its sentence and whether the answer has to be looked up."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from config.language import N_
from config.retold import stored

LONGEST_NAME = 64


class Kind(StrEnum):
    """What sort of value a field has; it decides which comparisons make sense."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"  # true or false
    WORDS = "words"  # a list of texts
    TIME = "time"  # of day, 09:30
    DAY = "day"  # of the week, mon to sun
    DATE = "date"  # 2026-12-24
    SPAN = "span"  # 30m, 4h, 2d; how long ago, in saved views
    ANY = "any"  # whatever a form or an import delivered


ZONED = frozenset({Kind.TIME, Kind.DAY, Kind.DATE})


@dataclass(frozen=True, slots=True)
class Field:
    """A field, or with `pattern` a family of fields that share a beginning.

    `choices` are all the values there can be. `looked_up` fields cost something to know: nobody works them out
    unless an active rule asks.
    """

    name: str
    kind: Kind
    says: str
    pattern: str = ""
    choices: tuple[str, ...] = ()
    looked_up: bool = False


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
VERDICTS = ("pass", "fail", "none", "temperror", "permerror")
_NAME = rf"\S(?:.{{0,{LONGEST_NAME - 2}}}\S)?"

FIELDS = (
    Field("item.channel", Kind.TEXT, N_("the kind of channel it came by")),
    Field("item.channel_name", Kind.TEXT, N_("the channel's name on this desk")),
    Field("item.to", Kind.TEXT, N_("our own address or number that was written to")),
    Field("item.subject", Kind.TEXT, N_("the subject")),
    Field("item.text", Kind.TEXT, N_("what was written")),
    Field("item.language", Kind.TEXT, N_("the language it is written in, such as en")),
    Field("item.sender", Kind.TEXT, N_("the address or number it came from")),
    Field("item.sender_domain", Kind.TEXT, N_("the domain of the sender's mail address")),
    Field("item.sender_proved", Kind.FLAG, N_("whether anybody vouches for the sender's address")),
    Field("item.authenticity", Kind.TEXT, N_("what the sender's domain says about a mail"), choices=VERDICTS),
    Field("item.suspicious", Kind.FLAG, N_("whether a mail poses as a colleague, as us or as a customer")),
    Field("item.attachments", Kind.NUMBER, N_("how many files came with it")),
    Field("item.has_attachments", Kind.FLAG, N_("whether files came with it")),
    Field("item.flags", Kind.WORDS, N_("what readers are told about it, such as multi_from")),
    Field("item.reopened", Kind.FLAG, N_("whether it opens a resolved conversation again")),
    Field("contact.name", Kind.TEXT, N_("the person's name")),
    Field("contact.company", Kind.TEXT, N_("the person's company")),
    Field("contact.language", Kind.TEXT, N_("the person's language")),
    Field("contact.new", Kind.FLAG, N_("whether the person writes for the first time")),
    Field(
        "contact.open_conversations", Kind.NUMBER, N_("how many other conversations of the person are not resolved"),
        looked_up=True,
    ),
    Field("time.of_day", Kind.TIME, N_("the time of day in a zone"), looked_up=True),
    Field("time.weekday", Kind.DAY, N_("the day of the week in a zone"), choices=DAYS, looked_up=True),
    Field("time.date", Kind.DATE, N_("the date in a zone"), looked_up=True),
    Field("contact.<attribute>", Kind.ANY, N_("anything known about the person, such as tier or tags"),
          rf"contact\.{_NAME}"),
    Field("form.<name>", Kind.ANY, N_("an answer in a form, or what else came with it"), rf"form\.{_NAME}"),
    Field(
        "queue.<name>.waiting", Kind.NUMBER, N_("how much waits in a queue, as of the last second"),
        rf"queue\.{_NAME}\.waiting", looked_up=True,
    ),
    Field("queue.<name>.open", Kind.FLAG, N_("whether a queue is open by its calendar"), rf"queue\.{_NAME}\.open",
          looked_up=True),
    Field(
        "queue.<name>.oldest_seconds", Kind.NUMBER, N_("how long the oldest in a queue waits, as of the last second"),
        rf"queue\.{_NAME}\.oldest_seconds", looked_up=True,
    ),
)  # fmt: skip
EXACT = {field.name: field for field in FIELDS if not field.pattern}
FAMILIES = tuple((re.compile(field.pattern), field) for field in FIELDS if field.pattern)
QUEUE_FIELD = re.compile(rf"queue\.({_NAME})\.(waiting|oldest_seconds|open)")


def field_named(name: object) -> Field:
    """The field or family of a name. Raises ValueError with the nearest known one."""
    if isinstance(name, str):
        if (exact := EXACT.get(name)) is not None:
            return exact
        for pattern, family in FAMILIES:
            if pattern.fullmatch(name):
                return family
    raise ValueError(
        stored(
            "{value} is no {noun}; {near}",
            value=_shown(name),
            noun=N_("field"),
            near=nearest(str(name), [field.name for field in FIELDS]),
        )
    )


def nearest(typed: str, known: Iterable[str]) -> str:
    """What to say of a name that nobody knows: the one that was probably meant, else all there are."""
    names = list(known)
    near = difflib.get_close_matches(typed, names, n=1)
    if near:
        return stored("did you mean {near}?", near=repr(near[0]))
    return stored("known are {known}", known=", ".join(names)) if names else N_("known are none")


def _shown(name: object) -> str:
    return repr(name[:80] if isinstance(name, str) else name)[:90]
