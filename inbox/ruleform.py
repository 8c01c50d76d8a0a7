"""The form that builds a rule: boxes of all, any and none of, with rows of field, comparison and value in them.

What is typed goes round between browser and server as form fields named by place: `n` is the outer box, `n.2` its
second part, `n.2.field` a row's field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from config.language import _
from routing.conditions import COMPARE, GROUPS, ops_of
from routing.fields import DAYS, ZONED, Field, Kind, field_named

ROOT = "n"
MOST_BOXES = 3  # one within another
MOST_PARTS = 50
LONGEST = 4000
LISTS = ("in", "not_in", "has_any", "between")
_PIECE = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,]*?)\s*(?:,|$)')
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


@dataclass
class Row:
    """One comparison as it is typed. `against` says whether the value is another field's name."""

    path: str
    field: str = ""
    op: str = ""
    value: str = ""
    against: bool = False
    zone: str = ""

    def __post_init__(self) -> None:
        self.field, self.zone = self.field.strip(), self.zone.strip()

    @property
    def known(self) -> Field | None:
        """The field, when there is one of that name."""
        try:
            return field_named(self.field)
        except ValueError:
            return None

    @property
    def ops(self) -> tuple[str, ...]:
        """The comparisons that make sense for it."""
        return ops_of(self.known) if self.known else ()

    @property
    def zoned(self) -> bool:
        return self.known is not None and self.known.kind in ZONED

    @property
    def comparable(self) -> bool:
        """Whether another field may be compared with."""
        return self.op in COMPARE and not self.zoned

    @property
    def choices(self) -> tuple[str, ...]:
        """All values there can be, where one is to be chosen."""
        if self.op in LISTS or self.against:
            return ()
        if self.op == "exists" or (self.known and self.known.kind is Kind.FLAG):
            return ("yes", "no")
        return (self.known.choices or (DAYS if self.known.kind is Kind.DAY else ())) if self.known else ()

    @property
    def hint(self) -> str:
        """What to type."""
        if self.against:
            return _("another field")
        if self.op == "between":
            return {Kind.TIME: "22:00, 06:00", Kind.DATE: "2026-12-20, 2027-01-02"}.get(self._kind, _("from, to"))
        if self.op in LISTS:
            return _("one, or another")
        return {Kind.TIME: "09:30", Kind.DATE: "2026-12-24", Kind.NUMBER: "5"}.get(self._kind, "value")

    @property
    def _kind(self) -> Kind:
        return self.known.kind if self.known else Kind.ANY

    def leaf(self) -> dict[str, Any]:
        """As a condition has it. What can't be right goes as it is typed: the compiler says so better."""
        leaf: dict[str, Any] = {"field": self.field, "op": self.op, "value": self._value()}
        return leaf | ({"zone": self.zone} if self.zone and self.zoned else {})

    def _value(self) -> Any:
        if self.against:
            return {"field": self.value.strip()}
        if self.op == "exists" or self._kind is Kind.FLAG:
            return {"yes": True, "no": False, "": True if self.op == "exists" else ""}.get(self.value, self.value)
        words = self._kind not in (Kind.ANY, Kind.NUMBER) or self.op in (
            "has",
            "has_any",
            "contains",
            "prefix",
            "matches",
        )
        if self.op in LISTS:
            return [_one(piece, not words) for piece in _PIECE.findall(self.value) if piece]
        return self.value.strip() if words else _one(self.value, True)


@dataclass
class Box:
    """all, any or not over its parts."""

    path: str
    name: str = "all"
    parts: list[Row | Box] = field(default_factory=list)

    @property
    def depth(self) -> int:
        return self.path.count(".") + 1

    @property
    def may_nest(self) -> bool:
        return self.depth < MOST_BOXES

    def tree(self) -> dict[str, Any]:
        """As a condition has it; the empty outer box holds for everything."""
        if not self.parts and self.path == ROOT:
            return {}
        return {self.name: [part.tree() if isinstance(part, Box) else part.leaf() for part in self.parts]}


def read_box(form: Mapping[str, str], path: str = ROOT, row: type[Row] = Row) -> Box:
    """The boxes of a form that was sent, with rows of that kind."""
    box = Box(path, form.get(f"{path}.join", "all"))
    if box.name not in GROUPS:
        box.name = "all"
    for number in _numbers(form, path):
        at = f"{path}.{number}"
        if f"{at}.join" in form:
            if box.may_nest:
                box.parts.append(read_box(form, at, row))
        else:
            typed = {name: form.get(f"{at}.{name}", "")[:LONGEST] for name in ("field", "op", "value", "zone")}
            box.parts.append(row(at, against=form.get(f"{at}.against") == "field", **typed))
    return box


def _numbers(form: Mapping[str, str], path: str) -> list[int]:
    found = {int(step[1]) for name in form if (step := re.match(rf"{re.escape(path)}\.([0-9]{{1,3}})\.", name))}
    return sorted(found)[:MOST_PARTS]


def settle(box: Box) -> None:
    """Number the parts again from 1, and give every row a comparison that its field has."""
    for number, part in enumerate(box.parts, 1):
        part.path = f"{box.path}.{number}"
        if isinstance(part, Box):
            settle(part)
            continue
        if part.ops and part.op not in part.ops:
            part.op = part.ops[0]
        if part.against and not part.comparable:
            part.against = False


def at(box: Box, path: str) -> Row | Box | None:
    """The part of a place."""
    if box.path == path:
        return box
    for part in box.parts:
        if part.path == path:
            return part
        if isinstance(part, Box) and (found := at(part, path)) is not None:
            return found
    return None


def drop(box: Box, path: str) -> None:
    """Take a part out, whatever is in it."""
    box.parts = [part for part in box.parts if part.path != path]
    for part in box.parts:
        if isinstance(part, Box):
            drop(part, path)


def box_of(condition: Mapping[str, Any]) -> Box | None:
    """A condition in boxes; None when it is nested deeper than the form goes."""
    if not condition:
        return Box(ROOT)
    if "field" in condition:
        return Box(ROOT, "all", [_row(condition, f"{ROOT}.1")])
    return _box(condition, ROOT)


def _box(node: Mapping[str, Any], path: str) -> Box | None:
    name, inside = next(iter(node.items()))
    box = Box(path, name)
    for number, part in enumerate(inside if isinstance(inside, list) else [inside], 1):
        below = f"{path}.{number}"
        if "field" in part:
            box.parts.append(_row(part, below))
        elif not box.may_nest or (nested := _box(part, below)) is None:
            return None
        else:
            box.parts.append(nested)
    return box


def _row(leaf: Mapping[str, Any], path: str) -> Row:
    value, op = leaf.get("value", True), leaf["op"]
    row = Row(path, leaf["field"], op, "", isinstance(value, Mapping), leaf.get("zone", ""))
    if isinstance(value, Mapping):
        row.value = value["field"]
    elif isinstance(value, list):
        row.value = ", ".join(_typed(one) for one in value)
    elif isinstance(value, bool) and row.choices == ("yes", "no"):
        row.value = "yes" if value else "no"
    else:
        row.value = _typed(value) if row._kind is Kind.ANY and op in ("eq", "ne", "includes") else str(value)
    return row


def _one(text: str, anything: bool) -> Any:
    text = text.strip()
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if anything:
        if text in ("true", "false"):
            return text == "true"
        if _NUMBER.fullmatch(text):
            return float(text) if "." in text else int(text)
    return text


def _typed(value: Any) -> str:
    """What has to be typed for a value."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    plain = value == value.strip() and not re.search(r'[,"]', value) and _one(value, True) == value
    return value if plain else '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def box_path(condition_path: str) -> str:
    """`all[1].any[2].value` as the form names it: n.1.2.value."""
    steps = re.findall(r"(?:all|any|not)\[([0-9]+)\]", condition_path)
    last = re.search(r"(?:^|\.)(field|op|value|zone)(?:\.field)?$", condition_path)
    return ".".join([ROOT, *steps, *([last[1]] if last else [])])


def as_yaml(condition: Mapping[str, Any]) -> str:
    """A condition for the text field."""
    return "" if not condition else yaml.safe_dump(dict(condition), sort_keys=False, allow_unicode=True, width=100)


def from_yaml(text: str) -> Any:
    """The condition that was typed. Raises ValueError with a sentence."""
    try:
        found = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        problem = error.problem or error.context
        if not error.problem_mark:
            raise ValueError(_("this is not valid YAML: {problem}", problem=problem)) from None
        line = error.problem_mark.line + 1
        raise ValueError(_("this is not valid YAML in line {line}: {problem}", line=line, problem=problem)) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError(_("this is not valid YAML")) from None
    return {} if found is None else found
