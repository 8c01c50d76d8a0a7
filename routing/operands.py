"""What a rule compares with: for each kind of value how it is read, and the same as JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from config.language import N_
from config.retold import stored
from routing.fields import DAYS, Kind
from routing.patterns import LONGEST_PATTERN, Pattern, read_pattern

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operand:
    """`read` makes what the test wants of a value or raises ValueError; `schema` says the same to an editor."""

    read: Callable[[Any], Any]
    schema: Schema


def _scalar(value: Any) -> Any:
    if isinstance(value, str | int | float) and value != "":
        return value
    raise ValueError(N_("must be a text, a number, true or false"))


def _exact(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError("must be a text that is not empty" if value == "" else "must be a text: put it in quotes")


def _word(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError(N_("must be a text that is not empty"))


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(N_("must be a number"))


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(N_("must be true or false"))


def _pattern(value: Any) -> Pattern:
    return read_pattern(_word(value))


TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"


def _shaped(pattern: str, like: str) -> Operand:
    def read(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise ValueError(stored("must be written like {like}, in quotes", like=like))

    return Operand(read, {"type": "string", "pattern": f"^{pattern}$"})


def one_of(choices: tuple[str, ...]) -> Operand:
    """One of a few words that are all there is."""

    def read(value: Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(stored("must be one of {known}", known=", ".join(choices)))
        return value

    return Operand(read, {"enum": list(choices)})


def several(each: Operand) -> Operand:
    """A list of at least one."""

    def read(value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise ValueError(N_("must be a list with at least one entry"))
        return [each.read(one) for one in value]

    return Operand(read, {"type": "array", "items": each.schema, "minItems": 1})


def pair(each: Operand, *, ordered: bool) -> Operand:
    """The lowest and the highest. `ordered` refuses a pair that nothing can be between."""

    def read(value: Any) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(N_("must be a list of two: the lowest and the highest"))
        low, high = each.read(value[0]), each.read(value[1])
        if ordered and low > high:
            raise ValueError(N_("must have the lowest first"))
        return low, high

    return Operand(read, {"type": "array", "items": each.schema, "minItems": 2, "maxItems": 2})


SCALAR = Operand(_scalar, {"anyOf": [{"type": ["number", "boolean"]}, {"type": "string", "minLength": 1}]})
EXACT = Operand(_exact, {"type": "string", "minLength": 1})
WORD = Operand(_word, {"type": "string", "pattern": r"\S"})
NUMBER = Operand(_number, {"type": "number"})
FLAG = Operand(_flag, {"type": "boolean"})
PATTERN = Operand(_pattern, {"type": "string", "pattern": r"\S", "maxLength": LONGEST_PATTERN, "format": "regex"})


def _span(value: Any) -> float:
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,4})([mhd])", value)):
        return float(found[1]) * SPAN_UNITS[found[2]]
    raise ValueError(N_("must be a span such as 30m, 4h or 2d"))


SPAN_UNITS = {"m": 60, "h": 3600, "d": 86400}
EACH = {  # what one value of a kind is compared with
    Kind.TEXT: EXACT,
    Kind.NUMBER: NUMBER,
    Kind.FLAG: FLAG,
    Kind.WORDS: WORD,
    Kind.TIME: _shaped(TIME, "09:30"),
    Kind.DAY: one_of(DAYS),
    Kind.DATE: _shaped(DATE, "2026-12-24"),
    Kind.SPAN: Operand(_span, {"type": "string", "pattern": "^[0-9]{1,4}[mhd]$"}),
    Kind.ANY: SCALAR,
}
