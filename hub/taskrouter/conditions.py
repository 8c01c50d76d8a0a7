"""TaskRouter's filter expressions as our conditions, with the same meaning, or a sentence why not.

A missing key is NULL there: it equals nothing and is unequal to everything, which people rely on
(`worker.busy != true`). Ours holds for nothing when a field is missing, so `!=` and `NOT IN` also name that case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.taskrouter.expressions import Compare, Expression, Key
from routing.conditions import validate

ALWAYS: dict[str, Any] = {}
FIELDS = {"from": "item.sender", "to": "item.to", "channelType": "item.channel", "channel_type": "item.channel"}
CHANNELS = {"web": "chat", "chat": "chat", "sms": "sms", "whatsapp": "whatsapp", "email": "email", "form": "form"}
_FLIPPED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}
_ORDER = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


class NotTranslated(ValueError):
    """It means something that our conditions can't say. The sentence says what."""


@dataclass
class Translation:
    """Carries names from their attributes to our fields, and what was taken for what."""

    fields: Mapping[str, str]
    used: dict[str, str] = field(default_factory=dict)

    def condition(self, expression: Expression) -> dict[str, Any]:
        """Raises NotTranslated, or ConditionError when a field of ours can't be compared so."""
        found = self._node(expression)
        if found is True:
            return ALWAYS
        if found is False:
            raise NotTranslated("it never holds")
        validate(found)
        return found

    def _node(self, expression: Expression) -> dict[str, Any] | bool:
        if isinstance(expression, Compare):
            return self._compare(expression)
        parts = [self._node(part) for part in expression.parts]
        if expression.op == "NOT":
            (part,) = parts
            return not part if isinstance(part, bool) else {"not": part}
        decided = expression.op == "OR"
        if decided in parts:
            return decided
        kept = [part for part in parts if not isinstance(part, bool)]
        if not kept:
            return not decided
        return kept[0] if len(kept) == 1 else {"any" if decided else "all": kept}

    def _compare(self, compare: Compare) -> dict[str, Any] | bool:
        left, op, right = compare.left, compare.op, compare.right
        if not isinstance(left, Key) and not isinstance(right, Key):
            return _constant(left, op, right)
        if isinstance(left, Key):
            name = self._field(left)
            return self._both(name, op, self._field(right)) if isinstance(right, Key) else self._with(name, op, right)
        name = self._field(right)
        if op in _FLIPPED:
            return self._with(name, _FLIPPED[op], left)
        if op == "IN" and not isinstance(left, list):
            return _leaf(name, "includes", left)
        raise NotTranslated(f"a constant {op} an attribute")

    def _with(self, name: str, op: str, value: Any) -> dict[str, Any] | bool:
        """A field beside a constant."""
        value = self._value(name, value)
        if isinstance(value, list) != (op in ("IN", "NOT IN")):
            if op in ("IN", "NOT IN"):
                raise NotTranslated(f"{op} beside something that is no list")
            return False  # "Using scalar operators on Arrays results in false"
        if op in ("==", "!=") and value == "":
            return _leaf(name, "exists", op == "!=")
        if op == "==":
            return _leaf(name, "eq", value)
        if op == "!=":
            return {"any": [_leaf(name, "ne", value), _leaf(name, "exists", False)]}
        if op in _ORDER:
            if isinstance(value, str | bool):
                raise NotTranslated(f"{op} beside a text: ours compares numbers")
            return _leaf(name, _ORDER[op], value)
        if op == "HAS":
            return _leaf(name, "includes", value)
        if op == "CONTAINS":
            if not isinstance(value, str) or not value.strip() or value != value.strip():
                raise NotTranslated("CONTAINS with something else than a text without spaces around it")
            return _leaf(name, "contains", value)
        if "" in value:
            raise NotTranslated(f"{op} a list with an empty text")
        if op == "IN":
            return _leaf(name, "in", value) if value else False
        if not value:
            raise NotTranslated("NOT IN an empty list")
        return {"any": [_leaf(name, "not_in", value), _leaf(name, "exists", False)]}

    def _both(self, name: str, op: str, other: str) -> dict[str, Any]:
        """Two fields."""
        ops = {"==": "eq", "IN": "in", "HAS": "includes", ">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
        if op in ops:
            return _leaf(name, ops[op], {"field": other})
        if op == "!=":
            missing = [_leaf(each, "exists", False) for each in (name, other)]
            return {"any": [_leaf(name, "ne", {"field": other}), *missing]}
        raise NotTranslated(f"{op} between two attributes")

    def _field(self, key: Key) -> str:
        name = key.name.removeprefix("task.")
        if name.startswith(("worker.", "workers.")):
            raise NotTranslated(f"{key.name}: rules choose by the task alone; workers are chosen by skills")
        if "[" in name:
            raise NotTranslated(f"{name}: a place in a list; use HAS")
        found = self.fields.get(name) or FIELDS.get(name) or f"contact.{name}"
        self.used[name] = found
        return found

    def _value(self, name: str, value: Any) -> Any:
        """Kinds of channels go by other names there."""
        if name != "item.channel":
            return value
        if isinstance(value, list):
            return [self._value(name, one) for one in value]
        return CHANNELS.get(value, value) if isinstance(value, str) else value


def _leaf(name: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": name, "op": op, "value": value}


def _constant(left: Any, op: str, right: Any) -> bool:
    """Two constants, such as `1 == 1`."""
    lists = isinstance(left, list), isinstance(right, list)
    if op in ("IN", "NOT IN", "HAS"):
        array, one = (left, right) if op == "HAS" else (right, left)
        if not isinstance(array, list) or isinstance(one, list):
            return False
        return any(_same(each, one) for each in array) is not (op == "NOT IN")
    if any(lists):
        return False
    if op in ("==", "!="):
        return _same(left, right) is (op == "==")
    if isinstance(left, str) and isinstance(right, str):
        if op == "CONTAINS":
            return right in left
        return _ORDERED[op](left, right)
    if isinstance(left, int | float) and isinstance(right, int | float) and op != "CONTAINS":
        return _ORDERED[op](left, right)
    raise NotTranslated(f"{op} between constants of different types")


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}
