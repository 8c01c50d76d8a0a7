"""Conditions of rules: a tree of all, any and not over leaves {field, op, value}, compiled once to closures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from routing.patterns import read_pattern

ITEM_FIELDS = ("item.channel", "item.channel_name", "item.subject", "item.text", "item.language")
LONGEST_TEXT = 20_000  # characters of a text that word tests look at
DEEPEST = 10
MOST_LEAVES = 200


class Fields:
    """The values a condition may ask for. An absent field, None and the empty text are all missing."""

    __slots__ = ("_folded", "_values")

    def __init__(self, values: Mapping[str, Any]):
        self._values = values
        self._folded: dict[str, str] = {}

    def get(self, name: str) -> Any:
        """The value, or None when it is missing."""
        value = self._values.get(name)
        return None if value == "" else value

    def folded(self, name: str) -> str | None:
        """A text without regard to case, made once however many leaves ask; None when it is no text."""
        found = self._folded.get(name)
        if found is None:
            value = self.get(name)
            if not isinstance(value, str):
                return None
            found = self._folded[name] = value[:LONGEST_TEXT].casefold()
        return found


Test = Callable[[Fields], bool]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison as it was written, with its test."""

    field: str
    op: str
    value: Any
    test: Test


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled tree. `holds` stops at the first leaf that decides; `evaluate` asks every leaf."""

    holds: Test
    leaves: tuple[Leaf, ...]

    def evaluate(self, fields: Fields) -> tuple[bool, list[dict[str, Any]]]:
        """Whether it holds, and what each leaf said."""
        trace = [
            {"field": leaf.field, "op": leaf.op, "value": leaf.value, "held": leaf.test(fields)} for leaf in self.leaves
        ]
        return self.holds(fields), trace


def validate(condition: Any) -> None:
    """Raises ValueError with the path and a sentence ("any[1].value: must be a list") when it can't be used."""
    read_condition(condition)


def read_condition(condition: Any) -> Condition:
    """Compile a tree; the empty one always holds. Raises ValueError like `validate`."""
    leaves: list[Leaf] = []
    if condition == {}:
        return Condition(lambda fields: True, ())
    test = _read_node(condition, "", leaves, 0)
    return Condition(test, tuple(leaves))


def _read_node(node: Any, path: str, leaves: list[Leaf], depth: int) -> Test:
    if not isinstance(node, Mapping):
        raise _wrong(path, "must be a mapping: {all: […]}, {any: […]}, {not: …} or {field, op, value}")
    if depth > DEEPEST:
        raise _wrong(path, f"is nested deeper than {DEEPEST} levels")
    if "field" in node:
        return _read_leaf(node, path, leaves)
    if len(node) != 1 or (name := next(iter(node))) not in ("all", "any", "not"):
        present = ", ".join(map(str, node)) or "nothing"
        raise _wrong(path, f"must have exactly one of all, any, not, or field; it has {present}")
    parts = node[name] if name != "not" or isinstance(node[name], list) else [node[name]]
    if not isinstance(parts, list) or not parts:
        raise _wrong(_at(path, name), "must be a list with at least one condition")
    tests = tuple(_read_node(part, _at(path, f"{name}[{i}]"), leaves, depth + 1) for i, part in enumerate(parts))
    if name == "all":
        return lambda fields: all(test(fields) for test in tests)
    if name == "any":
        return lambda fields: any(test(fields) for test in tests)
    return lambda fields: not any(test(fields) for test in tests)


def _read_leaf(node: Mapping[str, Any], path: str, leaves: list[Leaf]) -> Test:
    field, op = node["field"], node.get("op")
    if unknown := sorted(set(map(str, node)) - {"field", "op", "value"}):
        raise _wrong(_at(path, unknown[0]), "is not known here; a leaf has field, op and value")
    if not isinstance(field, str) or not (field in ITEM_FIELDS or re.fullmatch(r"contact\.[\w.-]{1,64}", field)):
        known = ", ".join(ITEM_FIELDS)
        raise _wrong(_at(path, "field"), f"must be one of {known} or contact.<attribute>, not {field!r}")
    if not isinstance(op, str) or op not in _OPS:
        raise _wrong(_at(path, "op"), f"must be one of {', '.join(_OPS)}, not {op!r}")
    value = node.get("value", True) if op == "exists" else node.get("value")
    try:
        test = _OPS[op](field, value)
    except ValueError as error:
        raise _wrong(_at(path, "value"), str(error)) from None
    leaves.append(Leaf(field, op, value, test))
    if len(leaves) > MOST_LEAVES:
        raise _wrong(path, f"makes more than {MOST_LEAVES} comparisons in one condition")
    return test


def _at(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step


def _wrong(path: str, sentence: str) -> ValueError:
    return ValueError(f"{path or 'condition'}: {sentence}")


# --- the comparisons: each makes a test from field and value, or raises ValueError ------------------------------------


def _equal(field: str, value: Any) -> Test:
    wanted = _scalar(value)
    return lambda fields: fields.get(field) == wanted


def _unequal(field: str, value: Any) -> Test:
    wanted = _scalar(value)
    return lambda fields: (found := fields.get(field)) is not None and found != wanted


def _among(field: str, value: Any) -> Test:
    wanted = tuple(_scalar(one) for one in _several(value))
    return lambda fields: fields.get(field) in wanted


def _not_among(field: str, value: Any) -> Test:
    wanted = tuple(_scalar(one) for one in _several(value))
    return lambda fields: (found := fields.get(field)) is not None and found not in wanted


def _has(field: str, value: Any) -> Test:
    return _has_any(field, [value])


def _has_any(field: str, value: Any) -> Test:
    words = [_text(one).casefold() for one in _several(value)]
    # Whole words only; looking for the bare characters first is many times faster and usually says no.
    whole = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in words))
    wanted = frozenset(words)

    def test(fields: Fields) -> bool:
        text = fields.folded(field)
        if text is not None:
            return any(word in text for word in words) and whole.search(text) is not None
        found = fields.get(field)
        return isinstance(found, list) and any(str(one).casefold() in wanted for one in found)

    return test


def _at_least(field: str, value: Any) -> Test:
    low = _bound(value)
    return lambda fields: (found := _number(fields.get(field))) is not None and found >= low


def _at_most(field: str, value: Any) -> Test:
    high = _bound(value)
    return lambda fields: (found := _number(fields.get(field))) is not None and found <= high


def _between(field: str, value: Any) -> Test:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("must be a list of two numbers: the lowest and the highest")
    low, high = _bound(value[0]), _bound(value[1])
    if low > high:
        raise ValueError("must have the lowest number first")
    return lambda fields: (found := _number(fields.get(field))) is not None and low <= found <= high


def _prefix(field: str, value: Any) -> Test:
    start = _text(value).casefold()
    return lambda fields: (text := fields.folded(field)) is not None and text.startswith(start)


def _matches(field: str, value: Any) -> Test:
    pattern = read_pattern(_text(value))

    def test(fields: Fields) -> bool:
        found = fields.get(field)
        return isinstance(found, str) and pattern.found_in(found)

    return test


def _exists(field: str, value: Any) -> Test:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return lambda fields: (fields.get(field) is not None) is value


_OPS: dict[str, Callable[[str, Any], Test]] = {
    "eq": _equal,
    "ne": _unequal,
    "in": _among,
    "not_in": _not_among,
    "has": _has,
    "has_any": _has_any,
    "gte": _at_least,
    "lte": _at_most,
    "between": _between,
    "prefix": _prefix,
    "matches": _matches,
    "exists": _exists,
}


def _scalar(value: Any) -> Any:
    if isinstance(value, str | int | float) and value != "":
        return value
    raise ValueError("must be a text, a number, true or false")


def _several(value: Any) -> list[Any]:
    if isinstance(value, list) and value:
        return value
    raise ValueError("must be a list with at least one entry")


def _text(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError("must be a text that is not empty")


def _bound(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError("must be a number")


def _number(value: Any) -> float | None:
    """Forms and imports deliver numbers as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
