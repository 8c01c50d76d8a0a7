"""A channel's settings, checked: a wrong key stops the channel with a sentence instead of being ignored."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from channels.base import NotConfigured, Settings


def checked(
    channel: str, settings: Settings, *, required: Iterable[str] = (), optional: Iterable[str] = ()
) -> Settings:
    """The settings unchanged, when every required key has a value and no key is unknown. Raises NotConfigured."""
    required = tuple(required)
    known = (*required, *optional)
    for key in settings:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known settings are {', '.join(known)}."
            raise NotConfigured(f"channel {channel!r}: unknown setting {key!r}; {hint}")
    for key in required:
        if not settings.get(key):
            raise NotConfigured(f"channel {channel!r}: setting {key!r} is missing; write it in the channel's settings.")
    return settings


def texts(channel: str, settings: Settings, key: str) -> tuple[str, ...]:
    """A setting that is one text or a list of texts, as a tuple. Raises NotConfigured."""
    value: Any = settings.get(key) or ()
    values = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(each, str) and each for each in values):
        raise NotConfigured(f"channel {channel!r}: setting {key!r} has to be a text or a list of texts.")
    return values
