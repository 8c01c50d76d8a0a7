"""Forms for entries of the desk: which fields there are, what is typed in them, and the entry of desk.yaml it makes.

A field is named by its place in the entry (`sla.first_reply`). What the fields can't hold stands as YAML below them, so
that nothing that a file says is lost by opening its page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml

from config.language import _
from config.retold import retold
from hub.deskfile import DeskError, plain_yaml
from hub.deskvalues import is_reference
from hub.refusals import FieldRefused
from hub.sealing import Secrets, is_sealed

MORE = "more"  # the field with what stands as YAML
LONGEST = 20_000
_INDEX = re.compile(r"\[\d+\]")
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `kind` is text, long, number, choice, tick, ticks, lines, secret or day."""

    path: str
    label: str
    kind: str = "text"
    help: str = ""
    usual: str = ""  # what holds where it is left empty
    choices: Mapping[str, str] = field(default_factory=dict)
    short: bool = False
    required: bool = False

    @property
    def many(self) -> bool:
        return self.kind in ("ticks", "lines")


@dataclass(frozen=True, slots=True)
class Group:
    """Fields under one heading; `folded` ones are for few."""

    title: str
    fields: Sequence[Field]
    folded: bool = False
    about: str = ""


@dataclass
class Typed:
    """A form as it stands: what is typed, by field; what is kept of secrets; the rest as YAML; what is wrong."""

    values: dict[str, str]
    kept: dict[str, str] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)  # secrets that were typed and are not stored yet: they go round sealed
    more: str = ""
    version: int = 0
    errors: dict[str, str] = field(default_factory=dict)

    def refuse(self, refused: FieldRefused, groups: Sequence[Group], *, more: bool = True) -> None:
        """Put the sentence beside its field, or beside the form where it has none."""
        paths = [each.path for each in all_fields(groups)]
        wanted = _INDEX.sub("", refused.field)
        near = next((path for path in paths if wanted == path or wanted.startswith(f"{path}.")), "")
        within = next((path for path in paths if wanted and path.startswith(f"{wanted}.")), "")
        root = wanted.partition(".")[0]
        below = more and (wanted == MORE or f"{root}:" in self.more)
        place = near or (MORE if below else within or "form")
        told = refused.sentence
        where = refused.field if place == MORE and refused.field not in (MORE, root) else ""
        self.errors[place] = f"{where}: {told}" if where else told


def all_fields(groups: Iterable[Group]) -> list[Field]:
    """The fields of all groups."""
    return [each for group in groups for each in group.fields]


def typed_of(entry: Mapping[str, Any], groups: Sequence[Group], version: int = 0) -> Typed:
    """An entry in its form."""
    rest, values, kept = deepcopy(dict(entry)), {}, {}
    for each in all_fields(groups):
        value = _at(rest, each.path)
        if value is None:
            values[each.path] = ""
        elif each.kind == "secret":
            kept[each.path], values[each.path] = str(value), ""
            _drop(rest, each.path)
        elif (text := _shown(each, value)) is not None:
            values[each.path] = text
            _drop(rest, each.path)
        else:
            values[each.path] = ""
    more = yaml.safe_dump(rest, sort_keys=False, allow_unicode=True, width=100) if rest else ""
    return Typed(values, kept, set(), more, version)


def typed_in(given: Any, groups: Sequence[Group], secrets: Secrets, stored: Mapping[str, str]) -> Typed:
    """A form as the browser sent it. Secrets that were typed are sealed from here on; else those `stored` stay."""
    values: dict[str, str] = {}
    kept: dict[str, str] = {}
    fresh = set()
    for each in all_fields(groups):
        if each.kind == "secret":
            values[each.path] = ""
            typed, round_again = given.get(each.path, "").strip()[:LONGEST], given.get(f"kept:{each.path}", "")
            if typed:
                kept[each.path] = typed if is_reference(typed) else secrets.seal(typed)
            elif given.get(f"forget:{each.path}") == "on":
                continue
            elif is_sealed(round_again) or is_reference(round_again):
                kept[each.path] = round_again
            elif each.path in stored:
                kept[each.path] = stored[each.path]
            if each.path in kept and kept[each.path] != stored.get(each.path):
                fresh.add(each.path)
        elif each.kind == "ticks":
            values[each.path] = "\n".join(given.getlist(each.path)[:500])
        else:
            values[each.path] = given.get(each.path, "").replace("\r\n", "\n")[:LONGEST]
    return Typed(values, kept, fresh, given.get(MORE, "").replace("\r\n", "\n")[:LONGEST], version_in(given))


def version_in(given: Any) -> int:
    """The desk's version that a form has seen; -1, which is no desk's, for nonsense."""
    version = given.get("version", "")
    return int(version) if version.isdecimal() and len(version) < 16 else -1


def entry_of(typed: Typed, groups: Sequence[Group]) -> Entry:
    """What the form says. Raises FieldRefused for what is no YAML, or said twice."""
    try:
        rest = plain_yaml(typed.more) if typed.more.strip() else {}
    except DeskError as error:
        raise FieldRefused(MORE, retold(str(error))) from None
    if not isinstance(rest, dict):
        raise FieldRefused(MORE, _("Write keys and values, such as “boost: 10m”."))
    entry: Entry = {}
    for each in all_fields(groups):
        value = typed.kept.get(each.path) if each.kind == "secret" else _said(each, typed.values[each.path])
        if value is None:
            if each.required:
                raise FieldRefused(each.path, _("{label} is missing.", label=each.label))
            continue
        if _at(rest, each.path) is not None:
            raise FieldRefused(each.path, _("{path} stands below as well: leave one of the two out.", path=each.path))
        _put(entry, each.path, value)
    return _merged(entry, rest)


def _said(each: Field, text: str) -> Any:
    """The value of a field as desk.yaml has it; None for one that says nothing."""
    if each.kind == "tick":
        return True if text == "on" else None
    if each.many:
        return [line.strip() for line in text.split("\n") if line.strip()] or None
    text = text if each.kind == "long" else text.strip()
    if each.kind == "number" and text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    return text if text.strip() else None


def _shown(each: Field, value: Any) -> str | None:
    """How a value stands in its field; None where it does not fit in."""
    if each.kind == "tick":
        return "on" if value is True else None
    if each.many:
        items = [value] if isinstance(value, str) else value
        return "\n".join(items) if isinstance(items, list) and all(isinstance(one, str) for one in items) else None
    if each.kind == "choice":
        return value if isinstance(value, str) and value in each.choices else None
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _at(entry: Any, path: str) -> Any:
    for step in path.split("."):
        if not isinstance(entry, dict) or step not in entry:
            return None
        entry = entry[step]
    return entry


def _put(entry: Entry, path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        entry = entry.setdefault(step, {})
    entry[last] = value


def _drop(entry: Entry, path: str) -> None:
    step, __, rest = path.partition(".")
    if rest:
        _drop(entry[step], rest)
        if not entry[step]:
            del entry[step]
    else:
        del entry[step]


def _merged(entry: Entry, rest: Mapping[str, Any]) -> Entry:
    """Both together; they never say the same thing."""
    for key, value in rest.items():
        mine = entry.get(key)
        entry[key] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return entry
