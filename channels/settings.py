"""A channel's settings, checked: a wrong key stops the channel with a sentence instead of being ignored."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from channels.base import NotConfigured, Settings
from config.retold import S_, stored

CHANNEL = S_("channel {name}: {why}")


def unfit(channel: str, why: str) -> NotConfigured:
    """The channel's name before what is wrong with its settings."""
    return NotConfigured(stored(CHANNEL, name=repr(channel), why=why))


def checked(
    channel: str, settings: Settings, *, required: Iterable[str] = (), optional: Iterable[str] = ()
) -> Settings:
    """The settings unchanged, when every required key has a value and no key is unknown. Raises NotConfigured."""
    required = tuple(required)
    known = (*required, *optional)
    for key in settings:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = stored("known settings are {known}.", known=", ".join(known))
            hint = stored("did you mean {near}?", near=repr(near[0])) if near else hint
            raise unfit(channel, stored("unknown setting {key}; {hint}", key=repr(key), hint=hint))
    for key in required:
        if not settings.get(key):
            raise unfit(channel, stored("setting {key} is missing; write it in the channel's settings.", key=repr(key)))
    return settings


def texts(channel: str, settings: Settings, key: str) -> tuple[str, ...]:
    """A setting that is one text or a list of texts, as a tuple. Raises NotConfigured."""
    value: Any = settings.get(key) or ()
    values = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(each, str) and each for each in values):
        raise unfit(channel, stored("setting {key} has to be a text or a list of texts.", key=repr(key)))
    return values
