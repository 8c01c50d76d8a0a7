"""Conditions of rules: a tree of all, any and not over leaves {field, op, value}, compiled once to closures.

A field that is missing holds for nothing but `exists: false`: neither eq nor ne, neither in nor not_in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from config.language import N_
from config.retold import stored
from routing.fields import ZONED, Field, Kind, field_named, nearest
from routing.operands import EACH, FLAG, NUMBER, PATTERN, WORD, Operand, one_of, pair, several

LONGEST_TEXT = 20_000  # characters of a text that word tests look at
LONGEST_FOUND = 1000  # characters of another field that may be looked for as a word
SHOWN = 80  # characters of a value that an explanation keeps
DEEPEST = 10
MOST_LEAVES = 200
GROUPS = ("all", "any", "not")
WRITTEN = ("item.text", "item.subject")  # what the customer wrote stays in the message


class Fields:
    """The values a condition may ask for. An absent field, None, the empty text and the empty list are missing."""

    __slots__ = ("_folded", "_values")

    def __init__(self, values: Mapping[str, Any]):
        self._values = values
        self._folded: dict[str, str] = {}

    def get(self, name: str) -> Any:
        """The value, or None when it is missing."""
        value = self._values.get(name)
        if value is None and name.count(".") > 1:
            value = self._inside(name)
        return None if value == "" or value == [] else value

    def _inside(self, name: str) -> Any:
        """`contact.address.city`, where an import brought an address with a city in it."""
        first, second, *steps = name.split(".")
        value = self._values.get(f"{first}.{second}")
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value

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
Named = Callable[[object], Field]  # the field of a name; raises ValueError for no field


class ConditionError(ValueError):
    """A condition that can't be used: where (`any[2].value`, counted from 1, empty for all of it) and why."""

    def __init__(self, path: str, sentence: str):
        super().__init__(f"{path or 'condition'}: {sentence}")
        self.path, self.sentence = path, sentence


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison as it was written, with its test.

    `asks` are the names under which `Fields` holds what it needs. `negated` ones stand below an odd number of nots,
    so that they speak for the whole when they don't hold. `other` is the field that it compares with.
    """

    path: str
    field: str
    op: str
    value: Any
    test: Test
    kind: Kind
    zone: str = ""
    negated: bool = False
    other: str = ""

    @property
    def key(self) -> str:
        """The name of its own value."""
        return f"{self.field}@{self.zone}" if self.kind in ZONED else self.field

    @property
    def asks(self) -> tuple[str, ...]:
        return (self.key, self.other) if self.other else (self.key,)

    def explained(self, fields: Fields) -> dict[str, Any]:
        """What it compared, what it found there and what came of it."""
        told: dict[str, Any] = {"field": self.field, "op": self.op, "value": self.value, "held": self.test(fields)}
        if self.zone:
            told["zone"] = self.zone
        if self.negated:
            told["negated"] = True
        if self.field not in WRITTEN and (found := fields.get(self.key)) is not None:
            told["found"] = found[:SHOWN] if isinstance(found, str | list) else found
        return told


@dataclass(frozen=True, slots=True)
class Group:
    """all, any or not over its parts; not means none of them."""

    name: str
    parts: tuple[Node, ...]


Node = Leaf | Group


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled tree. `holds` stops at the first leaf that decides; `evaluate` asks every leaf.

    `root` None always holds. `asks` are the names of all values that it needs.
    """

    holds: Test
    leaves: tuple[Leaf, ...]
    root: Node | None
    asks: frozenset[str]

    def evaluate(self, fields: Fields) -> tuple[bool, list[dict[str, Any]]]:
        """Whether it holds, and what each leaf said."""
        return self.holds(fields), [leaf.explained(fields) for leaf in self.leaves]


def validate(condition: Any) -> None:
    """Raises ConditionError with the path and a sentence when it can't be used."""
    read_condition(condition)


def read_condition(condition: Any, named: Named = field_named) -> Condition:
    """Compile a tree over the fields that `named` knows; the empty one always holds. Raises ConditionError."""
    if condition == {} and isinstance(condition, Mapping):
        return Condition(lambda fields: True, (), None, frozenset())
    root = _read_node(condition, "", 0, False, named)
    leaves = tuple(_leaves(root))
    if len(leaves) > MOST_LEAVES:
        raise ConditionError(
            "", stored("makes more than {most_leaves} comparisons in one condition", most_leaves=MOST_LEAVES)
        )
    return Condition(_compiled(root), leaves, root, frozenset(name for leaf in leaves for name in leaf.asks))


def _read_node(node: Any, path: str, depth: int, negated: bool, named: Named) -> Node:
    if not isinstance(node, Mapping):
        raise ConditionError(path, N_("must be a mapping: {all: […]}, {any: […]}, {not: …} or {field, op, value}"))
    if depth > DEEPEST:
        raise ConditionError(path, stored("is nested deeper than {deepest} levels", deepest=DEEPEST))
    if "field" in node:
        return _read_leaf(node, path, negated, named)
    if len(node) != 1 or (name := next(iter(node))) not in GROUPS:
        present = ", ".join(map(str, node))[:80] or "nothing"
        raise ConditionError(
            path, stored("must have exactly one of all, any, not, or field; it has {present}", present=present)
        )
    parts = node[name] if name != "not" or isinstance(node[name], list) else [node[name]]
    if not isinstance(parts, list) or not parts:
        raise ConditionError(_at(path, name), N_("must be a list with at least one condition"))
    if len(parts) > MOST_LEAVES:
        raise ConditionError(
            _at(path, name),
            stored("makes more than {most_leaves} comparisons in one condition", most_leaves=MOST_LEAVES),
        )
    below = negated != (name == "not")
    return Group(
        name,
        tuple(_read_node(part, _at(path, f"{name}[{i}]"), depth + 1, below, named) for i, part in enumerate(parts, 1)),
    )


def _leaves(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    else:
        for part in node.parts:
            yield from _leaves(part)


def _compiled(node: Node) -> Test:
    if isinstance(node, Leaf):
        return node.test
    tests = tuple(_compiled(part) for part in node.parts)
    if node.name == "all":
        return lambda fields: all(test(fields) for test in tests)
    if node.name == "any":
        return lambda fields: any(test(fields) for test in tests)
    return lambda fields: not any(test(fields) for test in tests)


def _read_leaf(node: Mapping[str, Any], path: str, negated: bool, named: Named) -> Leaf:
    if unknown := sorted(set(map(str, node)) - {"field", "op", "value", "zone"}):
        raise ConditionError(_at(path, unknown[0][:80]), N_("is not known here; a leaf has field, op and value"))
    try:
        field = named(node["field"])
    except ValueError as error:
        raise ConditionError(_at(path, "field"), str(error)) from None
    name, op, zone = str(node["field"]), _read_op(node.get("op"), field, path), _read_zone(node, field, path)
    value = node.get("value", True) if op == "exists" else node.get("value")
    key = f"{name}@{zone}" if field.kind in ZONED else name
    other, test = "", None
    if isinstance(value, Mapping):
        other = _read_other(value, op, field, path, named)
        test = _against(op, key, other)
    else:
        try:
            test = _OPS[op](key, operand_of(op, field).read(value))
        except ValueError as error:
            raise ConditionError(_at(path, "value"), str(error)) from None
    return Leaf(path, name, op, value, test, field.kind, zone, negated, other)


def _read_op(op: Any, field: Field, path: str) -> str:
    known = ops_of(field)
    if isinstance(op, str) and op in known:
        return op
    if isinstance(op, str) and op in _OPS:
        raise ConditionError(
            _at(path, "op"),
            stored("{op} makes no sense for a {kind}; use {known}", op=op, kind=field.kind, known=", ".join(known)),
        )
    near = nearest(str(op), known)
    told = stored("{op} is no comparison; {near}", op=repr(str(op)[:40]), near=near)
    raise ConditionError(_at(path, "op"), stored("is missing; {near}", near=near) if op is None else told)


def _read_zone(node: Mapping[str, Any], field: Field, path: str) -> str:
    if "zone" not in node:
        return "UTC" if field.kind in ZONED else ""
    zone = node["zone"]
    if field.kind not in ZONED:
        raise ConditionError(_at(path, "zone"), N_("goes only with time.of_day, time.weekday and time.date"))
    try:
        if isinstance(zone, str) and zone:
            return ZoneInfo(zone).key
    except (ValueError, KeyError, OSError):
        pass
    near = get_close_matches(str(zone)[:40], available_timezones(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else "write one such as Europe/Stockholm"
    raise ConditionError(
        _at(path, "zone"), stored("{value} is no time zone; {hint}", value=repr(str(zone)[:40]), hint=hint)
    )


def _read_other(value: Mapping[str, Any], op: str, field: Field, path: str, named: Named) -> str:
    """The field on the right hand of a comparison of two."""
    if set(value) != {"field"}:
        raise ConditionError(_at(path, "value"), N_("must be a value, or {field: …} to compare with another field"))
    if op not in COMPARE or field.kind in ZONED:
        raise ConditionError(
            _at(path, "value"), stored("{op} of {name} can't be compared with another field", op=op, name=field.name)
        )
    try:
        other = named(value["field"])
    except ValueError as error:
        raise ConditionError(_at(path, "value.field"), str(error)) from None
    if other.kind in ZONED:
        raise ConditionError(_at(path, "value.field"), stored("{name} can only stand on the left", name=other.name))
    return str(value["field"])


def _at(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step


# --- the comparisons: each makes a test from the name of a value and what its operand read ---------------------------


def _same(found: Any, wanted: Any) -> bool:
    """Equal, and true is not 1."""
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


def _equal(key: str, wanted: Any) -> Test:
    if isinstance(wanted, str):
        return lambda fields: bool(fields.get(key) == wanted)
    return lambda fields: _same(fields.get(key), wanted)


def _unequal(key: str, wanted: Any) -> Test:
    return lambda fields: _is_one(found := fields.get(key)) and not _same(found, wanted)


def _among(key: str, wanted: list[Any]) -> Test:
    return lambda fields: _is_one(found := fields.get(key)) and any(_same(found, one) for one in wanted)


def _not_among(key: str, wanted: list[Any]) -> Test:
    return lambda fields: _is_one(found := fields.get(key)) and not any(_same(found, one) for one in wanted)


def _is_one(found: Any) -> bool:
    """A list is neither equal nor unequal to a single value: has, has_any and includes look into it."""
    return found is not None and not isinstance(found, list | Mapping)


def _includes(key: str, wanted: Any) -> Test:
    return lambda fields: isinstance(found := fields.get(key), list) and any(_same(one, wanted) for one in found)


def _contains(key: str, given: str) -> Test:
    part = given.casefold()
    return lambda fields: (text := fields.folded(key)) is not None and part in text


def _has(key: str, word: str) -> Test:
    return _has_any(key, [word])


def _has_any(key: str, given: list[str]) -> Test:
    words = [word.casefold() for word in given]
    # Whole words only; looking for the bare characters first is many times faster and usually says no.
    whole = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in words))
    wanted = frozenset(words)

    def test(fields: Fields) -> bool:
        text = fields.folded(key)
        if text is not None:
            return any(word in text for word in words) and whole.search(text) is not None
        found = fields.get(key)
        return isinstance(found, list) and any(str(one).casefold() in wanted for one in found)

    return test


def _above(key: str, low: float) -> Test:
    return lambda fields: (found := _number(fields.get(key))) is not None and found > low


def _below(key: str, high: float) -> Test:
    return lambda fields: (found := _number(fields.get(key))) is not None and found < high


def _at_least(key: str, low: Any) -> Test:
    value = _value_like(low)
    return lambda fields: (found := value(fields.get(key))) is not None and found >= low


def _at_most(key: str, high: Any) -> Test:
    value = _value_like(high)
    return lambda fields: (found := value(fields.get(key))) is not None and found <= high


def _between(key: str, bounds: tuple[Any, Any]) -> Test:
    low, high = bounds
    value = _value_like(low)
    if low > high:  # over midnight
        return lambda fields: (found := value(fields.get(key))) is not None and (found >= low or found <= high)
    return lambda fields: (found := value(fields.get(key))) is not None and low <= found <= high


def _prefix(key: str, given: str) -> Test:
    start = given.casefold()
    return lambda fields: (text := fields.folded(key)) is not None and text.startswith(start)


def _matches(key: str, pattern: Any) -> Test:
    def test(fields: Fields) -> bool:
        found = fields.get(key)
        return isinstance(found, str) and pattern.found_in(found)

    return test


def _exists(key: str, wanted: bool) -> Test:
    return lambda fields: (fields.get(key) is not None) is wanted


_OPS: dict[str, Callable[[str, Any], Test]] = {
    "eq": _equal,
    "ne": _unequal,
    "in": _among,
    "not_in": _not_among,
    "has": _has,
    "has_any": _has_any,
    "includes": _includes,
    "contains": _contains,
    "gt": _above,
    "lt": _below,
    "gte": _at_least,
    "lte": _at_most,
    "between": _between,
    "prefix": _prefix,
    "matches": _matches,
    "exists": _exists,
}
COMPARE = (  # take another field as well
    "eq", "ne", "in", "not_in", "has", "has_any", "includes", "contains", "gt", "lt", "gte", "lte", "prefix"
)  # fmt: skip
OPS = tuple(_OPS)
_BY_KIND = {
    Kind.TEXT: ("eq", "ne", "in", "not_in", "has", "has_any", "contains", "prefix", "matches", "exists"),
    Kind.NUMBER: ("eq", "ne", "in", "not_in", "gt", "lt", "gte", "lte", "between", "exists"),
    Kind.FLAG: ("eq", "ne", "exists"),
    Kind.WORDS: ("has", "has_any", "includes", "exists"),
    Kind.TIME: ("gte", "lte", "between"),
    Kind.DAY: ("eq", "ne", "in", "not_in"),
    Kind.DATE: ("eq", "ne", "in", "not_in", "gte", "lte", "between"),
    Kind.SPAN: ("gt", "lt", "exists"),
    Kind.ANY: OPS,
}


def ops_of(field: Field) -> tuple[str, ...]:
    """The comparisons that make sense for a field."""
    return _BY_KIND[field.kind]


def operand_of(op: str, field: Field) -> Operand:
    """What may stand as the value of a comparison."""
    if op == "exists":
        return FLAG
    if op == "matches":
        return PATTERN
    if op in ("has", "contains", "prefix"):
        return WORD
    if op == "has_any":
        return several(WORD)
    each = one_of(field.choices) if field.choices else EACH[field.kind]
    if op in ("gt", "lt", "gte", "lte", "between"):
        each = EACH[field.kind] if field.kind in (*ZONED, Kind.SPAN) else NUMBER
        return pair(each, ordered=field.kind is not Kind.TIME) if op == "between" else each
    return several(each) if op in ("in", "not_in") else each


def _against(op: str, key: str, other: str) -> Test:
    """A comparison with another field's value. Where either is missing, or the two don't go together, it is false."""
    make = _OPS[op]

    def test(fields: Fields) -> bool:
        wanted = fields.get(other)
        if wanted is None or fields.get(key) is None:
            return False
        if op in ("gt", "lt", "gte", "lte"):
            wanted = _number(wanted)
            return wanted is not None and make(key, wanted)(fields)
        if isinstance(wanted, list) is not (op in ("in", "not_in")) and op not in ("has", "has_any"):
            return False
        if op in ("has", "has_any", "contains", "prefix"):
            words = [str(one).strip()[:LONGEST_FOUND] for one in (wanted if isinstance(wanted, list) else [wanted])]
            words = [word for word in words if word]
            return bool(words) and make(key, words if op == "has_any" else words[0])(fields)
        return make(key, wanted)(fields)

    return test


def _value_like(bound: Any) -> Callable[[Any], Any]:
    return _number if isinstance(bound, float) else _clock


def _clock(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    """Forms and imports deliver numbers as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
