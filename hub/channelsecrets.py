"""What a page may do with a channel's secrets: they go where they were meant to go, and nothing of the process's comes
out by them.

Whoever runs the hub writes `env:` and `file:` into desk.yaml; an admin of the desk needs not know what they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from config.language import _
from hub.deskvalues import is_reference, is_secret
from hub.refusals import FieldRefused
from hub.sealing import is_sealed

WHERE = re.compile(r"(?:^|[._])(?:host|port|tls|url|tenant|provider|redirects|file)$")  # settings that say where to


def must_stay(before: Mapping[str, Any], after: Mapping[str, Any], elsewhere: Collection[str]) -> None:
    """Raises FieldRefused for settings `after` a change in a page that would show a secret, or send it elsewhere.

    `before` are the settings as they are kept, `elsewhere` holds the sealed secrets of other channels.
    """
    was, now = dict(_texts(before)), dict(_texts(after))
    changed = (place for place in sorted({*was, *now}) if was.get(place) != now.get(place))
    moved = next((place for place in changed if WHERE.search(place)), "")
    for place, value in now.items():
        field = f"settings.{place}"
        if value == was.get(place):
            if moved and (is_sealed(value) or is_reference(value)):
                raise FieldRefused(
                    field, _("{moved} has changed: write this secret again, it was meant for elsewhere.", moved=moved)
                )
        elif is_reference(value):
            raise FieldRefused(field, _("env: and file: are read from desk.yaml only: write the value itself."))
        elif is_sealed(value) and (value in elsewhere or not is_secret(place.rpartition(".")[2])):
            raise FieldRefused(field, _("A sealed secret stays where it was sealed: write the value itself."))


def sealed_in(settings: Mapping[str, Any]) -> set[str]:
    """The sealed secrets of a channel."""
    return {value for __, value in _texts(settings) if is_sealed(value)}


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every value as text at any depth, by its place ("oauth.token_url")."""
    if isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, inner in pairs:
            yield from _texts(inner, f"{place}.{name}" if place else str(name))
    else:
        yield place, str(value)
