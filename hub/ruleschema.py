"""The rules of a desk file as JSON Schema (draft 2020-12), for editors and for programs that write rules."""

from __future__ import annotations

from typing import Any

from hub.deskentries import RuleEntry
from routing.schema import CONDITION, condition_schemas

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:switchyard:rules"
RULE = "Rule"


def rules_schema() -> dict[str, Any]:
    """A document with the section `rules`; other sections may stand beside it."""
    rule = RuleEntry.model_json_schema(ref_template="#/$defs/{model}")
    _close(rule)
    definitions = rule.pop("$defs", {})
    rule["properties"]["when"] = {"$ref": f"#/$defs/{CONDITION}"}
    return {
        "$schema": DIALECT,
        "$id": ID,
        "title": "Routing rules of a Switchyard desk",
        "description": "The first rule whose condition holds decides. No schema can say that names of rules differ, "
        "that queues and skills are the desk's, how deep a condition may be, and what a pattern may cost.",
        "type": "object",
        "properties": {"rules": {"type": "array", "items": {"$ref": f"#/$defs/{RULE}"}}},
        "required": ["rules"],
        "$defs": {RULE: rule, **definitions, **condition_schemas()},
    }


def _close(schema: Any) -> None:
    """pydantic says what keys of a mapping look like, but not that there are no others."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for inner in schema.values():
            _close(inner)
    elif isinstance(schema, list):
        for inner in schema:
            _close(inner)
