"""The desk as a file: read and checked whole before any of it is applied."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.language import N_
from config.retold import S_, stored
from hub.deskentries import (
    ActionEntry,
    AgentEntry,
    CalendarEntry,
    ChannelEntry,
    ClosedEntry,
    DeskFile,
    EscalateEntry,
    HolidaysEntry,
    LimitsEntry,
    Placing,
    ProfileEntry,
    QueueEntry,
    RoleEntry,
    RuleEntry,
    SignInEntry,
    SlaEntry,
    StepEntry,
    TargetsEntry,
    WebhookEntry,
)
from hub.deskfields import ContactFieldEntry
from hub.deskhandout import (
    LastAgentEntry,
    OrderEntry,
    ParkEntry,
    RateEntry,
    ReserveEntry,
    ServingEntry,
    WrapUpEntry,
)
from hub.deskvalues import Entry
from hub.deskwords import MacroEntry, ReplyEntry
from hub.outside import NotAllowed, check_address
from routing.conditions import ConditionError
from routing.fields import nearest

DEEPEST = 20
MOST_VALUES = 100_000  # a few lines of YAML aliases can stand for billions


class DeskError(Exception):
    """The file can't be applied. The sentence names the place and says what to write there."""


class _Loader(yaml.SafeLoader):
    """YAML in which a date is text, as everywhere else."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read(text: str, folder: Path | None = None) -> dict[str, Any]:
    """Parse and check a desk file. A calendar's `ics: file:name` is read from the folder. Raises DeskError."""
    document = plain_yaml(text)
    if folder is not None and isinstance(document, dict):
        _fetch_ics(document, folder)
    check(document)
    return dict(document)


def plain_yaml(text: str) -> Any:
    """What a text says as YAML; dates stay text. Raises DeskError."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        why = error.problem or error.context
        told = stored("this is not valid YAML: {problem}", problem=why)
        if error.problem_mark:
            line = error.problem_mark.line + 1
            told = stored("this is not valid YAML in line {line}: {problem}", line=line, problem=why)
        raise DeskError(told) from None
    except (yaml.YAMLError, ValueError) as error:
        raise DeskError(stored("this is not valid YAML: {problem}", problem=str(error).splitlines()[0])) from None
    except RecursionError:
        raise DeskError(stored("the file is nested deeper than {deepest} levels", deepest=DEEPEST)) from None


def check(document: Any, *, private: bool = True) -> DeskFile:
    """The file's entries with their types. Raises DeskError.

    `private` lets webhooks lead into our own network and over plain http, as the setting webhook_allow_private does.
    """
    if not isinstance(document, Mapping):
        raise DeskError(stored("the file must be a mapping with {known}", known=", ".join(DeskFile.model_fields)))
    _must_be_plain(document)
    if empty := [name for name, entries in document.items() if entries is None]:
        raise DeskError(
            stored("{empty} is empty: leave it out to keep what there is, or write [] to have none", empty=empty[0])
        )
    try:
        file = DeskFile.model_validate(document)
    except ValidationError as error:
        raise DeskError(_sentence(error.errors()[0])) from None
    for webhook in file.webhooks or []:
        try:
            check_address(webhook.url, private=private)
        except NotAllowed as refused:
            raise DeskError(f"webhook {webhook.name!r}: {refused}") from None
    return file


def _fetch_ics(document: dict[str, Any], folder: Path) -> None:
    """Put the text of iCalendar files where their names stand: other nodes don't have the files."""
    calendars = document.get("calendars")
    for entry in calendars if isinstance(calendars, list) else []:
        named = entry.get("ics") if isinstance(entry, dict) else None
        if isinstance(named, str) and named.startswith("file:"):
            try:
                entry["ics"] = (folder / named.removeprefix("file:")).read_text("utf-8")
            except (OSError, ValueError) as error:
                raise DeskError(
                    f"calendar {entry.get('name')!r}: "
                    + stored("{named} can't be read ({error})", named=named, error=error)
                ) from None


def _must_be_plain(document: Any) -> None:
    """Only what JSON and both databases can hold, and not without end."""
    waiting, seen = [("the file", document, 0)], 0
    while waiting:
        place, value, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST_VALUES:
            raise DeskError(
                stored(
                    "{place} is too big: at most {deepest} levels and {most_values} values",
                    place=place,
                    deepest=DEEPEST,
                    most_values=MOST_VALUES,
                )
            )
        if isinstance(value, Mapping):
            for name, inner in value.items():
                waiting += [(f"the key {str(name)[:40]!r}", f"{name}", depth + 1), (str(name)[:80], inner, depth + 1)]
                if not isinstance(name, str):
                    raise DeskError(
                        f"{place}: "
                        + stored("the key {value} must be text: put it in quotes", value=repr(str(name)[:40]))
                    )
        elif isinstance(value, list):
            waiting += [(f"{place}[{number}]", inner, depth + 1) for number, inner in enumerate(value, 1)]
        elif not isinstance(value, str | int | float | None):
            raise DeskError(stored("{place} must be text: put {value} in quotes", place=place, value=value))
        elif isinstance(value, str) and re.search("[\x00\ud800-\udfff]", value):
            raise DeskError(
                stored("{place} has a character that can't be stored (NUL or half a character)", place=place)
            )
        elif isinstance(value, int | float) and (not math.isfinite(value) or abs(value) >= 2**63):
            raise DeskError(stored("{place} is no number that can be stored", place=place))


# How pydantic names a branch of a union in the way to an error; a reader knows of none.
_BRANCH = re.compile(r"(dict|list|literal|function-\w+)\[.*|LastAgentEntry", re.DOTALL)
_SAID = {
    "missing": N_("is missing"),
    "string_type": N_("must be text: put it in quotes"),
    "string_too_short": N_("is empty"),
    "list_type": N_("must be a list"),
    "dict_type": N_("must be a mapping"),
    "model_type": N_("must be a mapping"),
    "int_type": N_("must be a whole number"),
    "bool_type": N_("must be true or false"),
    "string_pattern_mismatch": N_("must be an e-mail address"),
}
# What else pydantic finds comes in its own words; these are how they begin here, so that they are known again.
THEIRS = (
    S_("must be less than or equal to {most}"), S_("must be greater than or equal to {least}"),
    S_("must have at most {most} characters"), S_("must be {choices}"),
)  # fmt: skip


def _sentence(error: ErrorDetails) -> str:
    """`agents[2].capacity must be a whole number`."""
    kind, steps = error["type"], error["loc"]
    place = ""
    for step in steps:
        if isinstance(step, str) and _BRANCH.fullmatch(step):
            continue
        place += f"[{step + 1}]" if isinstance(step, int) else f".{str(step)[:80]}" if place else str(step)[:80]
    if kind == "extra_forbidden":
        where, _, name = place.rpartition(".")
        known = _keys(steps)
        noun = N_("key") if where else N_("section")
        told = stored("unknown {noun} {name}; {near}", noun=noun, name=repr(name), near=nearest(name, known))
        return f"{where}: {told}" if where else told
    if kind == "value_error":
        why = error["ctx"]["error"]
        if isinstance(why, ConditionError) and why.path:
            return f"{place}.{why.path}: {why.sentence}"
        told = why.sentence if isinstance(why, ConditionError) else str(why)
        return f"{place} {told}" if told.startswith(("must ", "has ", "is ")) else f"{place}: {told}"
    said = _SAID.get(kind) or error["msg"].replace("Input should be", "must be").replace("String should", "must")
    return f"{place} {said}"


def _keys(steps: tuple[int | str, ...]) -> list[str]:
    """What may stand where an unknown key stands."""
    entries: dict[str, type[Entry]] = {
        "calendars": CalendarEntry, "queues": QueueEntry, "agents": AgentEntry, "channels": ChannelEntry,
        "profiles": ProfileEntry, "roles": RoleEntry, "sign_in": SignInEntry, "contact_fields": ContactFieldEntry,
        "rules": RuleEntry, "replies": ReplyEntry, "macros": MacroEntry, "webhooks": WebhookEntry,
    }  # fmt: skip
    nested: dict[str, type[Entry]] = {
        "then": Placing, "holidays": HolidaysEntry, "sla": SlaEntry, "channels": TargetsEntry,
        "escalate": EscalateEntry, "out_of_hours": ClosedEntry, "on_warning": ActionEntry, "on_breach": ActionEntry,
        "order": OrderEntry, "ladder": StepEntry, "limits": LimitsEntry, "last_agent": LastAgentEntry,
        "reserve": ReserveEntry, "rate": RateEntry, "queues": ServingEntry, "wrap_up": WrapUpEntry, "park": ParkEntry,
    }  # fmt: skip
    inside = next((nested[str(step)] for step in reversed(steps[1:-1]) if step in nested), None)
    entry = DeskFile if len(steps) == 1 else inside or entries[str(steps[0])]
    return list(entry.model_fields)
