"""The form that puts a view together: rows and boxes as in rules (inbox/ruleform.py), in the words of agents.

A row offers what its field can be asked. "is not" and its like are written as `not` around a comparison: who asks for
what is not tagged so means also what has no tag at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.language import _, words
from hub.viewfields import ATTRIBUTE, DUE, EXACT, field_named
from inbox.ruleform import MOST_BOXES, ROOT, Box, Row, box_path
from routing.fields import Field, Kind

# How each comparison is called; with "not " before it, denied.
OPS = words({
    "eq": "is", "not eq": "is not", "has": "has", "not has": "has not", "contains": "contains",
    "not contains": "doesn't contain", "gt": "more than", "lt": "less than", "gte": "is at least", "lte": "is at most",
    "exists": "is known", "not exists": "is not known",
})  # fmt: skip
_CHOICE = ("eq", "not eq")
_BY_FIELD = {
    "queue": _CHOICE, "agent": _CHOICE, "text": ("has", "not has"), "tag": ("has", "not has", "exists", "not exists"),
    "subject": ("contains", "not contains"), "person": ("contains", "not contains"),
    "contact.company": ("contains", "not contains", "eq"),
}  # fmt: skip
_BY_KIND = {
    Kind.TEXT: _CHOICE, Kind.NUMBER: ("eq", "gte", "lte"), Kind.SPAN: ("gt", "lt"), Kind.FLAG: ("eq",),
    Kind.ANY: ("eq", "not eq", "contains", "not contains", "gte", "lte", "exists", "not exists"),
}  # fmt: skip
STATES = words({"open": "open", "snoozed": "snoozed", "resolved": "resolved"})
DUES = words({DUE[0]: "over already", DUE[1]: "within 30 minutes", DUE[2]: "later", DUE[3]: "never"})


@dataclass
class ViewRow(Row):
    """One comparison. Of "something known about the customer" the `zone` of the form says what."""

    @property
    def known(self) -> Field | None:
        try:
            return field_named(self.name)
        except ValueError:
            return None

    @property
    def is_attribute(self) -> bool:
        return self.field == ATTRIBUTE.name

    @property
    def name(self) -> str:
        """The field's name in a condition."""
        return f"contact.{self.zone}" if self.is_attribute else self.field

    @property
    def ops(self) -> tuple[str, ...]:
        known = ATTRIBUTE if self.is_attribute else self.known
        return _BY_FIELD.get(self.field) or _BY_KIND[known.kind] if known else ()

    @property
    def zoned(self) -> bool:
        return self.is_attribute

    @property
    def comparable(self) -> bool:
        return False

    @property
    def asks_value(self) -> bool:
        return not self.op.endswith("exists")

    def said(self, op: str) -> str:
        """A comparison in words."""
        if self.field == "tag" and op.endswith("exists"):
            return _("there is none") if op.startswith("not ") else _("there is one")
        return OPS[op]

    @property
    def hint(self) -> str:
        known = self.known
        if known is not None and known.kind is Kind.SPAN:
            return "30m, 4h, 2d"
        return _("broken lamp") if self.field == "text" else _("value")

    def leaf(self) -> dict[str, Any]:
        denied, op = self.op.startswith("not "), self.op.removeprefix("not ")
        leaf = {"field": self.name, "op": op, "value": self._wanted(op)}
        return {"not": [leaf]} if denied else leaf

    def _wanted(self, op: str) -> Any:
        known, typed = self.known, self.value.strip()
        if op == "exists":
            return True
        if known is None:
            return typed
        if known.kind is Kind.FLAG:
            return {"yes": True, "no": False}.get(typed, typed)
        if known.kind is Kind.NUMBER or op in ("gte", "lte"):
            return float(typed) if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", typed) else typed
        return typed.replace(" ", "").lower() if known.kind is Kind.SPAN else typed

    @classmethod
    def of(cls, node: Mapping[str, Any], path: str) -> ViewRow | None:
        """The row of a comparison, also of one that is denied; None when it is none that the form offers."""
        inside = node.get("not")
        denied = isinstance(inside, list) and len(inside) == 1 and "field" in inside[0]
        leaf = inside[0] if denied and inside else node
        if "field" not in leaf:
            return None
        name, value = str(leaf["field"]), leaf.get("value", True)
        op = f"not {leaf['op']}" if denied else str(leaf["op"])
        if op == "exists" and value is False:
            op = "not exists"
        row = cls(path, name if name in EXACT else ATTRIBUTE.name, op, "", zone=name.removeprefix("contact."))
        if isinstance(value, bool):
            row.value = "" if op.endswith("exists") else "yes" if value else "no"
        elif isinstance(value, float):
            row.value = f"{value:g}"
        else:
            row.value = str(value)
        return row if op in row.ops and not isinstance(value, list | Mapping) else None


def box_of(condition: Mapping[str, Any]) -> Box | None:
    """A condition in boxes; None when the form can't show it."""
    if not condition:
        return Box(ROOT)
    if (row := ViewRow.of(condition, f"{ROOT}.1")) is not None:
        return Box(ROOT, "all", [row])
    return _box(condition, ROOT)


def _box(node: Mapping[str, Any], path: str) -> Box | None:
    name, inside = next(iter(node.items()))
    if not isinstance(inside, list) or path.count(".") >= MOST_BOXES:
        return None
    box = Box(path, name)
    for number, part in enumerate(inside, 1):
        below = f"{path}.{number}"
        found = ViewRow.of(part, below) or (None if "field" in part else _box(part, below))
        if found is None:
            return None
        box.parts.append(found)
    return box


def place_of(box: Box, condition_path: str) -> tuple[str, str]:
    """The form's name for a place in the condition, and what to say there when nothing is filled in yet."""
    steps = box_path(condition_path).split(".")[1:]
    last = steps.pop() if steps and steps[-1].isalpha() else ""
    part: Box | Row = box
    for step in steps:  # what is denied in a row is a step deeper in the condition
        inside = part.parts if isinstance(part, Box) else []
        part = next((each for each in inside if each.path == f"{part.path}.{step}"), part)
    if not isinstance(part, ViewRow):
        return part.path, ""
    if last == "field":
        return (
            (f"{part.path}.zone", _("write what is known, such as tier"))
            if part.field
            else (part.path, _("choose what"))
        )
    empty = last == "value" and not part.value.strip()
    return f"{part.path}.{last}" if last else part.path, _("choose one, or write it") if empty else ""
