"""Conditions in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.language import _, words

_OPS = words(
    {
        "eq": "is",
        "ne": "is not",
        "in": "is one of",
        "not_in": "is none of",
        "has": "has",
        "has_any": "has one of",
        "includes": "has exactly",
        "contains": "contains",
        "gt": "is above",
        "lt": "is below",
        "gte": "is at least",
        "lte": "is at most",
        "between": "is between",
        "prefix": "begins with",
        "matches": "matches",
    }
)


def told_op(op: str) -> str:
    """A comparison in words."""
    return _("is known") if op == "exists" else _OPS[op]


def told_condition(condition: Mapping[str, Any]) -> str:
    """A condition in words: "channel is email and (text has lamp or contact tier is gold)"."""
    return _told(condition, outer=True) if condition else _("it holds for everything")


def _told(node: Mapping[str, Any], *, outer: bool) -> str:
    if "field" in node:
        return _leaf({"value": True, **node})
    name, inside = next(iter(node.items()))
    parts = [_told(part, outer=False) for part in (inside if isinstance(inside, list) else [inside])]
    if name == "not":
        if len(parts) > 1:
            return _("none of ({conditions})", conditions="; ".join(parts))
        return _("not ({condition})", condition=parts[0])
    told = (_(" and ") if name == "all" else _(" or ")).join(parts)
    return told if outer or len(parts) == 1 else f"({told})"


def told_leaves(leaves: list[dict[str, Any]]) -> str:
    """What spoke for the rule: comparisons that held, and below a not those that did not."""
    parts = [_leaf(leaf) for leaf in leaves if leaf["held"] is not bool(leaf.get("negated"))]
    return ", ".join(parts) or _("it holds for everything")


def _leaf(leaf: Mapping[str, Any]) -> str:
    value, missing = leaf["value"], leaf["op"] == "exists" and leaf["value"] is False
    if isinstance(value, Mapping):
        shown = _field(str(value["field"]))
    else:
        shown = ", ".join(map(_value, value)) if isinstance(value, list) else _value(value)
    if leaf["op"] == "exists":
        told = _("is not known") if missing else _("is known")
    elif leaf["op"] == "between" and isinstance(value, list):
        told = _("is between {low} and {high}", low=_value(value[0]), high=_value(value[1]))
    else:
        told = f"{_OPS[leaf['op']]} {shown}"
    zone = f" ({leaf['zone']})" if leaf.get("zone") else ""
    found = " " + _("(it was {value})", value=leaf["found"]) if _is_measured(leaf) else ""
    said = f"{_field(leaf['field'])} {told}{zone}{found}"
    return _("not: {condition}", condition=said) if leaf.get("negated") else said


def _is_measured(leaf: Mapping[str, Any]) -> bool:
    """Numbers change: the one that was compared is told."""
    return isinstance(leaf.get("found"), int | float) and not isinstance(leaf["found"], bool)


def _field(name: str) -> str:
    return name.removeprefix("item.").replace("_", " ").replace(".", " ")


def _value(value: Any) -> str:
    return (_("yes") if value else _("no")) if isinstance(value, bool) else str(value)
