"""The condition tree as JSON Schema (draft 2020-12), made from the very tables that compile it."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from routing.conditions import COMPARE, GROUPS, MOST_LEAVES, operand_of, ops_of
from routing.fields import FIELDS, ZONED, Field

Schema = dict[str, Any]
CONDITION, NODE, LEAF, NAME = "Condition", "Node", "Leaf", "FieldName"


def condition_schemas(prefix: str = "#/$defs/") -> dict[str, Schema]:
    """Definitions by name; `Condition` is what a rule's `when` takes.

    What no schema can say is left to the compiler: depth and number of comparisons, what a pattern may cost, the
    order of a pair, and whether a zone is one.
    """
    node = {"$ref": f"{prefix}{NODE}"}
    parts = {"type": "array", "items": node, "minItems": 1, "maxItems": MOST_LEAVES}
    groups = [
        {
            "type": "object",
            "properties": {name: {"anyOf": [parts, node]} if name == "not" else parts},
            "required": [name],
            "additionalProperties": False,
        }
        for name in GROUPS
    ]
    return {
        CONDITION: {
            "description": "The empty condition always holds.",
            "anyOf": [{"type": "object", "maxProperties": 0}, node],
        },
        NODE: {"anyOf": [*groups, {"$ref": f"{prefix}{LEAF}"}]},
        LEAF: {
            "description": "One comparison. A missing field holds for nothing but `exists: false`.",
            "anyOf": [_leaf(list(fields), prefix) for fields in _alike()],
        },
        NAME: {
            "description": "A field on the right hand of a comparison.",
            "anyOf": _names([field for field in FIELDS if field.kind not in ZONED]),
        },
    }


def _alike() -> list[list[Field]]:
    """Fields that take the same comparisons with the same values."""

    def sort(field: Field) -> tuple[str, tuple[str, ...]]:
        return field.kind.value, field.choices

    return [list(fields) for _, fields in groupby(sorted(FIELDS, key=sort), sort)]


def _leaf(fields: list[Field], prefix: str) -> Schema:
    like = fields[0]
    values: list[tuple[list[str], Schema]] = []
    for op in ops_of(like):
        schema = operand_of(op, like).schema
        if op in COMPARE and like.kind not in ZONED:
            schema = {"anyOf": [schema, _other(prefix)]}
        same = next((ops for ops, known in values if known == schema), None)
        if same is None:
            values.append(([op], schema))
        else:
            same.append(op)
    zone = {"zone": {"type": "string", "minLength": 1, "description": "such as Europe/Stockholm; UTC without it"}}
    return {
        "title": ", ".join(field.name for field in fields),
        "type": "object",
        "properties": {"field": {"anyOf": _names(fields)}} | (zone if like.kind in ZONED else {}),
        "required": ["field", "op"],
        "anyOf": [
            {"properties": {"op": {"enum": ops}, "value": schema}, "required": [] if ops == ["exists"] else ["value"]}
            for ops, schema in values
        ],
        "unevaluatedProperties": False,
    }


def _other(prefix: str) -> Schema:
    return {
        "type": "object",
        "properties": {"field": {"$ref": f"{prefix}{NAME}"}},
        "required": ["field"],
        "additionalProperties": False,
    }


def _names(fields: list[Field]) -> list[Schema]:
    """Each field by its name. What looks like a family's member and is a field of its own is not the family's."""
    exact = [field.name for field in FIELDS if not field.pattern]
    found: list[Schema] = []
    for field in fields:
        if not field.pattern:
            found.append({"const": field.name, "description": field.says})
            continue
        own = [name for name in exact if name.startswith(field.name.partition("<")[0])]
        told = f"{field.name}: {field.says}"
        family = {"type": "string", "pattern": f"^{field.pattern}$", "description": told}
        found.append(family | ({"not": {"enum": own}} if own else {}))
    return found
