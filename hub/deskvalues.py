"""Values of desk.yaml: spans, names, secrets and what else its entries are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from channels import KINDS
from config.language import N_
from config.retold import stored
from hub.sealing import is_sealed
from routing.fields import nearest

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_SPAN = 365 * UNITS["d"]
SECRETS = ("password", "token", "secret", "key")


def among(known: Iterable[str], noun: str) -> AfterValidator:
    names = tuple(known)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(
                stored("{value} is no {noun}; {near}", value=repr(value), noun=noun, near=nearest(value, names))
            )
        return value

    return AfterValidator(check)


def seconds_of(value: Any) -> int:
    """ "30m" or a number of seconds."""
    seconds = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,9})\s*([smhd])", value.strip())):
        seconds = int(found[1]) * UNITS[found[2]]
    if not 0 < seconds <= LONGEST_SPAN:
        raise ValueError(N_("must be a span such as 30s, 15m, 4h or 2d, at most 365d"))
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


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret."""
    return any(name == word or name.endswith(f"_{word}") for word in SECRETS)


def _referred(value: str) -> str:
    if not is_reference(value):
        raise ValueError(N_("is a secret; write env:NAME or file:/path instead of the value"))
    return value


def harmless_settings(value: Any, place: str = "") -> Any:
    """Every secret at any depth must be a reference, or sealed by a page."""
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        at = f"{place}.{name}" if place else f"{name}"
        if is_secret(str(name)):
            if inner not in (None, "") and not is_reference(inner) and not is_sealed(inner):
                raise ValueError(stored("{at} is a secret; write env:NAME or file:/path instead of the value", at=at))
        elif isinstance(inner, dict | list):
            harmless_settings(inner, at)
    return value


def distinct(field: str = "") -> AfterValidator:
    def check(items: list[Any]) -> list[Any]:
        seen = set()
        for item in items:
            name = getattr(item, field) if field else item
            if name in seen:
                raise ValueError(stored("{name} is there twice", name=repr(name)))
            seen.add(name)
        return items

    return AfterValidator(check)


def off(value: Any) -> Any:
    return "off" if value is False else value  # YAML reads off as false


Text = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\S([\s\S]{0,62}\S)?\s*$"}),
]
Email = Annotated[str, StringConstraints(to_lower=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
Span = Annotated[
    int,
    BeforeValidator(seconds_of),
    WithJsonSchema(
        {"anyOf": [
            {"type": "string", "pattern": r"^\s*[0-9]{1,9}\s*[smhd]\s*$"},
            {"type": "integer", "minimum": 1, "maximum": LONGEST_SPAN},
        ]}
    ),
]  # fmt: skip
Level = Annotated[int, Field(ge=1, le=5)]
Count = Annotated[int, Field(ge=0, le=10_000)]
Channel = Annotated[str, among(KINDS, N_("kind of channel"))]
Secret = Annotated[str, AfterValidator(_referred)]


class Entry(BaseModel):
    """Every value has its type and every key is known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
