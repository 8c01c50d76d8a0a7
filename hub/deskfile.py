"""The desk as a file: what may stand in desk.yaml, checked whole before any of it is applied."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from channels import KINDS
from hub.feed import TYPES
from hub.outside import NotAllowed, check_address
from routing.conditions import ConditionError, validate
from routing.fields import nearest
from routing.hours import read_calendar
from routing.promises import WARN_AT
from storage.access import ROLES

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SPAN = 365 * UNITS["d"]
SECRETS = ("password", "token", "secret", "key")
DEEPEST = 20
MOST_VALUES = 100_000  # a few lines of YAML aliases can stand for billions


class DeskError(Exception):
    """The file can't be applied. The sentence names the place and says what to write there."""


def _among(known: Iterable[str], noun: str) -> AfterValidator:
    names = tuple(known)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"{value!r} is no {noun}; {nearest(value, names)}")
        return value

    return AfterValidator(check)


def _seconds(value: Any) -> int:
    """ "30m" or a number of seconds."""
    seconds = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,9})\s*([smhd])", value.strip())):
        seconds = int(found[1]) * UNITS[found[2]]
    if not 0 < seconds <= LONGEST_SPAN:
        raise ValueError("must be a span such as 30s, 15m, 4h or 2d, at most 365d")
    return seconds


def span(seconds: int) -> str:
    """Seconds as the file writes them."""
    for unit in ("d", "h", "m"):
        if seconds % UNITS[unit] == 0:
            return f"{seconds // UNITS[unit]}{unit}"
    return f"{seconds}s"


def is_reference(value: Any) -> bool:
    """Whether a secret is named instead of written."""
    return isinstance(value, str) and value.startswith(("env:", "file:"))


def _referred(value: str) -> str:
    if not is_reference(value):
        raise ValueError("is a secret; write env:NAME or file:/path instead of the value")
    return value


def _settings(value: Any, place: str = "") -> Any:
    """Every secret at any depth must be a reference."""
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        at = f"{place}.{name}" if place else f"{name}"
        if any(name == word or str(name).endswith(f"_{word}") for word in SECRETS):
            if inner not in (None, "") and not is_reference(inner):
                raise ValueError(f"{at} is a secret; write env:NAME or file:/path instead of the value")
        elif isinstance(inner, dict | list):
            _settings(inner, at)
    return value


def _condition(value: Any) -> Any:
    validate(value)
    return value


def _distinct(field: str = "") -> AfterValidator:
    def check(items: list[Any]) -> list[Any]:
        seen = set()
        for item in items:
            name = getattr(item, field) if field else item
            if name in seen:
                raise ValueError(f"{name!r} is there twice")
            seen.add(name)
        return items

    return AfterValidator(check)


def _served(queues: list[QueueEntry]) -> list[QueueEntry]:
    if not queues:
        raise ValueError("must have at least one queue: work has to wait somewhere")
    if sum(queue.default for queue in queues) > 1:
        raise ValueError("has two defaults; one queue takes what no rule claims")
    return queues


Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\S([\s\S]{0,62}\S)?\s*$"}),
]
Email = Annotated[str, StringConstraints(to_lower=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
Span = Annotated[int, BeforeValidator(_seconds)]
Level = Annotated[int, Field(ge=1, le=5)]
Secret = Annotated[str, AfterValidator(_referred)]


class Entry(BaseModel):
    """Every value has its type and every key is known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HolidaysEntry(Entry):
    """Whose public holidays are kept."""

    country: Annotated[str, StringConstraints(max_length=3)]
    region: Annotated[str, StringConstraints(max_length=64)] = ""


class CalendarEntry(Entry):
    """When somebody is there."""

    name: Name
    time_zone: Annotated[str, StringConstraints(max_length=64)]
    hours: dict[str, str | list[str]]
    holidays: HolidaysEntry | None = None
    closed: Annotated[list[str], _distinct()] = []
    special: dict[str, str | list[str]] = {}
    ics: str = ""

    @property
    def plan(self) -> dict[str, Any]:
        """All but the name and what says nothing."""
        return self.model_dump(exclude={"name"}, exclude_defaults=True)

    @model_validator(mode="after")
    def _can_be_read(self) -> CalendarEntry:
        read_calendar(self.name, self.plan)
        return self


class TargetsEntry(Entry):
    """How long an answer and the matter may take."""

    first_reply: Span | None = None
    next_reply: Span | None = None
    resolution: Span | None = None


class SlaEntry(TargetsEntry):
    """What a queue promises, on some channels differently; warn_at is per cent of a target."""

    channels: dict[Annotated[str, _among(KINDS, "kind of channel")], TargetsEntry] = {}
    warn_at: int = Field(default=WARN_AT, ge=1, le=99)


class ActionEntry(Entry):
    """One thing to do about a target: `slack`, `supervisors`, `priority: 10` or `queue: General`."""

    slack: bool = False
    supervisors: bool = False
    priority: int | None = Field(default=None, ge=1, le=1000)
    queue: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> ActionEntry:
        if len(self.model_fields_set) != 1 or not any(self.model_dump().values()):
            raise ValueError("must be one of slack, supervisors, {priority: 10} and {queue: its name}")
        return self


def _action(value: Any) -> Any:
    return {value: True} if value in ("slack", "supervisors") else value


Actions = list[Annotated[ActionEntry, BeforeValidator(_action)]]


class EscalateEntry(Entry):
    """What happens when a target is nearly missed, and when it is."""

    on_warning: Actions = []
    on_breach: Actions = []


class ClosedEntry(Entry):
    """What becomes of work while the queue is closed: `hold`, or `overflow: General`."""

    hold: bool = False
    overflow: Name | None = None


def _closed(value: Any) -> Any:
    return {"hold": True} if value == "hold" else value


class QueueEntry(Entry):
    """Where work waits."""

    name: Name
    first_reply: Span | None = None
    sla: SlaEntry | None = None
    offer: Span = 30
    calendar: Name | None = None
    escalate: EscalateEntry = EscalateEntry()
    out_of_hours: Annotated[ClosedEntry, BeforeValidator(_closed)] = ClosedEntry()
    default: bool = False

    @property
    def first_reply_seconds(self) -> int:
        """The target for the first answer, wherever it stands."""
        return self.first_reply or (self.sla and self.sla.first_reply) or 4 * UNITS["h"]

    @property
    def other_targets(self) -> dict[str, Any]:
        """What `sla` says besides it."""
        return self.sla.model_dump(exclude={"first_reply"}, exclude_defaults=True) if self.sla else {}

    @model_validator(mode="after")
    def _promises_once(self) -> QueueEntry:
        if self.first_reply is not None and self.sla is not None and self.sla.first_reply is not None:
            raise ValueError("has first_reply twice: leave it under sla and take out the other one")
        return self


class AgentEntry(Entry):
    """Somebody who answers."""

    name: Name
    email: Email
    role: Annotated[str, _among(ROLES, "role")] = "agent"
    capacity: int = Field(default=100, ge=0, le=10_000)
    queues: Annotated[list[Name], _distinct()] = []
    skills: dict[Name, Level] = {}
    mail_notices: bool | None = None  # as these two stay as agents have set them where the file says nothing
    signature: Annotated[str, StringConstraints(max_length=2000)] | None = None


class ChannelEntry(Entry):
    """One account of a kind."""

    name: Name
    kind: Annotated[str, _among(KINDS, "kind of channel")]
    address: Annotated[str, StringConstraints(max_length=320)] = ""
    settings: Annotated[dict[str, Any], AfterValidator(_settings)] = {}


class Placing(Entry):
    """What a rule decides; nothing leaves work in the default queue."""

    queue: Name | None = None
    skills: dict[Name, Level] = {}
    priority: int = Field(default=0, ge=-1000, le=1000)


class RuleEntry(Entry):
    """The first rule whose condition holds decides; the empty condition always holds. One not `enabled` is skipped."""

    name: Name
    enabled: bool = True
    when: Annotated[dict[str, Any], BeforeValidator(_condition)]
    then: Placing


class ReplyEntry(Entry):
    """A text that agents use again and again."""

    shortcut: Annotated[str, StringConstraints(min_length=1, max_length=32, strip_whitespace=True)]
    text: Text


class WebhookEntry(Entry):
    """A subscriber. Without `secret` the one that the hub made and keeps stays."""

    name: Name
    url: Annotated[str, StringConstraints(max_length=2000)]
    secret: Secret | None = None
    events: list[Annotated[str, _among(TYPES, "event")]] = []


class DeskFile(Entry):
    """The whole file. A section that is None stays as it is in the database."""

    calendars: Annotated[list[CalendarEntry], _distinct("name")] | None = None
    queues: Annotated[list[QueueEntry], _distinct("name"), AfterValidator(_served)] | None = None
    skills: Annotated[list[Name], _distinct()] | None = None
    agents: Annotated[list[AgentEntry], _distinct("email")] | None = None
    channels: Annotated[list[ChannelEntry], _distinct("name")] | None = None
    rules: Annotated[list[RuleEntry], _distinct("name")] | None = None
    replies: Annotated[list[ReplyEntry], _distinct("shortcut")] | None = None
    webhooks: Annotated[list[WebhookEntry], _distinct("name")] | None = None


class _Loader(yaml.SafeLoader):
    """YAML in which a date is text, as everywhere else."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read(text: str, folder: Path | None = None) -> dict[str, Any]:
    """Parse and check a desk file. A calendar's `ics: file:name` is read from the folder. Raises DeskError."""
    try:
        document = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DeskError(f"this is not valid YAML{line}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise DeskError(f"this is not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise DeskError(f"the file is nested deeper than {DEEPEST} levels") from None
    if folder is not None and isinstance(document, dict):
        _fetch_ics(document, folder)
    check(document)
    return dict(document)


def check(document: Any, *, private: bool = True) -> DeskFile:
    """The file's entries with their types. Raises DeskError.

    `private` lets webhooks lead into our own network and over plain http, as the setting webhook_allow_private does.
    """
    if not isinstance(document, Mapping):
        raise DeskError(f"the file must be a mapping with {', '.join(DeskFile.model_fields)}")
    _must_be_plain(document)
    if empty := [name for name, entries in document.items() if entries is None]:
        raise DeskError(f"{empty[0]} is empty: leave it out to keep what there is, or write [] to have none")
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
                raise DeskError(f"calendar {entry.get('name')!r}: {named} can't be read ({error})") from None


def _must_be_plain(document: Any) -> None:
    """Only what JSON and both databases can hold, and not without end."""
    waiting, seen = [("the file", document, 0)], 0
    while waiting:
        place, value, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST_VALUES:
            raise DeskError(f"{place} is too big: at most {DEEPEST} levels and {MOST_VALUES} values")
        if isinstance(value, Mapping):
            for name, inner in value.items():
                waiting += [(f"the key {str(name)[:40]!r}", f"{name}", depth + 1), (str(name)[:80], inner, depth + 1)]
                if not isinstance(name, str):
                    raise DeskError(f"{place}: the key {str(name)[:40]!r} must be text: put it in quotes")
        elif isinstance(value, list):
            waiting += [(f"{place}[{number}]", inner, depth + 1) for number, inner in enumerate(value, 1)]
        elif not isinstance(value, str | int | float | None):
            raise DeskError(f"{place} must be text: put {value} in quotes")
        elif isinstance(value, str) and re.search("[\x00\ud800-\udfff]", value):
            raise DeskError(f"{place} has a character that can't be stored (NUL or half a character)")
        elif isinstance(value, int | float) and (not math.isfinite(value) or abs(value) >= 2**63):
            raise DeskError(f"{place} is no number that can be stored")


_SAID = {
    "missing": "is missing",
    "string_type": "must be text: put it in quotes",
    "string_too_short": "is empty",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_pattern_mismatch": "must be an e-mail address",
}


def _sentence(error: ErrorDetails) -> str:
    """`agents[2].capacity must be a whole number`."""
    kind, steps = error["type"], error["loc"]
    place = ""
    for step in steps:
        place += f"[{step + 1}]" if isinstance(step, int) else f".{str(step)[:80]}" if place else str(step)[:80]
    if kind == "extra_forbidden":
        where, _, name = place.rpartition(".")
        known = _keys(steps)
        return (
            f"{f'{where}: ' if where else ''}unknown {'key' if where else 'section'} {name!r}; {nearest(name, known)}"
        )
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
        "rules": RuleEntry, "replies": ReplyEntry, "webhooks": WebhookEntry,
    }  # fmt: skip
    nested: dict[str, type[Entry]] = {
        "then": Placing, "holidays": HolidaysEntry, "sla": SlaEntry, "channels": TargetsEntry,
        "escalate": EscalateEntry, "out_of_hours": ClosedEntry, "on_warning": ActionEntry, "on_breach": ActionEntry,
    }  # fmt: skip
    inside = next((nested[str(step)] for step in reversed(steps[1:-1]) if step in nested), None)
    entry = DeskFile if len(steps) == 1 else inside or entries[str(steps[0])]
    return list(entry.model_fields)
